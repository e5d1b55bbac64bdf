"""A setting does something: code outside the settings reads it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields

from moorage import settings
from tests.house.source import ROOT, modules

OPTIONS = ROOT / "src/moorage/options.py"
SETTINGS = ROOT / "src/moorage/settings.py"
CLASSES = {group.__name__: name for name, group in settings.GROUPS.items()}

Read = tuple[str, str]
"""A group's name, and the name of what is read of it."""


def test_every_setting_is_read():
    """A setting that is checked and documented, and that nothing reads, promises what nobody keeps."""
    read = {one for path, tree in modules("src") if path not in {OPTIONS, SETTINGS} for one in _reads(tree)}
    # What is read through a property, which joins several settings, is read too.
    read |= {one for what, those in _properties().items() if what in read for one in those}

    idle = [
        f"{group}.{field.name}"
        for group, class_ in settings.GROUPS.items()
        for field in fields(class_)
        if (group, field.name) not in read
    ]

    assert not idle, "set, checked, documented, and read by nobody"


def test_a_setting_that_only_looks_as_if_it_were_read_is_found():
    source = ast.parse(
        "def one(set_, other):\n"
        "    asked = set_.requests\n"
        "    return asked.manifest_size, set_.keeping.data, other.page_size\n"
        "def two(asked):\n"
        "    return asked.tags_per_push\n"
    )

    assert set(_reads(source)) == {("requests", "manifest_size"), ("keeping", "data")}


def _reads(tree: ast.AST) -> Iterator[Read]:
    """Give what is read as ``….group.field``, or of a name that a function gives to a group."""
    for function in [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]:
        named = {
            node.targets[0].id: node.value.attr
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Attribute)
            and node.value.attr in settings.GROUPS
        }
        for node in ast.walk(function):
            match node:
                case ast.Attribute(value=ast.Attribute(attr=group), attr=what) if group in settings.GROUPS:
                    yield group, what
                case ast.Attribute(value=ast.Name(id=name), attr=what) if name in named:
                    yield named[name], what


def _properties() -> dict[Read, set[Read]]:
    """Give what each property of a group reads of it."""
    tree = dict(modules("src"))[OPTIONS]
    return {
        (CLASSES[class_.name], function.name): {
            (CLASSES[class_.name], node.attr)
            for node in ast.walk(function)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        }
        for class_ in tree.body
        if isinstance(class_, ast.ClassDef) and class_.name in CLASSES
        for function in class_.body
        if isinstance(function, ast.FunctionDef)
    }
