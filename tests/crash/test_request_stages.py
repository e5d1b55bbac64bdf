"""A worker that dies at each stage of a push, a mount and a delete: what it answered for is there, and nothing is half.

Each deed is asked of a process that ends itself there. What a client finds then, at another replica, is all of it or
nothing of it; the check of the registry finds nothing, digests and stray keys included; and the same asked again ends
well, as clients do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import pytest

from tests.conformance.site import Site, digest_of
from tests.crash.cells import UPLOADS, Cell, cell, is_pulled
from tests.crash.stages import CHANGE, DONE, EITHER, NOT_DONE, Stage

__all__ = ["cell"]

BYTES = {"before the bytes": NOT_DONE, "after the bytes": EITHER}
WHOLE = {"before the bytes are whole": NOT_DONE, "after the bytes are whole": NOT_DONE}
LAYER, KEPT = b"a layer " * 50_000, b"another's layer"


@dataclass(frozen=True, slots=True)
class Deed:
    """Something asked: whether it is done (never half, which fails), and how a client ends it after a failure."""

    ask: Callable[[Site], Awaitable[httpx.Response]]
    is_done: Callable[[], Awaitable[bool]]
    end: Callable[[], Awaitable[None]]


async def begin(cell: Cell) -> Deed:
    """Begin an upload."""

    async def is_done() -> bool:
        return bool(await cell.registry.db.all(UPLOADS))

    async def end() -> None:
        await cell.site.push_blob(LAYER)

    return Deed(lambda site: site.ask("POST", "blobs/uploads/"), is_done, end)


async def append(cell: Cell) -> Deed:
    """Add a chunk to an upload."""
    site, location, first = cell.site, await cell.site.begin(), LAYER[:1000]
    assert (await site.append(location, first)).status_code == 202

    async def received() -> int:
        status = await site.client.get(location)
        assert status.status_code == 204
        return int(status.headers["range"].rpartition("-")[2]) + 1

    async def is_done() -> bool:
        # What came and was not answered may be there; the client is told how much.
        at = await received()
        assert at in (len(first), len(LAYER))
        return at == len(LAYER)

    async def end() -> None:
        at = await received()
        if at < len(LAYER):
            assert (await site.append(location, LAYER[at:], at)).status_code == 202
        assert (await site.finish(location, digest_of(LAYER))).status_code == 201
        assert (await site.get(f"blobs/{digest_of(LAYER)}")).content == LAYER

    rest = LAYER[len(first) :]
    return Deed(lambda there: there.append(location, rest, len(first)), is_done, end)


async def finish(cell: Cell) -> Deed:
    """Make an upload a blob."""
    site, location, digest = cell.site, await cell.site.begin(), digest_of(LAYER)
    assert (await site.append(location, LAYER)).status_code == 202

    async def is_done() -> bool:
        return await has(site, f"blobs/{digest}", LAYER)

    async def end() -> None:
        done = await is_done()
        assert (await site.client.get(location)).status_code == (404 if done else 204)
        assert (await site.finish(location, digest)).status_code == (404 if done else 201)
        assert await has(site, f"blobs/{digest}", LAYER)

    return Deed(lambda there: there.finish(location, digest), is_done, end)


async def push(cell: Cell) -> Deed:
    """Push a manifest that takes a tag from another."""
    site, old = cell.site, await cell.site.push_image("v1", KEPT)
    document = await site.image(LAYER)

    async def is_done() -> bool:
        tagged = (await site.get("manifests/v1")).headers["docker-content-digest"]
        await is_pulled(site, "v1", KEPT if tagged == old else LAYER)
        await is_pulled(site, old, KEPT)
        return tagged != old

    async def end() -> None:
        assert (await site.push(document, "v1")).status_code == 201
        await is_pulled(site, "v1", LAYER)
        await is_pulled(site, old, KEPT)

    return Deed(lambda there: there.push(document, "v1"), is_done, end)


async def mount(cell: Cell) -> Deed:
    """Mount a blob from another repository."""
    site, source = cell.site, cell.site.at("library/source")
    query = {"mount": await source.push_blob(LAYER), "from": source.name}

    async def is_done() -> bool:
        return await has(site, f"blobs/{query['mount']}", LAYER)

    async def end() -> None:
        assert (await site.ask("POST", "blobs/uploads/", params=query)).status_code == 201
        assert await is_done()

    return Deed(lambda there: there.ask("POST", "blobs/uploads/", params=query), is_done, end)


async def untag(cell: Cell) -> Deed:
    """Delete a tag, and only the tag."""
    site, digest = cell.site, await cell.site.push_image("v1", LAYER)

    async def is_done() -> bool:
        await is_pulled(site, digest, LAYER)
        return await is_gone(site, "manifests/v1")

    return Deed(lambda there: there.ask("DELETE", "manifests/v1"), is_done, again(cell, "manifests/v1"))


async def delete_manifest(cell: Cell) -> Deed:
    """Delete a manifest with its tags."""
    site, digest = cell.site, await cell.site.push_image("v1", LAYER)
    assert await cell.site.push_image("v2", LAYER) == digest

    async def is_done() -> bool:
        gone = {await is_gone(site, f"manifests/{name}") for name in ("v1", "v2", digest)}
        assert len(gone) == 1
        if gone == {False}:
            await is_pulled(site, "v1", LAYER)
        return True in gone

    async def end() -> None:
        await again(cell, f"manifests/{digest}")()
        # What was deleted comes back whole when it is pushed again.
        assert await site.push_image("v1", LAYER) == digest
        await is_pulled(site, "v1", LAYER)

    return Deed(lambda there: there.ask("DELETE", f"manifests/{digest}"), is_done, end)


async def delete_blob(cell: Cell) -> Deed:
    """Delete a blob that no manifest names."""
    site, digest = cell.site, await cell.site.push_blob(LAYER)

    async def is_done() -> bool:
        return not await has(site, f"blobs/{digest}", LAYER)

    return Deed(lambda there: there.ask("DELETE", f"blobs/{digest}"), is_done, again(cell, f"blobs/{digest}"))


async def cancel(cell: Cell) -> Deed:
    """Cancel an upload."""
    site, location = cell.site, await cell.site.begin()
    assert (await site.append(location, LAYER)).status_code == 202

    async def is_done() -> bool:
        return (await site.client.get(location)).status_code == 404

    async def end() -> None:
        done = await is_done()
        assert (await site.client.delete(location)).status_code == (404 if done else 204)
        assert await is_done()

    return Deed(lambda there: there.client.delete(location), is_done, end)


async def has(site: Site, rest: str, content: bytes) -> bool:
    """Say whether something is there, which it is with all its bytes."""
    found = await site.get(rest)
    assert found.status_code in (200, 404)
    assert found.status_code == 404 or found.content == content
    return found.status_code == 200


async def is_gone(site: Site, rest: str) -> bool:
    """Say whether something is not there."""
    return (await site.get(rest)).status_code == 404


def again(cell: Cell, rest: str) -> Callable[[], Awaitable[None]]:
    """Give what deletes something once more: it is gone, or now it goes."""

    async def end() -> None:
        gone = await is_gone(cell.site, rest)
        assert (await cell.site.ask("DELETE", rest)).status_code == (404 if gone else 202)
        assert await is_gone(cell.site, rest)

    return end


STAGES = {
    begin: CHANGE,
    # In a store that appends, what is stored is the truth about how much came, whatever became of the row.
    append: {**BYTES, **dict.fromkeys(CHANGE, EITHER), "after the commit": DONE},
    finish: WHOLE | CHANGE,
    cancel: CHANGE | dict.fromkeys(("before bytes are destroyed", "after bytes are destroyed"), DONE),
    **dict.fromkeys((push, mount, untag, delete_manifest, delete_blob), CHANGE),
}


@pytest.mark.parametrize(
    ("prepare", "point", "expected"),
    [
        pytest.param(prepare, point, expected, id=f"{prepare.__name__}-{point}")
        for prepare, points in STAGES.items()
        for point, expected in points.items()
    ],
)
async def test_a_worker_that_dies_at_a_stage_leaves_all_of_a_deed_or_nothing(
    cell: Cell, prepare: Callable[[Cell], Awaitable[Deed]], point: str, expected: frozenset[bool]
) -> None:
    bystander = cell.site.at("library/bystander")
    kept = await bystander.push_image("v1", KEPT)
    deed = await prepare(cell)

    await cell.ask_one_that_dies(Stage(point), deed.ask)

    assert await deed.is_done() in expected
    await is_pulled(bystander, "v1", KEPT)
    await cell.is_clean()
    await deed.end()
    await cell.is_clean()
    await cell.collect()
    await cell.is_clean()
    await is_pulled(bystander, kept, KEPT)


async def test_workers_that_die_in_the_same_push_one_after_the_other_leave_one_whole(cell: Cell) -> None:
    document = await cell.site.image(LAYER)
    for point in CHANGE:
        await cell.ask_one_that_dies(Stage(point), lambda site: site.push(document, "v1"))

    await is_pulled(cell.site, "v1", LAYER)
    await cell.is_clean()
    await asyncio.gather(*(cell.site.push(document, "v1") for _ in range(4)))
    await cell.is_clean()
