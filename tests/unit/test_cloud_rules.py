"""What a credential's access rules grant, and from where."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.cloud.rules import EVERYTHING, MOST_ADDRESSES, MOST_RULES, Limits, Rule, RuleInvalid

GET = ("GET", "/*")


@pytest.mark.parametrize(
    ("pattern", "path", "granted"),
    [
        ("/me", "/me", True),
        ("/me", "/me/", False),
        ("/me", "/men", False),
        ("/me", "/ME", False),
        ("/*", "/cloud/project", True),
        ("/*", "/", True),
        ("/cloud/*", "/cloud/project/a/containerRegistry", True),
        ("/cloud/*", "/cloud", False),
        ("/cloud/project/*/containerRegistry", "/cloud/project/a/containerRegistry", True),
        ("/cloud/project/*/containerRegistry", "/cloud/project/a/containerRegistry/b", False),
        ("/cloud/project/*/containerRegistry/*", "/cloud/project/a/containerRegistry/b/plan", True),
        ("/a*a", "/a", False),
        ("/a*a", "/aa", True),
        ("/a**b", "/ab", True),
        ("/a.c", "/abc", False),
        ("/a[bc]", "/ab", False),
    ],
)
def test_a_star_is_any_text_and_all_else_is_itself(pattern: str, path: str, *, granted: bool):
    assert Rule("GET", pattern).allows("GET", path) is granted
    assert not Rule("GET", pattern).allows("POST", path)


@given(st.text("ab*/", max_size=12), st.text("ab/", max_size=12))
def test_stars_match_as_an_expression_would(pattern: str, path: str):
    expression = ".*".join(map(re.escape, pattern.split("*")))

    assert Rule("GET", pattern).allows("GET", path) is bool(re.fullmatch(expression, path))


def test_a_rule_full_of_stars_is_told_apart_without_going_back():
    """By backtracking, this would take until the end of time."""
    assert not Rule("GET", "/" + "*a" * 250 + "b").allows("GET", "/" + "a" * 1000)


def test_every_rule_counts_alone():
    limits = Limits.checked([("GET", "/me"), ("PUT", "/cloud/*")], None)

    assert limits.allow("GET", "/me")
    assert limits.allow("PUT", "/cloud/x")
    assert not limits.allow("GET", "/cloud/x")
    assert not limits.allow("DELETE", "/me")


def test_everything_is_every_method_of_every_path():
    limits = Limits(EVERYTHING)

    assert all(limits.allow(method, "/any/thing") for method in ("GET", "POST", "PUT", "DELETE"))
    assert not limits.allow("PATCH", "/any/thing")


@pytest.mark.parametrize(
    ("addresses", "client", "allowed"),
    [
        (None, "203.0.113.9", True),
        ([], "203.0.113.9", True),
        (["203.0.113.9"], "203.0.113.9", True),
        (["203.0.113.0/24"], "203.0.113.9", True),
        (["203.0.113.7/24"], "203.0.113.9", True),
        (["203.0.113.0/24"], "203.0.114.9", False),
        (["203.0.113.0/24"], "::ffff:203.0.113.9", True),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "203.0.113.9", False),
        (["203.0.113.0/24"], "", False),
        (["203.0.113.0/24"], "unix", False),
        (["0.0.0.0/0"], "2001:db8::1", False),
    ],
)
def test_a_credential_is_kept_to_its_addresses(addresses: list[str] | None, client: str, *, allowed: bool):
    assert Limits.checked([GET], addresses).allow_address(client) is allowed


@pytest.mark.parametrize("addresses", [None, ["203.0.113.0/24", "2001:db8::/32"]])
def test_what_a_row_holds_is_what_was_asked_for(addresses: list[str] | None):
    limits = Limits.checked([GET, ("PUT", "/a*")], addresses)

    assert Limits.kept(*limits.as_rows()) == limits


@pytest.mark.parametrize(
    ("rules", "addresses", "told"),
    [
        ([], None, r"accessRules: must have 1 to 100"),
        ([GET] * (MOST_RULES + 1), None, "accessRules: must have"),
        ([("get", "/")], None, r"accessRules\[0\].method: must be one of GET"),
        ([GET, ("HEAD", "/")], None, r"accessRules\[1\].method"),
        ([("GET", "")], None, r"accessRules\[0\].path: must begin with /"),
        ([("GET", "me")], None, r"accessRules\[0\].path"),
        ([("GET", "/" + "a" * 512)], None, r"accessRules\[0\].path"),
        ([("GET", "/a b")], None, r"accessRules\[0\].path"),
        ([("GET", "/a\n")], None, r"accessRules\[0\].path"),
        ([("GET", "/é")], None, r"accessRules\[0\].path"),
        ([("GET", "/\0")], None, r"accessRules\[0\].path"),
        ([GET], ["everywhere"], r"allowedIPs\[0\]: must be an address or a network"),
        ([GET], ["192.0.2.1", "192.0.2.0/33"], r"allowedIPs\[1\]"),
        ([GET], ["192.0.2.1"] * (MOST_ADDRESSES + 1), "allowedIPs: must have at most"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(
    rules: list[tuple[str, str]], addresses: list[str] | None, told: str
):
    with pytest.raises(RuleInvalid, match=told):
        Limits.checked(rules, addresses)
