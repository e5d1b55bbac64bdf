"""A repository that is deleted sinks into the trash a step at a time, whoever takes the steps."""

from __future__ import annotations

import pytest

from moorage.oci.errors import NameUnknown
from moorage.registry import collection, fsck, manifests, projects, repositories, sinking, trash
from moorage.registry.events import SYSTEM
from tests.functional.registry_world import APP, WEB, Held, held

__all__ = ["held"]


async def test_collection_goes_on_where_a_process_was_killed(held: Held) -> None:
    """What other repositories have of it stays; what is pushed under the name meanwhile is another's."""
    count = sinking.STEP + 5
    for number in range(count):
        await held.push(APP, b"layer", tag=f"v{number}")
        await held.put(APP, b"layer", subject=await held.put(APP, b"layer", tag="same"))
        await held.upload(APP, b"%d" % number)
        await held.put(APP, b"layer", b"%d" % number, tag=f"n{number}")
    await held.push(WEB, b"layer", tag="stays")
    home = await repositories.get(held.db, APP)

    await held.change(lambda tx: sinking.begin(tx, APP, SYSTEM))
    with pytest.raises(NameUnknown):
        await repositories.get(held.db, APP)
    await held.push(APP, b"new", tag="v0")
    half = await fsck.check(held.db, held.store)
    await held.change(sinking.step)
    await collection.collect(held.db, held.store, longest_request=0, margin=0)

    assert half.findings == ()
    assert (await fsck.check(held.db, held.store)).findings == ()
    # One manifest, its referrer, and those of each layer.
    assert len(await trash.listed(held.db, home, 1000)) == count + 2
    team = await projects.find(held.db, "team")
    assert team is not None
    assert team.used < team.trash
    assert [await repositories.page(held.db, "", 10)] == [["team/app", "team/web"]]
    assert (await manifests.get(held.db, APP, (await held.put(APP, b"new")))).body == b"manifest of new"
