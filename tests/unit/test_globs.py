"""Patterns of names and tags, and what the longest of them cost."""

from __future__ import annotations

import random
import re
import sys
from types import FrameType
from typing import Any

import pytest

from moorage.oci.globs import matches

FEW = 1_000_000
"""Lines of code: a match by going back would take more than there is time for."""


@pytest.mark.parametrize(
    ("pattern", "text", "matched"),
    [
        ("v1", "v1", True),
        ("v1", "v10", False),
        ("v1", "xv1", False),
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("v*", "v1.2", True),
        ("*-rc", "v1-rc", True),
        ("*-rc", "v1-rc2", False),
        ("v?", "v1", True),
        ("v?", "v", False),
        ("v?", "v10", False),
        ("a*b", "a/b", False),
        ("a?b", "a/b", False),
        ("a**b", "a/x/b", True),
        ("***", "a/b", True),
        ("**a*b", "a/ab", True),
        ("{v1,v2}", "v2", True),
        ("{v1,v2}", "v3", False),
        ("{v1,v2}", "v1,v2", False),
        ("{v,}1", "1", True),
        ("{v*,r?}-{a,b}", "v12-b", True),
        ("{v*,r?}-{a,b}", "r12-b", False),
        ("a,b", "a,b", True),
        ("{a", "{a", True),
        ("a}", "a}", True),
        ("{a{b}}", "{a{b}}", True),
        ("{a{b}}", "ab", False),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("a+(b)|^$", "a+(b)|^$", True),
    ],
)
def test_a_pattern_matches_whole_texts(pattern: str, text: str, *, matched: bool):
    assert matches(pattern, text) is matched


def test_patterns_match_what_a_regular_expression_does():
    chance = random.Random(7)
    translated = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    for _ in range(3000):
        pieces = [chance.choice(["a", "b", "/", "*", "?", "**"]) for _ in range(chance.randrange(7))]
        # Stars that meet would be read as one.
        pattern = re.sub(r"\*{2,}", "**", "".join(pieces))
        pieces = re.findall(r"\*\*|.", pattern)
        expression = re.compile("".join(translated.get(piece, piece) for piece in pieces))
        text = "".join(chance.choice("ab/") for _ in range(chance.randrange(8)))

        assert matches(pattern, text) is (expression.fullmatch(text) is not None), (pattern, text)


@pytest.mark.parametrize(
    "pattern", ["*a" * 60 + "b", "**a" * 60 + "b", "{*,**}" * 30 + "b", "{a,a*,*a}" * 30 + "b"]
)
def test_no_pattern_takes_long(pattern: str):
    lines = 0

    def count(_frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        assert lines < FEW
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        matched = matches(pattern, "a" * 128)
    finally:
        sys.settrace(before)

    assert not matched
