"""Statements, and the binder that holds each of their tables to one registry.

The walk below reads the finished SQL with a parser of its own, so the binder is not its own judge.
"""

from __future__ import annotations

import gc
import importlib
import pkgutil
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
import sqlglot
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    select,
    text,
    true,
    update,
)
from sqlglot import exp

import moorage
from moorage.db.binding import COLUMN, REGISTRY
from moorage.db.statements import (
    POSTGRES,
    POSTGRES_BOUND,
    SQLITE,
    SQLITE_BOUND,
    Statement,
    Unbindable,
    insert,
    one_of,
    statements,
)

DIALECT = {SQLITE_BOUND: "sqlite", POSTGRES_BOUND: "postgres"}
metadata = MetaData()


def table(name: str, *columns: Column[Any]) -> Table:
    return Table(name, metadata, Column(COLUMN, BigInteger), *columns)


ship = table(
    "ship", Column("id", BigInteger, primary_key=True), Column("name", Text), Column("afloat", SmallInteger),
    Column("hash", LargeBinary), Column("fast", Boolean),
)  # fmt: skip
crew = table(
    "crew",
    Column("id", BigInteger, primary_key=True),
    Column("ship_id", BigInteger),
    Column("size", BigInteger),
)
harbour = Table("harbour", metadata, Column("id", BigInteger, primary_key=True), Column("name", Text))
other = ship.alias("other")
afloat = select(ship.c.id, ship.c.name).where(ship.c.afloat == 1)
tree = select(crew.c.id).where(crew.c.id == bindparam("root")).cte("tree", recursive=True)

SHAPES: dict[str, Any] = {
    "select": select(ship.c.id, ship.c.name).where(ship.c.name == bindparam("name")).limit(3),
    "two tables": select(ship.c.id, crew.c.size).where(ship.c.id == crew.c.ship_id),
    "join": select(ship.c.id, crew.c.size).join(crew, crew.c.ship_id == ship.c.id),
    "outer join": select(ship.c.id, crew.c.size).outerjoin(crew, crew.c.ship_id == ship.c.id),
    "nested join": select(ship.c.id).select_from(
        ship.outerjoin(crew.join(other, other.c.id == crew.c.ship_id), crew.c.ship_id == ship.c.id)
    ),
    "alias": select(ship.c.id, other.c.name).join(other, other.c.name == ship.c.name),
    "subquery": select(afloat.subquery().c.name),
    "joined subquery": select(crew.c.size).join(afloat.subquery("a"), literal_column("a.id") == crew.c.ship_id),
    "in": select(ship.c.id).where(ship.c.id.in_(select(crew.c.ship_id))),
    "exists": select(ship.c.id).where(~exists().where(crew.c.ship_id == ship.c.id)),
    "scalar": select(
        ship.c.id, select(func.sum(crew.c.size)).where(crew.c.ship_id == ship.c.id).scalar_subquery().label("n")
    ),
    "union": select(ship.c.id).union_all(select(crew.c.id)).order_by("id"),
    "cte": select(afloat.cte("a").c.id),
    "recursive cte": select(tree.union(select(crew.c.id).join(tree, tree.c.id == crew.c.ship_id)).c.id),
    "group": select(func.count().label("n"), ship.c.name).group_by(ship.c.name).having(func.count() > 1),
    "list": select(ship.c.id).where(one_of(ship.c.name, "names"), ~one_of(ship.c.hash, "hashes")),
    "update": update(ship).where(ship.c.id == bindparam("which")).values(
        name=bindparam("name"), afloat=ship.c.afloat + 1
    ),
    "update from": update(ship).where(ship.c.id == crew.c.ship_id).values(afloat=crew.c.size),
    "update by": update(ship).values(afloat=select(crew.c.size).where(crew.c.ship_id == ship.c.id).scalar_subquery()),
    "delete": delete(ship).where(ship.c.id.in_(select(crew.c.ship_id))).returning(ship.c.id),
    "insert": insert(ship).values(id=bindparam("id"), name=bindparam("name"), afloat=0).returning(ship.c.id),
    "insert many": insert(ship).values([{"id": 1, "name": "a"}, {"id": 2, "name": bindparam("b")}]),
    "insert select": insert(ship).from_select(
        ["id", "name"], select(crew.c.id, func.max(crew.c.size)).group_by(crew.c.id)
    ),
    "insert union": insert(ship).from_select(
        ["id"], select(crew.c.id).union(select(ship.c.id))
    ).on_conflict_do_nothing(),
    "upsert": insert(ship).values(id=bindparam("id")).on_conflict_do_update(
        index_elements=[ship.c.id], set_={"afloat": insert(ship).excluded.afloat}, where=ship.c.afloat == 0
    ),
    "plain": select(literal_column("1").label("one")),
}  # fmt: skip
REFUSED: dict[str, Any] = {
    "text": text("SELECT * FROM ship"),
    "text in a condition": select(ship.c.id).where(text("1 = 1")),
    "text as a column": select(literal_column("(SELECT max(id) FROM ship)")),
    "text as a table": select(literal_column("id")).select_from(text("ship")),
    "another's table": select(harbour.c.id),
    "another's table joined": select(ship.c.id).join(harbour, harbour.c.id == ship.c.id),
    "another's table written": insert(harbour).values(id=1),
    "full join": select(ship.c.id).join(crew, crew.c.ship_id == ship.c.id, full=True),
    "a registry given": insert(ship).values(registry_id=2, id=1),
    "a registry given in many": insert(ship).values([{"id": 1}, {"registry_id": 2, "id": 2}]),
    "a registry's column given in many": insert(ship).values([{ship.c.registry_id: 2, ship.c.id: 1}]),
    "a registry given with a select": insert(ship).from_select(
        ["registry_id", "id"], select(crew.c.ship_id, crew.c.id)
    ),
    "a registry changed": update(ship).values(registry_id=2),
    "a registry changed in a conflict": insert(ship)
    .values(id=1)
    .on_conflict_do_update(index_elements=[ship.c.id], set_={"registry_id": 2}),
    "a registry's column changed in a conflict": insert(ship)
    .values(id=1)
    .on_conflict_do_update(index_elements=[ship.c.id], set_={ship.c.registry_id: 2}),
    "no values": insert(ship),
    "two columns of one name": select(ship.c.id, crew.c.id.label("id")),
    "a constraint's name": insert(ship)
    .values(id=1)
    .on_conflict_do_update(constraint="ship_pk", set_={"afloat": 1}),
}


@pytest.mark.parametrize("mode", [SQLITE_BOUND, POSTGRES_BOUND])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_statement_is_held_to_its_registry(shape: str, mode: int) -> None:
    plan = Statement(SHAPES[shape]).plan(mode)

    assert not list(loose(plan.sql, mode))


@pytest.mark.parametrize("mode", [SQLITE_BOUND, POSTGRES_BOUND])
@pytest.mark.parametrize("shape", REFUSED)
def test_what_cannot_be_held_is_refused(shape: str, mode: int) -> None:
    with pytest.raises(Unbindable):
        Statement(REFUSED[shape]).plan(mode)


@pytest.mark.parametrize("mode", [SQLITE, POSTGRES])
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "plain"])
def test_a_database_of_no_registry_refuses_a_registrys_tables(shape: str, mode: int) -> None:
    with pytest.raises(Unbindable):
        Statement(SHAPES[shape]).plan(mode)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM ship",
        "SELECT id FROM ship WHERE registry_id = :_registry OR id = 1",
        "SELECT id FROM ship WHERE NOT registry_id = :_registry",
        "SELECT id FROM ship WHERE registry_id = :id",
        "SELECT s.id FROM ship s, crew c WHERE s.registry_id = :_registry",
        "SELECT s.id FROM ship s JOIN crew c ON c.id = s.id WHERE s.registry_id = :_registry",
        "SELECT s.id FROM ship s LEFT JOIN crew c ON c.id = s.id AND c.registry_id = :_registry",
        "SELECT s.id FROM ship s LEFT JOIN crew c ON s.registry_id = :_registry AND c.registry_id = :_registry",
        "SELECT id FROM ship WHERE registry_id = :_registry AND id IN (SELECT id FROM crew)",
        "UPDATE ship SET name = 'a' WHERE id = 1",
        "DELETE FROM ship",
        "INSERT INTO ship (id) VALUES (1)",
        "INSERT INTO ship (registry_id, id) VALUES (:_registry, 1), (7, 2)",
        "INSERT INTO ship (registry_id, id) SELECT registry_id, id FROM crew WHERE registry_id = :_registry",
    ],
)
def test_the_walk_would_notice_a_loose_table(sql: str) -> None:
    assert list(loose(sql, SQLITE_BOUND))


def test_every_statement_of_the_product_is_held_to_its_registry() -> None:
    for module in pkgutil.walk_packages(moorage.__path__, "moorage."):
        if ".migrations." not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = [statement for statement in statements() if statement.where.startswith("moorage.")]

    for statement in ours:
        bound = _is_a_registrys(statement)
        for mode in (SQLITE_BOUND, POSTGRES_BOUND) if bound else (SQLITE, POSTGRES):
            plan = statement.plan(mode)
            assert not bound or not list(loose(plan.sql, mode)), f"{statement}: {plan.sql}"


def _is_a_registrys(statement: Statement) -> bool:
    try:
        statement.plan(SQLITE)
    except Unbindable:
        return True
    return False


def test_a_statement_nobody_uses_is_forgotten() -> None:
    Statement(select(ship.c.id))
    gc.collect()

    assert not [statement for statement in statements() if statement.where.startswith(f"{__name__}:")]


def test_numbers_that_the_code_gives_are_written_out_so_that_partial_indexes_serve() -> None:
    plan = Statement(select(ship.c.id).where(ship.c.afloat == 1, ship.c.name == "Argo")).plan(SQLITE_BOUND)

    assert "ship.afloat = 1" in plan.sql
    assert list(plan.constants.values()) == ["Argo"]


def test_rows_are_named_tuples() -> None:
    row = Statement(select(ship.c.id, ship.c.name.label("called"))).plan(SQLITE_BOUND).row((1, "Argo"))

    assert (row.id, row.called, row) == (1, "Argo", (1, "Argo"))


def test_truth_is_truth_on_sqlite() -> None:
    row = Statement(select(ship.c.fast, ship.c.id)).plan(SQLITE_BOUND).row((1, 1))

    assert row.fast is True
    assert type(row.id) is int


def test_a_list_on_sqlite_uses_the_columns_index() -> None:
    connection = sqlite3.connect(":memory:")
    connection.create_function("from_hex", 1, bytes.fromhex, deterministic=True)
    connection.execute("CREATE TABLE ship (registry_id, hash BLOB, name TEXT)")
    connection.execute("CREATE INDEX ship_hash ON ship (registry_id, hash)")
    plan = Statement(select(ship.c.name).where(one_of(ship.c.hash, "hashes"))).plan(SQLITE_BOUND)

    steps = connection.execute(f"EXPLAIN QUERY PLAN {plan.sql}", {"hashes": "[]", REGISTRY: 1}).fetchall()
    connection.close()

    assert any("ship_hash (registry_id=? AND hash=?)" in step[3] for step in steps)


def test_an_error_names_the_statements_place() -> None:
    with pytest.raises(Unbindable) as refused:
        Statement(select(harbour.c.id).where(true())).plan(SQLITE_BOUND)

    assert __name__ in refused.value.__notes__[0]


def loose(sql: str, mode: int) -> Iterator[str]:
    """Name each table of a statement that its registry does not hold."""
    tree = sqlglot.parse_one(sql, dialect=DIALECT[mode])
    place = registrys_place(sql, mode)
    for insertion in tree.find_all(exp.Insert):
        yield from loose_rows(insertion, place)
    for change in tree.find_all(exp.Update, exp.Delete):
        sources = [
            change.this,
            *(change.args["from_"].find_all(exp.Table) if change.args.get("from_") else []),
        ]
        where = change.args.get("where")
        for source in sources:
            if not any(
                holds(part, source, place, alone=len(sources) == 1) for part in parts(where and where.this)
            ):
                yield source.alias_or_name
    for query in tree.find_all(exp.Select):
        yield from loose_sources(query, place)


def registrys_place(sql: str, mode: int) -> set[str]:
    """Give the SQL of the parameter that holds the registry; in PostgreSQL it has a number."""
    if mode == SQLITE_BOUND:
        return {f":{REGISTRY}"}
    found = {f"CAST({place} AS BIGINT)" for place in numbered(sql)}
    assert len(found) <= 1
    return found


def numbered(sql: str) -> set[str]:
    """List the parameters that *sql* compares with a registry or inserts as one."""
    tree = sqlglot.parse_one(sql, dialect="postgres")
    compared = {
        equal.expression.this.sql("postgres")
        for equal in tree.find_all(exp.EQ)
        if equal.this.name == COLUMN and isinstance(equal.expression, exp.Cast)
    }
    for insertion in tree.find_all(exp.Insert):
        rows = insertion.expression.expressions if isinstance(insertion.expression, exp.Values) else []
        compared |= {row.expressions[0].this.sql("postgres") for row in rows}
    return compared


def loose_rows(insertion: exp.Insert, place: set[str]) -> Iterator[str]:
    columns = [column.name for column in insertion.this.expressions]
    if COLUMN not in columns:
        yield insertion.this.this.name
        return
    at = columns.index(COLUMN)
    given = insertion.expression
    rows = given.expressions if isinstance(given, exp.Values) else [given]
    for row in rows:
        value = row.expressions[at]
        value = value.this if isinstance(value, exp.Alias) else value
        if value.sql("postgres") not in place and value.sql("sqlite") not in place:
            yield insertion.this.this.name


def loose_sources(query: exp.Select, place: set[str]) -> Iterator[str]:
    """Name each table in one query's own FROM that neither WHERE nor its own ON holds."""
    ctes = {cte.alias for cte in query.root().find_all(exp.CTE)}
    start = query.args.get("from_")
    joins = query.args.get("joins") or []
    where = query.args.get("where")
    first = [start.this] if start else []
    alone = len(first) + len(joins) == 1
    for source in first:
        yield from loose_in(source, parts(where and where.this), place, ctes, alone=alone)
    for join in joins:
        outer = bool(join.side)
        guards = parts(join.args.get("on"))
        guards += [] if outer else parts(where and where.this)
        yield from loose_in(join.this, guards, place, ctes, alone=False)


def loose_in(
    source: Any, guards: list[Any], place: set[str], ctes: set[str], *, alone: bool
) -> Iterator[str]:
    if isinstance(source, exp.Paren | exp.Subquery) and not isinstance(source.this, exp.Query):
        yield from loose_in(source.this, guards, place, ctes, alone=False)
        return
    if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier) and source.name not in ctes:
        if not any(holds(part, source, place, alone=alone) for part in guards):
            yield source.alias_or_name
        for join in source.args.get("joins") or []:
            yield from loose_in(join.this, [*guards, *parts(join.args.get("on"))], place, ctes, alone=False)


def parts(condition: Any) -> list[Any]:
    """List what must all be true for *condition* to be."""
    if condition is None:
        return []
    condition = condition.unnest()
    return list(condition.flatten()) if isinstance(condition, exp.And) else [condition]


def holds(part: Any, source: Any, place: set[str], *, alone: bool) -> bool:
    """Tell whether *part* is ``source.registry_id = the registry``."""
    part = part.unnest()
    if not isinstance(part, exp.EQ) or not isinstance(part.this, exp.Column) or part.this.name != COLUMN:
        return False
    named = part.this.table
    given = part.expression
    known = given.sql("postgres") in place or given.sql("sqlite") in place
    return known and (named == source.alias_or_name or (alone and not named))
