"""How the platform's tables are declared, in one metadata, whichever module they stand in."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, MetaData, Table, text
from sqlalchemy.schema import SchemaItem

from moorage.db.tables import ASCII, BIG, BYTES, SMALL

metadata = MetaData()


def string(name: str, *, null: bool = False, default: str | None = None) -> Column[str]:
    """Declare a text."""
    return Column(name, ASCII, nullable=null, server_default=default)


def big(name: str, *, null: bool = False, default: int | None = None) -> Column[int]:
    """Declare a whole number of 64 bits."""
    return Column(name, BIG, nullable=null, server_default=None if default is None else text(str(default)))


def flag(name: str) -> Column[int]:
    """Declare what is 0 or 1, and 0 at first."""
    return Column(name, SMALL, nullable=False, server_default=text("0"))


def octets(name: str) -> Column[bytes]:
    """Declare bytes."""
    return Column(name, BYTES, nullable=False)


def id_() -> Column[str]:
    """Declare the id that is the key."""
    return Column("id", ASCII, primary_key=True)


def to(name: str, target: Column[str], *, null: bool = False, key: bool = False) -> Column[str]:
    """Declare a column that names a row of *target*'s table."""
    return Column(name, ASCII, ForeignKey(target), nullable=null, primary_key=key)


def one_of(column: str, *words: str) -> CheckConstraint:
    """Declare that a column holds one of some words."""
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})")


def table(name: str, kind: str, *parts: SchemaItem) -> Table:
    """Declare a table of the platform; *kind* is content, access or record."""
    made: Table = Table(name, metadata, *parts, info={"kind": kind})
    return made
