"""The page about Harbor's API says of each operation, and of each thing that can be set, what the code does with it."""

from __future__ import annotations

import re

from moorage.api.harbor import off
from moorage.api.harbor.operations import OPERATIONS
from moorage.identity.configurable import KEYS
from moorage.registry import metadata
from tests.house.source import ROOT

PAGE = (ROOT / "docs" / "reference" / "harbor-api.md").read_text()


def named(title: str) -> set[str]:
    """Give the names that stand as code in a section."""
    _, _, rest = PAGE.partition(f"\n{title}\n")
    assert rest, title
    return {*re.findall(r"`(\w+)`", re.split(r"^##", rest, maxsplit=1, flags=re.MULTILINE)[0])}


def test_what_is_off_is_named_as_it_is():
    assert named("### Reads as empty") == {*off.answers()} - off.ABSENT - off.REFUSED
    assert named("### Is not there: 404") == off.ABSENT
    assert named("### Is refused: 412") == off.REFUSED
    assert f"Of its {sum(not one.added for one in OPERATIONS)} operations" in PAGE


def test_what_is_added_to_harbors_is_named():
    assert named("## What is ours") == {one.id for one in OPERATIONS if one.added}


def test_every_key_of_the_configuration_is_named_with_why_it_is_not_set_here():
    assert named("## The configuration") == {*KEYS}
    for name, key in KEYS.items():
        assert (f"| `{name}` | {key.fixed} |" in PAGE) == bool(key.fixed), name


def test_all_that_is_set_for_a_project_is_named():
    assert named("## What is set for a project") >= {*metadata.FLAGS, metadata.SEVERITY}
