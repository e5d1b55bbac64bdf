"""The master key is rotated under a registry that runs, whatever interrupts it: `moorage key rotate` and `forget`."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from moorage import parts, rekeying
from moorage.cloud import credentials, provisioning, registry_sign_in
from moorage.db import Database, Statement
from moorage.db.platform import application
from moorage.db.tables import configuration as configured
from moorage.db.tables import signing_key
from moorage.identity import configuration, keys, oidc_settings
from moorage.identity.keys import MasterKey, MasterKeyWrong, Wrapped
from moorage.identity.oidc_settings import Provider
from moorage.registry.events import SYSTEM
from moorage.rekeying import CannotRotate
from tests.functional.cloud_world import ACCOUNT, ANYTHING, LOGIN
from tests.worlds import World, opened

OLD, NEW = "0a" * 32, "0b" * 32
TOKEN = "/service/token?service=harbor-registry&scope=repository:library/app:pull"
REGISTRIES = 4
SECRETS = (
    REGISTRIES + 1
)  # a signing key of each registry but one, an OIDC client's secret, and an application's
PROVIDER = Provider("idp", "https://idp.example.com", "moorage", "openid", "the-clients-secret")
_MASTERS = Statement(select(signing_key.c.master))
_OF_CONFIGURATION = Statement(select(configured.c.master).where(configured.c.master.is_not(None)))
_OF_APPLICATIONS = Statement(select(application.c.master))


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> parts.Place:
    """Name a cell of its own, whose master key is in a file."""
    url = request.getfixturevalue("postgres_server").cell() if request.param == "postgres" else ""
    return parts.Place(tmp_path, url, (tmp_path / "blobs").as_uri(), "")


@dataclass
class Cell:
    """Some registries that are served, one of which nobody has asked for a token yet; and an application's credential."""

    world: World
    application: credentials.NewApplication
    consumer: str
    shown: list[str]

    async def serves(self, master: MasterKey | None = None) -> None:
        """See that tokens of before are good, new ones are made, and the application's calls can be checked."""
        for client, shown in zip(self.world.clients, self.shown, strict=False):
            answer = await client.get("/v2/", auth=_NO_AUTH, headers={"authorization": f"Bearer {shown}"})
            assert answer.status_code == 200, answer.text
            await token(client)
        found = await credentials.find(
            self.world.parts.platform, master or self.world.parts.master, self.application.key, self.consumer
        )
        assert found.secret == self.application.secret
        entry, name = self.world.entry, oidc_settings.SECRET
        kept = (await configuration.get((await self.world.registry(entry)).db, name))[name]
        assert (
            configuration.opened(kept, master or self.world.parts.master, entry.uuid, name)
            == "the-clients-secret"
        )

    async def masters(self) -> set[str]:
        """Name the master keys that any secret needs."""
        world = self.world
        rows = await world.parts.platform.all(_OF_APPLICATIONS)
        for entry in world.entries:
            db = (await world.registry(entry)).db
            rows += [*await db.all(_MASTERS), *await db.all(_OF_CONFIGURATION)]
        return {row.master for row in rows}

    @asynccontextmanager
    async def again(self) -> AsyncIterator[Cell]:
        """Serve the same registries as a process does that starts now."""
        async with opened(self.world.parts.place) as world:
            clients = [await world.as_("admin", entry=entry) for entry in self.world.entries]
            same = dataclasses.replace(world, entries=self.world.entries, clients=clients)
            yield Cell(same, self.application, self.consumer, self.shown)


class Killed(Exception):
    """Nothing follows, as after kill -9."""


class _NoAuth(httpx.Auth):
    """Sends what the request has already."""


_NO_AUTH = _NoAuth()


@asynccontextmanager
async def cell(place: parts.Place) -> AsyncIterator[Cell]:
    """Open a cell and serve it."""
    async with opened(place) as world:
        for _ in range(REGISTRIES - 1):
            await world.add_registry()
        shown = [await token(client) for client in world.clients[:-1]]
        db, master = world.parts.platform, world.parts.master
        await db.write(ACCOUNT, id="a", name=world.name, at=1)
        await db.write(LOGIN, id="l", account="a", name=world.name, email="a@example.com", password="x", at=1)
        made = await db.change(
            lambda tx: credentials.create_application(tx, master, account="a", login="l", name="one")
        )
        consumer = await db.change(lambda tx: credentials.create_validated(tx, made.id, "l", ANYTHING))
        home = registry_sign_in.Place((await world.registry()).db, world.entry.uuid, master, SYSTEM)
        await registry_sign_in.put_oidc(home, PROVIDER, delete_users=False)
        yield Cell(world, made, consumer, shown)


async def token(client: httpx.AsyncClient) -> str:
    answer = await client.get(TOKEN)
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["token"]
    return text


def in_file(place: parts.Place) -> list[str]:
    return place.key_file.read_text().split()


async def test_every_secret_moves_to_a_new_key_while_the_registry_serves(place: parts.Place):
    async with cell(place) as served:
        (old,) = in_file(place)
        was = served.world.parts.master.name

        said = await rekeying.rotate(served.world.parts, alone=True)

        new, kept = in_file(place)
        name = MasterKey.parse(new).name
        assert (kept, await served.masters()) == (old, {name})
        assert f"wrapped by the master key {name}: {SECRETS} moved just now" in said
        assert was in said
        assert old not in said
        assert new not in said
        await served.serves()


async def test_a_process_that_runs_wraps_new_secrets_by_the_new_key(place: parts.Place):
    async with cell(place) as served:
        await rekeying.rotate(served.world.parts, alone=True)
        name = MasterKey.parse(in_file(place)[0]).name
        # Its own idea of the key is as old as its start.
        await token(served.world.clients[-1])
        await token(await served.world.add_registry())
        registry = await served.world.registry()
        await registry.access.tokens.rotate()

        assert await served.masters() == {name}
        assert "forgotten" not in await rekeying.forget(served.world.parts)
        assert len(in_file(place)) == 1
        await served.serves()
    async with served.again() as anew:
        await anew.serves()


async def test_once_the_old_key_is_forgotten_it_opens_nothing(place: parts.Place):
    async with cell(place) as served:
        (old,) = in_file(place)
        await rekeying.rotate(served.world.parts, alone=True)
        await rekeying.forget(served.world.parts)

        assert old not in in_file(place)
        with pytest.raises(MasterKeyWrong):
            await served.serves(MasterKey.parse(old))
    async with served.again() as anew:
        await anew.serves()


@pytest.mark.parametrize("after", range(SECRETS + 1))
async def test_a_rotation_that_is_killed_after_any_secret_is_ended_by_the_next(
    place: parts.Place, monkeypatch: pytest.MonkeyPatch, after: int
):
    done = 0

    async def killed(db: Database, registry: str, master: MasterKey, what: Wrapped) -> int:
        nonlocal done
        if done == after:
            raise Killed
        moved = await whole(db, registry, master, what)
        done += moved
        return moved

    whole = keys.rewrap
    async with cell(place) as served:
        with monkeypatch.context() as dying:
            dying.setattr(keys, "rewrap", killed)
            with pytest.raises(Killed):
                await rekeying.rotate(served.world.parts, alone=True)
        new, old = in_file(place)
        await served.serves()
        async with served.again() as anew:
            await anew.serves()
        if after < SECRETS:
            with pytest.raises(CannotRotate, match="secrets need another key"):
                await rekeying.forget(served.world.parts)

        said = await rekeying.rotate(served.world.parts, alone=True)

        assert f"{SECRETS - after} moved just now" in said
        assert in_file(place) == [new, old]
        assert await served.masters() == {MasterKey.parse(new).name}
        await rekeying.forget(served.world.parts)
        await served.serves()


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
async def test_a_secret_of_a_turn_that_began_before_the_rotation_moves_too(place: parts.Place):
    async with cell(place) as served:
        registry = await served.world.registry(served.world.entries[-1])
        old, begun, goes_on = MasterKey.open("", place.key_file), asyncio.Event(), asyncio.Event()
        old.path = None

        async def slow(tx: object) -> None:
            # It has read the file, and writes late.
            served.world.parts.master.path = None
            begun.set()
            await goes_on.wait()
            await registry.access.tokens._make(tx)  # type: ignore[arg-type]
            served.world.parts.master.path = place.key_file

        turn = asyncio.create_task(registry.db.change(slow))
        await begun.wait()
        async with parts.opened(place) as elsewhere:
            rotating = asyncio.create_task(rekeying.rotate(elsewhere, alone=True))
            while len(in_file(place)) == 1:
                await asyncio.sleep(0.01)
            goes_on.set()
            await turn
            await rotating

        assert await served.masters() == {MasterKey.parse(in_file(place)[0]).name}
        await served.serves()


async def test_of_two_rotations_at_once_one_is_refused(place: parts.Place):
    async with cell(place) as served:
        with keys.rotating(place.key_file), pytest.raises(CannotRotate, match="another command is changing"):
            await rekeying.rotate(served.world.parts, alone=True)

        assert len(in_file(place)) == 1


async def test_what_a_killed_command_left_of_a_key_is_taken_away(place: parts.Place):
    async with cell(place) as served:
        draft = place.data / ".master.key.0123456789abcdef"
        draft.write_text(NEW)

        await rekeying.rotate(served.world.parts, alone=True)

        assert not draft.exists()
        assert NEW not in in_file(place)
        assert place.key_file.stat().st_mode & 0o777 == 0o600


async def test_a_key_of_ones_own_is_taken_from_the_file(place: parts.Place):
    async with cell(place) as served:
        (old,) = in_file(place)
        place.key_file.write_text(f"{NEW}\n{old}\n")

        await rekeying.rotate(served.world.parts, alone=True)

        assert await served.masters() == {MasterKey.parse(NEW).name}
        await served.serves()


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
async def test_where_other_machines_may_have_files_of_their_own_a_rotation_is_refused(place: parts.Place):
    async with cell(place) as served:
        with pytest.raises(CannotRotate, match="--alone"):
            await rekeying.rotate(served.world.parts, alone=False)

        assert len(in_file(place)) == 1


async def test_a_key_of_the_environment_is_rotated_in_three_steps(place: parts.Place):
    given = dataclasses.replace(place, master_key=OLD)
    async with cell(given) as served:
        with pytest.raises(CannotRotate, match="MOORAGE_MASTER_KEY holds one key"):
            await rekeying.rotate(served.world.parts, alone=True)
        # The new key after the old one: whatever another process wraps, this one opens.
        async with at(served, dataclasses.replace(place, master_key=f"{OLD} {NEW}")) as anew:
            await anew.serves()
        async with at(served, dataclasses.replace(place, master_key=f"{NEW},{OLD}")) as anew:
            await anew.serves()
            with pytest.raises(CannotRotate, match=f"{SECRETS} secrets need another key"):
                await rekeying.forget(anew.world.parts)
            said = await rekeying.rotate(anew.world.parts, alone=True)
            forgot = await rekeying.forget(anew.world.parts)
            await anew.serves()

        assert f"{SECRETS} moved just now" in said
        assert "can be alone in MOORAGE_MASTER_KEY" in forgot
        assert not place.key_file.exists()
    async with at(served, dataclasses.replace(place, master_key=NEW)) as anew:
        await anew.serves()


@asynccontextmanager
async def at(served: Cell, place: parts.Place) -> AsyncIterator[Cell]:
    """Serve a cell as a process does that is given another key."""
    moved = dataclasses.replace(served.world.parts, place=place)
    async with dataclasses.replace(
        served, world=dataclasses.replace(served.world, parts=moved)
    ).again() as anew:
        yield anew


async def test_secrets_of_a_registry_that_has_left_the_directory_move_too(place: parts.Place):
    async with cell(place) as served:
        await provisioning.leave(served.world.parts.cell, served.world.entries[1].id)

        await rekeying.rotate(served.world.parts, alone=True)

        assert await served.masters() == {MasterKey.parse(in_file(place)[0]).name}
