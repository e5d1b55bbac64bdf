"""Whoever sets the place where people sign in gets no secret that is kept for another, and whoever came by it is out."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam

from moorage.api.harbor.operations import PREFIX
from moorage.db import Statement, Tx, insert
from moorage.db.tables import user_identity
from moorage.identity import accounts, configuration, users
from tests.functional.ldap_world import PERSON, current, put, turn_on
from tests.functional.oidc_world import Staffed
from tests.servers.directory import Directory
from tests.worlds import World

CAME = Statement(
    insert(user_identity).values(
        issuer=bindparam("issuer"), subject="1", user_id=bindparam("user_id"), created_at=0, claims="{}"
    )
)


async def kept(world: World, name: str) -> bool:
    """Say whether a secret is kept."""
    return name in await configuration.get((await world.registry()).db, name)


async def test_a_directory_that_is_taken_away_leaves_its_password_to_no_other(
    ldap_world: World, directory: Directory
):
    directory.add_person("alice", PERSON)
    await turn_on(ldap_world, directory)
    assert await put(ldap_world, auth_mode="db_auth", ldap_url="") == (200, "")
    gone = await kept(ldap_world, "ldap_search_password")
    # What comes next has no password until it is given one.
    assert (await put(ldap_world, auth_mode="ldap_auth", ldap_url=directory.tls_url))[0] == 200

    assert (gone, await current(ldap_world, "alice")) == (False, {"status": 503})
    await turn_on(ldap_world, directory)
    assert (await current(ldap_world, "alice"))["username"] == "alice"


@pytest.mark.parametrize("staffed", ["sqlite"], indirect=True)
async def test_a_providers_secret_goes_to_no_other_host(staffed: Staffed):
    async def set_(**given: object) -> tuple[int, str]:
        answer = await staffed.admin.put(f"{PREFIX}/configurations", json=given)
        return answer.status_code, answer.text

    moved = await set_(oidc_endpoint="https://elsewhere.example.com")
    off = await set_(auth_mode="db_auth", oidc_endpoint="https://elsewhere.example.com")
    near = await set_(oidc_endpoint=f"{staffed.issuer.issuer}/realms/team")
    there = await kept(staffed.world, "oidc_client_secret")
    away = await set_(auth_mode="db_auth", oidc_endpoint="")

    assert [(status, "oidc_client_secret: has to be given" in text) for status, text in (moved, off)] == [
        (400, True)
    ] * 2
    assert (near[0], there, away[0], await kept(staffed.world, "oidc_client_secret")) == (
        200,
        True,
        200,
        False,
    )


async def test_who_came_by_an_issuer_of_any_name_is_signed_out_and_nobody_else(ldap_world: World):
    db = (await ldap_world.registry()).db
    ours, others = "ldap:o=acme\\2c inc_,c=us", "ldap:o=acme\\2c incx,c=us"

    async def work(tx: Tx) -> list[int]:
        numbers = [await users.create(tx, name=name, password=None) for name in ("ann", "bob")]
        for issuer, number in zip((ours, others), numbers, strict=True):
            await tx.run(CAME, issuer=issuer, user_id=number)
        return numbers

    numbers = await db.change(work)
    await db.change(lambda tx: users.sign_out_outside(tx, ours))
    found = [await accounts.by_subject(db, "user", one) for one in numbers]
    stamps = [one.valid_from for one in found if one is not None]

    assert stamps[0] > stamps[1]
    assert await users.from_outside(db, ours) == {numbers[0]: "ann"}
