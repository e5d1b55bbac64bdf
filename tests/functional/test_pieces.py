"""The pieces in which a long body is consumed: a store writes them as they come."""

from __future__ import annotations

from itertools import pairwise

from moorage.api.http.limits import Limits
from tests.functional.http_world import BIG, Client, Site, push


async def test_no_piece_passes_a_multiple_of_a_buffers_size(site: Site, wire: Client) -> None:
    """The page cache keeps a piece as a whole if it begins where such a one may: an odd beginning must not last."""
    await wire.send(push(len(BIG)) + BIG[:300])
    await site.app.until_kept(300)

    await wire.send(BIG[300:])

    assert (await wire.answer())[0] == 201
    ends, whole = site.app.ends, Limits().piece_bytes
    assert ends[-1] == len(BIG)
    assert [pair for pair in pairwise([0, *ends]) if pair[0] // whole != (pair[1] - 1) // whole] == []
