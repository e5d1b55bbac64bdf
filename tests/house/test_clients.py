"""The page of clients names what the tests install."""

from __future__ import annotations

import re

from tests.house.source import ROOT

PINNED = re.compile(r"^  \S*?/(?P<name>\w+)@v(?P<version>[\d.]+)$", re.MULTILINE)


def test_the_page_of_clients_names_every_tool_at_its_version():
    """Whoever meets a fault asks first whether the version was ever tried."""
    page = (ROOT / "docs" / "reference" / "clients.md").read_text()
    tried = dict(re.findall(r"^\| ([\w-]+) \| ([\d.]+) \|", page, re.MULTILINE))

    pinned = {
        found["name"]: found["version"] for found in PINNED.finditer((ROOT / ".ci" / "tools").read_text())
    }
    # It is a provider that people sign in by, and no client of ours.
    del pinned["server"]

    # Python's clients are installed with the tests, or each into an environment of its own.
    for lock, name in (
        ("dev", "harborapi"),
        ("harbor-cli", "harbor-cli"),
        ("openapi-generator", "openapi-generator-cli"),
        ("schemathesis", "schemathesis"),
    ):
        locked = (ROOT / "requirements" / f"{lock}.lock").read_text()
        pinned |= dict(re.findall(rf"^({name})==([\d.]+)", locked, re.MULTILINE))

    assert len(pinned) == 11
    assert tried == pinned, "docs/reference/clients.md and what the tests install differ"
