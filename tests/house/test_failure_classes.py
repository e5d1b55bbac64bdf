"""The page of failure classes: none is left out, and each is held by a test or says which part is not built yet."""

from __future__ import annotations

import re

from tests.house.source import ROOT

PAGE = ROOT / "docs" / "explanation" / "failure-classes.md"
# Classes of parts that do not exist here yet.
NOT_BUILT = {24, 25, 27}
TEST = re.compile(r"`tests/[\w/.]+::\w+`")


def test_no_class_is_left_out():
    """A class that nobody lists is one that nobody tests."""
    assert list(_numbered()) == list(range(1, 31))


def test_each_class_names_a_test_or_the_part_that_is_not_built():
    """What holds a class is found by its name; that the test exists, another rule of the house holds."""
    numbered = _numbered()

    assert {number for number, held in numbered.items() if not TEST.search(held)} == NOT_BUILT
    assert all("not built yet: " in numbered[number] for number in NOT_BUILT)


def test_each_kind_of_vulnerability_names_a_test():
    """A kind that was met elsewhere, and is tried by nothing here, is met here too."""
    kinds = [
        line for line in PAGE.read_text().partition("## Vulnerabilities")[2].splitlines() if "CVE-" in line
    ]

    assert len(kinds) >= 9
    assert [line for line in kinds if not TEST.search(line)] == []


def _numbered() -> dict[int, str]:
    """Give what stands beside each class's number."""
    rows = (re.match(r"\| (\d+) \|(.*)\|$", line) for line in PAGE.read_text().splitlines())
    return {int(row[1]): row[2] for row in rows if row}
