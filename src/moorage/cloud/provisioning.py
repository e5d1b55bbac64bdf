"""A registry comes to be: its place in the directory, its rows, its first project and administrator.

Each step ensures and none merely does, so a provisioning that was cut is simply done again.
"""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, func, or_, select, update

from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.cell import entry, host
from moorage.db.tables import BIG, registry
from moorage.errors import Unavailable
from moorage.identity import old_names, users
from moorage.identity.passwords import Passwords
from moorage.oci.errors import NameInvalid
from moorage.oci.names import LIBRARY
from moorage.registry import projects
from moorage.registry.directory import COLUMNS, READY, Entry

DAY = 86_400_000_000
GIB = 1 << 30
ADMINISTRATOR = "admin"
INSTALLING, CLOSED = "INSTALLING", "DELETED"
"""States in the directory beside READY: not whole yet, and taken out of service."""
_REGISTRY_NAME = re.compile(r"[^\W_](?:[\w .-]{0,62}[^\W_])?")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a plan grants: bytes stored (-1: as the disk has), requests at once (0: any), days of trash."""

    name: str
    limit_bytes: int
    parallel: int
    trash_days: int


PLANS = {
    plan.name: plan
    for plan in (
        Plan("LOCAL", -1, 0, 30),
        Plan("S", 200 * GIB, 15, 7),
        Plan("M", 600 * GIB, 45, 14),
        Plan("L", 5 * 1024 * GIB, 90, 30),
    )
}

_FIND = Statement(select(*COLUMNS).where(entry.c.name == bindparam("name"), entry.c.deleted_at.is_(None)))
_ALL = Statement(select(*COLUMNS).where(entry.c.deleted_at.is_(None)).order_by(entry.c.id))
_EVERY = Statement(select(*COLUMNS).order_by(entry.c.id))
_other = entry.alias("other")
_ANY = Statement(select(entry.c.id).where(entry.c.deleted_at.is_(None)).limit(1))
_LAST_PORT = Statement(select(func.max(entry.c.port).label("port")))
_ADD = Statement(
    insert(entry).values(
        uuid=bindparam("uuid"),
        name=bindparam("name"),
        plan=bindparam("plan"),
        state=bindparam("state"),
        prefix=bindparam("prefix"),
        port=bindparam("port"),
        parallel=bindparam("parallel"),
        limit_bytes=bindparam("limit_bytes"),
        first=bindparam("first"),
        created_at=bindparam("at"),
    )
)
_ALIKE = Statement(
    select(entry.c.id).where(entry.c.uuid >= bindparam("low"), entry.c.uuid <= bindparam("high")).limit(1)
)
_SET_PORT = Statement(
    update(entry)
    .where(entry.c.id == bindparam("entry"), entry.c.port.is_(None))
    .values(
        port=select(
            func.coalesce(func.max(_other.c.port), bindparam("first_port", type_=BIG)) + 1
        ).scalar_subquery()
    )
)
_HOST = Statement(select(host.c.entry_id).where(host.c.name == bindparam("name")))
_NAMED = Statement(select(host.c.name))
_ADD_HOST = Statement(
    insert(host).values(name=bindparam("name"), entry_id=bindparam("entry"), created_at=bindparam("at"))
)
_BY_UUID = Statement(select(*COLUMNS).where(entry.c.uuid == bindparam("uuid")))
_FORGET_NAME = Statement(update(entry).where(entry.c.id == bindparam("entry")).values(name=entry.c.uuid))
_NAME = Statement(select(entry.c.name).where(entry.c.uuid == bindparam("uuid")))
_LIMIT = Statement(
    update(entry)
    .where(entry.c.id == bindparam("entry"))
    .values(plan=bindparam("plan"), parallel=bindparam("parallel"), limit_bytes=bindparam("limit_bytes"))
)
_STATE = Statement(update(entry).where(entry.c.id == bindparam("entry")).values(state=bindparam("state")))
_LEAVE = Statement(
    update(entry)
    .where(entry.c.id == bindparam("entry"), entry.c.deleted_at.is_(None))
    .values(deleted_at=bindparam("at"))
)
_HELD = Statement(select(registry.c.used, registry.c.trash))
_wanted = bindparam("limit_bytes", type_=BIG)
_LIMIT_CONTENT = Statement(
    update(registry)
    .where(
        or_(
            _wanted < 0,
            registry.c.used <= _wanted,
            # A larger limit than today's refuses nobody anything, whatever is stored.
            and_(registry.c.limit_bytes >= 0, registry.c.limit_bytes <= _wanted),
        )
    )
    .values(limit_bytes=_wanted, trash_window=bindparam("trash"), backup_window=bindparam("backup"))
)
_ROW = Statement(select(registry.c.clock))
_ADD_ROW = Statement(
    insert(registry)
    .values(
        clock=bindparam("at"),
        limit_bytes=bindparam("limit_bytes"),
        lease=DAY,
        trash_window=bindparam("trash"),
        backup_window=bindparam("backup"),
        creates_projects=bindparam("creates"),
    )
    .on_conflict_do_nothing()
)


class NoPortFree(Unavailable):
    """A further registry has no port to listen on, until the operator gives registries host names."""

    summary = "no port is free for a further registry: its operator has to give registries names of their own"


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A registry that is there; ``password`` is its administrator's, if one was made just now."""

    entry: Entry
    password: str | None


def check_name(name: str) -> None:
    """Raise NameInvalid for what no registry may be called."""
    if not _REGISTRY_NAME.fullmatch(name):
        message = (
            f"a registry cannot be called {name[:80]!r}: its name has 1 to 64 letters, digits, spaces, dots, dashes and"
            " underscores, and begins and ends with a letter or a digit"
        )
        raise NameInvalid(message, name=name[:80])


def _any_port(_: int) -> bool:
    return True


def _next_port(after: int, is_free: Callable[[int], bool]) -> int:
    for port in range(after + 1, 1 << 16):
        if is_free(port):
            return port
    raise NoPortFree(
        f"no port from {after + 1} to 65535 is free for a further registry; give it a name: MOORAGE_DOMAIN"
    )


async def listed(cell: Reader) -> list[Entry]:
    """List the registries of a cell in the order they came."""
    return [Entry(*row) for row in await cell.all(_ALL)]


async def every(cell: Reader) -> list[Entry]:
    """List the registries of a cell and those that have left it: their rows may still be there."""
    return [Entry(*row) for row in await cell.all(_EVERY)]


async def place(
    cell: Database,
    name: str,
    plan: Plan,
    *,
    first_port: int,
    zone: str = "",
    new_id: Callable[[], uuid.UUID] = uuid.uuid4,
    state: str = READY,
    is_free: Callable[[int], bool] = _any_port,
) -> Entry:
    """Give a name its place in the directory, if it has none yet; only what is READY there serves anybody.

    With a *zone* (``region.domain``) every registry has a host name in it, and all share one port. Without one, the
    first registry has the plane's own port and each further one the next that *is_free*; raises Unavailable if none is.
    """
    known = await cell.one(_FIND, name=name)
    if known is not None:
        await _name(cell, Entry(*known), zone)
        return Entry(*known)

    async def work(tx: Tx) -> None:
        if await tx.one(_FIND, name=name) is not None:
            # Another was at it, too, and came first.
            return
        others = await tx.one(_ANY)
        last = (await tx.one(_LAST_PORT)).port
        id_ = str(new_id())
        # A host name begins with the first eight figures, and is never another's.
        while await tx.one(_ALIKE, low=_label(id_), high=f"{_label(id_)}~") is not None:
            id_ = str(new_id())
        await tx.run(
            _ADD,
            uuid=id_,
            name=name,
            plan=plan.name,
            state=state,
            prefix=id_,
            port=_next_port(last or first_port, is_free) if others is not None and not zone else None,
            parallel=plan.parallel,
            limit_bytes=plan.limit_bytes,
            first=int(others is None),
            at=cell.now(),
        )
        await tx.touch_access()

    await cell.change(work)
    made = Entry(*await cell.one(_FIND, name=name))
    await _name(cell, made, zone)
    return made


async def note(cell: Database, statement: Statement, **params: object) -> None:
    """Change the directory, and have whoever reads it hear of that: its readers look again only then."""

    async def work(tx: Tx) -> None:
        if await tx.run(statement, **params):
            await tx.touch_access()

    await cell.change(work)


async def find(cell: Database, name: str) -> Entry | None:
    """Find a registry's place by its name in the directory."""
    row = await cell.one(_FIND, name=name)
    return None if row is None else Entry(*row)


async def name_of(cell: Database, entry_uuid: str) -> str | None:
    """Give the name in the directory of an entry."""
    row = await cell.one(_NAME, uuid=entry_uuid)
    return None if row is None else str(row.name)


async def limit(cell: Database, entry_id: int, plan: Plan) -> None:
    """Ensure that the registry plane grants what a plan does: it reads this twice a second."""
    await note(
        cell, _LIMIT, entry=entry_id, plan=plan.name, parallel=plan.parallel, limit_bytes=plan.limit_bytes
    )


async def limit_content(db: Database, plan: Plan) -> bool:
    """Ensure a plan's storage and windows in a registry's rows, if what is stored fits or the plan grants more than now."""
    days = plan.trash_days * DAY

    async def work(tx: Tx) -> bool:
        return bool(await tx.run(_LIMIT_CONTENT, limit_bytes=plan.limit_bytes, trash=days, backup=days))

    return await db.change(work)


async def held(db: Database) -> tuple[int, int]:
    """Give the bytes that count against a registry's storage, and those in its trash."""
    row = await db.one(_HELD)
    return int(row.used), int(row.trash)


async def set_state(cell: Database, entry_id: int, state: str) -> None:
    """Ensure that an entry is in a state."""
    await note(cell, _STATE, entry=entry_id, state=state)


async def leave(cell: Database, entry_id: int) -> None:
    """Take an entry out of the directory. Its row stays, so that neither port, host name nor prefix is another's."""
    await note(cell, _LEAVE, entry=entry_id, at=cell.now())


async def ever_placed(cell: Database, entry_uuid: str) -> Entry | None:
    """Find an entry, though it has left the directory."""
    row = await cell.one(_BY_UUID, uuid=entry_uuid)
    return None if row is None else Entry(*row)


async def forget_name(cell: Database, entry_id: int) -> None:
    """Call an entry by its id, whatever people called it."""
    await note(cell, _FORGET_NAME, entry=entry_id)


async def reach_all(cell: Database, *, first_port: int, zone: str) -> None:
    """Let every registry be reached as the settings have it now: by a host name, or by a port of its own."""
    named = {row.name for row in await cell.all(_NAMED)}
    for found in await listed(cell):
        if zone and host_name(found, zone) not in named:
            await _name(cell, found, zone)
        elif not zone and not found.first and found.port is None:
            await note(cell, _SET_PORT, entry=found.id, first_port=first_port)


def host_name(found: Entry, zone: str) -> str:
    """Give a registry's host name in a zone; it is never another's."""
    return f"{_label(found.uuid)}.{zone}"


def _label(id_: str) -> str:
    return id_.partition("-")[0]


async def _name(cell: Database, found: Entry, zone: str) -> None:
    name = host_name(found, zone)
    if not zone or await cell.one(_HOST, name=name) is not None:
        return

    async def work(tx: Tx) -> None:
        if await tx.one(_HOST, name=name) is None:
            await tx.run(_ADD_HOST, name=name, entry=found.id, at=cell.now())
            await tx.touch_access()

    await cell.change(work)


async def ensure_content(
    db: Database, passwords: Passwords, plan: Plan, *, creates_projects: bool, password: str | None = None
) -> str | None:
    """Make a registry's first rows: its own, project ``library`` and the administrator.

    *password* is the administrator's if given, and is shown to nobody; else one is generated the first time, and given.
    """
    if await db.one(_ROW) is None:
        await db.write(
            _ADD_ROW,
            at=db.now(),
            limit_bytes=plan.limit_bytes,
            trash=plan.trash_days * DAY,
            backup=plan.trash_days * DAY,
            creates=int(creates_projects),
        )
    chosen = password or users.generated_password()
    if password:
        users.check_password(password)
    hashed = await passwords.hash(chosen)

    async def work(tx: Tx) -> bool:
        if await projects.find(tx, LIBRARY) is None and await old_names.project_of(tx, LIBRARY) is None:
            await projects.create(tx, LIBRARY)
        try:
            await users.create(tx, name=ADMINISTRATOR, password=hashed, admin=True)
        except users.UserExists:
            return False
        return True

    made = await db.change(work)
    return chosen if made and not password else None


async def give_password(db: Database, passwords: Passwords) -> str:
    """Give a new registry's administrator a password that somebody is told, in place of the one that nobody was."""
    chosen = users.generated_password()
    hashed = await passwords.hash(chosen)

    async def work(tx: Tx) -> None:
        await users.set_password(tx, await users.find(tx, ADMINISTRATOR), hashed)

    await db.change(work)
    return chosen
