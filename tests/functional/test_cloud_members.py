"""Members of a cloud project: whom its owner lets in, whom others' invitations reach, and who cannot be sent away."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import bindparam, select, update

from moorage.cloud.members import Role
from moorage.db import Statement
from moorage.db.platform import account, cloud_invitation, cloud_outbox
from tests.functional.cloud_api_world import Api, Customer

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

NAME = Statement(select(account.c.name).where(account.c.id == bindparam("id")))
LATE = Statement(
    update(cloud_invitation).where(cloud_invitation.c.id == bindparam("which")).values(expires_at=1)
)
HAPPENED = Statement(
    select(cloud_outbox.c.kind, cloud_outbox.c.body)
    .where(cloud_outbox.c.cloud_project_id == bindparam("cloud_project"))
    .order_by(cloud_outbox.c.id)
)
PASSWORD = "Another-pass-1"


async def called(api: Api, who: Customer) -> str:
    """Give the name that a user is asked by."""
    return f"{(await api.orders.platform.one(NAME, id=who.account)).name}/somebody"


async def colleague(api: Api, name: str = "ada") -> dict[str, Any]:
    """Make a user in the owner's account."""
    given = {"login": name, "email": f"{name}@example.com", "password": PASSWORD}
    answer = await api.owner.client.post("/1.0/me/identity/user", json=given)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def asked(api: Api, user: str, role: str = "reader") -> dict[str, Any]:
    """Ask a user to be a member."""
    answer = await api.owner.call("POST", "/member", {"user": user, "role": role})
    assert answer.status_code == 200, answer.text
    given: dict[str, Any] = answer.json()
    return given


async def test_a_user_of_the_same_account_is_a_member_at_once_until_sent_away(api: Api):
    made, home = await colleague(api), (await called(api, api.owner)).partition("/")[0]
    joined = await asked(api, f"{home}/ada")
    one = f"/member/{made['id']}"
    changed = await api.owner.call("PUT", one, {"role": "registries"})
    shown = (await api.owner.call("GET", one)).json()
    listed = (await api.owner.call("GET", "/member")).json()
    removed = await api.owner.call("DELETE", one)

    assert joined["invitation"] is None
    assert (joined["member"]["user"], joined["member"]["role"]) == (f"{home}/ada", "reader")
    assert (changed.json(), shown["role"]) == (None, "registries")
    assert {(each["user"], each["role"]) for each in listed} == {
        (f"{home}/somebody", "owner"),
        (f"{home}/ada", "registries"),
    }
    assert (removed.status_code, (await api.owner.call("GET", one)).status_code) == (200, 404)
    rows = await api.orders.platform.all(HAPPENED, cloud_project=api.owner.project)
    assert [row.kind for row in rows] == ["member.added", "member.changed", "member.removed"]
    assert '"before":"reader","after":"registries"' in rows[1].body


async def test_a_user_of_another_account_is_asked_and_decides(api: Api):
    guest = await api.customer()
    told = await asked(api, await called(api, guest))
    invitation = told["invitation"]
    before = await guest.client.get(f"/1.0/cloud/project/{api.owner.project}")
    mine = (await guest.client.get("/1.0/me/invitation")).json()
    accepted = await guest.client.post(f"/1.0/me/invitation/{invitation['id']}/accept")
    after = await guest.client.get(f"/1.0/cloud/project/{api.owner.project}")

    assert (told["member"], before.status_code) == (None, 404)
    assert mine == [invitation]
    assert (accepted.json()["role"], after.status_code) == ("reader", 200)
    again = await guest.client.post(f"/1.0/me/invitation/{invitation['id']}/accept")
    assert again.status_code == 404
    assert (await api.owner.call("GET", "/invitation")).json() == []


async def test_who_there_is_in_another_account_is_told_to_nobody(api: Api):
    guest = await api.customer()
    there = await asked(api, await called(api, guest))
    nobody = await asked(api, (await called(api, guest)).replace("somebody", "nobodyxx"))
    no_account = await asked(api, "no-such-account/somebody")

    secret = ("id", "user", "createdAt", "expiresAt")
    shapes = [
        {name: value for name, value in one["invitation"].items() if name not in secret}
        for one in (there, nobody, no_account)
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    assert len((await api.owner.call("GET", "/invitation")).json()) == 3


async def test_an_invitation_is_nobody_elses_ends_and_is_taken_back(api: Api):
    guest, other = await api.customer(), await api.customer()
    user = await called(api, guest)

    def mine(id_: str, verb: str = "/accept") -> str:
        return f"/1.0/me/invitation/{id_}{verb}"

    first = (await asked(api, user))["invitation"]["id"]
    assert (await other.client.post(mine(first))).status_code == 404
    assert (await other.client.delete(mine(first, ""))).status_code == 404
    second = (await asked(api, user, "billing"))["invitation"]
    # Asked again, the last word counts.
    assert [one["id"] for one in (await guest.client.get("/1.0/me/invitation")).json()] == [second["id"]]
    assert (await guest.client.post(mine(first))).status_code == 404
    assert (await api.owner.call("DELETE", f"/invitation/{second['id']}")).status_code == 200
    assert (await guest.client.post(mine(second["id"]))).status_code == 404
    third = (await asked(api, user))["invitation"]["id"]
    await api.orders.platform.write(LATE, which=third)
    assert (await guest.client.post(mine(third))).status_code == 404
    fourth = (await asked(api, user))["invitation"]["id"]
    assert (await guest.client.delete(mine(fourth, ""))).status_code == 200
    assert (await guest.client.get("/1.0/me/invitation")).json() == []
    assert (await guest.client.get("/1.0/cloud/project")).json() == []


async def test_the_last_owner_stays_one(api: Api):
    me = f"/member/{api.owner.login}"
    removed = await api.owner.call("DELETE", me)
    demoted = await api.owner.call("PUT", me, {"role": "administrator"})
    same = await api.owner.call("PUT", me, {"role": "owner"})
    second = await api.customer(Role.OWNER, api.owner.project)

    assert [one.status_code for one in (removed, demoted, same)] == [409, 409, 200]
    assert "the last owner" in removed.json()["message"]
    assert (await second.client.delete(f"/1.0/cloud/project/{api.owner.project}{me}")).status_code == 200
    assert (await api.owner.call("GET", "/member")).status_code == 404
    there = f"/1.0/cloud/project/{api.owner.project}/member/{second.login}"
    assert (await second.client.delete(there)).status_code == 409


async def test_a_bad_field_is_named_with_its_rule_and_nobody_is_made_a_member(api: Api):
    home = (await called(api, api.owner)).partition("/")[0]
    fine = {"user": "another/ada", "role": "reader"}
    bad: list[tuple[str, object]] = [
        ("user", ""), ("user", "ada"), ("user", "a/b/c"), ("user", "a/"), ("user", "a/\0"), ("user", 1),
        ("user", f"{home}/nobody"), ("user", f"{home}/" + "x" * 300), ("role", "king"), ("role", "Owner"), ("role", None),
        ("other", 1),
    ]  # fmt: skip
    for field, value in bad:
        answer = await api.owner.call("POST", "/member", fine | {field: value})
        assert (answer.status_code, answer.json()["class"]) == (400, "Client::BadRequest"), (field, value)
        assert answer.json()["message"].startswith(field), answer.text
    wrong = await api.owner.call("PUT", f"/member/{api.owner.login}", {"role": "king"})
    assert (wrong.status_code, wrong.json()["message"][:5]) == (400, "role:")
    assert len((await api.owner.call("GET", "/member")).json()) == 1
    assert (await api.owner.call("GET", "/invitation")).json() == []
