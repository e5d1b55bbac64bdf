"""The master key is changed while everything runs: each secret of the cell and the platform is wrapped anew.

    the file    old  ──rotate──▶  new, old  ── every secret wrapped anew ──forget──▶  new

Both keys are readable until all is done, each secret is wrapped anew in a turn that is all or nothing, and what is done
already is not done again: so a rotation that was killed at any moment is simply begun once more.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from moorage.cloud import credentials, factors, oidc_providers, provisioning, signing, webhooks
from moorage.db import Vanished
from moorage.identity import configuration, keys
from moorage.identity.keys import MasterKey, Wrapped

if TYPE_CHECKING:
    from moorage.db import Database
    from moorage.parts import Parts, Place
    from moorage.registry.directory import Entry

    Work = Callable[[Database, str, Wrapped], Awaitable[int]]

OF_A_REGISTRY = (keys.SIGNING_KEYS, configuration.SECRETS)
OF_THE_PLATFORM = (
    credentials.APPLICATIONS,
    factors.FACTORS,
    signing.PROVIDER_KEYS,
    webhooks.SECRETS,
    oidc_providers.SECRETS,
)
PAGE = "docs/how-to/rotate-the-master-key.md"


class CannotRotate(Exception):  # it reads as a sentence where it is raised
    """The key cannot be changed so: the message says what to do first."""


async def rotate(parts: Parts, *, alone: bool) -> str:
    """Wrap every secret by a new key, or end a rotation that was begun, and tell of it; raise CannotRotate.

    *alone*: no other machine has a file of its own with the key.
    """
    place = parts.place
    with _held(place):
        master = MasterKey.open(place.master_key, place.key_file)
        if len(master.keys) == 1:
            _check_can_add(place, alone=alone)
            master = keys.add_new(place.key_file)
        moved = 0
        # A registry that came meanwhile has its secrets by the new key, but for a turn that had begun before.
        while some := await _sum(parts, lambda db, bond, what: keys.rewrap(db, bond, master, what)):
            moved += some
    return (
        f"Every secret is wrapped by the master key {master.name}: {moved} moved just now.\n"
        f"Here nothing needs {' and '.join(master.names[1:])} any more. Copies that were made before do: keep it apart for"
        " them.\nThen: moorage key forget\n"
    )


async def forget(parts: Parts) -> str:
    """Keep only the key that wraps, if nothing needs another, and tell of it; raise CannotRotate."""
    place = parts.place
    with _held(place):
        master = MasterKey.open(place.master_key, place.key_file)
        left = await _sum(parts, lambda db, _, what: keys.count_others(db, master, what))
        if left:
            raise CannotRotate(
                f"{left} secrets need another key than {master.name}: run moorage key rotate first"
            )
        if place.master_key:
            return f"Nothing needs another key than {master.name}: it can be alone in MOORAGE_MASTER_KEY.\n"
        keys.forget_old(place.key_file)
    return f"{place.key_file} has the master key {master.name} alone.\n"


@contextlib.contextmanager
def _held(place: Place) -> Iterator[None]:
    """Be the only one that changes the key's file, where there is one."""
    if place.master_key:
        yield
        return
    try:
        with keys.rotating(place.key_file):
            yield
    except BlockingIOError:
        raise CannotRotate(f"another command is changing {place.key_file}: wait for it") from None


def _check_can_add(place: Place, *, alone: bool) -> None:
    """Raise CannotRotate where processes would meet a new key that they cannot find."""
    if place.master_key:
        raise CannotRotate(
            "MOORAGE_MASTER_KEY holds one key, and what runs cannot be given another: start every process with the new one"
            f" after it, then with the new one before it, and rotate then ({PAGE})"
        )
    if place.database_url and not alone:
        raise CannotRotate(
            f"other machines may serve this database, with files of their own instead of {place.key_file}: say --alone if"
            f" there are none, or put the new key into every file first ({PAGE})"
        )


async def _sum(parts: Parts, work: Work) -> int:
    """Do something with every table that has secrets; of registries that have left the directory, too."""
    total = sum([await work(parts.platform, credentials.PLACE, what) for what in OF_THE_PLATFORM])
    kept = await configuration.is_kept(parts.cell)
    of_a_registry = OF_A_REGISTRY if kept else (keys.SIGNING_KEYS,)
    for entry in await provisioning.every(parts.cell):
        if not parts.has_database(entry):
            continue
        with contextlib.suppress(Vanished):
            async with _opened(parts, entry) as db:
                total += sum([await work(db, entry.uuid, what) for what in of_a_registry])
    return total


@contextlib.asynccontextmanager
async def _opened(parts: Parts, entry: Entry) -> AsyncIterator[Database]:
    db = await parts.open_database(entry)
    try:
        yield db
    finally:
        await db.close()
