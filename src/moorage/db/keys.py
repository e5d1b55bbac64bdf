"""Keys and indexes of a registry's tables: each begins with the registry, whose rows it keeps apart from all others'."""

from sqlalchemy import ForeignKeyConstraint, Index, PrimaryKeyConstraint, Table, text


def key(*columns: str) -> PrimaryKeyConstraint:
    """Keep rows apart by *columns*."""
    return PrimaryKeyConstraint("registry_id", *columns)


def foreign_key(columns: tuple[str, ...], table: str, *there: str) -> ForeignKeyConstraint:
    """Hold what *columns* name to a row of the same registry."""
    return ForeignKeyConstraint(
        ["registry_id", *columns], [f"{table}.{column}" for column in ("registry_id", *there)]
    )


def index(name: str, table: Table, *columns: str, unique: bool = False, where: str | None = None) -> None:
    """Find rows by *columns*, those alone that a condition takes in if there is one."""
    condition = None if where is None else text(where)
    Index(
        name,
        table.c.registry_id,
        *(table.c[column] for column in columns),
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
    )
