"""Robots that sign in by tokens of others: of jobs of GitHub and GitLab and of a cluster's accounts, as these write them."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from joserfc.jwk import ECKey, RSAKey

from moorage.db import Tx
from moorage.identity import keyless, robots, trusts
from moorage.identity.access import Access
from moorage.identity.trust_rules import Trust
from moorage.oci.errors import Unauthorized
from moorage.outbound.http import Caller
from moorage.outbound.key_sets import BELIEVED, PAUSE, SECOND, IssuerAway, KeySets
from tests.functional.identity_world import (
    ENGINES,
    OTHER_REGISTRY,
    REGISTRY,
    Clock,
    World,
    basic,
    place_for,
)
from tests.servers.lying_issuer import BIG, WELL_KNOWN, LyingIssuer, lying_issuer

HERE = Caller((ip_network("127.0.0.0/8"),), seconds=60)
AUDIENCE = "registry.test:5000"
CI = "robot$team+ci"
PULL = "repository:team/app:pull"
JWT = "urn:ietf:params:oauth:token-type:jwt"
# As GitHub, GitLab and Kubernetes document them; what differs from job to job is left out where nobody asks for it.
GITHUB = {
    "sub": "repo:octo-org/octo-repo:ref:refs/heads/main", "repository": "octo-org/octo-repo", "repository_id": "74",
    "repository_owner": "octo-org", "repository_owner_id": "65", "ref": "refs/heads/main", "ref_type": "branch",
    "environment": "prod", "actor": "octocat", "actor_id": "12", "event_name": "workflow_dispatch", "run_id": "9",
}  # fmt: skip
GITLAB = {
    "sub": "project_path:my-group/my-project:ref_type:branch:ref:main", "project_path": "my-group/my-project",
    "project_id": "20", "namespace_path": "my-group", "namespace_id": "72", "ref": "main", "ref_type": "branch",
    "ref_protected": "true", "user_login": "sample-user",
}  # fmt: skip
KUBERNETES = {
    "sub": "system:serviceaccount:build:pusher",
    "kubernetes.io": {
        "namespace": "build",
        "node": {"name": "node-1", "uid": "5f6d"},
        "pod": {"name": "job-1", "uid": "5e0b"},
        "serviceaccount": {"name": "pusher", "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
    },
}
ACCOUNT = "/kubernetes.io/serviceaccount/uid"


@pytest.fixture
def issuer() -> Iterator[LyingIssuer]:
    with lying_issuer() as made:
        # GitHub and Kubernetes sign nobody in: they say where their keys are, and of no page.
        made.metadata = {
            "authorization_endpoint": "urn:none",
            "token_endpoint": None,
            "userinfo_endpoint": None,
        }
        yield made


@pytest.fixture(params=ENGINES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = await (await World.begin(place_for(request, tmp_path), Clock())).people()
    made.access = opened(made)
    yield made
    await made.close()


def opened(world: World, caller: Caller = HERE, name: str = REGISTRY) -> Access:
    """Open the registry as another process would, with nothing in its memory."""
    sets = KeySets(caller, world.clock)
    return Access(world.db, name, world.master, world.passwords, key_sets=sets)


def claims(world: World, issuer: LyingIssuer, **more: Any) -> dict[str, Any]:
    """Write what a token says: GitHub's for *main*, where nothing else is given, and without what is None."""
    now = world.clock.at // SECOND
    said = {"iss": issuer.issuer, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 300, "jti": "1"}
    whole = {**said, **(more or GITHUB)}
    return {name: value for name, value in whole.items() if value is not None}


def token(world: World, issuer: LyingIssuer, **more: Any) -> str:
    """Have a token made."""
    return issuer.signed(claims(world, issuer, **more))


def forged(header: dict[str, Any], said: dict[str, Any], key: RSAKey, *, shared: bool = False) -> str:
    """Sign as an attacker does who minds no rule about headers; *shared*: with the public key, taken for a secret."""
    parts = [json.dumps(one).encode() for one in ({"alg": "RS256", "typ": "JWT"} | header, said)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    private: Any = key.private_key
    by = (
        hmac.digest(key.as_pem(private=False), signed, "sha256")
        if shared
        else private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    )
    return f"{signed.decode()}.{base64.urlsafe_b64encode(by).rstrip(b'=').decode()}"


async def trusting(world: World, issuer: LyingIssuer, name: str = "ci", **claims: Any) -> tuple[int, int]:
    """Make a robot that may pull, and trusts a repository of GitHub's, or what is said instead; give both numbers."""
    made = await world.add_robot(name, "repository:pull")
    wanted = {key: (value,) for key, value in (claims or {"repository_id": "74"}).items()}
    trust = Trust(issuer.issuer, AUDIENCE, wanted)
    return made.id, await world.change(lambda tx: trusts.add(tx, made.id, trust))


async def why(world: World, text: str, name: str = CI) -> str:
    """Make sure that a token is refused, and say why."""
    with pytest.raises(Unauthorized) as problem:
        await world.access.sign_in(name, text)
    return str(problem.value)


async def exchange(world: World, text: str, **form: str) -> httpx.Response:
    """Exchange a token."""
    asked = {"grant_type": keyless.EXCHANGE, "subject_token": text, "subject_token_type": JWT, "scope": PULL}
    return await world.post(**(asked | form))


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (GITHUB, {"repository_id": "74", "ref": "refs/heads/main", "environment": "prod"}),
        (GITLAB, {"project_id": "20", "ref": "main", "ref_protected": "true"}),
        (KUBERNETES, {ACCOUNT: KUBERNETES["kubernetes.io"]["serviceaccount"]["uid"]}),  # type: ignore[index]
    ],
    ids=["github", "gitlab", "kubernetes"],
)
async def test_a_jobs_token_signs_its_robot_in(
    world: World, issuer: LyingIssuer, said: dict[str, Any], wanted: dict[str, Any]
):
    await trusting(world, issuer, **wanted)
    # Kubernetes writes one audience as a list of one.
    text = token(world, issuer, **said, **({"aud": [AUDIENCE]} if "kubernetes.io" in said else {}))

    for name in (CI, keyless.ANY_ROBOT):
        answer = await world.ask(PULL, user=name, password=text, offline_token="true")
        assert answer.status_code == 200, answer.text
        # What ends soon is no way to what does not.
        assert (answer.json()["expires_in"], answer.json().get("refresh_token")) == (900, None)
        who = await world.access.identify(f"Bearer {answer.json()['token']}")
        assert (who.caller.name, who.grants and who.grants.repositories) == (
            CI,
            {"team/app": frozenset({"pull"})},
        )
        assert (await world.access.identify(basic(name, text))).caller.name == CI
    told = await exchange(world, text)
    assert (told.status_code, told.json()["scope"], told.json()["token_type"]) == (200, PULL, "Bearer")
    assert told.json()["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert "refresh_token" not in (await world.post(
        grant_type="password", username=CI, password=text, access_type="offline", scope=PULL)).json()  # fmt: skip
    # All of this has asked for the keys once.
    assert [path for path, _ in issuer.asked] == [WELL_KNOWN, "/keys"]


async def test_what_a_token_gives_is_what_the_robot_may_and_ends_with_it(world: World, issuer: LyingIssuer):
    number, _ = await trusting(world, issuer)
    until = world.clock.at + 100 * SECOND
    await world.change(lambda tx: robots.describe(tx, number, description="", days=1, expires_at=until))

    told = (await exchange(world, token(world, issuer), scope="repository:team/app:pull,push")).json()

    assert (told["scope"], told["expires_in"]) == (PULL, 100)
    world.clock.go_on(101)
    assert "unknown robot" in await why(world, token(world, issuer))


async def test_a_token_that_says_anything_else_signs_nobody_in(world: World, issuer: LyingIssuer):
    await trusting(world, issuer, repository_id="74", ref="refs/heads/main", environment="prod")
    now = world.clock.at // SECOND
    assert (await world.access.sign_in(CI, token(world, issuer))).caller.name == CI
    alike = {
        await why(world, token(world, issuer, **GITHUB | changed), name)
        for name, changed in (
            # For another, for several, for nobody, or as part of what it is for.
            (CI, {"aud": "elsewhere.test"}), (CI, {"aud": [AUDIENCE, "elsewhere.test"]}), (CI, {"aud": None}),
            (CI, {"aud": []}), (CI, {"aud": f"{AUDIENCE}/"}), (CI, {"aud": {AUDIENCE: 1}}),
            # Another issuer says the same, or one whose name only begins so.
            (CI, {"iss": "https://token.example.com"}), (CI, {"iss": f"{issuer.issuer}/"}),
            # What is asked for is not there, is another, or is of another type.
            (CI, {"repository_id": None}), (CI, {"repository_id": "740"}), (CI, {"repository_id": 74}),
            (CI, {"repository_id": ["74"]}), (CI, {"repository_id": {"": "74"}}), (CI, {"repository_id": True}),
            (CI, {"ref": "refs/heads/main "}), (CI, {"ref": "refs/heads/*"}), (CI, {"environment": "PROD"}),
            # Who is named has no such trust, or is nobody.
            ("robot$team+other", {}), ("robot$ci", {}), ("robot$", {}),
        )
    }  # fmt: skip
    assert len(alike) == 1
    assert "unknown robot, or one that does not trust this token" in alike.pop()
    told = [
        await why(world, token(world, issuer, **GITHUB | changed))
        for changed in (
            {"exp": now - 61}, {"exp": None}, {"exp": str(now + 300)}, {"exp": True}, {"exp": 1e400}, {"iat": None},
            {"nbf": now + 61}, {"iat": now + 61}, {"exp": now + 86_401}, {"iss": None}, {"iss": 7}, {"iss": ["a"]},
        )
    ]  # fmt: skip
    assert [text.removeprefix("the token is not taken: ").partition(":")[0] for text in told] == [
        "exp", "exp", "exp", "exp", "exp", "iat", "nbf, iat", "nbf, iat", "exp", "iss", "iss", "iss",
    ]  # fmt: skip
    # A clock that is a little off keeps nobody out, and a user's name is not the robot's.
    assert await world.access.sign_in(CI, token(world, issuer, **GITHUB | {"exp": now - 59, "nbf": now + 59}))
    assert "password" in await why(world, token(world, issuer), "developer")


async def test_a_forged_token_signs_nobody_in(world: World, issuer: LyingIssuer):
    await trusting(world, issuer)
    good = token(world, issuer)
    assert await world.access.sign_in(CI, good)
    mine = RSAKey.generate_key(2048, {"kid": "one"})
    asked = len(issuer.asked)

    head, body, signature = good.split(".")
    tampered = [
        f"{head}.{body}.{signature[:-4]}AAAA", f"{head}.{body}.", f"{head}.{body[:-4]}.{signature}", f"{head}.{body}",
        f"{good}.{signature}", f"{head}.!.{signature}" + "A" * 100, "eyJ" + "." * 200, good + "A" * 16_384,
    ]  # fmt: skip
    for text in tampered:
        assert await why(world, text)
    said = claims(world, issuer)
    (real,) = issuer.keys
    header: dict[str, Any]
    for header in (
        {"alg": "none"}, {"alg": "nOnE"}, {"alg": "HS256"}, {"alg": None}, {"alg": 7}, {"alg": ["RS256"]},
        {"alg": "RS512"}, {"alg": "PS256"}, {"alg": "ES256"}, {"typ": "at+jwt"}, {"crit": ["exp"]}, {"crit": []},
    ):  # fmt: skip
        assert await why(world, forged({"kid": "one"} | header, said, real)), header
    assert await why(world, forged({"kid": "one", "alg": "HS256"}, said, real, shared=True))
    # Half a character, which JSON can hold and no row can.
    assert "iss: " in await why(world, forged({"kid": "one"}, said | {"iss": "https://\ud800"}, real))
    # What a token says of keys is not followed: not to one within it, nor to an address, nor to a file.
    for header in (
        {"jwk": mine.as_dict(private=False)}, {"x5u": f"{issuer.issuer}/mine"}, {"jku": f"{issuer.issuer}/mine"},
        {"kid": "../../../../dev/null"}, {"kid": "one' OR '1'='1"}, {"kid": "\0"}, {"kid": None}, {"kid": ["one"]}, {},
    ):  # fmt: skip
        text = forged({"kid": "one"} | header, said, mine)
        assert "unknown robot" in await why(world, text), header
    # Where there is one key that can have signed it, it need not be named.
    assert await world.access.sign_in(CI, forged({}, said, real))
    assert await why(world, forged({}, said, mine))
    assert len(issuer.asked) <= asked + 2


async def test_strangers_have_an_issuer_asked_no_more_often_than_anybody(world: World, issuer: LyingIssuer):
    await trusting(world, issuer)
    assert await world.access.sign_in(CI, token(world, issuer))
    old: list[Any] = issuer.keys
    new: list[Any] = [ECKey.generate_key("P-256", {"kid": kid}) for kid in ("two", "three")]

    async def unknown(kid: str) -> None:
        issuer.keys, issuer.header = [ECKey.generate_key("P-256", {"kid": kid})], {"kid": kid}
        text = token(world, issuer)
        issuer.keys, issuer.header = old, {}
        await asyncio.gather(*(why(world, text) for _ in range(5)))

    # Whoever is trusted by nobody is not asked at all, and what is asked for in vain is asked for once in a while.
    with lying_issuer() as stranger:
        assert await why(world, token(world, stranger))
        assert stranger.asked == []
    for kid in ("a", "b"):
        await unknown(kid)
    assert len(issuer.asked) == 2
    world.clock.go_on(PAUSE // SECOND)
    for kid in ("c", "d"):
        await unknown(kid)
    assert len(issuer.asked) == 4
    # A new key is found after a pause, and one that is published no more is believed for an hour at most.
    issuer.keys = [new[0], *old]
    text = token(world, issuer)
    assert await why(world, text)
    world.clock.go_on(PAUSE // SECOND)
    assert await world.access.sign_in(CI, text)
    issuer.keys = new[1:]
    assert await why(world, token(world, issuer))
    world.clock.go_on(PAUSE // SECOND)
    assert await world.access.sign_in(CI, token(world, issuer))
    issuer.keys, issuer.published = old, [new[1].as_dict(private=False)]
    world.clock.go_on(BELIEVED // SECOND + 1)
    assert await why(world, token(world, issuer))


async def test_an_issuer_that_is_away_or_lies_stops_nobody_else(world: World, issuer: LyingIssuer):
    await trusting(world, issuer)
    with lying_issuer() as dead:
        await trusting(world, dead, "dead")
        name = "robot$team+dead"
        for lie, raw, redirects in (
            ({"issuer": "https://token.example.com"}, {}, ""),
            ({"jwks_uri": "file:///etc/passwd"}, {}, ""),
            ({"jwks_uri": "http://169.254.169.254/latest"}, {}, ""),
            ({"jwks_uri": ["x"]}, {}, ""),
            ({}, {"/keys": BIG}, ""),
            ({}, {"/keys": b"[" * 100_000}, ""),
            ({}, {"/keys": b'{"keys": {}}'}, ""),
            ({}, {"/keys": b'{"keys": [' + b"{}," * 50 + b"{}]}"}, ""),
            # An issuer leads nowhere: not to what it may not name itself.
            ({}, {}, f"{issuer.issuer}{WELL_KNOWN}"),
        ):
            dead.metadata, dead.raw, dead.redirects = lie, raw, redirects
            world.access = opened(world)
            with pytest.raises(IssuerAway) as problem:
                await world.access.sign_in(name, token(world, dead))
            assert problem.value.retry_after == PAUSE // SECOND
            count = len(dead.asked)
            with pytest.raises(IssuerAway):
                await world.access.sign_in(name, token(world, dead))
            assert len(dead.asked) == count
            assert await world.access.sign_in(CI, token(world, issuer))
        refused = await exchange(world, token(world, dead))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        # One that answers byte by byte is waited for by those who come with its tokens, and by them alone.
        dead.metadata, dead.raw, dead.redirects, dead.drips = {}, {}, "", WELL_KNOWN
        world.access = opened(world, HERE.apart(60, 4))
        stuck = asyncio.create_task(world.access.sign_in(name, token(world, dead)))
        await until(lambda: WELL_KNOWN in [path for path, _ in dead.asked[count:]])
        assert await world.access.sign_in(CI, token(world, issuer))
        assert not stuck.done()
    with pytest.raises(IssuerAway):
        await stuck
    asked = len(issuer.asked)
    # What the operator has not allowed is not asked, whatever its name means.
    world.access = opened(world, Caller())
    with pytest.raises(IssuerAway):
        await world.access.sign_in(CI, token(world, issuer))
    assert len(issuer.asked) == asked


async def until(holds: Any) -> None:
    """Wait for something, for as long as a busy machine may take."""
    by = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < by
        await asyncio.sleep(0.01)


async def test_of_robots_that_trust_one_token_the_name_decides(world: World, issuer: LyingIssuer):
    await trusting(world, issuer)
    number, _ = await trusting(world, issuer, "release", repository_owner_id="65")
    text = token(world, issuer)

    assert (await world.access.sign_in(CI, text)).caller.name == CI
    assert (await world.access.sign_in("robot$team+release", text)).caller.name == "robot$team+release"
    assert "2 robots trust this token: say which" in await why(world, text, keyless.ANY_ROBOT)
    told = await exchange(world, text)
    assert (told.status_code, "say which" in told.json()["errors"][0]["message"]) == (401, True)
    assert (await exchange(world, text, client_id="robot$team+release")).status_code == 200
    # Of two that trust it one that works no more stands in nobody's way.
    await world.change(lambda tx: robots.set_disabled(tx, number, disabled=True))
    assert (await exchange(world, text)).status_code == 200
    assert (await exchange(world, text, client_id="robot$team+release")).status_code == 401
    assert (await exchange(world, text, client_id="developer")).status_code == 400
    assert (await exchange(world, "not-a-token")).status_code == 400
    assert (await exchange(world, text, subject_token_type="x")).status_code == 400
    assert (await exchange(world, text, actor_token=text)).status_code == 400


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
async def test_whom_a_robot_trusts_no_more_is_refused_at_the_next_request(
    world: World, issuer: LyingIssuer, *, warm: bool
):
    number, first = await trusting(world, issuer)
    own = Trust(issuer.issuer, AUDIENCE, {"repository_id": ("74",)})
    text = token(world, issuer)

    async def ends(*works: Callable[[Tx], Awaitable[object]]) -> list[tuple[bool, bool]]:
        """Say whether the token, and what it gave before, are good before a change, after it, and after the next."""
        given = f"Bearer {(await exchange(world, text)).json()['token']}"
        told = []
        for work in (None, *works):
            if work is not None:
                world.clock.at += 1
                await world.change(work)
            access = world.access if warm else opened(world)
            told.append((await is_in(access, basic(CI, text)), await is_in(access, given)))
        return told

    other = replace(own, claims={"repository_id": ("75",)})
    assert await ends(
        lambda tx: trusts.change(tx, number, first, other), lambda tx: trusts.change(tx, number, first, own)
    ) == [(True, True), (False, False), (True, False)]
    assert await ends(
        lambda tx: robots.set_disabled(tx, number, disabled=True),
        lambda tx: robots.set_disabled(tx, number, disabled=False),
    ) == [(True, True), (False, False), (True, False)]
    assert await ends(
        lambda tx: trusts.remove(tx, number, first), lambda tx: trusts.add(tx, number, own)
    ) == [(True, True), (False, False), (True, False)]
    assert await ends(lambda tx: robots.remove(tx, number)) == [(True, True), (False, False)]


@pytest.mark.parametrize("name", [CI, keyless.ANY_ROBOT])
async def test_a_trust_that_ends_while_its_issuer_is_waited_for_lets_nobody_in(
    world: World, issuer: LyingIssuer, name: str
):
    number, trust = await trusting(world, issuer)
    issuer.gate = threading.Event()
    coming = asyncio.create_task(world.access.sign_in(name, token(world, issuer)))
    await until(lambda: issuer.asked)

    world.clock.at += 1
    await world.change(lambda tx: trusts.remove(tx, number, trust))
    issuer.gate.set()

    with pytest.raises(Unauthorized):
        await coming


async def is_in(access: Access, shown: str) -> bool:
    """Say whether somebody is let in."""
    try:
        await access.identify(shown)
    except Unauthorized:
        return False
    return True


async def test_a_token_that_was_found_good_is_taken_to_its_end_and_no_further(
    world: World, issuer: LyingIssuer
):
    await trusting(world, issuer)
    text = token(world, issuer)
    assert await world.access.sign_in(CI, text)

    world.clock.go_on(359)
    assert await world.access.sign_in(CI, text)
    world.clock.go_on(2)

    assert "exp: it has expired" in await why(world, text)


async def test_a_token_for_one_registry_is_no_token_for_another(world: World, issuer: LyingIssuer):
    await trusting(world, issuer)
    other = await (
        await World.begin(world.place.other(), world.clock, name=OTHER_REGISTRY, master=world.master)
    ).people()
    other.access = opened(other, name=OTHER_REGISTRY)
    made = await other.add_robot("ci", "repository:pull")
    there = Trust(issuer.issuer, "elsewhere.test", {"repository_id": ("74",)})
    await other.change(lambda tx: trusts.add(tx, made.id, there))

    assert await world.access.sign_in(CI, token(world, issuer))
    assert await why(other, token(world, issuer))
    assert await why(other, token(world, issuer), keyless.ANY_ROBOT)
    assert await other.access.sign_in(CI, token(world, issuer, **GITHUB | {"aud": "elsewhere.test"}))
    assert await why(world, token(world, issuer, **GITHUB | {"aud": "elsewhere.test"}))
    # Nor is what it was exchanged for.
    given = (await exchange(world, token(world, issuer))).json()["token"]
    with pytest.raises(Unauthorized):
        await other.access.identify(f"Bearer {given}")
    await other.close()


async def test_a_cluster_that_cannot_be_asked_gives_its_keys(world: World, issuer: LyingIssuer):
    """Two clusters call themselves alike, as most do: each robot is signed in by its own one's keys alone."""
    name = "https://kubernetes.default.svc.cluster.local"
    account = KUBERNETES | {"iss": name}
    clusters = [[ECKey.generate_key("P-256", {"kid": "k"})], [ECKey.generate_key("P-256", {"kid": "k"})]]
    for robot, keys in zip(("ci", "cd"), clusters, strict=True):
        made = await world.add_robot(robot, "repository:pull")
        public = tuple(key.as_dict(private=False) for key in keys)
        trust = Trust(name, AUDIENCE, {"/kubernetes.io/namespace": ("build",), ACCOUNT: (uid(),)}, public)
        await world.change(partial(_trusts, robot=made.id, trust=trust))

    issuer.keys = clusters[0]
    text = token(world, issuer, **account)
    assert (await world.access.sign_in(CI, text)).caller.name == CI
    assert (await world.access.sign_in(keyless.ANY_ROBOT, text)).caller.name == CI
    assert await why(world, text, "robot$team+cd")
    issuer.keys = clusters[1]
    assert (await world.access.sign_in(keyless.ANY_ROBOT, token(world, issuer, **account))).caller.name == (
        "robot$team+cd"
    )
    # An account that was made anew under the name of one that is gone is another.
    anew = {**KUBERNETES["kubernetes.io"], "serviceaccount": {"name": "pusher", "uid": "0"}}  # type: ignore[dict-item]
    assert await why(world, token(world, issuer, **account | {"kubernetes.io": anew}), "robot$team+cd")
    assert await why(world, token(world, issuer, **account | {"kubernetes.io": "build"}), "robot$team+cd")
    assert issuer.asked == []


async def _trusts(tx: Tx, *, robot: int, trust: Trust) -> int:
    return await trusts.add(tx, robot, trust)


def uid() -> str:
    """Give the account's lasting id."""
    inside: Any = KUBERNETES["kubernetes.io"]
    return str(inside["serviceaccount"]["uid"])
