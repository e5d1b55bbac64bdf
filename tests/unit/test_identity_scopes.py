"""The grammar of scopes, with what clients make of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.identity import scopes
from moorage.identity.scopes import Scope


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("repository:team/app:pull", ["repository:team/app:pull"]),
        ("repository:team/app:push,pull", ["repository:team/app:pull,push"]),
        ("repository:team/app:pull,push,delete", ["repository:team/app:delete,pull,push"]),
        ("repository:team/app:*", ["repository:team/app:*"]),
        ("repository:app:pull", ["repository:library/app:pull"]),
        ("repository(plugin):team/app:pull", ["repository:team/app:pull"]),
        ("repository:localhost:5000/team/app:pull", ["repository:team/app:pull"]),
        ("repository:localhost:5000/app:pull", ["repository:library/app:pull"]),
        ("repository:a/b:pull,pull", ["repository:a/b:pull"]),
        ("repository:a/b:pull repository:a/b:push", ["repository:a/b:pull,push"]),
        ("repository:a/b:pull,push repository:c/d:pull", ["repository:a/b:pull,push", "repository:c/d:pull"]),
        ("repository:app:pull repository:library/app:push", ["repository:library/app:pull,push"]),
        ("  repository:a/b:pull   repository:c/d:pull ", ["repository:a/b:pull", "repository:c/d:pull"]),
        ("registry:catalog:*", ["registry:catalog:*"]),
        ("registry:other:*", []),
        ("aws:a/b:pull", []),
        ("repository:a/b:", []),
        ("repository:a/b", []),
        ("repository::pull", []),
        ("repository", []),
        ("repository:UPPER/b:pull", []),
        ("repository:../etc:pull", []),
        ("repository:a/b:pull;drop", []),
        ("repository:a__b/c:pull", []),
        ("repository:a/b:PULL", []),
        ("repository:a/b:pull foo:x:pull", ["repository:a/b:pull"]),
        ("repository:" + "a/" * 200 + "b:pull", []),
        ("", []),
    ],
)
def test_a_scope_is_read_as(text: str, read: list[str]) -> None:
    assert [str(scope) for scope in scopes.parse([text])] == read


def test_several_scope_parameters_are_read_like_one_with_spaces() -> None:
    several = scopes.parse(["repository:a/b:pull", "repository:c/d:push"])

    assert several == scopes.parse(["repository:a/b:pull repository:c/d:push"])


@given(st.text(max_size=300))
def test_no_text_breaks_the_grammar(text: str) -> None:
    for scope in scopes.parse([text]):
        assert scopes.parse([str(scope)]) == (scope,)


@pytest.mark.parametrize(
    ("asked", "allowed", "granted"),
    [
        ({"pull", "push"}, {"pull"}, {"pull"}),
        ({"*"}, {"pull", "push"}, {"pull", "push"}),
        ({"*"}, set(), None),
        ({"push"}, {"pull"}, None),
        ({"pull", "fly"}, {"pull", "push", "delete"}, {"pull"}),
    ],
)
def test_a_grant_is_what_was_asked_and_is_allowed(
    asked: set[str], allowed: set[str], granted: set[str] | None
) -> None:
    scope = Scope("repository", "a/b", frozenset(asked))

    given_ = scopes.granted(scope, frozenset(allowed))

    assert (given_.actions if given_ else None) == granted
