"""How many manifests are read at once."""

from __future__ import annotations

from types import SimpleNamespace

from moorage.registry import facts


def test_manifests_whose_types_are_not_told_yet_are_read_so_many_bytes_at_once() -> None:
    sizes = [1, facts.AT_ONCE - 1, 1, facts.AT_ONCE * 2, 1, 1]
    rows = [SimpleNamespace(id=number, size=size) for number, size in enumerate(sizes)]

    assert facts.portions([]) == []
    assert facts.portions(rows) == [[0, 1], [2], [3], [4, 5]]
