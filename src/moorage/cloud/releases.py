"""What the provider offers and runs: each release that is deployed, and each catalogue that is published, is told once."""

from __future__ import annotations

import hashlib
from typing import Final

from sqlalchemy import bindparam

from moorage.cloud import events
from moorage.cloud.catalogue import Catalogue
from moorage.cloud.events import SYSTEM
from moorage.db import Database, Statement, Tx, insert
from moorage.db.platform import ledger_counted

DEPLOYED, PUBLISHED = "release.deployed", "catalogue.published"
_CATALOGUE_ID: Final = 16

_ONCE = Statement(
    insert(ledger_counted)
    .values(about=bindparam("about"), what=bindparam("what"), upto=bindparam("at"))
    .on_conflict_do_nothing(index_elements=[ledger_counted.c.about, ledger_counted.c.what])
)


async def note(platform: Database, version: str, catalogue: Catalogue) -> int:
    """Tell of the release that runs, and of the catalogue that it offers, if they are new here; give how many are."""
    plans, regions = [one.id for one in catalogue.plans], [one.name for one in catalogue.regions]
    digest = hashlib.sha256(repr(catalogue).encode()).hexdigest()[:_CATALOGUE_ID]

    async def work(tx: Tx) -> int:
        told = 0
        if await tx.run(_ONCE, about=version, what=DEPLOYED, at=tx.at):
            await events.record(tx, DEPLOYED, SYSTEM, target=version, version=version)
            told += 1
        if await tx.run(_ONCE, about=digest, what=PUBLISHED, at=tx.at):
            await events.record(tx, PUBLISHED, SYSTEM, target=digest, plans=plans, regions=regions)
            told += 1
        return told

    return await platform.change(work)
