"""Where each part answers, as clients write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moorage.options import Listening
    from moorage.registry.directory import Entry

# Listening on any of these, this machine finds us as localhost.
LOCAL = frozenset({"127.0.0.1", "::1", "localhost", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of one cell's parts."""

    place: Listening

    @property
    def here(self) -> str:
        """Give the first registry's address on this machine."""
        return f"{_name(self.place.host)}:{self.place.registry_port}"

    @property
    def console(self) -> str:
        """Give the console's URL on this machine."""
        return f"{self.scheme}://{_name(self.place.host)}:{self.place.console_port}"

    @property
    def ops(self) -> str:
        """Give the URL of the operator's port on this machine."""
        return f"http://{_name(self.place.ops_host)}:{self.place.ops_port}"

    @property
    def scheme(self) -> str:
        """Give the scheme that this machine speaks."""
        return "https" if self.place.tls else "http"

    def first(self, host: str) -> str:
        """Give the first registry's address; *host* is its name in the domain, if it has one."""
        if self.place.names:
            return self.place.names[0]
        return self._in_domain(host) if host else self.here

    def of(self, found: Entry) -> str:
        """Give a registry's address: a name of its own where there is a domain, else a port of its own."""
        # Imported here, since the supervisor, which asks for the first one's only, should not pay for it.
        from moorage.cloud import provisioning  # noqa: PLC0415 - as above.

        host = provisioning.host_name(found, self.place.zone) if self.place.zone else ""
        if found.first:
            return self.first(host)
        return self._in_domain(host) if host else f"{self._machine()}:{found.port}"

    def _in_domain(self, host: str) -> str:
        # Of a proxy's port nobody says anything, since it is the one that clients need not name.
        return host if self.place.trusted_proxies else f"{host}:{self.place.registry_port}"

    def _machine(self) -> str:
        """Give the name of this machine where ports tell registries apart."""
        named = [name.rpartition(":")[0] for name in self.place.names if _has_port(name)]
        return named[0] if named else _name(self.place.host)


def without_port(name: str) -> str:
    """Take the port off a name."""
    return name.rpartition(":")[0] if _has_port(name) else name


def _has_port(name: str) -> bool:
    return ":" in name.rpartition("]")[2]


def _name(host: str) -> str:
    if host in LOCAL:
        return "localhost"
    return f"[{host}]" if ":" in host else host
