"""Ordering, put together: the desk that takes orders, and what makes registries of them in this cell."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from moorage.addresses import Addresses
from moorage.cloud import accounts, applications, catalogue, provisioning, registries, suspensions
from moorage.cloud.desk import Desk
from moorage.cloud.destroying import LETTING_GO, LETTING_GO_OF_FILES, Destroyer, Ground
from moorage.cloud.events import Origin
from moorage.cloud.reconciling import Certificate, Reconciler, Site
from moorage.identity.passwords import Passwords
from moorage.outbound.http import Caller
from moorage.registry import slot_locks
from moorage.supervisor import CannotListen, Listener

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.parts import Parts
    from moorage.registry.directory import Entry, Suspension
    from moorage.settings import Listening, Settings

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
    home, known = site(set_, parts), catalogue.read(set_.ordering.catalogue)
    db = await parts.open_database(first)
    try:
        password = await accounts.administrators_password(db)
    finally:
        await db.close()
    await parts.platform.change(
        lambda tx: accounts.first_account(
            tx,
            password=password,
            entry=first,
            url=home.address(first),
            region=known.regions[0],
            plan=known.local,
        )
    )
    for found in await provisioning.listed(parts.cell):
        await registries.note_address(parts.platform, found.uuid, home.address(found))


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


async def suspend(parts: Parts, name: str, suspension: Suspension) -> str:
    """Suspend a registry, through its row if the platform knows it, and tell of it; raise RegistryUnknown or NotReady."""
    row, entry = await suspensions.named(parts.platform, parts.cell, name)
    if row is not None:
        await parts.platform.change(lambda tx: suspensions.suspend(tx, row, suspension, Origin("operator")))
    elif entry is not None:
        await provisioning.set_state(parts.cell, entry, str(suspension))
    return f"The {suspension.what} of {name} are suspended: {suspension.reason}\n"


async def resume(parts: Parts, name: str) -> str:
    """Let a registry serve again, and tell of it; raise RegistryUnknown or NotReady."""
    row, entry = await suspensions.named(parts.platform, parts.cell, name)
    if row is not None:
        await parts.platform.change(lambda tx: suspensions.resume(tx, row, Origin("operator")))
    elif entry is not None:
        await suspensions.resume_entry(parts.cell, entry)
    return f"{name} serves again.\n"
