"""Accounts, and the first of them: who starts Moorage owns it, a cloud project in it, and the first registry there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select, update

from moorage import __version__
from moorage.cloud import cloud_projects, events, members, spans
from moorage.cloud.catalogue import Plan, Region
from moorage.cloud.events import SYSTEM
from moorage.cloud.members import Role
from moorage.cloud.provisioning import ADMINISTRATOR
from moorage.db import Reader, Statement, Tx, insert
from moorage.db.platform import account, cloud_member, cloud_project, cloud_registry, login
from moorage.db.tables import user
from moorage.registry import directory
from moorage.registry.directory import Entry

FIRST: Final = "first"
CURRENCY: Final = "EUR"

_FIND = Statement(
    select(account.c.id, login.c.id.label("login_id"), cloud_project.c.id.label("cloud_project_id"))
    .join_from(account, login, login.c.account_id == account.c.id)
    .join(cloud_member, cloud_member.c.login_id == login.c.id)
    .join(cloud_project, cloud_project.c.id == cloud_member.c.cloud_project_id)
    .where(account.c.name == bindparam("name"), cloud_member.c.role == Role.OWNER.value)
    .order_by(login.c.created_at, cloud_project.c.created_at)
)
_ADD = Statement(
    insert(account).values(
        id=bindparam("id"),
        name=bindparam("name"),
        currency=bindparam("currency"),
        state="ACTIVE",
        created_at=bindparam("at"),
    )
)
_ADD_LOGIN = Statement(
    insert(login).values(
        id=bindparam("id"),
        account_id=bindparam("account"),
        name=bindparam("name"),
        email=bindparam("email"),
        password=bindparam("password"),
        disabled=0,
        admin=1,
        valid_from=bindparam("at"),
        created_at=bindparam("at"),
    )
)
_GET = Statement(
    select(account.c.id, account.c.name, account.c.currency).where(account.c.id == bindparam("id"))
)
_HELD = Statement(select(cloud_registry.c.id).where(cloud_registry.c.entry_uuid == bindparam("entry")))
_ALL_HELD = Statement(
    select(cloud_registry.c.entry_uuid.label("entry")).where(cloud_registry.c.entry_uuid.is_not(None))
)
_GIVE_PASSWORD = Statement(
    update(login)
    .where(login.c.id == bindparam("which"), login.c.password == "")
    .values(password=bindparam("hashed"))
)
_HOLD = Statement(
    insert(cloud_registry).values(
        id=bindparam("id"),
        cloud_project_id=bindparam("cloud_project"),
        name=bindparam("name"),
        region=bindparam("region"),
        plan=bindparam("plan"),
        wanted=bindparam("status"),
        status=bindparam("status"),
        suspension=bindparam("what"),
        suspended_for=bindparam("reason"),
        version=__version__,
        entry_uuid=bindparam("entry"),
        url=bindparam("url"),
        created_at=bindparam("at"),
        delivered_at=bindparam("at"),
        updated_at=bindparam("at"),
    )
)
_PASSWORD = Statement(
    select(user.c.password).where(user.c.name == ADMINISTRATOR, user.c.deleted_at.is_(None))
)


@dataclass(frozen=True, slots=True)
class First:
    """The first account, its user, and their cloud project."""

    account_id: str
    login_id: str
    cloud_project_id: str


@dataclass(frozen=True, slots=True)
class Account:
    """An account: who pays, and in what."""

    id: str
    name: str
    currency: str


async def get(reader: Reader, id_: str) -> Account:
    """Give the account of somebody who was identified just now."""
    return Account(*await reader.one(_GET, id=id_))


async def administrators_password(registry: Reader) -> str:
    """Give the hash of a registry's administrator's password; empty where there is none, and then nobody can sign in by one."""
    row = await registry.one(_PASSWORD)
    return "" if row is None or row.password is None else str(row.password)


async def first(reader: Reader) -> First | None:
    """Give the first account, if it was made."""
    row = await reader.one(_FIND, name=FIRST)
    return None if row is None else First(*row)


async def ensure_first(tx: Tx, *, password: str) -> First:
    """Ensure the first account, with a user `admin` and a cloud project.

    *password* is the hash of the first registry's administrator's, so the one that was shown opens both; without one
    nobody signs in until `give_password`.
    """
    found = await first(tx)
    if found is None:
        made = First(str(uuid.uuid4()), str(uuid.uuid4()), "")
        await tx.run(_ADD, id=made.account_id, name=FIRST, currency=CURRENCY, at=tx.at)
        await tx.run(
            _ADD_LOGIN, id=made.login_id, account=made.account_id, name=ADMINISTRATOR, email="", password=password,
            at=tx.at,
        )  # fmt: skip
        project = await cloud_projects.create(tx, made.account_id, "The first cloud project")
        await members.put(tx, project, made.login_id, Role.OWNER)
        found = First(made.account_id, made.login_id, project)
        await events.record(
            tx,
            "account.created",
            SYSTEM,
            target=found.account_id,
            account=found.account_id,
            cloud_project=project,
        )
    return found


async def give_password(tx: Tx, who: str, hashed: str) -> None:
    """Let a user who has no password yet sign in by this one."""
    await tx.run(_GIVE_PASSWORD, which=who, hashed=hashed)


async def held(reader: Reader) -> set[str]:
    """Give the entries of the cell's directory that have a row on the platform."""
    return {str(row.entry) for row in await reader.all(_ALL_HELD)}


async def take_in(tx: Tx, home: First, entry: Entry, *, url: str, region: Region, plan: Plan) -> None:
    """Ensure that a registry which was made without an order has a row, in the first account, as it is."""
    if await tx.one(_HELD, entry=entry.uuid) is None:
        id_ = str(uuid.uuid4())
        stopped = entry.suspension
        await tx.run(
            _HOLD, id=id_, cloud_project=home.cloud_project_id, name=entry.name, region=region.name, plan=plan.id,
            entry=entry.uuid, url=url, at=tx.at, status=directory.READY if stopped is None else directory.SUSPENDED,
            what="" if stopped is None else str(stopped.what), reason="" if stopped is None else stopped.reason,
        )  # fmt: skip
        await spans.follow(tx, "registry.taken-in", id_, {"plan": plan.id})
        await events.record(
            tx, "registry.taken-in", SYSTEM, target=id_, account=home.account_id,
            cloud_project=home.cloud_project_id, name=entry.name,
        )  # fmt: skip
