"""Whom a robot trusts, through Harbor's API: said by whoever may change its secret, shown, changed and ended."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, RSAKey
from sqlalchemy import select

from moorage.api.harbor.operations import PREFIX
from moorage.db import Statement
from moorage.db.tables import event
from moorage.identity import trusts
from moorage.identity.roles import Role
from moorage.registry import relay
from tests.functional.test_harbor_robots import made, of_project, of_system, refusal
from tests.servers.lying_issuer import lying_issuer
from tests.worlds import World, opened

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

GITHUB = "https://token.actions.githubusercontent.com"
GITLAB = "https://gitlab.com"
CLUSTER = "https://kubernetes.default.svc.cluster.local"
ACCOUNT = "/kubernetes.io/serviceaccount/uid"
SIGNED_IN = Statement(select(event.c.body).where(event.c.kind == "robot.sign-in"))
KEY = ECKey.generate_key("P-256", {"kid": "k"})


def of_github(**more: Any) -> dict[str, Any]:
    """Say what makes a trust in a repository of GitHub's."""
    claims = {"repository_id": "74", "ref": ["refs/heads/main", "refs/heads/next"]}
    return {"issuer": GITHUB, "claims": claims} | more


async def robot(client: httpx.AsyncClient, name: str = "ci") -> str:
    """Make a robot of the library, and give the path of its trusts."""
    return f"{PREFIX}/robots/{(await made(client, of_project(name)))['id']}/trusts"


async def _nothing(*_: object) -> None:
    """Nobody waits for these events."""


async def test_a_trust_is_made_shown_changed_and_ended(world: World):
    boss = await world.add_user("boss", Role.PROJECT_ADMIN)
    path = await robot(boss)

    answer = await boss.post(path, json=of_github())

    told = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"{path}/{told['id']}")
    # Without an audience it is the address by which the registry is asked.
    assert told["audience"] == boss.base_url.netloc.decode()
    assert {key: told[key] for key in ("issuer", "claims", "description")} == of_github(description="")
    one = answer.headers["location"]
    assert (await boss.get(one)).json() == told
    public = KEY.as_dict(private=False)
    other = {"issuer": CLUSTER, "audience": "here", "claims": {ACCOUNT: "u"}, "jwks": {"keys": [public]}}
    assert (await boss.put(one, json=other | {"description": "the cluster"})).status_code == 200
    now = (await boss.get(one)).json()
    assert (now["claims"], now["audience"], now["jwks"]) == ({ACCOUNT: "u"}, "here", {"keys": [public]})
    assert (await boss.post(path, json=of_github(claims={"repository_id": 74, "x": True}))).status_code == 201
    listed = await boss.get(path, params={"page_size": 1, "sort": "-id"})
    assert (listed.headers["x-total-count"], listed.json()[0]["claims"]) == (
        "2",
        {"repository_id": 74, "x": True},
    )
    assert [row["issuer"] for row in (await boss.get(path, params={"q": "issuer=~kubernetes"})).json()] == [
        CLUSTER
    ]
    assert (await boss.delete(one)).status_code == 200
    assert [refusal(await boss.request(verb, one, json=other)) for verb in ("GET", "PUT", "DELETE")] == [
        (404, "NOT_FOUND")
    ] * 3
    registry = await world.registry()
    await relay.drain(registry.db, registry.entry.uuid, {}, _nothing)
    logs = (await boss.get(f"{PREFIX}/projects/library/auditlog-exts", params={"sort": "id"})).json()
    assert [(row["operation"], row["resource_type"], row["resource"]) for row in logs][-5:] == [
        ("create", "robot", "robot$library+ci"), *[("update", "robot", "robot$library+ci")] * 4,
    ]  # fmt: skip


async def test_a_trust_in_what_may_be_anothers_one_day_is_refused_with_what_to_ask_for(world: World):
    path = await robot(world.client)
    wrong: list[tuple[dict[str, Any], str]] = [
        (of_github(claims={"repository": "octo-org/octo-repo"}), "GitHub: repository_id or repository_owner_id"),
        (of_github(claims={"sub": "repo:octo-org/octo-repo:ref:refs/heads/main"}), "GitHub: repository_id"),
        # What GitHub's tokens say that is not known to be an id is none.
        (of_github(claims={"repository_owner": "octo-org", "made_up": "1"}), "GitHub: repository_id"),
        (of_github(issuer="https://token.actions.octo.ghe.com", claims={"sub": "1"}), "repository_id"),
        (of_github(issuer="https://github.example.com/_services/token", claims={"sub": "1"}), "repository_id"),
        (of_github(claims={"sub": "repo:octo-org@65/octo-repo:environment:x@74/y@1"}), "repository_id"),
        (of_github(claims={"sub": ["repo:a@1/b@2:ref:refs/heads/main", "repo:a/b:ref:x"]}), "repository_id"),
        (of_github(issuer=GITLAB, claims={"project_path": "a/b", "ref": "main"}), "GitLab: namespace_id or"),
        (of_github(issuer="https://gitlab.example.com", claims={"project_path": "a/b"}), "GitLab: namespace_id"),
        (of_github(issuer="https://gitlab.example.com", claims={"sub": "project_path:a/b"}), "GitLab: namespace_id"),
        (of_github(issuer=CLUSTER, claims={"sub": "system:serviceaccount:a:b"}), ACCOUNT),
        (of_github(issuer=CLUSTER, claims={"/kubernetes.io/namespace": "a", "sub": "1"}), ACCOUNT),
        (of_github(issuer="https://accounts.example.com", claims={"email": "a@example.com"}), "id that lasts"),
        (of_github(issuer="https://accounts.example.com", claims={"sub": "a@example.com"}), "id that lasts"),
    ]  # fmt: skip

    for body, told in wrong:
        answer = await world.client.post(path, json=body)
        message = answer.json()["errors"][0]["message"]
        assert (answer.status_code, told in message, "somebody else's" in message) == (400, True, True), body
    for issuer, claims in (
        (GITHUB, {"repository_owner_id": "65"}),
        (GITHUB, {"sub": "repo:octo-org@65/octo-repo@74:ref:refs/heads/main"}),
        (GITLAB, {"namespace_id": "72", "ref_protected": "true"}),
        ("https://accounts.google.com", {"sub": "1032"}), ("https://gitlab.example.com", {"project_id": "20"}),
        ("https://ci.example.com", {"pipeline": "8d0c"}), (CLUSTER, {ACCOUNT: "u", "sub": "system:serviceaccount:a:b"}),
    ):  # fmt: skip
        answer = await world.client.post(path, json={"issuer": issuer, "claims": claims})
        assert answer.status_code == 201, answer.text


async def test_what_no_trust_can_be_is_refused(world: World):
    path = await robot(world.client)
    long = "x" * 600
    public, private = KEY.as_dict(private=False), KEY.as_dict(private=True)
    weak = {"kty": "RSA", "e": "AQAB", "n": "AQAB"}
    wrong: list[dict[str, Any]] = [
        {}, {"issuer": GITHUB}, of_github(claims={}), of_github(claims=None), of_github(issuer=""),
        # It must be one that can be asked, unless its keys are given: no plain HTTP, no address of ours or a cloud's.
        of_github(issuer="http://ci.example.com"), of_github(issuer="ftp://ci.example.com"), of_github(issuer="ci"),
        of_github(issuer="https://127.0.0.1"), of_github(issuer="https://169.254.169.254"), of_github(issuer="https://[::1]"),
        of_github(issuer="https://u:p@ci.example.com"), of_github(issuer=f"https://{long}.example.com"),
        of_github(audience="a b"), of_github(audience=long), of_github(description="x" * 1025), of_github(description="\0"),
        of_github(claims={"repository_id": "74", "aud": "x"}), of_github(claims={"repository_id": "74", "iss": "x"}),
        of_github(claims={"repository_id": "74", "exp": 1}), of_github(claims={"repository_id": "74", "": "x"}),
        of_github(claims={"repository_id": "74", "a b": "x"}), of_github(claims={"repository_id": ""}),
        of_github(claims={"repository_id": []}), of_github(claims={"repository_id": [str(n) for n in range(21)]}),
        of_github(claims={"repository_id": long}), of_github(claims={f"c{n}": "x" for n in range(13)}),
        of_github(jwks={}), of_github(jwks={"keys": []}), of_github(jwks={"keys": [public] * 11}),
        of_github(jwks={"keys": [weak]}), of_github(jwks={"keys": [public, public]}), of_github(jwks={"keys": ["k"]}),
        of_github(jwks={"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}), of_github(jwks={"keys": [private]}),
        of_github(jwks={"keys": [RSAKey.generate_key(2048).as_dict(private=True)]}),
    ]  # fmt: skip

    found = [(await world.client.post(path, json=body)).status_code for body in wrong]
    unread = of_github(claims={"repository_id": {"a": 1}})

    assert found == [400] * len(wrong)
    assert (await world.client.post(path, json=unread)).status_code == 422
    assert (await world.client.get(path)).json() == []
    for _ in range(trusts.MOST):
        assert (await world.client.post(path, json=of_github())).status_code == 201
    full = await world.client.post(path, json=of_github())
    assert (full.status_code, "at most 20 trusts" in full.text) == (400, True)


async def test_who_may_not_change_a_robot_changes_nothing_of_whom_it_trusts(world: World):
    path = await robot(world.client)
    one = (await world.client.post(path, json=of_github())).headers["location"]
    other = await robot(world.client, "other")
    of_all = await made(
        world.client, of_system("all", ("project", "*", "robot", "create"), ("project", "*", "robot", "read"))
    )
    clients = {role.name: await world.add_user(role.name.lower(), role) for role in Role}
    clients |= {"elsewhere": await world.add_user("elsewhere", Role.PROJECT_ADMIN, "elsewhere")}
    clients |= {"robot": await world.as_(of_all["name"], of_all["secret"]), "nobody": await world.as_(None)}
    nowhere = f"{PREFIX}/robots/999999/trusts"

    found = {}
    for who, client in clients.items():
        asks = [
            ("GET", path),
            ("GET", one),
            ("POST", path),
            ("PUT", one),
            ("DELETE", f"{path}/999999"),
            ("POST", nowhere),
        ]
        found[who] = [
            (await client.request(verb, where, json=of_github())).status_code for verb, where in asks
        ]

    reads = [200, 200, 403, 403, 403, 403]
    assert found == {
        "PROJECT_ADMIN": [200, 200, 201, 200, 404, 403], "MAINTAINER": reads, "DEVELOPER": reads, "GUEST": reads,
        "LIMITED_GUEST": [403] * 6, "elsewhere": [403] * 6, "robot": reads[:2] + [403] * 4, "nobody": [401] * 6,
    }  # fmt: skip
    # A trust is one of its own robot alone.
    number = one.rpartition("/")[2]
    for verb in ("GET", "PUT", "DELETE"):
        answer = await world.client.request(verb, f"{other}/{number}", json=of_github())
        assert refusal(answer) == (404, "NOT_FOUND")
    assert (await world.client.get(one)).status_code == 200


async def test_an_issuer_that_the_operator_allows_is_asked_by_the_registry_itself(
    world: World, tmp_path: Path
):
    """From the trust to what the robot does by it, through the whole application."""
    place = world.parts.place
    home = tmp_path / "allowed"
    home.mkdir()
    apart = replace(place, data=home, store_url=(home / "blobs").as_uri())
    with lying_issuer() as issuer:
        body = of_github(issuer=issuer.issuer)
        # No network of the operator's own is asked where nothing else was said.
        refused = await world.client.post(await robot(world.client), json=body)
        assert (refused.status_code, "no public address" in refused.text) == (400, True)
        async with opened(apart, CALL_NETWORKS="127.0.0.0/8") as open_:
            path = await robot(open_.client)
            told = (await open_.client.post(path, json=body)).json()
            now = int(time.time())
            said = {
                "repository_id": "74",
                "ref": "refs/heads/main",
                "iss": issuer.issuer,
                "iat": now,
                "exp": now + 300,
            }
            text = issuer.signed(said | {"aud": told["audience"], "sub": "repo:octo-org/octo-repo:x\n"})
            given = await asked(open_, "robot$library+ci", text)
            assert 0 < given.json()["expires_in"] <= 900
            # The record knows whose token it was: a robot is many jobs.
            assert await logins(open_) == [
                ("robot$library+ci", f"repo:octo-org/octo-repo:x of {issuer.issuer}")
            ]
            # It signs in by either of its names, whatever its registry has its robots called.
            renamed = {"robot_name_prefix": "bot$"}
            assert (await open_.client.put(f"{PREFIX}/configurations", json=renamed)).status_code == 200
            for name in ("bot$library+ci", "robot$library+ci", "__token__"):
                assert (await asked(open_, name, text)).status_code == 200, name
            one = await open_.as_("robot$library+ci", text)
            assert (await one.get("/v2/library/app/tags/list")).status_code == 404
            # No robot, by whatever it signs in, begins a session.
            form = {"principal": "robot$library+ci", "password": text}
            assert (await (await open_.as_(None)).post("/c/login", data=form)).status_code in {401, 403}
            assert (await open_.client.delete(f"{path}/{told['id']}")).status_code == 200
            assert (await asked(open_, "robot$library+ci", text)).status_code == 401
            assert (await one.get("/v2/library/app/tags/list")).status_code == 401


async def asked(world: World, name: str, text: str) -> httpx.Response:
    """Ask for a token to pull, with another's as the password."""
    scope = {"service": "harbor-registry", "scope": "repository:library/app:pull"}
    return await (await world.as_(name, text)).get("/service/token", params=scope)


async def logins(world: World) -> list[tuple[str, str]]:
    """List which robots the log has signed in, and by whose tokens the record says that it was."""
    registry = await world.registry()
    await registry.gathered.flush()
    shown = (
        await world.client.get(f"{PREFIX}/audit-logs", params={"q": "operation=login,resource_type=robot"})
    ).json()
    rows = await registry.db.all(SIGNED_IN)
    return list(
        zip((one["username"] for one in shown), (json.loads(row.body)["asked"] for row in rows), strict=True)
    )
