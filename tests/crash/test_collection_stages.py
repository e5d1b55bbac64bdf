"""A collection that dies at each stage: the next one ends it, nothing live goes, and nothing that was due stays."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from moorage.db import Statement
from moorage.db import tables as t
from moorage.registry import collection
from tests.crash import stages
from tests.crash.cells import AT_ONCE, DAY, Cell, cell, is_pulled
from tests.crash.stages import CHANGE, Stage

__all__ = ["cell"]

STEPS = ("expire", "purge", "review", "forget_history")
# Keys are counted as tried, then destroyed one by one, then their rows are put off or go.
DESTROY = {
    "before any key is counted": Stage("before rows without a turn", "destroy"),
    "before any bytes": Stage("before bytes are destroyed", "destroy"),
    "after some bytes": Stage("after bytes are destroyed", "destroy"),
    "after all bytes, before their rows": Stage("before rows without a turn", "destroy", nth=2),
    "before the rows of what is destroyed for good": Stage("before rows without a turn", "destroy", nth=3),
}
OLD_TAGS = Statement(
    update(t.tag)
    .where(t.tag.c.end_at.is_not(None))
    .values(start_at=t.tag.c.start_at - DAY, end_at=t.tag.c.start_at - DAY + 1)
)
# A process that died while it sent a part has told nobody how much of it there is: its key is destroyed twice on any store.
HALF_SENT = Statement(update(t.upload_part).values(size=None))
LAYERS = {f"v{n}": f"layer {n} ".encode() * 20_000 for n in range(4)}


async def fill(cell: Cell) -> None:
    """Give every step of collection something to do, beside what is live and shares bytes with it."""
    site, other = cell.site, cell.site.at("library/other")
    for tag, layer in LAYERS.items():
        await site.push_image(tag, layer)
    # Trash that shares a layer with what is live, and trash that shares none.
    for layer in (LAYERS["v0"], b"only here", b"and here"):
        gone = await other.push_image("gone", layer)
        assert (await other.ask("DELETE", f"manifests/{gone}")).status_code == 202
    # A tag with a past; blobs that no manifest came for; uploads that nobody ended, and keys that are doomed already.
    await other.push_image("moved", b"first")
    await other.push_image("moved", b"second")
    for n in range(3):
        await other.push_blob(b"waits for a manifest %d" % n)
        await other.append(await other.begin(), b"half of %d" % n)
        cancelled = await other.begin()
        await other.append(cancelled, b"given up %d" % n)
        assert (await other.client.delete(cancelled)).status_code == 204
    await cell.make_due()
    await cell.registry.db.write(OLD_TAGS)
    await cell.registry.db.write(HALF_SENT)


async def is_as_it_was(cell: Cell) -> None:
    """Pull everything live, and check every invariant."""
    for tag, layer in LAYERS.items():
        await is_pulled(cell.site, tag, layer)
    await is_pulled(cell.site.at("library/other"), "moved", b"second")
    await cell.is_clean()


async def dies(cell: Cell, stage: Stage) -> None:
    """Let a collection loose that ends itself at a stage."""
    settings = {**cell.settings, "MOORAGE_COLLECTION_GRACE": "1s"}
    await stages.ended(stages.collecting(stage, settings, cell.world.entry.name))


@pytest.mark.parametrize("point", CHANGE)
@pytest.mark.parametrize("step", STEPS)
async def test_a_collection_that_dies_in_a_step_is_ended_by_the_next(
    cell: Cell, step: str, point: str
) -> None:
    await fill(cell)

    await dies(cell, Stage(point, step))

    await is_as_it_was(cell)
    await cell.collect()
    await is_as_it_was(cell)


@pytest.mark.parametrize("stage", DESTROY.values(), ids=DESTROY)
async def test_a_collection_that_dies_while_it_destroys_bytes_is_ended_by_the_next(
    cell: Cell, stage: Stage
) -> None:
    await fill(cell)

    await dies(cell, stage)

    await is_as_it_was(cell)
    await cell.collect()
    await is_as_it_was(cell)


async def test_collections_that_die_one_after_the_other_take_nothing_that_came_back_meanwhile(
    cell: Cell,
) -> None:
    await fill(cell)
    other, came_back = cell.site.at("library/other"), dict[str, bytes]()
    for n, stage in enumerate([Stage(list(CHANGE)[1], step) for step in STEPS] + [*DESTROY.values()]):
        await dies(cell, stage)
        # What was purged, or is about to be, is pushed again by somebody.
        layer = (b"only here", b"and here", b"waits for a manifest %d" % (n % 3))[n % 3]
        own = {"annotations": {"n": str(n)}}
        came_back[await other.push_image(f"back-{n}", layer, **own)] = layer
        await cell.make_due()
        await fill(cell)

    await cell.collect()
    await is_as_it_was(cell)
    for digest, layer in came_back.items():
        await is_pulled(other, digest, layer)
    assert not await collection.tend(cell.registry.db, cell.registry.store, AT_ONCE)
