"""The cell's directory, as the registry plane reads it: which registry a host name and port mean.

The last known answer is kept, so pulls go on when the cell's database cannot be asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, KeysView, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import select

from moorage.db import Database, Failed, Statement
from moorage.db.cell import address_rules, entry, host
from moorage.errors import Problem, Unavailable
from moorage.oci.errors import Denied
from moorage.registry.address_rules import AddressRules, are_kept

READY = "READY"
SUSPENDED = "SUSPENDED"
DELETED = "DELETED"
FRESH = 0.5
# How far apart, in seconds, the directory is read again for those whom it would have refused: whatever they ask for.
PACE = 0.05
# Of many registries it takes a while to read: reading for such has so small a part of the time, and whom it knows the rest.
PART = 10
# How many seconds a directory that nobody says has changed is believed: who writes it with the release before says nothing.
UNTOLD = 10.0
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

COLUMNS = (
    entry.c.id,
    entry.c.uuid,
    entry.c.name,
    entry.c.plan,
    entry.c.state,
    entry.c.generation,
    entry.c.prefix,
    entry.c.port,
    entry.c.parallel,
    entry.c.limit_bytes,
    entry.c.first,
)
_ENTRIES = Statement(select(*COLUMNS).where(entry.c.deleted_at.is_(None)))
_HOSTS = Statement(select(host.c.name, host.c.entry_id))
_RULES = Statement(
    select(address_rules.c.entry_id, address_rules.c.registry, address_rules.c.management, address_rules.c.at)
)


class RegistryUnknown(Problem):
    """No registry of this cell has that host name or port."""

    code, status, summary = "MISDIRECTED", 421, "no registry has this host name here"


@dataclass(frozen=True, slots=True)
class Entry:
    """A registry of this cell; ``parallel`` is its plan's requests at once, 0 for no limit. Fields as in COLUMNS, and *rules*.

    From which addresses it may be used is known to the directory alone: the same object until that changes.
    """

    id: int
    uuid: str
    name: str
    plan: str
    state: str
    generation: int
    prefix: str
    port: int | None
    parallel: int
    limit_bytes: int
    first: int
    rules: AddressRules | None = field(default=None, compare=False)

    @property
    def suspension(self) -> Suspension | None:
        """Tell what of it is suspended."""
        return Suspension.read(self.state)

    @property
    def is_served(self) -> bool:
        """Say whether it answers anybody: one whose pushes alone are suspended does."""
        if self.state == READY:
            return True
        suspension = self.suspension
        return suspension is not None and suspension.what is What.PUSHES


class What(StrEnum):
    """What a suspension stops."""

    PULLS = "pulls"
    """Everything: pulls, pushes, tokens and pages."""
    PUSHES = "pushes"
    """Every change under /v2; pulls go on."""


@dataclass(frozen=True, slots=True)
class Suspension:
    """What the provider has stopped, and why. It stands in an entry's state, so it holds though the platform is away."""

    what: What
    reason: str

    @classmethod
    def read(cls, state: str) -> Suspension | None:
        """Read an entry's state."""
        word, _, rest = state.partition(" ")
        what, _, reason = rest.partition(" ")
        return cls(What(what), reason) if word == SUSPENDED and what in set(What) else None

    def __str__(self) -> str:
        """Write it as an entry's state."""
        return f"{SUSPENDED} {self.what} {self.reason}"

    @property
    def problem(self) -> Denied:
        """Give what is answered to whoever asks for what is stopped."""
        stopped = "pushes" if self.what is What.PUSHES else "pulls and pushes"
        return Denied(
            f"the provider has suspended {stopped} of this registry: {self.reason}", rule="suspended"
        )


@dataclass(frozen=True, slots=True)
class _Seen:
    entries: Mapping[int, Entry] = field(default_factory=dict)
    ports: Mapping[int, Entry] = field(default_factory=dict)
    hosts: Mapping[str, Entry] = field(default_factory=dict)
    rules: Mapping[int, tuple[int, AddressRules | None]] = field(default_factory=dict)


@dataclass(slots=True)
class Directory:
    """Who is at home in this cell. *main_port* is the first registry's; *names* are further names of this machine."""

    cell: Database
    main_port: int
    names: frozenset[str] = frozenset()
    any_address: bool = False
    clock: Callable[[], float] = time.monotonic
    _seen: _Seen = field(default_factory=_Seen)
    _asked: float = float("-inf")
    # How often it was asked, and which of these questions was answered last.
    _questions: int = 0
    _answered: int = 0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    # Whether the cell's schema has address rules: once it has, it never again has none.
    _has_rules: bool = False
    # As of which state of the cell it was read, and when.
    _version: int | None = None
    _read_at: float = float("-inf")
    # How long it took to read it last.
    _took: float = 0.0

    async def find(self, authority: str, port: int) -> Entry:
        """Give the registry that a Host header means on a local port, or raise RegistryUnknown, or Denied for a deleted one."""
        asked = self._questions
        # Before the first answer every request waits for one: another's question may still be on its way.
        if not self._seen.entries or self.clock() - self._asked > FRESH:
            await self.look()
        found = self._find(authority, port)
        if found is None or not found.is_served:
            # Another process may have said that it is ready: that holds here too, from that moment on.
            await self._ask_after(asked)
            found = self._find(authority, port)
        if found is not None and not found.is_served:
            raise _not_serving(found)
        if found is None:
            message = (
                f"no registry is called {authority[:255]} here: use an address that `moorage registry list` shows, or have"
                " its operator add this one to MOORAGE_NAMES"
            )
            raise RegistryUnknown(message, host=authority[:255])
        return found

    def known(self, authority: str, port: int) -> Entry | None:
        """Give the registry that a Host header means, unless the directory has to be read again first."""
        found = None if self.clock() - self._asked > FRESH else self._find(authority, port)
        return found if found is not None and found.state == READY else None

    def _find(self, authority: str, port: int) -> Entry | None:
        name = _host(authority)
        found = self._seen.hosts.get(name)
        if found is None and (
            name in LOOPBACK or name in self.names or (self.any_address and _is_address(name))
        ):
            found = self._seen.ports.get(port)
        return found

    async def _ask_after(self, question: int) -> None:
        """Have an answer to a question later than that one, or what is known if there is none; those who wait share it."""
        async with self._turn:
            if self._answered <= question:
                pace = min(max(PACE, PART * self._took), FRESH)
                await asyncio.sleep(min(pace, self._asked + pace - self.clock()))
                await self.refresh()

    async def look(self) -> None:
        """Read the directory again if it has changed: of however many registries, one that has not costs next to nothing.

        Who changes it says so, and is heard a moment later: who must know what holds this very moment calls `refresh`.
        """
        now = self.clock()
        if now - self._read_at <= UNTOLD and not self._has_changed():
            self._asked = now
        else:
            await self.refresh()

    def _has_changed(self) -> bool:
        try:
            return self._version != self.cell.access_version()
        except (Unavailable, Failed):
            return True

    async def refresh(self) -> None:
        """Read the directory again; if its database is away, go on with what is known."""
        self._asked = self.clock()
        self._questions += 1
        question = self._questions
        try:
            await self._read()
        finally:
            self._answered = max(self._answered, question)
            self._took = self.clock() - self._asked

    async def _read(self) -> None:
        at = self._asked
        try:
            # Asked first: what changes while it is being read is read once more.
            version = self.cell.access_version()
            rows = await self.cell.all(_ENTRIES)
            hosts = await self.cell.all(_HOSTS)
            rules = await self._read_rules()
        except (Unavailable, Failed):
            if not self._seen.entries:
                raise
            return
        entries = {row.id: Entry(*(*row, rules.get(row.id, (0, None))[1])) for row in rows}
        # Registries with a host name of their own share the main port; without names there, it is the first one's.
        ports = {one.port: one for one in entries.values() if one.port}
        ports.update((self.main_port, one) for one in entries.values() if one.first)
        named = {row.name: entries[row.entry_id] for row in hosts if row.entry_id in entries}
        self._seen = _Seen(entries, ports, named, rules)
        self._version, self._read_at = version, at

    async def _read_rules(self) -> Mapping[int, tuple[int, AddressRules | None]]:
        """Read the address rules, each list anew only if it has changed."""
        self._has_rules = self._has_rules or await are_kept(self.cell)
        read: dict[int, tuple[int, AddressRules | None]] = {}
        for row in await self.cell.all(_RULES) if self._has_rules else ():
            before = self._seen.rules.get(row.entry_id)
            if before is None or before[0] != row.at:
                before = row.at, AddressRules.read(row.registry, row.management)
            read[row.entry_id] = before
        return read

    def all(self) -> list[Entry]:
        """List the registries last seen."""
        return list(self._seen.entries.values())

    def ports(self) -> KeysView[int]:
        """Give every port that a registry was last seen to have."""
        return self._seen.ports.keys()

    def __contains__(self, key: object) -> bool:
        """Say whether a registry, its id with its generation, was last seen to be served."""
        assert isinstance(key, tuple)
        found = self._seen.entries.get(key[0])
        return found is not None and found.generation == key[1] and found.is_served


def _not_serving(found: Entry) -> Problem:
    if found.state == DELETED:
        return Denied(
            "this registry was deleted and answers nobody: its owner can take that back while its grace lasts"
        )
    if found.suspension is not None:
        return found.suspension.problem
    return Unavailable("this registry is being made", retry_after=2)


def _host(authority: str) -> str:
    """Take the port off a Host header, and the dot that ends a name which is whole."""
    if authority.startswith("["):
        return authority.partition("]")[0] + "]"
    return authority.partition(":")[0].removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
