"""The registry's LDAP directory, as administrators see it: whether it answers, who is in it, and who is brought from there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from moorage.api.harbor import answers
from moorage.api.harbor.problems import BadRequest, NotFound
from moorage.identity import groups, ldap_settings, users
from moorage.identity.ldap import DirectoryWrong, NoDirectory
from moorage.identity.ldap_settings import Directory
from moorage.registry.events import record

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx
    from moorage.identity.ldap import Group, Ldap

MOST: Final = 100
"""So many are brought at once: for each the directory is asked."""


class Tried(msgspec.Struct):
    """A directory to be tried; what is left out is as it is set."""

    ldap_url: str = ""
    ldap_search_dn: str = ""
    ldap_search_password: str = ""
    ldap_base_dn: str = ""
    ldap_filter: str = ""
    ldap_uid: str = ""
    ldap_scope: int | None = None
    ldap_connection_timeout: int | None = None
    ldap_verify_cert: bool | None = None


class Brought(msgspec.Struct):
    """Who is to have an account."""

    ldap_uid_list: list[str] = []


@dataclass(frozen=True, slots=True)
class LdapDirectory:
    """Answers what is asked about the directory."""

    def answers(self) -> Answers:
        """Say who answers each operation."""
        return {
            "pingLdap": self.ping,
            "searchLdapUser": self.users,
            "importLdapUser": self.bring,
            "searchLdapGroup": self.groups,
        }

    async def ping(self, ask: Ask) -> Answer:
        """Try a directory, and say what is wrong with it."""
        given = ask.read(Tried) if ask.body else Tried()
        kept = await ask.access.ldap.configured() or Directory()
        try:
            await ask.access.ldap.ping(_tried(given, kept))
        except (DirectoryWrong, NoDirectory) as problem:
            return answers.given({"success": False, "message": f"error: {problem}"})
        return answers.given({"success": True})

    async def users(self, ask: Ask) -> Answer:
        """Give who has a name in the directory, or the first of all."""
        found = await ask.access.ldap.people(ask.text("username") or "")
        shown = [{"username": one.name, "realname": one.realname, "email": one.email} for one in found]
        return answers.given(shown)

    async def bring(self, ask: Ask) -> Answer:
        """Make accounts of some who are in the directory, and tell of whom none was made."""
        names = ask.read(Brought).ldap_uid_list
        if len(names) > MOST:
            raise BadRequest(f"ldap_uid_list has at most {MOST} names, not {len(names)}")
        failed = [{"uid": name, "error": why} for name in names if (why := await _brought(ask, name))]
        if failed:
            return answers.given(failed, status=404)
        return answers.done()

    async def groups(self, ask: Ask) -> Answer:
        """Give the groups of a name in the directory, or the one that is called so there."""
        name, dn = ask.text("groupname") or "", ask.text("groupdn") or ""
        found = await ask.access.ldap.groups(name=name, dn=dn)
        if not found:
            raise NotFound(f"group name:{name}, group DN:{dn}")
        shown = [
            {"group_name": one.name, "group_type": groups.TYPES[groups.LDAP], "ldap_group_dn": one.dn}
            for one in found
        ]
        return answers.given(shown)


async def group_of(ldap: Ldap, dn: str) -> Group:
    """Find a group in the directory, or raise BadRequest or DirectoryWrong."""
    try:
        found = await ldap.groups(dn=dn)
    except NoDirectory as problem:
        raise BadRequest(f"LDAP Group DN is not found: DN:{dn} ({problem})") from None
    if not found:
        raise BadRequest(f"LDAP Group DN is not found: DN:{dn}")
    return found[0]


async def _brought(ask: Ask, name: str) -> str:
    """Make somebody's account, and tell why not, as Harbor words it; empty: it is there."""
    if not name:
        return "empty_uid"
    try:
        found = await ask.access.ldap.people(name)
    except DirectoryWrong:
        return "failed_search_user"
    if len(found) != 1:
        return "unknown_user"

    async def told(tx: Tx, number: int) -> None:
        await record(tx, "user.create", ask.origin, name=found[0].name, user=number, target=found[0].name)

    try:
        await ask.access.ldap.bring(found[0], told)
    except (users.UserExists, users.UserNameInvalid) as problem:
        return f"failed to import user: {name} ({problem})"
    return ""


def _tried(given: Tried, kept: Directory) -> Directory:
    """Put together what is tried. A password that is kept goes only where it is kept for."""
    url, reader = given.ldap_url or kept.url, given.ldap_search_dn or kept.search_dn
    where = ldap_settings.place(url)
    if where is None:
        raise BadRequest(
            "ldap_url is ldaps://, ldap+starttls:// or ldap:// and a host, with a port or without"
        )
    home = where == ldap_settings.place(kept.url) and reader == kept.search_dn
    password = given.ldap_search_password or (kept.search_password if home else "")
    seconds = given.ldap_connection_timeout or kept.timeout
    return replace(
        kept,
        url=url,
        search_dn=reader,
        search_password=password,
        base_dn=given.ldap_base_dn or kept.base_dn,
        timeout=max(1, min(seconds, ldap_settings.MOST_SECONDS)),
        verify_cert=kept.verify_cert if given.ldap_verify_cert is None else given.ldap_verify_cert,
    )
