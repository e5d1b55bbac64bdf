"""Names are read by OCI's rules, and their projects by Harbor's."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moorage.oci import names
from moorage.oci.digests import Digest
from moorage.oci.errors import DigestInvalid, NameInvalid, TagInvalid
from moorage.oci.names import COMPONENT_RULE, NAME_LIMIT, PROJECT_RULE, TAG_RULE, RepositoryName


def matching(rule: str) -> st.SearchStrategy[str]:
    """Make texts that a rule allows, short enough for two to make a name."""
    return st.from_regex(rule, fullmatch=True).filter(lambda text: len(text) <= NAME_LIMIT // 2)


@given(matching(PROJECT_RULE), matching(COMPONENT_RULE))
def test_what_the_rules_allow_is_read_and_written_back(project: str, rest: str):
    name = RepositoryName.parse(f"{project}/{rest}")

    assert str(name) == f"{project}/{rest}"
    assert name.project == project
    assert RepositoryName.parse(rest) == RepositoryName.parse(f"library/{rest}")


@given(st.text(alphabet="abc019._-/A \n\x00é") | st.text())
@example("a/b\n")
def test_text_is_a_name_or_is_refused(text: str):
    try:
        name = RepositoryName.parse(text)
    except NameInvalid:
        return

    for component in str(name).split("/"):
        assert re.fullmatch(COMPONENT_RULE, component)
    assert re.fullmatch(PROJECT_RULE, name.project)


def test_one_component_is_in_the_library():
    assert str(RepositoryName.parse("nginx")) == "library/nginx"


def test_components_may_be_called_like_the_wire_s_own():
    assert RepositoryName.parse("a/blobs/manifests/tags").project == "a"


@pytest.mark.parametrize(
    ("text", "component"),
    [
        ("", '""'),
        ("/a", '""'),
        ("a/", '""'),
        ("a//b", '""'),
        ("a/..", r'"\.\."'),
        ("Team/app", '"Team"'),
        ("team/App", '"App"'),
        ("team/a___b", '"a___b"'),
        ("team/a..b", r'"a\.\.b"'),
        ("team/-a", '"-a"'),
        ("team/a_", '"a_"'),
        ("team/a%2fb", '"a%2fb"'),
        ("team/é", '"é"'),
    ],
)
def test_a_refusal_names_the_component_and_the_rule(text: str, component: str):
    with pytest.raises(NameInvalid, match=f"{component} breaks the rule for each part") as refused:
        RepositoryName.parse(text)

    assert refused.value.detail["rule"] == COMPONENT_RULE


@pytest.mark.parametrize("project", ["a__b", "a--b", "a---b"])
def test_a_project_that_harbor_would_not_have_is_refused_with_its_rule(project: str):
    with pytest.raises(NameInvalid, match=f'"{project}" breaks the rule for projects') as refused:
        RepositoryName.parse(f"{project}/app")

    assert refused.value.detail["rule"] == PROJECT_RULE
    assert str(RepositoryName.parse(f"team/{project}")) == f"team/{project}"
    assert str(RepositoryName.parse(project)) == f"library/{project}"


def test_a_name_may_have_255_characters_and_not_one_more():
    longest = "a/" + "b" * 253

    assert str(RepositoryName.parse(longest)) == longest
    with pytest.raises(NameInvalid, match="256 characters, and 255 are allowed"):
        RepositoryName.parse(longest + "b")


def test_the_library_counts_in_the_length():
    with pytest.raises(NameInvalid, match="too long"):
        RepositoryName.parse("b" * 248)


def test_a_huge_name_is_refused_shortly():
    with pytest.raises(NameInvalid) as refused:
        RepositoryName.parse("a-" * 1_000_000)

    assert len(str(refused.value)) < 400


def test_a_project_is_read_by_its_own_rule():
    assert names.project("my-team_1.x") == "my-team_1.x"
    for text in ("", "a/b", "A", "a__b", "a" * 256, "a\n"):
        with pytest.raises(NameInvalid):
            names.project(text)


@given(st.from_regex(TAG_RULE, fullmatch=True))
def test_a_tag_is_a_reference(text: str):
    assert names.reference(text) == names.tag(text) == text


@pytest.mark.parametrize("text", ["", ".a", "-a", "a/b", "a b", "é", "a" * 129, "latest\n", "a\x00"])
def test_what_is_no_tag_is_refused(text: str):
    with pytest.raises(TagInvalid, match="is not a tag"):
        names.reference(text)


def test_a_colon_makes_a_reference_a_digest():
    digest = Digest.of(b"a")

    assert names.reference(str(digest)) == digest
    with pytest.raises(DigestInvalid):
        names.reference("latest:1")
