"""Lists of many pages: each holds what comes next, and costs what the first does, wherever it begins."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from moorage.db.sqlite import SqliteDatabase
from moorage.oci.digests import Digest
from moorage.oci.manifests import OCI_INDEX, Manifest
from moorage.oci.names import Tag
from moorage.registry import listings, manifests
from moorage.registry.events import SYSTEM
from moorage.registry.listings import Referrer
from tests.functional.registry_world import APP, Held, held

__all__ = ["held"]

MANY, PAGE = 240, 7
SUBJECT = Digest.of(b"subject")
# The last is what an index has that says of no type.
TYPES = ("b/type", "a/type", "")


async def fill(held: Held) -> None:
    """Push so many referrers of one subject, each under a tag of its own."""

    async def work(tx: Any) -> None:
        for number in range(MANY):
            body = b"referrer %d" % number
            read = Manifest(OCI_INDEX, TYPES[number % len(TYPES)], subject=SUBJECT)
            tags = [Tag(f"v{number:03}")]
            await manifests.push(tx, APP, Digest.of(body), read, body, tags, SYSTEM)

    await held.change(work)


async def referrers(
    held: Held, after: tuple[str, int] | None = None, *, most: int = MANY * 2, of: str | None = None
) -> list[Referrer]:
    page = await listings.referrers(held.db, APP, SUBJECT, artifact_type=of, after=after, most=most)
    return page.found


@pytest.mark.parametrize("of", [None, "", "b/type", "c/type"])
async def test_the_pages_of_a_list_of_referrers_are_the_whole_of_it(held: Held, of: str | None) -> None:
    await fill(held)

    whole = await referrers(held, of=of)
    paged: list[Referrer] = []
    while page := await referrers(
        held, (paged[-1].artifact_type, paged[-1].id) if paged else None, most=PAGE, of=of
    ):
        paged += page

    wanted = [one for one in TYPES for _ in range(MANY // len(TYPES)) if of in (None, one)]
    assert [one.artifact_type for one in whole] == sorted(wanted)
    assert [one.id for one in paged] == [one.id for one in whole]


@pytest.mark.parametrize("held", ["sqlite"], indirect=True)
async def test_a_page_costs_the_same_wherever_it_begins(held: Held) -> None:
    await fill(held)
    within = [one for one in await referrers(held) if one.artifact_type == "b/type"]
    last, third = within[-PAGE - 1], within[-PAGE - 2]

    first = await steps(held, referrers(held, most=PAGE))
    far = await steps(held, referrers(held, (last.artifact_type, last.id), most=PAGE))
    of_type = await steps(held, referrers(held, (third.artifact_type, third.id), most=PAGE, of="b/type"))
    tags = await steps(held, listings.tags(held.db, APP, "", PAGE))
    far_tags = await steps(held, listings.tags(held.db, APP, f"v{MANY - PAGE - 1:03}", PAGE))

    # To pass over the rows before it would take several steps for each of them.
    assert max(far, of_type) <= first + MANY // 3
    assert far_tags <= tags + MANY // 3


async def steps(held: Held, asked: Awaitable[list[Any]]) -> int:
    """Count the steps that SQLite takes to give a whole page."""
    assert isinstance(held.db, SqliteDatabase)
    counted = 0

    def step() -> int:
        nonlocal counted
        counted += 1
        return 0

    held.db._reader.set_progress_handler(step, 1)
    try:
        assert len(await asked) == PAGE
    finally:
        held.db._reader.set_progress_handler(None, 0)
    return counted


async def test_a_page_of_referrers_ends_before_it_is_larger_than_clients_read(held: Held) -> None:
    large = 700_000

    async def work(tx: Any) -> None:
        for number in range(20):
            body = b"referrer %d" % number + b" " * (large if number % 2 else 0)
            annotations = {"org.example.note": "n" * (large if number % 2 else 1)}
            read = Manifest(OCI_INDEX, "a/type", subject=SUBJECT, annotations=annotations)
            await manifests.push(tx, APP, Digest.of(body), read, body, [], SYSTEM)

    await held.change(work)
    after, pages = None, []
    while True:
        page = await listings.referrers(held.db, APP, SUBJECT, artifact_type=None, after=after, most=1000)
        pages.append(page.found)
        if not page.more:
            break
        after = (page.found[-1].artifact_type, page.found[-1].id)

    listed = [one for page in pages for one in page]
    assert [len(one.annotations["org.example.note"]) for one in listed] == [1, large] * 10
    shown = [sum(len(one.annotations["org.example.note"]) for one in page) for page in pages]
    assert max(shown) <= listings.LARGEST_PAGE
    assert len(pages) == 2


async def test_annotations_larger_than_a_page_are_shown_alone(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(held)
    monkeypatch.setattr(listings, "LARGEST_PAGE", -1)

    page = await listings.referrers(held.db, APP, SUBJECT, artifact_type=None, most=1000)

    assert (len(page.found), page.more) == (1, True)
