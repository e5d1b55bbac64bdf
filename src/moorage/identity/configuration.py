"""What is set for a whole registry, by the names that Harbor gives it: how people sign in, and with whose word.

Secrets among it are wrapped by the master key, and shown to nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, column, delete, func, select, table, update

from moorage.db import Statement, insert, one_of
from moorage.db.places import Place
from moorage.db.tables import ASCII, configuration
from moorage.identity.keys import MasterKey, Wrapped

if TYPE_CHECKING:
    from moorage.db import Database, Reader, Tx

AUTH_MODE: Final = "auth_mode"
LOCAL, OIDC, LDAP, IAM = "db_auth", "oidc_auth", "ldap_auth", "iam_auth"
"""How people sign in: with passwords of the registry's own; by an OIDC provider's word, too; by an LDAP server's; or by IAM."""
KEPT_FROM: Final = "0003"
"""The first revision of a registry's schema that has a place for it."""

PLACE: Final = Place(configuration)

_VERSION = Statement(select(column("version_num", ASCII)).select_from(table("schema_registry")))
_GET = Statement(
    select(
        configuration.c.name,
        configuration.c.value,
        configuration.c.secret,
        configuration.c.master,
        configuration.c.created_at,
        configuration.c.updated_at,
    ).where(one_of(configuration.c.name, "names"))
)
_put = insert(configuration).values(
    name=bindparam("name"),
    value=bindparam("value"),
    secret=bindparam("secret"),
    master=bindparam("master"),
    created_at=bindparam("at"),
    updated_at=bindparam("at"),
)
_PUT = Statement(
    _put.on_conflict_do_update(
        index_elements=[configuration.c.name],
        set_={name: _put.excluded[name] for name in ("value", "secret", "master", "updated_at")},
    )
)
_DROP = Statement(delete(configuration).where(one_of(configuration.c.name, "names")))
_OTHERS = Statement(
    select(configuration.c.name.label("id"), configuration.c.secret, configuration.c.master)
    .where(configuration.c.master != bindparam("name"))
    .limit(bindparam("most"))
)
_COUNT = Statement(select(func.count().label("n")).where(configuration.c.master != bindparam("name")))
_REWRAP = Statement(
    update(configuration)
    .where(configuration.c.name == bindparam("which"))
    .values(secret=bindparam("wrapped"), master=bindparam("name"))
)


@dataclass(frozen=True, slots=True)
class Value:
    """What is set; times are microseconds."""

    text: str
    created_at: int
    updated_at: int
    wrapped: bytes | None = field(default=None, repr=False)
    master: str = ""


async def get(reader: Reader, *names: str) -> dict[str, Value]:
    """Give what is set of some names; nothing where the schema has no place for it yet."""
    if not await PLACE.is_there(reader):
        return {}
    return {
        row.name: Value(row.value, row.created_at, row.updated_at, row.secret, row.master or "")
        for row in await reader.all(_GET, names=list(names))
    }


async def put(tx: Tx, values: Mapping[str, str]) -> None:
    """Set some of it."""
    if not values:
        return
    rows = [
        {"name": name, "value": value, "secret": None, "master": None, "at": tx.at}
        for name, value in values.items()
    ]
    await tx.many(_PUT, rows)
    await tx.touch_access()


async def put_secret(tx: Tx, master: MasterKey, registry: str, name: str, secret: str) -> None:
    """Set what nobody may read: it is wrapped for this registry and this name."""
    wrapped = master.wrap(secret.encode(), registry=registry, purpose=_purpose(name))
    await tx.run(_PUT, name=name, value="", secret=wrapped, master=master.name, at=tx.at)
    await tx.touch_access()


def opened(value: Value, master: MasterKey, registry: str, name: str) -> str:
    """Give a secret that was set."""
    assert value.wrapped is not None
    purpose = _purpose(name)
    return master.unwrap(value.wrapped, name=value.master, registry=registry, purpose=purpose).decode()


async def drop(tx: Tx, *names: str) -> None:
    """Set some of it no more."""
    await tx.run(_DROP, names=list(names))
    await tx.touch_access()


async def auth_mode(reader: Reader) -> str:
    """Say how people sign in to a registry."""
    found = (await get(reader, AUTH_MODE)).get(AUTH_MODE)
    return LOCAL if found is None else found.text


async def is_kept(cell: Database) -> bool:
    """Say whether registries' schema has a place for it: one of the release before has none.

    A file is brought forward when it is opened; of PostgreSQL the cell's own connection can tell.
    """
    if cell.inline:
        return True
    row = await cell.one(_VERSION)
    return row is not None and str(row.version_num) >= KEPT_FROM


def _purpose(name: str) -> str:
    return f"configuration {name}"


SECRETS: Final = Wrapped(_OTHERS, _COUNT, _REWRAP, _purpose)
