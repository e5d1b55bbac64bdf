"""What is set is what happens: settings whose effect no other test sees."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from argon2 import PasswordHasher, Type

from moorage import parts
from moorage.identity.passwords import Passwords
from moorage.oci.digests import Digest
from tests.servers.postgres import PostgresServer
from tests.worlds import ADMIN, MASTER_KEY, World, opened

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TAGS = ["a", "b", "c", "d", "e"]


def place(folder: Path, database_url: str = "", connections: int = 10) -> parts.Place:
    return parts.Place(folder, database_url, (folder / "blobs").as_uri(), MASTER_KEY, connections=connections)


async def push(world: World) -> None:
    """Push a manifest under every tag."""
    config = b"{}"
    await world.client.post(f"/v2/library/app/blobs/uploads/?digest={Digest.of(config)}", content=config)
    described = {"mediaType": "a/b", "digest": str(Digest.of(config)), "size": len(config)}
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": []}
    for tag in TAGS:
        put = await world.client.put(
            f"/v2/library/app/manifests/{tag}", json=document, headers={"content-type": MANIFEST}
        )
        assert put.status_code == 201, put.text


@pytest.mark.parametrize(
    ("most", "query", "listed"),
    [
        ("4", "", TAGS[:2]),
        ("4", "?n=3", TAGS[:3]),
        ("4", "?n=100", TAGS[:4]),
        ("1", "", TAGS[:1]),
    ],
)
async def test_a_list_page_holds_what_is_set(
    tmp_path: Path, most: str, query: str, listed: list[str]
) -> None:
    async with opened(place(tmp_path), PAGE_SIZE="2", PAGE_SIZE_MOST=most) as world:
        await push(world)

        answer = await world.client.get(f"/v2/library/app/tags/list{query}")

    assert answer.json()["tags"] == listed
    assert 'rel="next"' in answer.headers["link"]


class Meeting(PasswordHasher):
    """Checks nothing before so many checks have met, and notes how many ever did."""

    def __init__(self, wanted: int) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1, type=Type.ID)
        self.wanted, self.now, self.most = wanted, 0, 0
        self._met = threading.Condition()

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]  # noqa: A002 - argon2's name.
        with self._met:
            self.now += 1
            self.most = max(self.most, self.now)
            self._met.notify_all()
            self._met.wait_for(lambda: self.most >= self.wanted, 60)
        try:
            return super().verify(hash, password)
        finally:
            with self._met:
                self.now -= 1


async def test_no_more_passwords_are_checked_at_once_than_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher = Meeting(3)
    monkeypatch.setattr(Passwords, "hasher", hasher)
    async with opened(place(tmp_path), PASSWORD_CHECKS="3") as world:
        access = (await world.registry()).access
        before = set(threading.enumerate())

        asked = (access.sign_in(ADMIN, f"wrong {n}", address=f"10.0.0.{n}") for n in range(8))
        await asyncio.gather(*asked, return_exceptions=True)

        begun = set(threading.enumerate()) - before
        assert [one.name.startswith("passwords") for one in begun] == [True] * 3
    assert (hasher.most, hasher.now) == (3, 0)


async def test_a_refresh_token_lives_as_long_as_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(place(tmp_path), REFRESH_LIFETIME="2h") as world:
        db = (await world.registry()).db
        kept = (await world.client.get("/service/token?service=harbor-registry&offline_token=true")).json()[
            "refresh_token"
        ]
        nobody = await world.as_(None)
        form = {"grant_type": "refresh_token", "service": "harbor-registry", "refresh_token": kept}
        answers = []
        now = db.now()
        for later in (119, 119 + 119, 119 + 119 + 121):
            monkeypatch.setattr(db, "now", lambda at=now + later * 60_000_000: at)
            answers.append((await nobody.post("/service/token", data=form)).status_code)

    assert answers == [200, 200, 401]


async def test_a_process_asks_on_no_more_connections_than_is_set(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    url = await asyncio.to_thread(postgres_server.cell)
    async with opened(place(tmp_path, url, connections=2)) as world:
        assert world.parts.postgres is not None
        pool = world.parts.postgres.pool
        held = [await pool.acquire() for _ in range(2)]
        third = asyncio.create_task(pool.acquire())
        done, _ = await asyncio.wait([third], timeout=0.5)

        pool.release(held[0])

        assert not done
        assert await third is held[0]
        pool.release(held[1])
        pool.release(held[0])
