"""The registry plane, put together: from a host name to the open registry that answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from moorage import pacing
from moorage.addresses import without_port
from moorage.api import tallies, token
from moorage.api.distribution.asks import CONFINED
from moorage.api.distribution.endpoints import Distribution
from moorage.api.front import nothing_here, refuse
from moorage.api.gate import Gate
from moorage.api.harbor.app import HarborApi
from moorage.api.harbor.description import PATH as DESCRIPTION
from moorage.api.http.at_once import Whole
from moorage.cloud import provisioning
from moorage.errors import Unavailable
from moorage.identity.access import Access
from moorage.identity.guesses import Guesses
from moorage.identity.ldap import Ldap
from moorage.identity.oidc_sign_in import Known, SignIns
from moorage.identity.passwords import Passwords
from moorage.outbound import http as outbound
from moorage.outbound import key_sets, oidc
from moorage.registry import events
from moorage.registry import fsck as checks
from moorage.registry.address_rules import AddressRules, Part
from moorage.registry.directory import LOOPBACK, Directory, Entry, Suspension
from moorage.registry.events import Gathered
from moorage.registry.fsck import Report, Told
from moorage.registry.opened import Limits, Registries, Registry
from moorage.registry.pulls import Pulls
from moorage.registry.rates import Rates, unlimited
from moorage.registry.slot_locks import OnThisMachine
from moorage.registry.slots import Leases, Peers, Share, Slots
from moorage.registry.traffic import Meter
from moorage.registry.uploads import Uploads

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from moorage.parts import Parts
    from moorage.registry.leases import Counter
    from moorage.settings import Settings
    from moorage.supervisor import Leash

SECOND = 1_000_000
FOLLOW = 0.5
CLOSING = 1.0
BREATH = 0.02
FIRST = "first"
SERVES = "moorage serve registry"
"""What a process that serves registries is called in PostgreSQL's list of who is connected."""
SEEN = 10.0
"""Seconds in which a house that runs sees a new registry."""
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 compared, not bound


@dataclass(frozen=True, slots=True)
class RegistryApp:
    """Everything that answers for one registry."""

    distribution: Distribution
    token: token.TokenService
    harbor: HarborApi
    rules: AddressRules | None = None
    gate: Gate | None = None
    """Who is let in, where not everybody is."""

    @classmethod
    def of(cls, registry: Registry, rules: AddressRules | None) -> RegistryApp:
        """Answer for *registry*."""
        tokens = token.TokenService(registry.access, registry.gathered, registry.rates, registry.entry.uuid)
        return cls(Distribution.of(registry), tokens, HarborApi.of(registry)).ruled(rules)

    def ruled(self, rules: AddressRules | None) -> RegistryApp:
        """Answer from now on by other address rules."""
        gate = None if rules is None else Gate(rules, self.distribution.registry.gathered)
        return replace(self, rules=rules, gate=gate)

    def at_once(self, scope: Scope) -> Whole | None:
        """Answer what need wait for nothing: all of it is what clients pull."""
        if self.gate is not None and not self.gate.is_open(scope, Part.REGISTRY):
            return None
        return self.distribution.hot.answer(scope)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on by its path, if it may come in."""
        app, part = self._find(scope["path"])
        refusal = None if self.gate is None else self.gate.refuse(scope, part)
        if self.rules is not None and Part.REGISTRY in self.rules.lists:
            scope[CONFINED] = True
        registry = self.distribution.registry
        tally, receive, send = tallies.watched(scope, receive, send)
        with registry.use, tallies.Counted(registry.traffic, scope, tally):
            await (refusal or app)(scope, receive, send)

    def _find(self, path: str) -> tuple[ASGIApp, Part]:
        """Find who answers at a path, and which rules let in there: all that is not named here is management."""
        if path.startswith("/v2/") or path == "/v2":
            return self.distribution, Part.REGISTRY
        if path == token.PATH:
            return self.token, Part.REGISTRY
        if path.startswith(("/api/", "/c/")) or path == DESCRIPTION:
            return self.harbor, Part.MANAGEMENT
        return nothing_here, Part.MANAGEMENT


@dataclass(frozen=True, slots=True)
class Suspended:
    """A registry whose pushes are suspended: it answers all else."""

    app: RegistryApp
    suspension: Suspension

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse every change of what repositories hold, through either of the APIs that reach it, and say why."""
        path = scope["path"]
        holds = path.startswith("/v2") or (path.startswith("/api/") and "/repositories/" in path)
        if scope["method"] in _CHANGES and holds:
            await refuse(scope, self.suspension.problem)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


@dataclass(slots=True)
class RegistryPlane:
    """The registries of this cell, opened as they are asked for."""

    directory: Directory
    registries: Registries
    counter: Counter | None
    meter: Meter
    rates: Rates
    _apps: dict[int, tuple[Registry, RegistryApp]] = field(default_factory=dict)

    @classmethod
    def of(cls, set_: Settings, parts: Parts) -> RegistryPlane:
        """Build it out of its parts."""
        place = set_.listening
        names = frozenset({place.host.lower(), *map(without_port, place.names)} - _EVERYWHERE - LOOPBACK)
        directory = Directory(parts.cell, place.registry_port, names, place.host in _EVERYWHERE)
        counter = _counter(set_, parts)
        meter = Meter(parts.cell)
        paced = pacing.rates(set_, parts, pacing.peers(parts, SERVES), place.workers)
        open_ = opener(set_, parts, meter, counter, paced)
        return cls(directory, Registries(open_, set_.keeping.open_registries), counter, meter, paced)

    def known(self, host: str, port: int) -> RegistryApp | None:
        """Give what answers for a host name on a port, if that need not be asked."""
        entry = self.directory.known(host, port)
        found = None if entry is None else self._apps.get(entry.id)
        if entry is None or found is None or self.registries.opened(entry) is not found[0]:
            return None
        # Whatever read the directory last: no request need come to `find` to learn of another plan.
        found[0].slots.resize(entry.parallel)
        return found[1] if found[1].rules is entry.rules else None

    async def find(self, host: str, port: int) -> ASGIApp:
        """Give what answers for a host name on a port, or raise RegistryUnknown."""
        entry = await self.directory.find(host, port)
        registry = await self.registries.get(entry)
        # A plan may change at any time.
        registry.slots.resize(entry.parallel)
        known = self._apps.get(entry.id)
        if known is None or known[0] is not registry:
            self._forget_closed()
            known = self._apps[entry.id] = registry, RegistryApp.of(registry, entry.rules)
        elif known[1].rules is not entry.rules:
            known = self._apps[entry.id] = registry, known[1].ruled(entry.rules)
        suspension = entry.suspension
        return known[1] if suspension is None else Suspended(known[1], suspension)

    def _forget_closed(self) -> None:
        """Let go of what answered for registries that made room: of however many, those that are open are held."""
        closed = [id_ for id_, (registry, _) in self._apps.items() if not self.registries.holds(registry)]
        for id_ in closed:
            del self._apps[id_]

    async def follow_closing(self) -> None:
        """Let go of registries that are closed, as no request would: their files and bytes are destroyed one day."""
        while True:
            await asyncio.sleep(CLOSING)
            with contextlib.suppress(Unavailable):
                await self.directory.look()
                await self.let_go()

    async def let_go(self) -> None:
        """Cut and close what the directory, as it was read last, says is closed or has left."""
        gone = await self.registries.let_go(self.directory)
        for entry in gone:
            self._apps.pop(entry.id, None)
        if gone:
            # What was counted of one that is destroyed soon comes before that, or it would be all that is left of it.
            await self.meter.write_down()

    async def follow_plans(self) -> None:
        """Let those who wait have what a larger plan grants: no further request may come to find it out."""
        while True:
            await asyncio.sleep(FOLLOW)
            opened = [app.distribution.registry for _, app in self._apps.values()]
            if any(registry.slots.queued for registry in opened):
                with contextlib.suppress(Unavailable):
                    await self.directory.look()
                entries = {entry.id: entry for entry in self.directory.all()}
                for registry in opened:
                    entry = entries.get(registry.entry.id)
                    if entry is not None and registry.slots.queued:
                        registry.slots.resize(entry.parallel)

    async def close(self) -> None:
        """Close every registry, write down what was counted, and give back what this process counted elsewhere."""
        await self.registries.close()
        await self.meter.write_down()
        await self.rates.close()
        if self.counter is not None:
            await self.counter.close()

    async def open_ports(self, leash: Leash) -> None:
        """Ask for the port of each further registry, as it comes: without a domain each has its own."""
        asked: set[int] = {self.directory.main_port}
        while True:
            with contextlib.suppress(Unavailable):
                await self.directory.look()
            for port in self.directory.ports() - asked:
                if not leash.ask("registry", port):
                    # The supervisor has not read what it was asked so far: a thousand ports are asked for in pieces.
                    break
                asked.add(port)
            await asyncio.sleep(1 if self.directory.ports() <= asked else BREATH)


def _counter(set_: Settings, parts: Parts) -> Counter | None:
    if not set_.keeping.redis_url:
        return None
    # Imported here, since who has no such server should not pay for its client's memory.
    from moorage.registry.leases import Counter  # noqa: PLC0415

    return Counter.at(set_.keeping.redis_url, set_.listening.workers, pacing.peers(parts, SERVES))


def opener(
    set_: Settings, parts: Parts, meter: Meter, counter: Counter | None = None, rates: Rates | None = None
) -> Callable[[Entry], Awaitable[Registry]]:
    """Give what opens a registry: its rows, its bytes, and who may do what with them."""
    passwords = Passwords(threads=set_.entering.password_checks, shared=Guesses.of_registries(parts.cell))
    asked = set_.requests
    limits = Limits(
        manifest_size=asked.manifest_size,
        tags_per_push=asked.tags_per_push,
        page_size=min(asked.page_size, asked.page_size_most),
        page_size_most=asked.page_size_most,
        upload_lifetime=int(set_.upkeep.upload_expiry * SECOND),
        slowest_transfer=asked.slowest_transfer,
    )

    known = pacing.peers(parts, SERVES)
    outside = outbound.Caller(set_.telling.call_networks).apart(key_sets.SECONDS, key_sets.THREADS)
    issuers = key_sets.KeySets(outside, parts.cell.now)
    providers = Known.by(outside.apart(oidc.SECONDS, oidc.THREADS), parts.cell.now)

    def leases(entry: Entry) -> Leases:
        workers = set_.listening.workers
        if counter is not None:
            return counter.of(entry.uuid)
        if parts.postgres is None:
            # Files mean one machine, so its kernel sees every process.
            return OnThisMachine(parts.place.slots / entry.uuid, workers)
        return Share(lambda: known() or Peers(workers, workers))

    async def open_(entry: Entry) -> Registry:
        db = await parts.open_database(entry, create=False)
        store = parts.store.under(entry.prefix)
        access = Access(
            db,
            entry.uuid,
            parts.master,
            passwords,
            token_life=int(set_.entering.token_lifetime),
            refresh_life=int(set_.entering.refresh_lifetime * SECOND),
            key_sets=issuers,
            ldap=Ldap(db, entry.uuid, parts.master, passwords, outside, events.outsider),
        )
        uploads = Uploads(db, store, limits.upload_lifetime, limits.blob_size)
        slots = Slots(0, asked.parallel_wait, leases(entry))
        return Registry(
            entry, db, store, access, uploads, Pulls(db), Gathered(db), slots, limits,
            SignIns(db, entry.uuid, parts.master, providers), meter.of(entry.uuid), rates or unlimited(),
        )  # fmt: skip

    return open_


async def first_registry(set_: Settings, parts: Parts) -> tuple[provisioning.Provisioned, str]:
    """Make the first registry, if there is none, and let every one be reached; give it, and its host name if any."""
    plan = provisioning.PLANS["LOCAL"]
    port, zone = set_.listening.registry_port, set_.listening.zone
    entry = await provisioning.place(parts.cell, FIRST, plan, first_port=port, zone=zone)
    await provisioning.reach_all(parts.cell, first_port=port, zone=zone)
    password = await ensure_rows(parts, entry, creates_projects=True, password=set_.keeping.password or None)
    host = provisioning.host_name(entry, zone) if zone else ""
    return provisioning.Provisioned(entry, password), host


async def ensure_rows(
    parts: Parts, entry: Entry, *, creates_projects: bool = False, password: str | None = None
) -> str | None:
    """Make a registry's first rows, if they are not there; give the password that was generated now, if any was."""
    db = await parts.open_database(entry)
    try:
        return await provisioning.ensure_content(
            db,
            Passwords(),
            provisioning.PLANS[entry.plan],
            creates_projects=creates_projects,
            password=password,
        )
    finally:
        await db.close()


async def answers(set_: Settings, entry: Entry) -> bool:
    """Wait until a new registry answers on this machine, for as long as a house that runs here may take to see it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(set_.listening.host, set_.listening.host)  # noqa: S104 compared
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SEEN):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(
                        host, entry.port or set_.listening.registry_port
                    )
                    writer.close()
                    return True
                await asyncio.sleep(0.1)
    return False


async def fsck(
    parts: Parts, name: str | None, *, digests: bool, repair: bool, told: Told
) -> AsyncIterator[tuple[Entry, Report]]:
    """Check one registry, or (None) every one, while it runs."""
    for entry in await provisioning.listed(parts.cell):
        if name not in {None, entry.name}:
            continue
        db = await parts.open_database(entry)
        try:
            store = parts.store.under(entry.prefix)
            yield entry, await checks.check(db, store, digests=digests, repair=repair, told=told)
        finally:
            await db.close()


def fsck_told(entry: Entry, report: Report) -> str:
    """Write what a check found, a line each."""
    mended = set(report.mended)
    lines = [
        (
            f"{entry.name}: {report.blobs} blobs, {report.keys} keys, {len(report.findings)} findings,"
            f" {len(report.mended)} mended"
        )
    ]
    lines += [f"  {one}{' (mended)' if one in mended else ''}" for one in report.findings]
    return "\n".join(lines) + "\n"
