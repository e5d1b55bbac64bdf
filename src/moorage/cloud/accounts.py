"""Accounts, and the first of them: who starts Moorage owns it, a cloud project in it, and the first registry there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select

from moorage import __version__
from moorage.cloud import cloud_projects, events, members, spans
from moorage.cloud.catalogue import Plan, Region
from moorage.cloud.events import SYSTEM
from moorage.cloud.members import Role
from moorage.cloud.provisioning import ADMINISTRATOR
from moorage.db import Reader, Statement, Tx, insert
from moorage.db.platform import account, cloud_member, cloud_project, cloud_registry, login
from moorage.db.tables import user
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
_HOLD = Statement(
    insert(cloud_registry).values(
        id=bindparam("id"),
        cloud_project_id=bindparam("cloud_project"),
        name=bindparam("name"),
        region=bindparam("region"),
        plan=bindparam("plan"),
        wanted="READY",
        status="READY",
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


async def first_account(
    tx: Tx, *, password: str, entry: Entry, url: str, region: Region, plan: Plan
) -> First:
    """Ensure the first account, with a user `admin`, a cloud project, and the cell's first registry in that.

    *password* is the hash of the first registry's administrator's, so the one that was shown opens both.
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
    if await tx.one(_HELD, entry=entry.uuid) is None:
        id_ = str(uuid.uuid4())
        await tx.run(
            _HOLD, id=id_, cloud_project=found.cloud_project_id, name=entry.name, region=region.name, plan=plan.id,
            entry=entry.uuid, url=url, at=tx.at,
        )  # fmt: skip
        await spans.follow(tx, "registry.taken-in", id_, {"plan": plan.id})
        await events.record(
            tx, "registry.taken-in", SYSTEM, target=id_, account=found.account_id,
            cloud_project=found.cloud_project_id, name=entry.name,
        )  # fmt: skip
    return found
