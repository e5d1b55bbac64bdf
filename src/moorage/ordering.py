"""Ordering, put together: the desk that takes orders, and what makes registries of them in this cell."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from moorage.addresses import Addresses
from moorage.cloud import accounts, applications, catalogue, provisioning, registries, suspensions
from moorage.cloud.desk import Desk
from moorage.cloud.destroying import LETTING_GO, LETTING_GO_OF_FILES, Destroyer, Ground
from moorage.cloud.errors import RegistryUnknown
from moorage.cloud.events import Origin
from moorage.cloud.reconciling import Certificate, Reconcile, Reconciler, Site
from moorage.errors import Problem
from moorage.identity.passwords import Passwords
from moorage.outbound.http import Caller
from moorage.registry import slot_locks
from moorage.registry.directory import READY
from moorage.supervisor import CannotListen, Listener

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.db import Tx
    from moorage.options import Listening
    from moorage.parts import Parts
    from moorage.registry.directory import Entry, Suspension
    from moorage.settings import Settings

SECOND = 1_000_000
OAUTH2_TOKEN = "/auth/oauth2/token"  # noqa: S105 - a path, no password


def is_free(place: Listening, port: int) -> bool:
    """Say whether a registry could listen on a port of this machine."""
    if port in {place.console_port, place.ops_port}:
        return False
    try:
        opened = Listener("registry", place.host, port, "MOORAGE_HOST", "MOORAGE_REGISTRY_PORT").open()
    except CannotListen:
        return False
    for one in opened:
        one.close()
    return True


def site(set_: Settings, parts: Parts) -> Site:
    """Give where registries are made."""
    addresses = Addresses(set_.listening)

    def url(found: Entry) -> str:
        return f"{addresses.scheme}://{addresses.of(found)}"

    def parallel(found: Entry) -> int | None:
        # Elsewhere than on one machine with files, processes count where this one does not look.
        if parts.postgres is not None or set_.keeping.redis_url:
            return None
        try:
            return slot_locks.in_use(parts.place.slots / found.uuid)
        except OSError:
            return None

    place = set_.listening
    return Site(
        cell=parts.cell,
        open_database=parts.open_database,
        address=url,
        first_port=place.registry_port,
        zone=place.zone,
        is_free=lambda port: is_free(place, port),
        parallel=parallel,
        certificate=lambda: None if place.tls_cert is None else certificate(place.tls_cert),
    )


def certificate(path: Path) -> Certificate | None:
    """Read a chain's first certificate, or None if it cannot be read."""
    from cryptography import x509  # noqa: PLC0415 - 20 ms that only an inventory needs.
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - as above.

    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError):
        return None
    return Certificate(
        subject=found.subject.rfc4514_string(),
        issuer=found.issuer.rfc4514_string(),
        serial=f"{found.serial_number:x}",
        sha256=hashlib.sha256(found.public_bytes(Encoding.DER)).hexdigest(),
        not_before=int(found.not_valid_before_utc.timestamp()) * SECOND,
        not_after=int(found.not_valid_after_utc.timestamp()) * SECOND,
    )


def desk(set_: Settings, parts: Parts) -> Desk:
    """Give where orders are taken; raise CatalogueInvalid."""
    return Desk(
        parts.platform,
        catalogue.read(set_.ordering.catalogue),
        site(set_, parts),
        grace=int(set_.ordering.deletion_grace * SECOND),
        most=set_.ordering.registries_most,
        caller=Caller(set_.telling.call_networks),
    )


def reconciler(set_: Settings, parts: Parts) -> Reconciler:
    """Give what makes registries as their rows say; raise CatalogueInvalid."""
    return Reconciler(
        parts.platform,
        catalogue.read(set_.ordering.catalogue),
        site(set_, parts),
        Passwords(threads=set_.entering.password_checks),
        destroyer(set_, parts),
    )


def destroyer(set_: Settings, parts: Parts) -> Destroyer:
    """Give what destroys registries whose grace is over; raise CatalogueInvalid."""

    async def forget(found: Entry) -> None:
        if parts.postgres is None:
            (parts.place.slots / found.uuid).unlink(missing_ok=True)

    ground = Ground(
        cell=parts.cell,
        rows=parts.rows,
        store=parts.store,
        kind=parts.place.store_url.partition(":")[0],
        forget=forget,
        letting_go=LETTING_GO if parts.postgres is not None else LETTING_GO_OF_FILES,
    )
    return Destroyer(parts.platform, ground, catalogue.read(set_.ordering.catalogue), parts.master)


async def first_account(set_: Settings, parts: Parts, first: Entry) -> None:
    """Make the first account with the first registry in it, if there is none, and tell addresses as they are now."""
    home = site(set_, parts)
    await _take_in(set_, parts, first)
    now = {found.uuid: home.address(found) for found in await provisioning.listed(parts.cell)}
    await registries.note_addresses(parts.platform, now)


async def take_in_all(set_: Settings, parts: Parts) -> int:
    """Give each registry that was made without an order a row on the platform, as it is; tell how many.

    The release before made them so. One that is INSTALLING has a row, which only does not name its place yet.
    """
    known = await accounts.held(parts.platform)
    left = [
        one
        for one in await provisioning.listed(parts.cell)
        if one.uuid not in known and (one.state == READY or one.suspension is not None)
    ]
    for one in sorted(left, key=lambda one: not one.first):
        await _take_in(set_, parts, one)
    return len(left)


async def _take_in(set_: Settings, parts: Parts, found: Entry) -> None:
    known = catalogue.read(set_.ordering.catalogue)
    plan = known.local if found.first else known.granting(found.plan)
    password = await _administrators_password(parts, found)
    url = site(set_, parts).address(found)

    async def work(tx: Tx) -> None:
        home = await accounts.ensure_first(tx, password=password)
        await accounts.take_in(tx, home, found, url=url, region=known.regions[0], plan=plan)

    await parts.platform.change(work)


async def _administrators_password(parts: Parts, found: Entry) -> str:
    db = await parts.open_database(found)
    try:
        return await accounts.administrators_password(db)
    finally:
        await db.close()


async def create_registry(
    set_: Settings, parts: Parts, name: str, grants: str, cloud_project: str | None
) -> provisioning.Provisioned:
    """Order a registry as whoever runs the house, make it here and now, and give its administrator a password.

    It is an order as any other, so a worker may be at it too, and goes on with it should this process end. Where nobody has an
    account yet, the first one is made, and its user has the same password. Raises what `Desk.order_called` does, and NotMade.
    """
    maker, project = reconciler(set_, parts), cloud_project
    try:
        if project is None:
            first = await parts.platform.change(lambda tx: accounts.ensure_first(tx, password=""))
            project = first.cloud_project_id
        ordered = await desk(set_, parts).order_called(
            project, name=name, grants=grants, origin=Origin("operator")
        )
        entry = await _made(parts, maker, ordered.id)
        db = await parts.open_database(entry)
        try:
            password = await provisioning.give_password(db, maker.passwords)
            hashed = await accounts.administrators_password(db)
        finally:
            await db.close()
    finally:
        maker.passwords.close()
    if cloud_project is None:
        await parts.platform.change(lambda tx: accounts.give_password(tx, first.login_id, hashed))
    return provisioning.Provisioned(entry, password)


class NotMade(Problem):
    """An order stands, and what it needs does not."""

    code, status, summary = "UNAVAILABLE", 503, "the registry was ordered and could not be made yet"


async def _made(parts: Parts, maker: Reconciler, ordered: str) -> Entry:
    """Do every round of an order, and give the registry's place; raise NotMade."""
    why = ""
    try:
        while await maker.reconcile(Reconcile(ordered)):
            pass
    except Problem as problem:
        why = str(problem)
    found = await registries.find(parts.platform, ordered)
    if found is not None and found.status == registries.READY and found.entry_uuid is not None:
        entry = await provisioning.ever_placed(parts.cell, found.entry_uuid)
        if entry is not None:
            return entry
    why = why or (found.error if found is not None else "it is gone")
    raise NotMade(
        f"the registry was ordered ({ordered}) and is not made yet: {why}. A house that runs goes on with it"
    )


async def create_application(set_: Settings, parts: Parts, name: str) -> str:
    """Make an application for every call of the first account, and write what a program signs with."""
    made = await parts.platform.change(
        lambda tx: applications.create(tx, parts.master, name=name, origin=Origin("operator"))
    )
    return (
        f"Endpoint            {Addresses(set_.listening).console}/1.0\n"
        f"Cloud project       {made.cloud_project}\n"
        f"Application key     {made.key}\n"
        f"Application secret  {made.secret}\n"
        f"Consumer key        {made.consumer_key}\n"
    )


async def create_client(set_: Settings, parts: Parts, name: str) -> str:
    """Make an OAuth2 client that may do everything in the first cloud project, and write what a program asks with."""
    made = await parts.platform.change(
        lambda tx: applications.create_client(tx, name=name, origin=Origin("operator"))
    )
    console = Addresses(set_.listening).console
    return (
        f"Endpoint       {console}/1.0\n"
        f"Token URL      {console}{OAUTH2_TOKEN}\n"
        f"Cloud project  {made.cloud_project}\n"
        f"Client id      {made.client}\n"
        f"Client secret  {made.secret}\n"
    )


async def suspend(set_: Settings, parts: Parts, name: str, suspension: Suspension) -> str:
    """Suspend a registry, and tell of it; raise RegistryUnknown or NotReady."""
    row = await _named(set_, parts, name)
    await parts.platform.change(lambda tx: suspensions.suspend(tx, row, suspension, Origin("operator")))
    return f"The {suspension.what} of {name} are suspended: {suspension.reason}\n"


async def resume(set_: Settings, parts: Parts, name: str) -> str:
    """Let a registry serve again, and tell of it; raise RegistryUnknown or NotReady."""
    row = await _named(set_, parts, name)
    await parts.platform.change(lambda tx: suspensions.resume(tx, row, Origin("operator")))
    return f"{name} serves again.\n"


async def _named(set_: Settings, parts: Parts, name: str) -> str:
    """Find a registry's row by a name or an id, one that was made without an order too; raise RegistryUnknown."""
    row, entry = await suspensions.named(parts.platform, parts.cell, name)
    if row is None and entry is not None:
        await _take_in(set_, parts, entry)
        row, _ = await suspensions.named(parts.platform, parts.cell, name)
    if row is None:
        raise RegistryUnknown(f"there is no registry {name[:80]} here: `moorage registry list` shows them")
    return row
