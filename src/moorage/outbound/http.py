"""The one HTTP client for addresses that others name: it asks nobody whom it should not.

A host is resolved once, every address that it has is checked, and the connection goes to an address that was checked. So
no name can be made to mean this machine, its network or a cloud's metadata between the check and the call. There are no
redirects, an answer is read to a few bytes, and the whole has one deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from typing_extensions import override

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

LONGEST_URL: Final = 2048
SECONDS: Final = 15.0
"""For the whole call."""
READ: Final = 4096

_PORTS: Final = {"http": 80, "https": 443}
# They carry an IPv4 address within, which whoever routes them may reach.
_CARRIERS: Final = tuple(
    map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96"))
)


class NotAsked(Exception):  # it is kept beside what was to be sent, and shown
    """The call was refused here, or not answered: the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address to call, taken apart."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> Target:
        """Read a URL; raise ValueError with the rule that it breaks."""
        if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError(f"must have at most {LONGEST_URL} visible ASCII characters")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("must be an http or https address") from None
        if not host or parts.scheme not in _PORTS:
            raise ValueError("must be an http or https address")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise ValueError("must name neither a user nor a fragment")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], path)


@dataclass(frozen=True, slots=True)
class Call:
    """A call, and how many bytes of its answer are read."""

    method: str
    target: Target
    body: bytes | None
    headers: Mapping[str, str]
    read: int


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls addresses that others name; *allowed* are networks that may be called though they are not public."""

    allowed: Sequence[Network] = ()
    seconds: float = SECONDS
    threads: ThreadPoolExecutor | None = None
    """Whoever calls what is slow on purpose has threads apart."""
    verifies: bool = True
    """Whether a certificate has to be the name's, and by an authority that is known."""

    def apart(self, seconds: float, threads: int) -> Caller:
        """Give one that calls the same in threads of its own, and waits no longer than so many seconds."""
        return replace(self, seconds=seconds, threads=ThreadPoolExecutor(threads, "calls"))

    def check(self, url: str) -> None:
        """Raise ValueError for a URL that could never be called, as far as that can be told without asking anybody."""
        target = Target.of(url)
        try:
            found = ip_address(target.host)
        except ValueError:
            # A name: what it means is known when it is called.
            return
        if not self.may(found):
            raise ValueError(f"must not name {found}, which is no public address")

    def may(self, address: Address) -> bool:
        """Say whether an address may be called."""
        address = _unmapped(address)
        if self.is_allowed(address):
            return True
        if isinstance(address, IPv6Address) and (
            address.scope_id is not None or any(address in one for one in _CARRIERS)
        ):
            return False
        return address.is_global and not (
            address.is_multicast or address.is_reserved or address.is_loopback or address.is_link_local
        )

    def is_allowed(self, address: Address) -> bool:
        """Say whether the operator has named an address's network as one that may be called."""
        address = _unmapped(address)
        return any(address.version == one.version and address in one for one in self.allowed)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send a body and give the answer's status, or raise NotAsked."""
        return (await self._ask(Call("POST", Target.of(url), body, headers, READ))).status

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, most: int
    ) -> Answered:
        """Give an answer of at most so many bytes whole, or raise NotAsked."""
        answered = await self._ask(Call(method, Target.of(url), body, headers, most + 1))
        if len(answered.body) > most:
            raise NotAsked(f"{Target.of(url).host} answered with more than {most} bytes")
        return answered

    async def _ask(self, call: Call) -> Answered:
        try:
            async with asyncio.timeout(self.seconds):
                addresses = await self.addresses(call.target.host, call.target.port)
        except TimeoutError:
            raise NotAsked(f"{call.target.host} was not found in time") from None
        try:
            # So long a call itself may take, and wait for a thread (None is the loop's own) while others' are slow.
            async with asyncio.timeout(2 * self.seconds):
                return await asyncio.get_running_loop().run_in_executor(
                    self.threads, self._answer, call, addresses
                )
        except TimeoutError:
            raise NotAsked(f"{call.target.host} was not asked in time: much else is slow just now") from None

    async def addresses(self, host: str, port: int) -> list[str]:
        """Give the addresses of a host, each of which may be called; or raise NotAsked."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            # What no name server may be asked is an error in how it is written.
            raise NotAsked(f"{host} is not found: {error}") from None
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        for address in addresses:
            if not self.may(ip_address(address)):
                raise NotAsked(f"{host} is {address}, which is no public address: it is not called")
        return addresses

    def _answer(self, call: Call, addresses: Sequence[str]) -> Answered:
        target = call.target
        failure = NotAsked(f"{target.host} has no address")
        by = time.monotonic() + self.seconds
        for address in addresses:
            # Who names a host chooses how many addresses it has: all of them have the one deadline.
            left = by - time.monotonic()
            if left <= 0:
                break
            connection = _Pinned(target, address, left, verifies=self.verifies)
            # Whoever sends a byte now and then is cut, too.
            watch = threading.Timer(left, connection.cut)
            watch.daemon = True
            watch.start()
            try:
                connection.connect()
            except (OSError, ValueError) as error:
                failure = NotAsked(f"{target.host} cannot be reached: {error}")
                connection.close()
                continue
            finally:
                if connection.sock is None:
                    watch.cancel()
            try:
                return self._read(connection, call)
            finally:
                watch.cancel()
                connection.close()
        raise failure

    def _read(self, connection: _Pinned, call: Call) -> Answered:
        host = call.target.host
        try:
            connection.request(call.method, call.target.path, call.body, {**call.headers})
            answer = connection.getresponse()
            read = answer.read(call.read)
        except (OSError, http.client.HTTPException) as error:
            raise NotAsked(f"{host} did not answer: {error or type(error).__name__}") from None
        if connection.late:
            raise NotAsked(f"{host} did not answer wholly within {self.seconds:g} s")
        return Answered(answer.status, read)


def _unmapped(address: Address) -> Address:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was checked, by the name that it was asked for."""

    def __init__(self, target: Target, address: str, seconds: float, *, verifies: bool) -> None:
        super().__init__(target.host, target.port, timeout=seconds)
        self._target = target
        self._address = address
        self._verifies = verifies
        self.late = False
        if target.scheme == "https":
            # The port is left out of the Host header where it is the scheme's own.
            self.default_port = _PORTS["https"]

    @override
    def connect(self) -> None:
        """Connect, within TLS for https: the certificate must be the name's, unless whoever named the address does without."""
        made = socket.create_connection((self._address, self._target.port), self.timeout)
        self.sock = made
        if self._target.scheme == "https":
            context = ssl.create_default_context()
            if not self._verifies:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.sock = context.wrap_socket(made, server_hostname=self._target.host)

    def cut(self) -> None:
        """End it from another thread: its time is up."""
        self.late = True
        made = self.sock
        if made is not None:
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
