"""Bodies of requests: JSON, read once into a struct; what breaks a rule is answered 422, as Harbor does."""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeVar

import msgspec

from moorage.api import rules
from moorage.api.harbor.problems import BadRequest, Invalid, MediaTypeUnknown, TooLarge, invalid
from moorage.api.http.bodies import Body

LARGEST: Final = 256 * 1024
_JSON: Final = frozenset({"", "application/json", "application/octet-stream"})

Whole = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""A whole number that a row can hold; JSON has larger ones."""

_NULL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

T = TypeVar("T")


async def receive(body: Body) -> bytes:
    """Give a request's whole body, or raise TooLarge."""
    return await body.read(LARGEST, refusal=TooLarge)


def read(body: bytes, content_type: str, kind: type[T]) -> T:
    """Read a body, or raise Invalid, which names the field and the rule, or MediaTypeUnknown."""
    if not body.strip():
        raise Invalid("validation failure list: the body is required", field="", rule="is required")
    if content_type.partition(";")[0].strip().lower() not in _JSON:
        raise MediaTypeUnknown
    if _NULL.search(body):
        # No row keeps it on one of the engines.
        raise BadRequest("no text in a body has a null character")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        field, rule = rules.told(str(error))
        raise invalid("body", field, rule) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(
            f"validation failure list: the body is no JSON: {error}", field="", rule="JSON"
        ) from None
