"""A project renamed, and a repository moved, under pushes, uploads, deletes and collection, in every order that there is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from moorage.identity import old_names
from moorage.oci.digests import Digest
from moorage.oci.errors import NameUnknown
from moorage.oci.names import RepositoryName
from moorage.registry import moving, projects, renaming
from tests.model import scenarios
from tests.model.explorer import Actor, Explorer, Stage, Violation, World
from tests.model.scenarios import (
    LAYER,
    TAG,
    Q,
    R,
    Scene,
    collector,
    deleter,
    ensuring,
    image,
    pusher,
    putting,
)
from tests.model.test_interleavings import FUSED, chosen

__all__ = ["chosen"]


def following(name: RepositoryName, make: Callable[[RepositoryName], Stage]) -> Stage:
    """Do as whoever answers requests does: where nothing has the name, go on with what had it."""

    async def stage(world: World, kept: dict[str, Any]) -> int | None:
        current = name
        while True:
            try:
                return await make(current)(world, kept)
            except NameUnknown:
                tried = current
                found = await world.db.change(lambda tx: old_names.repository_of(tx, name))
                if found is None or found == tried:
                    raise Violation(f"the old name {name} leads nowhere") from None
                current = found

    return stage


def old_pusher(who: str, name: RepositoryName, data: bytes, what: str) -> Actor:
    """Push by one name, whatever the repository is called by then."""

    async def put(world: World, kept: dict[str, Any], at: RepositoryName) -> None:
        await putting(at, what, image(data), TAG, (data,), 1)(world, kept)

    return Actor(
        who,
        [
            following(name, lambda at: ensuring(at, data, 0)),
            following(name, lambda at: partial(put, at=at)),
        ],
    )


def renamer(who: str, project: str, name: str) -> Actor:
    """Rename a project in one turn."""

    async def stage(world: World, kept: dict[str, Any]) -> None:
        async def work(tx: Any) -> None:
            found = await projects.find(tx, project)
            assert found is not None
            await renaming.rename(tx, found, name)

        await world.db.change(work)

    return Actor(who, [stage])


def mover(who: str, name: RepositoryName, project: str, rest: str) -> Actor:
    """Move a repository in one turn."""

    async def stage(world: World, kept: dict[str, Any]) -> None:
        async def work(tx: Any) -> None:
            target = await projects.find(tx, await old_names.project_of(tx, project) or project)
            assert target is not None
            await moving.move(tx, name, target, rest)

        await world.db.change(work)

    return Actor(who, [stage])


def check(world: World) -> None:
    """Hold a state to its counts and bytes; and what was acknowledged, and nobody deleted, to be where its name leads."""
    scenarios._counts(world)
    scenarios._bytes(world)
    for name, text, _ in world.acknowledged:
        rows = world.ask(
            "SELECT r.name FROM manifest m JOIN repository r ON r.id = m.repository_id WHERE m.digest = ? AND m.deleted_at IS NULL",
            Digest.parse(text).raw,
        )
        found = {row[0] for row in rows}
        parsed = RepositoryName.parse(name)
        current = world.turn(partial(_now, name=parsed), stamped=False)
        if current not in found:
            raise Violation(f"{text} was pushed to {name}, which is {current} now, and is in {found}")


async def _now(tx: Any, name: RepositoryName) -> str:
    return str(await old_names.repository_of(tx, name) or name)


SEED = pusher("s", R, (LAYER,), "m1", TAG)
THERE = pusher("t", Q, (LAYER,), "m3", TAG)
BESIDE = pusher("z", RepositoryName.parse("p/z"), (LAYER,), "m4", TAG)
SCENES = {
    "renamed while pushed": Scene(
        [SEED],
        [old_pusher("a", R, LAYER, "m2"), renamer("n", "p", "x"), deleter("d", R, "m1"), collector("c")],
        crashes=1,
    ),
    "moved while pushed": Scene(
        [SEED, THERE, BESIDE],
        [old_pusher("a", R, b"other", "m2"), mover("m", R, "q", "c"), collector("c")],
    ),
    "renamed, moved and pushed": Scene(
        [SEED],
        [old_pusher("a", R, b"other", "m2"), renamer("n", "q", "x"), mover("m", R, "q", "c")],
        crashes=1,
    ),
}


@pytest.mark.parametrize("name", list(SCENES))
def test_no_order_of_turns_loses_what_is_pushed_by_an_old_name(chosen: SimpleNamespace, name: str) -> None:
    scene = SCENES[name]
    world = scene.world(whole=False, prepare=lambda made: setattr(chosen, "world", made))
    rest = partial(scenarios.rest, check=check)
    seen = Explorer(world, check, rest, crashes=scene.crashes, fused=FUSED).explore()

    assert seen.ends > 0
    assert seen.states > 20


def test_a_move_that_leaves_something_counted_where_it_was_is_noticed(
    chosen: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_COUNT_HERE", moving._END_HERE)
    scene = Scene([SEED, BESIDE], [mover("m", R, "q", "c")])
    world = scene.world(whole=False, prepare=lambda made: setattr(chosen, "world", made))

    with pytest.raises(AssertionError, match="recount"):
        Explorer(world, check, partial(scenarios.rest, check=check), crashes=0, fused=FUSED).explore()
