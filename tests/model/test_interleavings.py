"""Collection against pushes, and every other meeting of two turns, in every order that there is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import bindparam, select

from moorage.db import Statement, insert
from moorage.db.tables import doomed, manifest
from moorage.registry import dooming, holding, links, manifests, quotas, trash, uploads
from moorage.storage import Hasher, Key
from tests.model import scenarios
from tests.model.explorer import CounterExample, Explorer, Given, Seen, Step, Store
from tests.model.scenarios import LAYER, TAG, R, Scene

WHOLE = bool(os.environ.get("MOORAGE_EXPLORE_WHOLE"))
"""Explore all there is, for minutes: without it, fewer ticks of the clock, and what only its own actor sees is one step."""

FUSED = frozenset() if WHOLE else frozenset({"write", "commit", "size", "read", "after"})


@pytest.fixture(autouse=True)
def chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Make the same keys and ids whenever an actor does the same again."""
    now = SimpleNamespace(world=None)
    monkeypatch.setattr(uploads, "new_key", lambda: now.world.new_key())  # noqa: PLW0108 the world comes later
    monkeypatch.setattr(
        uploads, "secrets", SimpleNamespace(token_urlsafe=lambda _: f"{now.world.acting}upload")
    )
    return now


def explore(
    chosen: SimpleNamespace, scene: Scene, *, whole: bool = WHOLE, fused: frozenset[str] = FUSED
) -> Seen:
    world = scene.world(whole=whole, prepare=lambda made: setattr(chosen, "world", made))
    fused = fused & {"after"} if scene.close else fused
    crashes = 1 if whole else scene.crashes
    return Explorer(world, scenarios.check, scenarios.rest, crashes=crashes, fused=fused).explore()


@pytest.mark.parametrize("name", list(scenarios.scenes()))
def test_no_order_of_turns_breaks_an_invariant(chosen: SimpleNamespace, name: str):
    seen = explore(chosen, scenarios.scenes()[name])

    assert seen.ends > 0
    assert seen.states > 20


# --- each rule switched off: the explorer must notice ---------------------------------------------------------


def nothing(statement: Statement, column: Any = manifest.c.id) -> Statement:
    """Give a query that finds nothing."""
    clause: Any = statement.clause
    return Statement(clause.where(column < 0))


def test_a_promise_that_head_does_not_extend_is_broken(
    chosen: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    async def extends_nothing(tx: Any, repository_id: int, blob_id: int) -> None:
        return

    monkeypatch.setattr(links, "extend", extends_nothing)

    with pytest.raises(CounterExample, match="a promised blob was refused"):
        explore(chosen, scenarios.scenes()["the lease ends between HEAD and PUT"])


def test_bytes_doomed_without_their_window_are_missed_by_a_restore(
    chosen: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    at_once = insert(doomed).values(
        key=bindparam("key"), size=bindparam("size"), destroy_at=bindparam("at"), tries=bindparam("tries")
    )
    monkeypatch.setattr(quotas, "_DOOM", Statement(at_once))

    with pytest.raises(CounterExample, match="after it was restorable"):
        explore(chosen, scenarios.scenes()["two collectors"], whole=True)


def test_bytes_that_no_row_dooms_stay_for_ever(chosen: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    never = select(manifest.c.id).where(
        manifest.c.id == bindparam("at") + bindparam("tries") + bindparam("size"),
        manifest.c.media_type == bindparam("key"),
    )
    monkeypatch.setattr(quotas, "_DOOM", Statement(never))

    with pytest.raises(CounterExample, match="bytes for ever"):
        explore(chosen, scenarios.scenes()["two collectors"])


def test_a_key_that_is_used_twice_is_destroyed_while_it_lives(
    chosen: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    async def write_over(
        self: Store, key: Key, offset: int, source: Given, hasher: Hasher, *, limit: int
    ) -> int:
        hasher.update(source.data)
        await Step("write", lambda world: world.bytes.update({key: source.data}))
        return len(source.data)

    monkeypatch.setattr(uploads, "new_key", lambda: Key("always"))
    monkeypatch.setattr(Store, "write", write_over)

    with pytest.raises(CounterExample, match="a living key is doomed"):
        explore(chosen, scenarios.scenes()["two projects finish one digest"])


def test_bytes_that_are_written_after_they_were_destroyed_stay_unless_they_are_destroyed_again(
    chosen: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    async def once(tx: Any, key: Key, *, twice: bool) -> None:
        await tx.run(dooming._DOOM, key=key, at=dooming.AT_ONCE)

    monkeypatch.setattr(dooming, "doom", once)

    with pytest.raises(CounterExample, match="bytes for ever"):
        explore(chosen, scenarios.scenes()["an upload cancelled while it is written"])


def test_a_row_before_its_bytes_is_a_row_without_bytes(chosen: SimpleNamespace):
    scene = Scene([], [scenarios.pusher("a", R, (LAYER,), "m1", TAG, row_first=True)], close=True)

    with pytest.raises(CounterExample, match="rows without bytes"):
        explore(chosen, scene)


def test_an_index_restored_without_its_children_is_not_whole(
    chosen: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trash, "_TRASHED_CHILDREN", nothing(trash._TRASHED_CHILDREN, trash._row.c.id))

    with pytest.raises(CounterExample, match="child: "):
        explore(chosen, scenarios.scenes()["an index, then its child, deleted"])


def test_a_child_deleted_under_a_live_index_leaves_it_broken(
    chosen: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(manifests, "_IN_INDEX", nothing(manifests._IN_INDEX))

    with pytest.raises(CounterExample, match="child: "):
        explore(chosen, scenarios.scenes()["an index over a deleted child"])


def test_links_chosen_before_the_turn_are_saved_by_the_foreign_key_alone(chosen: SimpleNamespace):
    before = [scenarios.uploader("s", R, LAYER)]
    actors = [scenarios.pusher("a", R, (LAYER,), "m1", TAG), scenarios.stale_collector("c", 2)]

    with pytest.raises(CounterExample, match=r"Broken: FOREIGN KEY|recount"):
        explore(chosen, Scene(before, actors, (3, 7)))


def test_a_referrer_that_revival_forgets_stays_loose(
    chosen: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(holding, "_REFERRERS", nothing(holding._REFERRERS))

    with pytest.raises(CounterExample, match="loose: "):
        explore(chosen, scenarios.scenes()["a referrer while its subject is deleted"])
