"""Rules of the tests themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests import conftest
from tests.house.source import ROOT, called, dotted, modules, where

SKIPS = {"skip", "skipif", "importorskip", "xfail"}


def test_a_skip_names_the_part_that_is_missing():
    """A test that is skipped proves nothing, so it says what to install; where all is installed, none is skipped."""
    silent = [
        where(path, call)
        for path, tree in modules("tests")
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and dotted(call.func).startswith(("pytest.", "mark."))
        and called(call) in SKIPS
        and "missing" not in " ".join(_words(call))
    ]

    assert not silent, 'a skip whose reason does not say that a part "is missing"'


def test_what_is_begun_first_is_there():
    """A test module that was renamed would fall back among the others, and be begun last."""
    gone = [path for path in conftest.LONG if not (ROOT / "tests" / path).is_file()]

    assert not gone, "in LONG of tests/conftest.py, and no module"


def test_nothing_is_mocked():
    """A mock proves that the code calls what the test thinks it calls; a shipped fake proves what happens."""
    mocked = [
        where(path, node)
        for path, tree in modules("tests")
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("unittest.mock", "mock")))
        or (
            isinstance(node, ast.Import)
            and any(name.name in {"mock", "unittest.mock"} for name in node.names)
        )
    ]

    assert not mocked, "imports a mock"


def _words(call: ast.Call) -> Iterator[str]:
    for node in ast.walk(call):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
