"""The responsibility matrix that Moorage comes with, and that every event there is has its place in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from moorage.cloud import activities, contents
from moorage.cloud.activities import CUSTOMER, PROVIDER, Software
from tests.house.source import modules

# The parts of the customer and of the provider in each activity, from the first to the last, said again by hand.
PARTS = (
    "RA/CI RA/I RA/I RA/I RA/I -/RA -/RA RA/- RA/- RA/- -/RA RA/I RA/I RA/I RA/I RA/I -/RA -/RA -/RA I/RA I/RA -/RA RA/- RA/I"
    " RA/- -/RA I/RA I/RA I/RA -/RA -/RA RA/I RA/- I/RA RA/I RA/I I/RA RA/- I/RA RA/- I/RA RA/I RA/- RA/- RA/I RA/- RA/I -/RA"
    " -/RA"
)
KIND = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\.[a-z]+(?:-[a-z]+)*")
# Words with a dot that are no kinds of event.
NO_KINDS = {"catalogue.toml", "activities.toml", "moorage.cloud"}


def test_the_matrix_has_every_activity_with_its_parts():
    matrix = activities.matrix()

    assert [one.id for one in matrix.activities] == [f"R{number:02}" for number in range(1, 50)]
    assert " ".join(f"{one.customer}/{one.provider}" for one in matrix.activities) == PARTS
    assert all(one.text and one.section for one in matrix.activities)


def test_what_is_built_has_evidence_and_nothing_else_has():
    """An activity that no event is evidence of can never be shown to be done."""
    matrix = activities.matrix()

    assert {one.id for one in matrix.activities if one.software is Software.YES} == matrix.evidenced


def test_every_kind_of_event_has_its_place_in_the_matrix():
    """Whoever adds a kind of event says which activities it is evidence of, or that it is of none."""
    matrix = activities.matrix()
    counted = {one for kinds in (contents.CHANGES, contents.PULLS) for many in kinds.values() for one in many}

    strange = set(_kinds()) - set(matrix.kinds) - matrix.of_no_activity - counted - NO_KINDS

    assert not strange, "put them in activities.toml, under [kinds] or in of_no_activity"


def test_no_kind_stands_in_the_matrix_that_nothing_writes():
    matrix = activities.matrix()

    assert set(matrix.kinds) | matrix.of_no_activity <= set(_kinds())


def _kinds() -> Iterator[str]:
    for path, tree in modules("src"):
        if "moorage/cloud/" in path.as_posix() or path.name in {"endpoints.py", "ordering.py", "working.py"}:
            for node in ast.walk(tree):
                if (
                    isinstance(node, ast.Constant)
                    and isinstance(node.value, str)
                    and KIND.fullmatch(node.value)
                ):
                    yield node.value


@pytest.mark.parametrize(
    ("kind", "customer", "provider"),
    [
        ("registry.ordered", False, True),
        ("release.deployed", True, False),
        ("registry.delivered", True, False),
        ("content.collected", False, False),
        ("of.no-kind", False, False),
    ],
)
def test_whoever_is_informed_of_an_activity_is_told(kind: str, customer: bool, provider: bool):  # noqa: FBT001 - a row of the table above.
    matrix = activities.matrix()

    assert (matrix.tells(kind, CUSTOMER), matrix.tells(kind, PROVIDER)) == (customer, provider)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[kinds]\n"a.b" = { evidence_of = ["R02"] }', "a.b: there is no activity R02"),
        ('[kinds]\n"a.b" = { evidence_of = ["R01"], tells = ["us"] }', "a.b: us is none of the parties"),
        ("[kinds]\n[[activity]]\n", "two activities have one id"),
    ],
)
def test_a_matrix_that_breaks_a_rule_is_refused(text: str, told: str):
    line = '[[activity]]\nid = "R01"\nsection = "s"\ntext = "t"\ncustomer = "RA"\nprovider = "-"\nsoftware = "no"\n'
    text = text.replace("[[activity]]\n", line)

    with pytest.raises(ValueError, match=told):
        activities.read(f"of_no_activity = []\n{line}{text}")
