"""The composition root: builds servers and workers out of parts, and hands them their settings.

It and `starting` are the only readers of the settings. What one role needs is imported when that role starts, so that a
process that is started by itself holds no more than its own; a house imports it once for all (`stem`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import json
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from moorage import __version__, first_start, running, settings, starting
from moorage.addresses import Addresses
from moorage.admitting import Admitted
from moorage.cli import reference
from moorage.cli.commands import Inherited, say
from moorage.cli.greeting import Greeting, Made
from moorage.mailing import Mailed
from moorage.operating import Operated
from moorage.recording import Recorded
from moorage.settings import Settings
from moorage.stem import CannotFork, Stem
from moorage.supervisor import CannotListen, Child, Leash, Listener, Supervisor

if TYPE_CHECKING:
    from moorage.parts import Parts
    from moorage.planes import RegistryPlane
    from moorage.registry.fsck import Report as FsckReport

LOG = logging.getLogger(__name__)
CONSOLE = "moorage serve console"
"""What a process that serves the console is called in PostgreSQL's list of who is connected."""
SITES = {"registry": ("registry",), "console": ("console", "ops")}

SHARED = (
    "moorage.api.cloud.api", "moorage.api.plane", "moorage.ordering", "moorage.pacing",
    "moorage.planes", "moorage.serving", "moorage.sites", "moorage.working",
)  # fmt: skip
"""What a house's processes import between them. The worker's jobs' engine, a third of its memory, is its own business, and
so is what makes a schema."""

Sockets = Mapping[str, Sequence[socket.socket]]

_TOLD = 4096
"""The most that what prepares a start tells of it."""


class _Unprepared(Exception):  # it never leaves this module
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Moorage(Recorded, Mailed, Operated, Admitted):
    """Every command of the server, done."""

    def up(self) -> int:
        """Run everything on this machine until a signal ends it."""
        set_ = starting.start()
        first_start.make_folder(set_.keeping.data)
        house = Supervisor(_children(set_), _listeners(set_), set_.listening.shutdown_grace)
        try:
            house.listen()
        except CannotListen as refused:
            sys.exit(str(refused))
        set_ = _as_opened(set_, house.sockets)
        house.stem.environment = {
            "MOORAGE_REGISTRY_PORT": str(set_.listening.registry_port),
            "MOORAGE_CONSOLE_PORT": str(set_.listening.console_port),
            "MOORAGE_OPS_PORT": str(set_.listening.ops_port),
        }
        return asyncio.run(_up(set_, house))

    def stem(self, leash: int) -> int:
        """Import what the processes of a house need, and be what they are forked from."""
        from moorage import stem
        from moorage.cli import commands

        for name in SHARED:
            importlib.import_module(name)
        return stem.serve(leash, lambda arguments: commands.main(self, arguments))

    def prepare(self, inherited: Inherited) -> int:
        """Make what is missing for a start, and tell what `up` says of it as JSON."""
        set_ = starting.start()
        leash = _leash(inherited)

        async def main() -> None:
            from moorage.identity.users import check_password
            from moorage.ordering import first_account, take_in_all
            from moorage.planes import first_registry

            if set_.keeping.password:
                check_password(set_.keeping.password)
            async with starting.opened(set_, create=True, platform=True) as parts:
                await _ask_store(parts)
                made, host = await first_registry(set_, parts)
                await first_account(set_, parts, made.entry)
                await take_in_all(set_, parts)
            told = json.dumps({"password": made.password, "host": host})
            if leash is None:
                say(told)
            else:
                leash.tell(told)
            first_start.note_prepared(set_.keeping.data, set_.listening.zone, host)

        return starting.run(main())

    def serve(self, role: str, inherited: Inherited) -> int:
        """Serve the registry plane or the console in this process."""
        from moorage import pacing, sites
        from moorage.serving import serve

        set_ = starting.start()
        leash = _leash(inherited)
        sockets = _sockets(set_, role, inherited)
        set_ = _as_opened(set_, sockets)
        grace = set_.listening.shutdown_grace

        async def main() -> None:
            # Pulls need neither the platform's database nor any job: the registry plane never opens it.
            async with starting.opened(set_, platform=role == "console") as parts:
                if role == "console":
                    paced = pacing.rates(set_, parts, pacing.peers(parts, CONSOLE), 1)
                    await serve(await sites.console(set_, parts, sockets, paced), leash, grace)
                    await paced.close()
                else:
                    plane = _plane(set_, parts)
                    interval = set_.upkeep.pulls_interval
                    beside = [
                        plane.registries.tend(interval),
                        plane.meter.tend(interval),
                        plane.follow_plans(),
                        plane.follow_closing(),
                    ]
                    beside += [plane.open_ports(leash)] if leash else []
                    await serve(sites.registry(set_, parts, sockets, plane), leash, grace, beside)
                    await plane.close()

        return starting.run(main())

    def work(self, inherited: Inherited) -> int:
        """Do background work in this process."""
        from moorage import working
        from moorage.ordering import take_in_all
        from moorage.serving import on_signal

        set_ = starting.start()
        leash = _leash(inherited)

        async def main() -> None:
            asked = asyncio.Event()
            on_signal(asked.set)
            async with starting.opened(set_, platform=True) as parts:
                # A fleet has no other start.
                await take_in_all(set_, parts)
                if leash is not None:
                    leash.ready()
                await working.work(working.Worker.of(set_, parts), asked, set_.upkeep.worker_name)

        return starting.run_worker(main())

    def collect(self, name: str | None) -> int:
        """Collect now what nothing needs any more."""
        from moorage import working

        set_, _ = starting.within()

        async def main() -> None:
            found = False
            async with starting.opened(set_) as parts:
                async for entry, done in working.collect_now(parts, working.terms(set_, parts), name):
                    found = True
                    say(
                        f"{entry.name}\t"
                        + "\t".join(f"{n} {what}" for what, n in working.figures(done).items())
                        + "\n"
                    )
            if not found:
                sys.exit(f"there is no registry {name} here" if name else "there is no registry here")

        return starting.run(main())

    def fsck(self, name: str | None, *, digests: bool, repair: bool) -> int:
        """Check that what is held is whole."""
        from moorage import planes

        set_, _ = starting.within()
        reports: list[FsckReport] = []

        async def main() -> None:
            async with starting.opened(set_) as parts:
                async for entry, report in planes.fsck(
                    parts, name, digests=digests, repair=repair, told=_count
                ):
                    reports.append(report)
                    say(planes.fsck_told(entry, report))
            if not reports:
                sys.exit(f"there is no registry {name} here" if name else "there is no registry here")

        return starting.run(main()) or int(any(report.left for report in reports))

    def migrate(self, *, contract: bool) -> int:
        """Make or upgrade the schema."""
        from moorage import parts

        place = starting.place_of(starting.beside()[0])
        first_start.make_folder(place.data)
        with starting.telling():
            parts.upgrade(place, contract=contract)
        return 0

    def create_registry(self, name: str, plan: str, cloud_project: str | None) -> int:
        """Order a further registry, and make it."""
        from moorage import ordering, planes

        set_, runs = starting.within()

        async def main() -> None:
            async with starting.opened(set_, platform=True) as parts:
                made = await ordering.create_registry(set_, parts, name, plan, cloud_project)
            address = Addresses(set_.listening).of(made.entry)
            answers = runs and await planes.answers(set_, made.entry)
            say(str(Made(name, address, made.password, runs=runs, answers=answers)))

        return starting.run(main())

    def copy(self, folder: Path, database_url: str, platform_url: str, store_url: str) -> int:
        """Copy everything while it runs."""
        from moorage import carrying

        set_, _ = starting.within()
        target = carrying.Target(folder, database_url, platform_url, store_url)

        async def main() -> None:
            async with starting.opened(set_, platform=True) as parts:
                copied = await carrying.carry(parts, target)
                say(f"{copied.rows} rows and {copied.blobs} blobs ({copied.bytes} bytes) are in {target}.\n")
                say(
                    "Its master key is not: start it with MOORAGE_MASTER_KEY, or put the key's file beside it.\n"
                )

        return starting.run(main())

    def create_application(self, name: str, *, oauth2: bool) -> int:
        """Make an application, or a client of OAuth2, that may make every call of the API."""
        from moorage import ordering

        set_, _ = starting.within()
        create = ordering.create_client if oauth2 else ordering.create_application

        async def main() -> None:
            async with starting.opened(set_, platform=True) as parts:
                say(await create(set_, parts, name))

        return starting.run(main())

    def list_registries(self) -> int:
        """List the registries."""
        set_, _ = starting.within()

        async def main() -> None:
            from moorage.cloud import provisioning

            async with starting.opened(set_) as parts:
                for one in await provisioning.listed(parts.cell):
                    address = Addresses(set_.listening).of(one)
                    say(f"{one.name}\t{one.plan}\t{one.state}\t{address}\t{one.uuid}\n")

        return starting.run(main())

    def suspend_registry(self, name: str, what: str, reason: str) -> int:
        """Stop a registry's pulls, or its pushes alone."""
        from moorage import ordering
        from moorage.cloud import suspensions
        from moorage.registry.directory import What

        set_, _ = starting.within()

        async def main() -> None:
            async with starting.opened(set_, platform=True) as parts:
                say(await ordering.suspend(set_, parts, name, suspensions.checked(What(what), reason)))

        return starting.run(main())

    def resume_registry(self, name: str) -> int:
        """Let a suspended registry serve again."""
        from moorage import ordering

        set_, _ = starting.within()

        async def main() -> None:
            async with starting.opened(set_, platform=True) as parts:
                say(await ordering.resume(set_, parts, name))

        return starting.run(main())

    def rotate_key(self, *, alone: bool) -> int:
        """Wrap every secret by a new master key, or end a rotation that was begun."""
        from moorage import rekeying

        return _rekeyed(lambda parts: rekeying.rotate(parts, alone=alone))

    def forget_key(self) -> int:
        """Forget every master key but the one that wraps."""
        from moorage import rekeying

        return _rekeyed(rekeying.forget)

    def list_certificates(self) -> int:
        """List what was destroyed, and what is being destroyed."""
        from moorage.cloud import destroying

        async def work(parts: Parts) -> None:
            say(await destroying.told(parts.platform))

        return starting.on_platform(work)

    def show_certificate(self, registry: str) -> int:
        """Write a registry's certificate."""
        from moorage.cloud import certificates

        async def work(parts: Parts) -> None:
            found = await certificates.find(parts.platform, registry)
            if found is None:
                sys.exit(
                    f"there is no certificate of a registry {registry}: `moorage certificate list` shows them"
                )
            say(found)

        return starting.on_platform(work)

    def show_certificate_keys(self) -> int:
        """Write the public keys that certificates are checked by."""
        from moorage.cloud import certificates, signing

        async def work(parts: Parts) -> None:
            say(certificates.written_keys(await signing.published(parts.platform)))

        return starting.on_platform(work)

    def verify(self, file: Path, keys: Path | None) -> int:
        """Check a certificate, with no house and no network; give 0 only if it holds."""
        from moorage.cloud import certificates

        try:
            given = [] if keys is None else certificates.read_keys(keys.read_bytes())
            status, told = certificates.judged(file.read_bytes(), given)
        except (OSError, certificates.NoCertificate) as problem:
            status, told = certificates.UNREADABLE, f"{problem}\n"
        say(told)
        return status

    def settings(self, *, markdown: bool) -> int:
        """Write what can be set."""
        write = reference.markdown if markdown else reference.plain
        say(write(settings.groups()))
        return 0

    def version(self) -> int:
        """Write the version."""
        say(f"moorage {__version__}\n")
        return 0


def _rekeyed(work: Callable[[Parts], Awaitable[str]]) -> int:
    from moorage.rekeying import CannotRotate

    set_, _ = starting.within()

    async def main() -> None:
        async with starting.opened(set_, platform=True) as parts:
            say(await work(parts))

    try:
        return starting.run(main())
    except CannotRotate as refused:
        starting.give_up(str(refused), 1)


def _count(what: str, count: int) -> None:
    """Tell somebody who waits how far it is."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{what}: {count}\033[K\r")


async def _up(set_: Settings, house: Supervisor) -> int:
    for line in settings.strangers(os.environ):
        LOG.warning("%s", line)
    password, host = None, first_start.prepared(set_.keeping.data, set_.listening.zone)
    told = {**settings.told(os.environ), **house.stem.environment}
    try:
        async with house.stem.adopting():
            # A fleet's database may be new or older than this release whatever the folder says.
            if set_.keeping.database_url or host is None:
                password, host = await _prepared(house.stem)
            greeting = _greeting(set_, password, host or "")
            house.when_ready = lambda: say(str(greeting))
            with running.alone(set_.keeping.data):
                async with running.told(set_.keeping.data, told):
                    return await house.run()
    except _Unprepared as failed:
        # It has said why.
        return failed.status
    except (CannotFork, running.RunsAlready) as refused:
        sys.stderr.write(f"{refused}\n")
        return 1


async def _prepared(stem: Stem) -> tuple[str | None, str]:
    # In a process of its own, for what it imports would stay in the supervisor's memory.
    preparing = await stem.fork(("prepare",))
    told = await asyncio.get_running_loop().sock_recv(preparing.leash, _TOLD)
    status = await preparing.wait()
    if status != 0:
        raise _Unprepared(abs(status))
    password, host = itemgetter("password", "host")(json.loads(told))
    return password, host


def _children(set_: Settings) -> list[Child]:
    workers = range(1, set_.listening.workers + 1)
    return [
        *(Child(f"registry-{number}", ("serve", "registry"), SITES["registry"]) for number in workers),
        Child("console", ("serve", "console"), SITES["console"]),
        Child("work", ("work",)),
    ]


def _listeners(set_: Settings) -> dict[str, Listener]:
    place = set_.listening
    return {
        "registry": Listener(
            "registry", place.host, place.registry_port, "MOORAGE_HOST", "MOORAGE_REGISTRY_PORT"
        ),
        "console": Listener(
            "console", place.host, place.console_port, "MOORAGE_HOST", "MOORAGE_CONSOLE_PORT"
        ),
        "ops": Listener("ops", place.ops_host, place.ops_port, "MOORAGE_OPS_HOST", "MOORAGE_OPS_PORT"),
    }


def _as_opened(set_: Settings, sockets: Sockets) -> Settings:
    """Put the ports that were really opened in place of those asked for: 0 asks for any."""
    opened = {f"{name}_port": many[0].getsockname()[1] for name, many in sockets.items()}
    return dataclasses.replace(set_, listening=dataclasses.replace(set_.listening, **opened))


def _sockets(set_: Settings, role: str, inherited: Inherited) -> Sockets:
    """Take the sockets that a supervisor passed on, or listen as the settings say."""
    taken: dict[str, list[socket.socket]] = {}
    for name, descriptor in inherited.sockets:
        taken.setdefault(name, []).append(socket.socket(fileno=descriptor))
    if taken:
        # The first socket of a listener is its own; a further registry's come after it.
        return taken
    try:
        return {name: _listeners(set_)[name].open() for name in SITES[role]}
    except CannotListen as refused:
        sys.exit(str(refused))


async def _ask_store(parts: Parts) -> None:
    """Find out before anybody pushes whether the store lets us in."""
    from moorage.errors import Unavailable

    try:
        await parts.ask_store()
    except Unavailable as away:
        starting.give_up(f"MOORAGE_STORE_URL: {away}", 1)


def _leash(inherited: Inherited) -> Leash | None:
    return None if inherited.leash is None else Leash.take(inherited.leash)


def _plane(set_: Settings, parts: Parts) -> RegistryPlane:
    from moorage.planes import RegistryPlane

    return RegistryPlane.of(set_, parts)


def _greeting(set_: Settings, password: str | None, host: str) -> Greeting:
    addresses = Addresses(set_.listening)
    name = addresses.first(host)
    return Greeting(
        version=__version__,
        registry=f"{addresses.scheme}://{addresses.here}",
        name="" if name == addresses.here else name,
        console=addresses.console,
        ops=addresses.ops,
        data=str(set_.keeping.data),
        password=password,
        steps=[step.command for step in first_start.first_push(name)],
    )
