"""Regular expressions of others: read as Go reads them, and none of them slow."""

from __future__ import annotations

import random
import re
import time

import pytest

from moorage.identity.patterns import PatternInvalid, compiled

TEXTS = (
    "",
    "a",
    "A",
    "ab",
    "aab",
    "b",
    "team-1",
    "team-12",
    "TEAM",
    "/ops/dev",
    "a.b",
    "x y",
    "]",
    "-",
    "é",
    "aaaa",
    "abab",
)


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "^a$", "^a*$", "^(ab)+$", "a|b", "^(a|b)*$", "^team-\\d+$", "^team-\\d{2}$", "^a{2,3}b?$", "^a{2,}$", "[^a]",
        "^[a-c]+$", "^[]a]$", "^[-a]$", "^[a-]$", "^[\\d-]+$", "\\.", "^/ops/", "(?i)^team", "(?i)^[t-v]", "^(?:a|b)b$",
        "\\s", "\\S",
        "^\\w+$", "^$", "a??b", "(a*)*b", "^(a|ab)(c|bab)$", "^.$", "^..$", "()", "a{0}b", "$", "^(^a)", "(b$)",
    ],
)  # fmt: skip
def test_what_fits_is_what_the_standard_library_finds(text: str):
    for shown in TEXTS:
        # Letters of other alphabets are none of Go's \w.
        assert compiled(text).finds(shown) == bool(re.search(text, shown, re.ASCII)), shown


def test_expressions_put_together_by_chance_fit_as_they_do_there():
    dice = random.Random(7)
    for _ in range(300):
        made = "".join(
            dice.choice(["a", "b", "(a|b)", "a*", "b+", "(ab)?", "[ab]", ".", "a{1,2}", "(a|b*)*"])
            for _ in range(4)
        )
        shown = "".join(dice.choice("abc") for _ in range(dice.randrange(7)))
        text = f"^{made}$"
        assert compiled(text).finds(shown) == bool(re.search(text, shown)), (text, shown)


@pytest.mark.parametrize(
    "text",
    ["(", ")", "a)", "[a", "*", "a{", "a{x}", "a{3,2}", "a{201}", "(?P<a>b)", "(?=a)", "\\", "\\b", "\\1", "[b-a]", "[", "a" * 400,
     "((a{50}){50}){50}", "(" * 40 + ")" * 40],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(text: str):
    with pytest.raises(PatternInvalid):
        compiled(text)


@pytest.mark.parametrize("text", ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(.*.*.*)*x"])
def test_what_makes_others_slow_is_not(text: str):
    began = time.process_time()
    assert not compiled(text).finds("a" * 255 + "!")
    # Elsewhere it takes longer than the sun will shine.
    assert time.process_time() - began < 30
