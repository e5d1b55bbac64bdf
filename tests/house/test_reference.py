"""What can be set, refused and asked for stands in the reference."""

from __future__ import annotations

import re

from docs import generate
from moorage import settings
from tests.house.source import ROOT


def test_the_reference_pages_say_what_the_code_says():
    """A page that is written by hand goes stale; these are written by `make docs`."""
    stale = [
        str(path.relative_to(ROOT)) for path, text in generate.pages().items() if path.read_text() != text
    ]

    assert not stale, "run: make docs"


def test_every_setting_is_in_the_reference():
    page = (generate.FOLDER / "settings.md").read_text()

    missing = [
        one.variable for _, group in settings.groups() for one in group if f"`{one.variable}`" not in page
    ]

    assert not missing


def test_every_error_code_is_in_the_reference():
    page = (generate.FOLDER / "errors.md").read_text()

    missing = [one.__name__ for one in generate.problems() if f"| `{one.code}` | {one.status} |" not in page]

    assert not missing


def test_every_command_is_in_the_reference():
    page = (generate.FOLDER / "commands.md").read_text()

    missing = [name for name in generate.subcommands() if f"\n## moorage {name}\n" not in page]

    assert not missing


def test_every_problem_tells_its_code_status_and_rule():
    """A refusal without a summary of its own tells a caller nothing."""
    vague = [
        one.__name__
        for one in generate.problems()
        if not one.__doc__ or one.summary == "the request was refused"
    ]

    assert not vague


def test_every_link_between_pages_leads_somewhere():
    """A page that was renamed leaves no link to its old name."""
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in generate.markdown_files(ROOT)
        for target in generate.links(page)
        if not (page.parent / target).exists()
    ]

    assert not broken


def test_every_test_that_a_page_names_exists():
    """An invariant that names a test which is gone is held by nothing."""
    named = [
        (page, *found)
        for page in generate.markdown_files(ROOT)
        for found in re.findall(r"`(tests/[\w/.]*)(?:::(\w+))?`", page.read_text())
    ]

    gone = [
        f"{page.relative_to(ROOT)}: {path} {name}"
        for page, path, name in named
        if not (ROOT / path).exists() or (name and f"def {name}(" not in (ROOT / path).read_text())
    ]

    assert not gone
