"""`moorage ledger`: a chain is exported, and checked by who has nothing but the file and the published keys."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from moorage import parts
from moorage.cloud import accounts, events, heads, signing
from moorage.db import Statement
from moorage.db.platform import cloud_registry
from tests.servers.house import moorage


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Make a house, and have its ledger hold what its first start has done; give its folder and the first registry."""
    data = tmp_path_factory.mktemp("ledger")
    assert moorage("prepare", data=data).returncode == 0
    return data, asyncio.run(_filled(data))


async def _filled(data: Path) -> str:
    async with parts.opened(parts.Place(data, "", (data / "blobs").as_uri(), "")) as opened:
        platform = opened.platform
        first = await accounts.first(platform)
        assert first is not None
        await events.drain(platform, {}, _nothing)
        row = await platform.one(Statement(cloud_registry.select()))
        await heads.sign_due(platform, opened.master)
        await events.drain(platform, {}, _nothing)
        saved = [{"publicKey": key.pem} for key in await signing.published(platform)]
        (data / "keys.json").write_text(json.dumps(saved))
        return str(row.id)


async def _nothing(*_: object) -> None:
    raise AssertionError("no job hangs on these events")


def test_a_chain_is_exported_and_checked_elsewhere(house: tuple[Path, str], tmp_path: Path):
    data, registry = house
    exported = moorage("ledger", "export", registry, data=data)
    assert (exported.returncode, exported.stderr) == (0, "")
    file = tmp_path / "chain.jsonl"
    file.write_text(exported.stdout)

    # There is no house here, and none is needed.
    alone = moorage("ledger", "verify", str(file), data=tmp_path / "nowhere")
    trusting = moorage(
        "ledger", "verify", str(file), "--keys", str(data / "keys.json"), data=tmp_path / "nowhere"
    )

    assert (alone.returncode, trusting.returncode) == (0, 0), alone.stderr + trusting.stderr
    assert trusting.stdout == (f"{registry}: 2 entries\n1 signed heads, who did it in 2 entries\nwhole\n")
    key = json.loads(exported.stdout.splitlines()[0])["keyId"]
    assert f"compare with those that the provider publishes: the key {key}\n" in alone.stdout


def test_what_was_altered_is_told_and_the_status_says_so(house: tuple[Path, str], tmp_path: Path):
    data, registry = house
    file = tmp_path / "chain.jsonl"
    file.write_text(moorage("ledger", "export", registry, data=data).stdout.replace('"R04"', '"R06"'))

    refused = moorage("ledger", "verify", str(file), "--keys", str(data / "keys.json"), data=tmp_path)

    assert refused.returncode == 1
    assert f"line 2: entry 1 of {registry} was altered" in refused.stdout
    assert refused.stdout.endswith("NOT WHOLE\n")


def test_a_chain_is_checked_where_it_is(house: tuple[Path, str]):
    data, registry = house

    for what in (("--registry", registry), ("--provider",)):
        checked = moorage("ledger", "verify", *what, data=data)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert checked.stdout.endswith("whole\n")


def test_the_provider_is_told_what_it_is_informed_of(house: tuple[Path, str]):
    data, _ = house

    feed = [json.loads(line) for line in moorage("ledger", "feed", data=data).stdout.splitlines()]
    rest = moorage("ledger", "feed", "--after", str(feed[0]["moorageseq"]), data=data).stdout

    assert {"moorage.account.created", "moorage.registry.taken-in"} <= {one["type"] for one in feed}
    assert [json.loads(line) for line in rest.splitlines()] == feed[1:]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("export", "nobody"), "the ledger has no chain nobody: name a registry's id, or provider\n"),
        (("verify", "missing.jsonl"), "missing.jsonl: it cannot be read: "),
        (
            ("verify", "pyproject.toml", "--keys", "pyproject.toml"),
            "pyproject.toml: this is not what the API answers at",
        ),
    ],
)
def test_what_cannot_be_checked_is_told_in_one_line(
    house: tuple[Path, str], given: tuple[str, ...], told: str
):
    refused = moorage("ledger", *given, data=house[0])

    assert refused.returncode == 1
    assert refused.stderr.startswith(told)
    assert refused.stderr.count("\n") == 1


def test_after_the_signing_key_was_changed_heads_by_either_are_whole(tmp_path: Path):
    assert moorage("prepare", data=tmp_path).returncode == 0
    asyncio.run(_filled(tmp_path))
    before = json.loads(moorage("certificate", "keys", data=tmp_path).stdout)

    changed = moorage("signing-key", "rotate", data=tmp_path)
    asyncio.run(_signed(tmp_path))
    checked = moorage("ledger", "verify", "--provider", data=tmp_path)
    exported = moorage("ledger", "export", "provider", data=tmp_path).stdout
    lines = [json.loads(line) for line in exported.splitlines()]

    (new,) = [line.split()[-1] for line in changed.stdout.splitlines()]
    signed_by = [line["keyId"] for line in lines if line["type"] == "head"]
    assert (changed.returncode, checked.returncode) == (0, 0), changed.stderr + checked.stdout
    assert signed_by == [before[0]["keyId"], new]
    assert checked.stdout.endswith("whole\n")
    assert [one["kind"] for one in lines if str(one.get("kind")).startswith("signing")] == [
        "signing-key.rotated"
    ]
    # Whoever has kept the keys from before has lost none of them.
    after = json.loads(moorage("certificate", "keys", data=tmp_path).stdout)
    assert (after[0], [one["keyId"] for one in after][1:]) == (before[0], [new])


async def _signed(data: Path) -> None:
    """Sign a head of the provider's chain though it is no new day."""
    async with parts.opened(parts.Place(data, "", (data / "blobs").as_uri(), "")) as opened:
        await events.drain(opened.platform, {}, _nothing)
        assert await heads.sign(opened.platform, opened.master, "provider")
