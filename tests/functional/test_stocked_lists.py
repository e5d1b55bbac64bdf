"""Every list of a stocked registry: walked page by page, by as many statements however long it is, alike on both engines."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from bench import seed
from moorage.api.harbor import pages
from moorage.api.harbor.app import HarborApi
from moorage.api.harbor.operations import PREFIX
from moorage.db import Database
from moorage.db.pages import Asked, Listing, QueryInvalid
from moorage.db.postgres import Postgres
from moorage.db.sqlite import SqliteDatabase
from moorage.identity import groups, members, profiles, users
from moorage.identity.roles import Role
from moorage.registry import artifact_pages, labels, project_pages, projects, recount, repository_pages
from moorage.storage import BlobStore
from moorage.storage.memory import MemoryStore
from tests.functional.harbor_artifacts import path_of
from tests.functional.registry_world import START, Clock
from tests.unit.test_query_plans import Counted
from tests.worlds import ADMIN, World

MANY, EXAMPLES = 101, 40
ENGINES = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)
FULL = "p-000/full"
LISTS = {
    "projects": f"{PREFIX}/projects",
    "quotas": f"{PREFIX}/quotas",
    "repositories": f"{PREFIX}/repositories",
    "repositories of a project": f"{PREFIX}/projects/p-000/repositories",
    "artifacts": f"{path_of(FULL)}/artifacts",
    "artifacts of a project": f"{PREFIX}/projects/p-000/artifacts",
    "latest artifacts": f"{PREFIX}/projects/p-000/artifacts?latest_in_repository=true",
    "tags": f"{path_of('p-000/tagged')}/artifacts/subject/tags",
    "members": f"{PREFIX}/projects/p-000/members",
    "users": f"{PREFIX}/users",
    "groups": f"{PREFIX}/usergroups",
    "labels": f"{PREFIX}/labels?scope=g",
    "labels of a project": f"{PREFIX}/labels?scope=p&project_id={{project}}",
    "logs": f"{PREFIX}/audit-logs",
    "logs of a project": f"{PREFIX}/projects/p-000/logs",
}
KEYS = (
    "name", "id", "type", "size", "tags", "labels", "push_time", "creation_time", "public", "owner", "ProjectID",
    "digest", "op_time", "resource", "username", "role_id", "pull_count", "nothing",
)  # fmt: skip


async def stock(db: Database, store: BlobStore) -> int:
    """Fill a registry in bulk, as pushes and people would have; give the number of the fullest project."""
    layers = await seed.layers_of(db, store)
    await db.change(lambda tx: projects.create(tx, "p-000"))
    shapes = [
        seed.Shape(FULL, MANY, MANY * 5, refer=False),
        seed.Shape("p-000/tagged", 1, MANY, refer=False),
        *(seed.Shape(f"p-000/r-{number:03}", 1, 5, refer=False) for number in range(MANY)),
    ]
    for shape in shapes:
        await db.change(partial(seed.repository_of, shape=shape, layers=layers))

    async def work(tx: Any) -> int:
        home = await projects.find(tx, "p-000")
        assert home is not None
        for number in range(MANY):
            await projects.create(tx, f"q-{number:03}", public=number % 2 == 0)
            user = await users.create(tx, name=f"user-{number:03}", password=None)
            await members.add(tx, home.id, Role.GUEST, user=user)
            await groups.add(tx, f"group-{number:03}", groups.LOCAL)
            for project in (None, home.id):
                await labels.create(tx, project, f"label-{number:03}", "", "#000000")
        return home.id

    return await db.change(work)


async def stocked(world: World) -> int:
    registry = await world.registry()
    return await stock(registry.db, registry.store)


def none(_: int) -> dict[str, object]:
    return {}


def of_project(number: int) -> dict[str, object]:
    return {"project": number}


SHOWN: dict[str, tuple[Listing, Callable[[int], dict[str, object]]]] = {
    "projects": (project_pages._LISTS["all"], none),
    "repositories": (repository_pages._OF_PROJECT, of_project),
    "artifacts": (artifact_pages.OF_PROJECT, of_project),
    "users": (profiles.LISTED, none),
    "members": (members.LISTED, of_project),
    "labels": (labels._LISTED, of_project),
}


async def counting(world: World) -> tuple[httpx.AsyncClient, Counted]:
    """Give a client of the registry's management API whose statements are counted."""
    registry = await world.registry()
    counted = Counted(registry.db)
    client = await world.as_(ADMIN, app=HarborApi.of(replace(registry, db=counted)))
    return client, counted


def at(path: str, **params: object) -> str:
    return (
        path + ("&" if "?" in path else "?") + "&".join(f"{name}={value}" for name, value in params.items())
    )


async def listed(client: httpx.AsyncClient, path: str, **params: object) -> tuple[list[Any], int]:
    answer = await client.get(at(path, **params))
    assert answer.status_code == 200, answer.text
    return answer.json(), int(answer.headers["x-total-count"])


@ENGINES
async def test_every_list_is_whole_page_by_page_and_costs_the_same_however_long(world: World) -> None:
    project = await stocked(world)
    client, counted = await counting(world)

    costs: dict[str, list[int]] = {}
    for name, path in LISTS.items():
        where = path.format(project=project)
        pages, total = [], 1
        for number in itertools.count(1):
            # What nobody has looked at is worked out once: the second look is what a page costs.
            await listed(client, where, page=number, page_size=100)
            counted.asked.clear()
            rows, total = await listed(client, where, page=number, page_size=100)
            pages.append(rows)
            costs.setdefault(name, []).append(len(counted.asked))
            if number * 100 >= total:
                break
        found = [str(one) for page in pages for one in page]
        assert len(found) == len(set(found)) == total, name
        counted.asked.clear()
        few, _ = await listed(client, where, page_size=10)
        costs[name].append(len(counted.asked))
        assert [str(one) for one in few] == found[: len(few)], name
        counted.asked.clear()
        assert await listed(client, where, page=1000, page_size=100) == ([], total), name
        assert len(counted.asked) <= min(costs[name]), name

    assert {name: cost for name, cost in costs.items() if len({*cost}) > 1} == {}
    assert max(max(cost) for cost in costs.values()) <= 12, costs
    assert await recount.recount((await world.registry()).db) == []


SEARCHES = (
    ("repositories of a project", "q=name%253D~r-09", 10),
    ("repositories of a project", "q=artifact_count%3D%5B2~%5D", 1),
    ("projects", "q=public%3Dtrue%2Cname%3D~q-0", 50),
    ("projects", "q=name%3D%7Bq-001 q-002 none%7D&sort=-name", 2),
    ("artifacts of a project", "q=type%3DUNKNOWN", 2 * MANY + 1),
    ("artifacts", "q=tags%3Dsubject", 1),
    ("artifacts", "q=push_time%3D%5B2000-01-01~2999-01-01%5D,nothing%3D1", MANY),
    ("users", "q=username%3D~user-00", 10),
    ("labels", "q=name%3Dlabel-001", 1),
)


@ENGINES
async def test_lists_are_searched(world: World) -> None:
    project = await stocked(world)
    paths = [(at(LISTS[name].format(project=project)) + query, count) for name, query, count in SEARCHES]

    found = [await listed(world.client, path) for path, _ in paths]

    assert [(len(rows), total) for rows, total in found] == [(min(n, 10), n) for _, n in paths]


VALUES = some.one_of(
    some.text(max_size=6),
    some.sampled_from(
        ["true", "1", "-1", "2006-01-02T15:04:05", "9" * 25, "IMAGE", "*", "nil", "\\~x", '"1"']
    ),
)
FORMS = some.sampled_from(["{}={}", "{}=~{}", "{}=[{}~]", "{}=[~{}]", "{}={{{}}}", "{}=({})", "{}={}~", "{}"])
CONDITIONS = some.builds(
    lambda form, key, value: form.format(key, value), FORMS, some.sampled_from(KEYS), VALUES
)
QUERIES = some.lists(CONDITIONS, max_size=3).map(",".join)
# No digest is another registry's, so that the order by them is not.
SORTED = tuple(one for one in KEYS if one != "digest")
SORTS = some.lists(
    some.builds("{}{}".format, some.sampled_from(["", "-", "--"]), some.sampled_from(SORTED)), max_size=3
)


async def strange() -> list[tuple[str, dict[str, str]]]:
    """Give what hypothesis thinks of, of every list."""
    seen: list[tuple[str, dict[str, str]]] = []

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(name=some.sampled_from(sorted(LISTS)), query=QUERIES, sort=SORTS)
    def collect(name: str, query: str, sort: list[str]) -> None:
        seen.append((name, {"q": query, "sort": ",".join(sort)}))

    collect()
    return seen


@ENGINES
async def test_no_query_is_too_strange_for_an_answer(world: World) -> None:
    project = await stocked(world)

    for name, params in await strange():
        answer = await world.client.get(LISTS[name].format(project=project), params=params)
        assert answer.status_code in {200, 400}, (name, params, answer.text)


@pytest.fixture
async def both(tmp_path: Path, postgres_url: str) -> AsyncIterator[list[Database]]:
    """Give a registry on each engine, in which the same happened at the same time."""
    clock = Clock()
    postgres = await Postgres.connect(postgres_url, clock=clock)
    file = await SqliteDatabase.open(tmp_path / "registry.sqlite", 1, create=True, clock=clock)
    databases: list[Database] = [file, postgres.bound((1 << 31) + secrets.randbits(30))]
    for db in databases:
        await db.write(START)
    yield databases
    await file.close()
    await postgres.close()


async def test_both_engines_find_the_same_in_the_same_order(both: list[Database]) -> None:
    numbers = [await stock(db, MemoryStore()) for db in both]
    ids: dict[tuple[int, str], list[int]] = {}

    async def found(place: int, name: str, asked: Asked) -> object:
        """Give the places that rows have among all rows of the list, and how many there are; or why there are none."""
        (listing, params), db = SHOWN[name], both[place]
        if (place, name) not in ids:
            every, total = await listing.listed(db, Asked(1, 1000), **params(numbers[place]))
            assert len(every) == total
            ids[place, name] = sorted(row.id for row in every)
        try:
            rows, total = await listing.listed(db, asked, **params(numbers[place]))
        except QueryInvalid as problem:
            return str(problem)
        return [ids[place, name].index(row.id) for row in rows], total

    for _, params in await strange():
        try:
            asked = pages.read({**params, "page_size": "100"}).asked
        except QueryInvalid:
            continue
        for name in SHOWN:
            assert await found(0, name, asked) == await found(1, name, asked), (name, params)
