"""`moorage operator` and `moorage grant`: who asks is who knows the operator's password."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from moorage import parts
from moorage.cloud import accounts, registries
from tests.servers.house import moorage

PRINTED = re.compile(r"Operator  (\w+)\nPassword  (\S{43})\n")


def test_operators_are_made_and_ask_for_grants_and_end_them(tmp_path: Path):
    assert moorage("prepare", data=tmp_path).returncode == 0
    made = PRINTED.fullmatch(moorage("operator", "create", "jane", data=tmp_path).stdout)
    assert made is not None
    password = f"{made[2]}\n"
    registry = _first_registry(tmp_path)
    ask = ("grant", "ask", registry, "--as", "jane", "--reason", "incident 7", "--scope", "library")

    wrong = moorage(*ask, data=tmp_path, typed="guess\n")
    asked = moorage(*ask, data=tmp_path, typed=password)
    id_ = asked.stdout.partition("\t")[0]
    approved = moorage("grant", "approve", id_, "--as", "jane", data=tmp_path, typed=password)
    opened = moorage("grant", "open", id_, "--as", "jane", data=tmp_path, typed=password)
    ended = moorage("grant", "end", id_, "--as", "jane", data=tmp_path, typed=password)
    listed = moorage("grant", "list", data=tmp_path)
    disabled = moorage("operator", "disable", "jane", data=tmp_path)
    again = moorage(*ask, data=tmp_path, typed=password)

    assert (wrong.returncode, wrong.stderr) == (1, "unknown operator, or wrong password\n")
    assert asked.stdout == f"{id_}\tASKED\tto be approved by the customer\n"
    assert approved.stderr == "the registry's plan leaves it to the customer to approve grants\n"
    assert opened.stderr == "the grant is ASKED: only one that was approved opens anything\n"
    assert ended.stdout == f"{id_}\tENDED\n"
    assert listed.stdout.startswith(f"{id_}\tENDED\tjane\t{registry}\tlibrary\t")
    assert (disabled.returncode, again.stderr) == (0, wrong.stderr)
    assert moorage("operator", "list", data=tmp_path).stdout.startswith("jane\tdisabled\t")


def _first_registry(data: Path) -> str:
    """Give the id of the house's first registry as the platform knows it."""

    async def ask() -> str:
        async with parts.opened(parts.Place(data, "", (data / "blobs").as_uri(), "")) as opened:
            first = await accounts.first(opened.platform)
            assert first is not None
            (found,) = await registries.listed(opened.platform, first.cloud_project_id)
            return found.id

    return asyncio.run(ask())
