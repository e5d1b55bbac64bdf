"""`moorage application create`: the keys that a program signs its calls with, printed once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moorage.cloud import applications, credentials
from moorage.cloud.applications import AccountMissing, ApplicationNameInvalid
from moorage.cloud.events import SYSTEM
from moorage.db import migrate
from moorage.db.sqlite import SqliteDatabase
from moorage.identity.keys import MasterKey
from tests.functional.ordering_world import Orders
from tests.servers.house import moorage

MASTER = MasterKey((bytes(32),))
PRINTED = re.compile(
    r"Endpoint +http://localhost:\d+/1\.0\nCloud project +[0-9a-f]{32}\nApplication key +(\w{16})\n"
    r"Application secret +(\w{32})\nConsumer key +(\w{32})\n"
)


def test_the_command_prints_what_a_program_signs_with(tmp_path: Path):
    assert moorage("prepare", data=tmp_path).returncode == 0

    one, other = (moorage("application", "create", "pipeline", data=tmp_path) for _ in range(2))

    assert (one.returncode, one.stderr) == (0, "")
    found, again = PRINTED.fullmatch(one.stdout), PRINTED.fullmatch(other.stdout)
    assert found is not None
    assert again is not None
    assert not set(found.groups()) & set(again.groups())
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("platform.sqlite*"))
    assert found[1].encode() in kept
    assert found[2].encode() not in kept
    assert found[3].encode() not in kept


def test_a_name_is_refused_in_one_line(tmp_path: Path):
    assert moorage("prepare", data=tmp_path).returncode == 0

    refused = moorage("application", "create", " ", data=tmp_path)

    assert refused.returncode == 1
    assert refused.stderr == "name: ' ' must have 1 to 64 visible characters, and no space at either end\n"


@pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)
async def test_its_credential_acts_for_the_owner_and_is_in_the_record(orders: Orders):
    made = await orders.platform.change(
        lambda tx: applications.create(tx, MASTER, name="pipeline", origin=SYSTEM)
    )

    found = await credentials.find(orders.platform, MASTER, made.key, made.consumer_key)

    assert (found.secret, found.login_id, found.works) == (made.secret, orders.first.login_id, True)
    assert found.limits.allow("DELETE", "/cloud/project/x/containerRegistry/y")
    assert await orders.told(found.application_id) == [("application.created", "success")]


@pytest.mark.parametrize("name", ["", "a\nb", "a\0", "x" * 65, "a "])
def test_a_name_has_a_rule(name: str):
    with pytest.raises(ApplicationNameInvalid, match="name: "):
        applications.check_name(name)


async def test_without_a_first_account_there_is_none(tmp_path: Path):
    db = await SqliteDatabase.open(tmp_path / "p.sqlite", None, create=True, family=migrate.PLATFORM)

    with pytest.raises(AccountMissing, match="moorage up"):
        await db.change(lambda tx: applications.create(tx, MASTER, name="pipeline", origin=SYSTEM))

    await db.close()
