"""What is counted of requests and traffic, on every way that an answer takes, and how it is written down."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import bindparam, select

from moorage.db import Statement
from moorage.db.cell import TRAFFIC, traffic
from moorage.errors import Unavailable
from moorage.oci.digests import Digest
from moorage.registry.traffic import HOUR, HOURS, Meter
from tests.functional.quick_world import PATH, client
from tests.worlds import World

__all__ = ["client"]

# On PostgreSQL tests share a cell, whose first registry is another's: there a registry is asked without a port.
SERVED = pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
BOTH = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

LARGE = b"0123456789abcdef" * 40_000
ROWS = Statement(select(traffic).where(traffic.c.entry_uuid == bindparam("entry")).order_by(traffic.c.hour))


async def rows(world: World) -> list[dict[str, int]]:
    """Give what was written down of the first registry."""
    found = await world.parts.cell.all(ROWS, entry=world.entry.uuid)
    return [{name: getattr(row, name) for name in TRAFFIC} for row in found]


def counted(world: World) -> dict[str, int]:
    counts = world.plane.meter.of(world.entry.uuid).counts
    return dict(zip(TRAFFIC, counts, strict=True))


@SERVED
async def test_every_way_of_an_answer_is_counted(world: World, client: httpx.AsyncClient) -> None:
    before = counted(world)
    digest = Digest.of(LARGE)
    answers = [
        await client.post("/v2/library/app/blobs/uploads/"),
        *[await client.get(PATH) for _ in range(3)],
        await client.head(PATH),
        await client.get("/v2/library/app/manifests/absent"),
        await client.get(PATH, headers={"authorization": ""}),
        await client.get("/v2/"),
    ]
    place = answers[0].headers["location"]

    async def pieces() -> Any:
        for start in range(0, len(LARGE), 100_000):
            yield LARGE[start : start + 100_000]

    answers += [
        # Past the parser in chunks, and (to an upload of its own) with a length; what is sent by the kernel.
        await client.patch(place, content=pieces()),
        await client.post(f"/v2/library/app/blobs/uploads/?digest={digest}", content=LARGE),
        await client.get(f"/v2/library/app/blobs/{digest}"),
        await client.get(f"/v2/library/app/blobs/{digest}", headers={"range": "bytes=0-99"}),
        await client.head(f"/v2/library/app/blobs/{digest}"),
    ]
    after = counted(world)

    assert {answer.status_code for answer in answers} == {200, 201, 202, 206, 401, 404}
    assert {name: after[name] - before[name] for name in TRAFFIC} == {
        "manifest_pulls": 3,
        "blob_pulls": 2,
        "pushes": 3,
        "others": 3,
        "refusals": 2,
        "bytes_in": 2 * len(LARGE),
        "bytes_out": sum(len(answer.content) for answer in answers),
    }


@BOTH
async def test_what_is_written_down_once_or_again_is_counted_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter, cell = world.plane.meter, world.parts.cell
    record = cell.record

    async def done_and_lost(work: Any) -> None:
        await record(work)
        raise Unavailable("the answer was lost")

    pushed = await world.client.post(
        f"/v2/library/app/blobs/uploads/?digest={Digest.of(LARGE)}", content=LARGE
    )
    pulled = await world.client.get(f"/v2/library/app/blobs/{Digest.of(LARGE)}")
    with monkeypatch.context() as lost:
        lost.setattr(type(cell), "record", lambda _, work: done_and_lost(work))
        with pytest.raises(Unavailable):
            await meter.flush()
        refused = await world.client.get("/v2/library/app/manifests/absent")
    assert await meter.flush() == 1
    assert await meter.flush() == 0

    out = sum(len(answer.content) for answer in (pushed, pulled, refused))
    told = dict.fromkeys(TRAFFIC, 0) | {
        "pushes": 1, "blob_pulls": 1, "refusals": 1, "bytes_in": len(LARGE), "bytes_out": out,
    }  # fmt: skip
    assert await rows(world) == [counted(world)] == [told]
    # Another process has a row of its own.
    other = Meter(cell)
    other.of(world.entry.uuid).pushes += 5
    assert await other.flush() == 1
    assert sum(row["pushes"] for row in await rows(world)) == 6


@SERVED
async def test_pulls_go_on_and_their_counts_wait_while_the_database_is_away(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter, cell = world.plane.meter, world.parts.cell
    begun = cell.now()
    ours = counted(world)["manifest_pulls"]

    async def away(_: Any) -> None:
        raise Unavailable("the database is away")

    hours = HOURS + 3
    with monkeypatch.context() as cut:
        cut.setattr(type(cell), "record", lambda _, work: away(work))
        for hour in range(hours):
            cut.setattr(meter, "cell", _At(cell, begun + hour * HOUR))
            await meter.write_down()
            assert (await client.get(PATH)).status_code == 200
    later = _At(cell, begun + hours * HOUR)
    monkeypatch.setattr(meter, "cell", later)
    await meter.flush()

    written = await rows(world)
    # Of each hour what it had; of those before a day, nothing: memory is bounded.
    assert [row["manifest_pulls"] for row in written] == [1] * HOURS
    assert ours == 0
    assert counted(world)["manifest_pulls"] == 0


class _At:
    """The cell at another time."""

    def __init__(self, cell: Any, at: int) -> None:
        self._cell = cell
        self._at = at

    def now(self) -> int:
        return self._at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cell, name)
