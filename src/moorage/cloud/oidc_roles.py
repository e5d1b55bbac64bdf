"""Roles that follow from groups at an account's OpenID provider, each time that somebody signs in by it.

A role that follows from a group is taken away with the group. One that a person has given is never touched: neither taken away
nor put in the place of another, whatever groups there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from sqlalchemy import bindparam, delete, select

from moorage.cloud import cloud_projects, members
from moorage.cloud.cloud_projects import CloudProject
from moorage.cloud.events import Origin
from moorage.cloud.members import Role
from moorage.cloud.oidc_providers import Provider, RoleOfGroup
from moorage.db import Statement, Tx, insert
from moorage.db.platform_sign_in import oidc_role

STRENGTH: Final = (Role.BILLING, Role.READER, Role.REGISTRIES, Role.ADMINISTRATOR)
"""What a group may give, the least first. Nobody becomes an owner by another's word: owners give rights."""

_GIVEN = Statement(select(oidc_role).where(oidc_role.c.login_id == bindparam("login")))
_put = insert(oidc_role).values(
    login_id=bindparam("login"), cloud_project_id=bindparam("cloud_project"), role=bindparam("role")
)
_NOTE = Statement(
    _put.on_conflict_do_update(
        index_elements=[oidc_role.c.login_id, oidc_role.c.cloud_project_id],
        set_={"role": _put.excluded.role},
    )
)
_FORGET = Statement(
    delete(oidc_role).where(
        oidc_role.c.login_id == bindparam("login"), oidc_role.c.cloud_project_id == bindparam("cloud_project")
    )
)


def wanted(roles: Iterable[RoleOfGroup], groups: Collection[str]) -> dict[str, Role]:
    """Say which role somebody in these groups has in each cloud project: of several, the one that may most."""
    found: dict[str, Role] = {}
    for one in roles:
        if one.group in groups:
            role = Role(one.role)
            found[one.cloud_project] = max(role, found.get(one.cloud_project, role), key=STRENGTH.index)
    return found


async def follow(tx: Tx, provider: Provider, login: str, groups: Collection[str], origin: Origin) -> None:
    """Give a user the roles that follow from these groups, and take those away that followed from others."""
    has = {row.cloud_project_id: Role(row.role) for row in await tx.all(_GIVEN, login=login)}
    due = wanted(provider.terms.roles, groups)
    for id_ in sorted(has.keys() | due.keys()):
        home = await cloud_projects.find(tx, id_, login)
        if home is None or home.account_id != provider.account_id:
            await tx.run(_FORGET, login=login, cloud_project=id_)
        else:
            await _settle(tx, home, login, has, due, origin)


async def _settle(
    tx: Tx, home: CloudProject, login: str, has: Mapping[str, Role], due: Mapping[str, Role], origin: Origin
) -> None:
    given, role = has.get(home.id), due.get(home.id)
    if home.role is not None and home.role != given:
        # Somebody has given this one: it is theirs to take away.
        await tx.run(_FORGET, login=login, cloud_project=home.id)
    elif role is None:
        await tx.run(_FORGET, login=login, cloud_project=home.id)
        if home.role is not None:
            await members.remove(tx, home, login, origin)
    elif home.role != role:
        await members.join(tx, home, login, role, origin)
        await tx.run(_NOTE, login=login, cloud_project=home.id, role=role.value)
