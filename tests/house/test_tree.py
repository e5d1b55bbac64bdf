"""The tree stands on its own: it names no machine that it was written on."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from tests.house.source import ROOT, files

# Absolute folders of somebody's machine, folders beside the tree, and addresses of package indexes and proxies:
# whoever installs chooses those.
FOREIGN = re.compile(
    r"(?<![\w.})-])/(?:work|root|home|Users|mnt)/\w|(?<![\w./-])(?:\.\./)*shared/(?:\w+\.md|knowledge)"
    r"|--(?:extra-)?index-url|find-links|(?:proxy|pypi|files|registry)\.(?:golang|org|pythonhosted|npmjs)\b",
)
# A lock holds hashes alone, and this file its own pattern.
LEFT_OUT = {Path(__file__)}


def test_no_file_names_a_machine_that_it_was_written_on():
    """A clone on a stranger's machine has neither those folders nor those addresses."""
    foreign = [
        f"{path.relative_to(ROOT)}:{number}: {found.group()}"
        for path in files()
        if path not in LEFT_OUT
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if (found := FOREIGN.search(line))
    ]

    assert not foreign


def test_no_file_is_left_half_merged_or_half_done():
    """What is unfinished stands in an issue, where somebody will find it."""
    marks = re.compile(r"^(?:<{7}|>{7}) |\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")

    left = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files()
        if path.suffix not in {".lock", ".json"}
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if marks.search(line)
    ]

    assert not left


def test_every_dependency_says_why_it_is_there():
    """A dependency that nobody can justify is one that nobody will remove."""
    text = (ROOT / "pyproject.toml").read_text()
    blocks = re.findall(r"^(?:dependencies|build|test|check) = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)

    silent = [line.strip() for block in blocks for line in block.splitlines() if "  # " not in line]

    assert len(blocks) == 4
    assert not silent


def test_every_rule_that_is_off_says_why():
    """A check that is switched off without a reason, on its line or the one before, is switched off for good."""
    noqa = re.compile(r"#\s*noqa(?::\s*[A-Z0-9, ]+)?(?P<why>.*)")

    silent = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files()
        if path.suffix == ".py" and path not in LEFT_OUT
        for number, (before, line) in enumerate(pairwise(["", *path.read_text().splitlines()]), start=1)
        if (found := noqa.search(line)) and len(found["why"].strip(" -#")) < 4 and "#" not in before
    ]

    assert not silent
