"""Databases, transactions and statements, on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from moorage.db.errors import Broken, Failed, Vanished
from moorage.db.statements import Statement, Unbindable, insert, one_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

__all__ = [
    "Broken",
    "Database",
    "Failed",
    "Reader",
    "Statement",
    "Tx",
    "Unbindable",
    "Vanished",
    "insert",
    "one_of",
]

T = TypeVar("T")


class Reader(Protocol):
    """Asks a database."""

    async def one(self, statement: Statement, /, **params: object) -> Any:
        """Give the first row, a named tuple, or None when there is none."""
        ...

    async def all(self, statement: Statement, /, **params: object) -> list[Any]:
        """Give every row, each a named tuple."""
        ...


class Tx(Reader, Protocol):
    """One turn of a registry, or a plain transaction of a database that is not bound.

    It ends with the function that was given it. A statement that fails ends it too: whatever
    comes after is refused, and the change is rolled back even if the error was caught.
    """

    at: int
    """The turn's stamp: microseconds since 1970, later than any before it."""

    async def run(self, statement: Statement, /, **params: object) -> int:
        """Change rows and tell how many, or raise Broken."""
        ...

    async def many(self, statement: Statement, rows: Sequence[Mapping[str, object]]) -> None:
        """Run one statement for each row of parameters."""
        ...

    async def touch_access(self) -> None:
        """Say that this change touches who may do what, so that caches are asked anew."""
        ...

    async def mark(self) -> None:
        """Say that this change writes to the outbox, so that the relay looks there."""
        ...


class Database(Reader, Protocol):
    """The rows of one registry, or of a cell. It passes ``tests/contracts/test_database.py``."""

    inline: bool
    """Whether reads end without a pause, so that they may be driven where nothing can be awaited."""

    async def change(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run *work* in a turn of its own: all or nothing, durable when this returns.

        Waiting changes share a commit. *work* awaits nothing but its tx, and may be called
        again when PostgreSQL's schema moved under it. Raises Unavailable, or Vanished.
        """
        ...

    async def record(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run *work* as `change` does, but in no turn: for rows of the record that nothing else hangs on."""
        ...

    async def write(self, statement: Statement, /, **params: object) -> int:
        """Run one durable statement outside any turn, and tell how many rows it changed."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Reader]:
        """Read several times from one moment. Not for requests: it keeps old pages alive."""
        ...

    async def numbers(self) -> Mapping[str, int]:
        """Give the last number that each table gave which numbers its rows, if any did; of all registries on PostgreSQL."""
        ...

    async def number_past(self, last: Mapping[str, int]) -> None:
        """Never give these numbers to another row, nor smaller ones."""
        ...

    def access_version(self) -> int:
        """Give a number that differs whenever an access row changed, in any process."""
        ...

    def version(self) -> int:
        """Give a number that stays the same only while no turn is taken, in any process."""
        ...

    def now(self) -> int:
        """Give the time in microseconds since 1970."""
        ...

    async def close(self) -> None:
        """Let go of every connection and file."""
        ...
