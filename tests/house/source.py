"""The tree as the house rules see it: its files, and their syntax."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def files() -> tuple[Path, ...]:
    """List what belongs to the tree: what git tracks, or would."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file())


def modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    """Give each Python file below the *folders*, read."""
    for path in files():
        if path.suffix == ".py" and any(path.is_relative_to(ROOT / folder) for folder in folders):
            yield path, _tree(path)


def where(path: Path, node: ast.stmt | ast.expr) -> str:
    """Say where a *node* stands, as editors understand it."""
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def called(call: ast.Call) -> str:
    """Give the name that is called: ``run`` of ``subprocess.run(…)``."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def dotted(node: ast.expr) -> str:
    """Give a name with what stands before it: ``subprocess.run``."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{dotted(value)}.{name}"
        case _:
            return ""


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))
