"""The LDAP directory of a registry, as its configuration keeps it: by the names that Harbor gives it, its password wrapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final

from moorage.identity import configuration
from moorage.outbound import ldap_filters, ldap_names
from moorage.outbound.ldap import SUBTREE, Server, check_trusted

if TYPE_CHECKING:
    from moorage.db import Reader
    from moorage.identity.configuration import Value
    from moorage.identity.keys import MasterKey

PREFIX: Final = "ldap_"
URL, BASE, UID = "ldap_url", "ldap_base_dn", "ldap_uid"
SECRET: Final = "ldap_search_password"  # noqa: S105 - what it is called.
SECONDS: Final = 5
MOST_SECONDS: Final = 30
_YES: Final = "true"


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory, and where in it people and groups are. Its fields are Harbor's keys."""

    url: str = ""
    search_dn: str = ""
    search_password: str = field(default="", repr=False)
    base_dn: str = ""
    filter: str = ""
    uid: str = "cn"
    scope: int = SUBTREE
    timeout: int = SECONDS
    verify_cert: bool = True
    ca_certificates: str = ""
    group_base_dn: str = ""
    group_search_filter: str = ""
    group_attribute_name: str = ""
    group_search_scope: int = SUBTREE
    group_admin_dn: str = ""
    group_membership_attribute: str = "memberof"

    @property
    def server(self) -> Server:
        """Say where it is; raise ValueError."""
        return Server.of(self.url, verified=self.verify_cert, trusted=self.ca_certificates)

    @property
    def issuer(self) -> str:
        """Name the directory, as those who come from it are kept: by the end of its names, wherever it runs."""
        return issuer(self.base_dn)

    @property
    def group_base(self) -> str:
        """Say below which name groups are."""
        return self.group_base_dn or self.base_dn

    @property
    def admin_group(self) -> str:
        """Give the administrators' group, as names are compared; empty: there is none."""
        return ldap_names.normal(self.group_admin_dn)

    def people(self, *conditions: bytes) -> bytes:
        """Give the condition for people; raise ValueError."""
        return _together(self.filter, *conditions)

    def groups(self, *conditions: bytes) -> bytes:
        """Give the condition for groups; raise ValueError."""
        return _together(self.group_search_filter, *conditions)


NAMES: Final = tuple(f"{PREFIX}{one.name}" for one in fields(Directory))


async def read(reader: Reader, master: MasterKey, registry: str) -> Directory | None:
    """Give the directory that a registry has, if it has one, whether or not people sign in by it."""
    rows = await configuration.get(reader, *NAMES)
    if URL not in rows or not rows[URL].text:
        return None
    given = {one.name: _value(rows[f"{PREFIX}{one.name}"], one.default) for one in fields(Directory)
             if f"{PREFIX}{one.name}" in rows and f"{PREFIX}{one.name}" != SECRET}  # fmt: skip
    if SECRET in rows:
        given["search_password"] = configuration.opened(rows[SECRET], master, registry, SECRET)
    return Directory(**given)  # type: ignore[arg-type]


def issuer(base: str) -> str:
    """Name the directory whose people are below a name."""
    return f"ldap:{ldap_names.root(base)}"


def is_url(text: str) -> bool:
    """Say whether this can be a directory's address, or is none."""
    return not text or _holds(Server.of, text)


def is_name(text: str) -> bool:
    """Say whether this is a distinguished name, or none."""
    return _holds(ldap_names.parts, text)


def is_filter(text: str) -> bool:
    """Say whether this is a filter, or none."""
    return not text.strip() or _holds(ldap_filters.read, text)


def is_attribute(text: str) -> bool:
    """Say whether this is an attribute's name."""
    return ldap_filters.is_attribute(text)


def is_attribute_or_none(text: str) -> bool:
    """Say whether this is an attribute's name, or none."""
    return not text or ldap_filters.is_attribute(text)


def are_certificates(text: str) -> bool:
    """Say whether these are certificates, or none."""
    return not text or _holds(check_trusted, text)


def place(url: str) -> tuple[str, str, int] | None:
    """Say what a directory's address leads to; None: to nothing."""
    if not url or not is_url(url):
        return None
    server = Server.of(url)
    return server.scheme, server.host, server.port


def missing(settings: Mapping[str, object]) -> str:
    """Name what has to be set before people can sign in; empty: it is all there."""
    return next((name for name in (URL, BASE) if not settings[name]), "")


def _holds(read_: object, text: str) -> bool:
    assert callable(read_)
    try:
        read_(text)
    except ValueError:
        return False
    return True


def _together(text: str, *conditions: bytes) -> bytes:
    written = [ldap_filters.read(text)] if text.strip() else []
    return ldap_filters.every(*written, *conditions)


def _value(row: Value, default: object) -> object:
    if isinstance(default, bool):
        return row.text == _YES
    return int(row.text) if isinstance(default, int) else row.text
