"""What stands in a path, a query and the headers is of the types that the API's description says, whoever answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.api.harbor.exchanges import EXCHANGES, is_number
from moorage.api.harbor.problems import invalid

if TYPE_CHECKING:
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.exchanges import Value


def check(ask: Ask) -> None:
    """Raise Invalid for a value that is missing or of another type; in a query one that is empty is none."""
    for name in filter(is_number, ask.params):
        ask.number(name)
    exchange = EXCHANGES.get(ask.operation.id)
    if exchange is None:
        return
    for value in exchange.query:
        _check_query(ask, value)
    for value in exchange.headers:
        if value.required and not ask.header(value.name.lower().encode()):
            raise invalid("header", value.name, "is required")


def _check_query(ask: Ask, value: Value) -> None:
    if value.name not in ask.query:
        if value.required:
            raise invalid("query", value.name, "is required")
    elif value.type == "bool":
        ask.flag(value.name)
    elif value.type.startswith("int"):
        ask.whole(value.name)
