"""Pages of Harbor's lists: what a request asks for, and what it is refused for."""

from __future__ import annotations

import pytest

from moorage.api.harbor import pages
from moorage.api.harbor.problems import Invalid
from moorage.db.pages import Asked, Condition, How, QueryInvalid


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        ("a=b", (Condition("a", How.EXACT, ("b",)),)),
        ("a%3Db%2Cc%3D~d", (Condition("a", How.EXACT, ("b",)), Condition("c", How.FUZZY, ("d",)))),
        ("a=[1~2],b=[~2]", (Condition("a", How.RANGE, ("1", "2")), Condition("b", How.RANGE, ("", "2")))),
        ("a={1 2  3}", (Condition("a", How.ANY, ("1", "2", "3")),)),
        ("a=(1 2)", (Condition("a", How.ALL, ("1", "2")),)),
        ("a=\\~b", (Condition("a", How.EXACT, ("~b",)),)),
        ('a={"1" b}', (Condition("a", How.ANY, ("1", "b")),)),
        ("a=b=c", (Condition("a", How.EXACT, ("b=c",)),)),
    ],
)  # fmt: skip
def test_a_query_is_read(text: str, found: tuple[Condition, ...]):
    assert pages.conditions(text) == found


@pytest.mark.parametrize(
    "text", ["a", "a=", "=b", "a=~", "a=[1", "a=[1]", "a=[~]", "a=[1~2~3]", "a={1", "a=()", ",", "a=b,"]
)
def test_what_is_no_query_is_refused(text: str):
    with pytest.raises(QueryInvalid, match="cannot be read"):
        pages.conditions(text)


def test_a_page_has_its_bounds():
    assert pages.read({}).asked == Asked(1, 10)
    assert pages.read({"page": "3", "page_size": "100", "sort": "a,-b"}).asked == Asked(
        3, 100, (), (("a", False), ("b", True))
    )
    assert pages.read({"page": "0", "page_size": "-1"}).asked == Asked(1, 100)
    for query in ({"page_size": "101"}, {"page": "x"}, {"page_size": "9" * 30}):
        with pytest.raises(Invalid):
            pages.read(query)
    with pytest.raises(QueryInvalid, match="16 are read"):
        pages.conditions(",".join(f"a{n}=b" for n in range(17)))


def test_links_lead_to_the_pages_beside():
    def links(number: int, total: int) -> str:
        return pages.read({"page": str(number)}).links("/api/v2.0/projects", f"q=a%3Db&page={number}", total)

    before, after = (
        '</api/v2.0/projects?page={}&page_size=10&q=a%3Db>; rel="{}"'.format(*one)
        for one in ((1, "prev"), (3, "next"))
    )
    assert links(2, 25) == f"{before} , {after}"
    assert links(1, 10) == ""
    assert links(9, 10) == ""
