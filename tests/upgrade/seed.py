"""What stood in a cell before it was upgraded, made through its front door, and whether it still stands."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.conformance.site import Site, descriptor, digest_of
from tests.servers.house import House, environment, moorage
from tests.upgrade.people import PROJECT, USER
from tests.worlds import ADMIN, PASSWORD

SECONDS = 60.0
# Between two turns of one who pushes all the while: what it keeps is read and checked in the end.
PAUSE = 0.3
DOMAIN = "registries.test"
FIRST, SECOND = "first", "second"
TEAM = f"{PROJECT}/app"
UPLOADED = bytes(range(256)) * 4_000
ASKED = {"service": "harbor-registry", "scope": f"repository:{TEAM}:pull,push"}


@dataclass(slots=True)
class Home:
    """How a registry of a house is reached: by *host*, and as its administrator with *password*."""

    base: str
    host: str
    password: str = PASSWORD

    def client(self, auth: tuple[str, str] | httpx.Auth | None = None) -> httpx.AsyncClient:
        """Give a client that signs in with Basic."""
        given = (ADMIN, self.password) if auth is None else auth
        return httpx.AsyncClient(base_url=self.base, auth=given, headers={"host": self.host}, timeout=SECONDS)

    def at(self, house: House) -> Home:
        """Give the same registry in another house."""
        return Home(house.registry, f"{self.host.partition(':')[0]}:{house.ports['Registry']}", self.password)


@dataclass(slots=True)
class Kept:
    """What one registry must still have, by repository: what is there, and what was deleted."""

    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    gone: list[tuple[str, str]] = field(default_factory=list)
    referrers: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    half: str = ""

    async def image(self, site: Site, tag: str, layer: bytes, **more: object) -> str:
        """Push an image, and keep what was acknowledged."""
        body = json.dumps(await site.image(layer, **more)).encode()
        pushed = await site.push(body, tag)
        assert pushed.status_code == 201, pushed.text
        digest = digest_of(body)
        self.manifests |= {(site.name, tag): body, (site.name, digest): body}
        self.blobs[site.name, digest_of(layer)] = layer
        return digest

    async def delete(self, site: Site, reference: str) -> None:
        """Delete a tag or a manifest."""
        deleted = await site.ask("DELETE", f"manifests/{reference}")
        assert deleted.status_code == 202, deleted.text
        self.manifests.pop((site.name, reference), None)
        self.gone.append((site.name, reference))

    async def check(self, client: httpx.AsyncClient) -> None:
        """Ask for each of them, byte for byte."""
        for (name, reference), body in self.manifests.items():
            assert (await Site(client, name).get(f"manifests/{reference}")).content == body, (name, reference)
        for (name, digest), content in self.blobs.items():
            assert (await Site(client, name).get(f"blobs/{digest}")).content == content, (name, digest)
        for name, reference in self.gone:
            assert (await Site(client, name).get(f"manifests/{reference}")).status_code == 404
        for (name, digest), wanted in self.referrers.items():
            listed = (await Site(client, name).get(f"referrers/{digest}")).json()["manifests"]
            assert sorted(one["digest"] for one in listed) == sorted(wanted)


@dataclass(slots=True)
class Seed:
    """Two registries with everything in them that can be pushed today, and those who may enter."""

    homes: dict[str, Home]
    kept: dict[str, Kept] = field(default_factory=dict)
    robot: dict[str, str] = field(default_factory=dict)
    token: str = ""
    refresh: str = ""

    async def sow(self) -> None:
        """Push, move, delete and refer, in both registries."""
        for name, home in self.homes.items():
            async with home.client() as client:
                self.kept[name] = await _sown(client, name, more=name == FIRST)
        async with self.homes[FIRST].client((USER, PASSWORD)) as client:
            granted = await client.get("/service/token", params={**ASKED, "offline_token": "true"})
        self.token, self.refresh = granted.json()["token"], granted.json()["refresh_token"]

    async def reap(self, house: House) -> None:
        """See that everything is there in a house, and goes on from where it was."""
        for name, home in self.homes.items():
            async with home.at(house).client() as client:
                await self.kept[name].check(client)
                await self._finish(Site(client), self.kept[name])
                await _pushed_again(client, self.kept[name])
        await self.enter(house)

    async def _finish(self, site: Site, kept: Kept) -> None:
        """Finish the upload that stood half done."""
        status = await site.client.get(kept.half)
        at = int(status.headers["range"].rpartition("-")[2]) + 1
        assert at == len(UPLOADED) // 2
        assert (await site.append(kept.half, UPLOADED[at:], at)).status_code == 202
        assert (await site.finish(kept.half, digest_of(UPLOADED))).status_code == 201
        assert (await site.get(f"blobs/{digest_of(UPLOADED)}")).content == UPLOADED

    async def enter(self, house: House) -> None:
        """Enter by everything that was given out before: tokens, passwords and a robot's secret."""
        home = self.homes[FIRST].at(house)
        async with home.client(_Bearer(self.token)) as client:
            assert (await Site(client, TEAM).get("tags/list")).status_code == 200
        async with home.client(_Nobody()) as client:
            form = {**ASKED, "grant_type": "refresh_token", "refresh_token": self.refresh}
            refreshed = await client.post("/service/token", data=form)
        async with home.client(_Bearer(refreshed.json()["token"])) as client:
            await Site(client, TEAM).push_image("by-a-refreshed-token")
        for name, secret in ((USER, PASSWORD), (self.robot["name"], self.robot["secret"])):
            async with home.client((name, secret)) as client:
                await Site(client, TEAM).push_image("by-an-old-password", name.encode())
                refused = await Site(client, "library/app").get("tags/list")
                assert refused.status_code == 403
        async with home.client((USER, "wrong")) as client:
            assert (await client.get("/v2/")).status_code == 401


async def _sown(client: httpx.AsyncClient, name: str, *, more: bool) -> Kept:
    kept, site = Kept(), Site(client)
    base = await kept.image(site, "base", f"base of {name}".encode())
    for version in range(3):
        await kept.image(site, "moved", f"version {version} of {name}".encode())
    await kept.image(site, "untagged", b"kept by its digest alone")
    await kept.delete(site, "untagged")
    trashed = await kept.image(site, "trashed", b"deleted by its digest")
    await kept.delete(site, trashed)
    kept.manifests.pop((site.name, "trashed"))
    kept.gone.append((site.name, "trashed"))
    del kept.blobs[site.name, digest_of(b"deleted by its digest")]
    body = kept.manifests[site.name, base]
    subject = descriptor(json.loads(body)["mediaType"], body)
    signed = [
        await kept.image(site, f"sig-{n}", b"signature %d" % n, subject=subject, artifactType="a/signature")
        for n in range(2)
    ]
    kept.referrers[site.name, base] = signed
    index = await site.push_index((base, len(body)), reference="index")
    kept.manifests[site.name, index] = (await site.get("manifests/index")).content
    for other in ("team/app", "other/deep/app") if more else ():
        await kept.image(site.at(other), "v1", f"{other} of {name}".encode())
    kept.half = await site.begin()
    assert (await site.append(kept.half, UPLOADED[: len(UPLOADED) // 2], 0)).status_code == 202
    return kept


async def _pushed_again(client: httpx.AsyncClient, kept: Kept) -> None:
    """Move a tag, and bring back what lies in the trash by pushing it again."""
    site = Site(client)
    await kept.image(site, "moved", b"after the upgrade")
    await kept.image(site, "trashed", b"deleted by its digest")
    kept.gone = [(name, reference) for name, reference in kept.gone if reference == "untagged"]
    await kept.check(client)


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Any:
        request.headers["authorization"] = f"Bearer {self._token}"
        yield request


class _Nobody(httpx.Auth):
    pass


def seeded(house: House, data: Path, source: str, **given: str) -> Seed:
    """Fill a house of the previous release: a second registry, people, and all that they push."""
    settings = {**given, "REGISTRY_PORT": str(house.ports["Registry"])}
    made = moorage("registry", "create", SECOND, data=data, source=source, **settings)
    assert made.returncode == 0, made.stderr
    told = dict(re.findall(r"^(\w+)\s+(\S+)$", made.stdout, re.MULTILINE))
    people = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("people.py")), FIRST, PASSWORD],
        env=environment(data, source=source, **settings),
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    homes = {
        FIRST: Home(house.registry, f"localhost:{house.ports['Registry']}"),
        SECOND: Home(house.registry, told["Address"], told["Password"]),
    }
    return Seed(homes, robot=json.loads(people.stdout))


class Away(httpx.TransportError):
    """A 503: whoever answers cannot, for the moment."""


@dataclass(slots=True)
class Pusher:
    """A client that pushes and pulls all the while; who fails it is asked again, or the next house is."""

    number: int
    homes: list[Home]
    kept: Kept = field(default_factory=Kept)
    turns: int = 0
    cut: int = 0
    away: int = 0

    async def run(self, ended: asyncio.Event) -> None:
        """Push and pull until told to stop."""
        while not ended.is_set():
            home = self.homes[(self.number + self.cut) % len(self.homes)]
            async with home.client() as client:
                client.event_hooks = {"response": [_asked_again]}
                try:
                    while not ended.is_set():
                        await self._turn(Site(client, f"library/pushed-{self.number}"))
                        await asyncio.sleep(PAUSE)
                except Away:
                    self.away += 1
                except httpx.TransportError:
                    self.cut += 1
            # Nobody tells when it may be tried again.
            await asyncio.sleep(0.05)

    async def _turn(self, site: Site) -> None:
        layer = f"{self.number} {self.turns} ".encode() * 5_000
        digest = await self.kept.image(site, "latest", layer)
        assert (await site.get("manifests/latest")).headers["docker-content-digest"] == digest
        assert (await site.get(f"blobs/{digest_of(layer)}")).content == layer
        self.turns += 1


async def _asked_again(answer: httpx.Response) -> None:
    if answer.status_code == 503:
        raise Away(f"503 from {answer.url}")
