"""The token service: what clients ask it in the shapes that they use, and what it answers."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from moorage.api.token import TokenService
from moorage.identity import users
from moorage.identity.access import Access
from moorage.identity.imported_passwords import of_harbor
from moorage.identity.passwords import Passwords
from moorage.oci.errors import Unauthorized
from tests.functional.identity_world import ENGINES, PASSWORD, REGISTRY, Clock, World, basic, place_for

SERVICE = "harbor-registry"
TEAM = "repository:team/app:pull,push"


@pytest.fixture(params=ENGINES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = await (await World.begin(place_for(request, tmp_path), Clock())).people()
    yield made
    await made.close()


async def test_docker_login_gets_a_refresh_token_and_every_later_client_uses_it(world: World) -> None:
    login = await world.ask(user="developer", offline_token="true", client_id="docker", account="developer")
    kept = login.json()["refresh_token"]

    later = await world.post(
        grant_type="refresh_token", service=SERVICE, client_id="buildx", refresh_token=kept, scope=TEAM
    )

    assert later.status_code == 200
    assert later.json()["refresh_token"] == kept
    assert later.json()["scope"] == "repository:team/app:pull,push"


@pytest.mark.parametrize(
    ("client", "form"),
    [
        ("crane", {"scope": "repository:team/app:push,pull", "client_id": "crane"}),
        ("oras", {"scope": "repository:team/app:pull,push", "client_id": "oras-go"}),
        (
            "docker",
            {"scope": "repository:team/app:pull,push", "client_id": "docker", "access_type": "offline"},
        ),
        (
            "containerd",
            {
                "scope": "repository:team/app:pull repository:team/app:pull,push",
                "client_id": "containerd-client",
            },
        ),
        ("regctl", {"scope": "repository:team/app:pull,push", "client_id": "regclient"}),
        ("a mount", {"scope": "repository:team/app:pull,push repository:open/x:pull", "client_id": "crane"}),
    ],
)
async def test_a_client_posts_its_refresh_token(world: World, client: str, form: dict[str, str]) -> None:
    kept = (await world.ask(user="developer", offline_token="true")).json()["refresh_token"]

    answer = await world.post(grant_type="refresh_token", service=SERVICE, refresh_token=kept, **form)

    assert answer.status_code == 200, client
    assert "repository:team/app:pull,push" in answer.json()["scope"]


async def test_skopeo_sends_the_form_in_chunks(world: World) -> None:
    async def form() -> AsyncIterator[bytes]:
        yield b"grant_type=password&service=harbor-registry&username=developer&pass"
        yield b"word=" + PASSWORD.encode() + b"&scope=repository%3Ateam%2Fapp%3Apull"

    async with world.client() as client:
        answer = await client.post(
            "/service/token", content=form(), headers={"content-type": "application/x-www-form-urlencoded"}
        )

    assert answer.json()["scope"] == "repository:team/app:pull"


async def test_containerd_posts_a_password(world: World) -> None:
    answer = await world.post(
        grant_type="password", service=SERVICE, client_id="containerd-client", username="guest",
        password=PASSWORD, scope="repository:team/app:pull",
    )  # fmt: skip

    assert answer.status_code == 200
    assert "refresh_token" not in answer.json()


async def test_a_password_with_offline_access_gives_a_refresh_token(world: World) -> None:
    answer = await world.post(
        grant_type="password", service=SERVICE, client_id="x", username="guest", password=PASSWORD,
        access_type="offline",
    )  # fmt: skip

    assert len(answer.json()["refresh_token"]) == 43


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        (["repository:team/app:pull"], {"team/app": ["pull"]}),
        (["repository:team/app:pull,push,delete"], {"team/app": ["pull", "push"]}),
        (["repository:team/app:push,pull"], {"team/app": ["pull", "push"]}),
        (["repository:team/app:delete"], {}),
        (["repository:team/app:*"], {"team/app": ["pull", "push"]}),
        (["repository:team/app:pull", "repository:open/x:pull"], {"team/app": ["pull"], "open/x": ["pull"]}),
        (
            ["repository:team/app:pull repository:open/x:pull,push"],
            {"team/app": ["pull"], "open/x": ["pull"]},
        ),
        (["repository:team/app:pull", "repository:team/app:pull"], {"team/app": ["pull"]}),
        (["repository:other/app:pull,push"], {}),
        (["repository:nowhere/app:pull,push"], {}),
        (["registry:catalog:*"], {}),
        (["repository:registry.test:5000/team/app:pull"], {"team/app": ["pull"]}),
        (["nonsense", "repository:team/app:pull"], {"team/app": ["pull"]}),
        ([], {}),
    ],
)
async def test_a_developer_who_asks_is_granted_the_intersection(
    world: World, scope: list[str], granted: dict[str, list[str]]
) -> None:
    assert await world.granted(*scope, user="developer") == granted


async def test_an_administrator_may_everything_that_is_asked(world: World) -> None:
    granted = await world.granted(
        "repository:other/x:*", "repository:not-yet/x:pull,push", "registry:catalog:*", user="admin"
    )

    assert granted == {
        "other/x": ["delete", "pull", "push"], "not-yet/x": ["pull", "push"], "catalog": ["*"],
    }  # fmt: skip


async def test_a_name_of_one_component_means_the_library(world: World) -> None:
    await world.add_project("library", public=True)

    assert await world.granted("repository:alpine:pull,push") == {"library/alpine": ["pull"]}


async def test_nobody_is_granted_what_is_public(world: World) -> None:
    granted = await world.granted("repository:open/x:pull,push", "repository:team/app:pull")

    assert granted == {"open/x": ["pull"]}


async def test_the_answer_has_every_field_and_is_kept_by_no_cache(world: World) -> None:
    answer = await world.ask("repository:team/app:pull", user="guest")

    content = answer.json()
    assert set(content) == {"token", "access_token", "expires_in", "issued_at"}
    assert content["token"] == content["access_token"]
    assert content["expires_in"] == 1800
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", content["issued_at"])
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("user", "password"),
    [("guest", "wrong"), ("nobody-here", "wrong"), ("guest", ""), ("", "x"), ("robot$no", "x")],
)
async def test_wrong_names_and_wrong_passwords_are_refused_alike(
    world: World, user: str, password: str
) -> None:
    async with world.client() as client:
        refused = await client.get(
            "/service/token", params={"service": SERVICE}, headers={"authorization": basic(user, password)}
        )

    assert refused.status_code == 401
    assert refused.json()["errors"][0]["code"] == "UNAUTHORIZED"
    assert refused.json()["errors"][0]["message"].startswith("unknown user or robot, or wrong password")
    assert refused.headers["www-authenticate"] == 'Basic realm="moorage"'


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic " + "Z3Vlc3Q=", "Bearer x", "Digest x", "", "Basic \xff\xff"]
)
async def test_an_authorization_header_that_says_nothing_is_refused(world: World, header: str) -> None:
    async with world.client() as client:
        refused = await client.get("/service/token", headers=[(b"authorization", header.encode("latin-1"))])

    assert refused.status_code == 401


@pytest.mark.parametrize(
    ("form", "status", "says"),
    [
        ({"grant_type": "implicit"}, 400, "grant_type is password, refresh_token or urn:"),
        ({}, 400, "grant_type is password, refresh_token or urn:"),
        (
            {"grant_type": "password", "service": "other", "username": "guest", "password": PASSWORD},
            400,
            "harbor-registry",
        ),
        ({"grant_type": "password", "username": "guest", "password": "wrong"}, 401, "wrong password"),
        ({"grant_type": "password"}, 401, "wrong password"),
        ({"grant_type": "refresh_token"}, 401, "refresh token"),
        ({"grant_type": "refresh_token", "refresh_token": "made up"}, 401, "refresh token"),
        ({"grant_type": "password", "username": "a\0b", "password": "x\0y"}, 401, "wrong password"),
        (
            {"grant_type": "password", "username": "guest", "password": "x" * 70_000},
            413,
            "at most 65536 bytes",
        ),
        ({f"f{n}": "x" for n in range(300)}, 400, "at most 200 fields"),
    ],
)
async def test_a_form_that_breaks_a_rule_is_told_which(
    world: World, form: dict[str, str], status: int, says: str
) -> None:
    refused = await world.post(**form)

    assert refused.status_code == status
    assert says in refused.json()["errors"][0]["message"]


async def test_a_form_of_another_type_is_refused(world: World) -> None:
    async with world.client() as client:
        refused = await client.post("/service/token", json={"grant_type": "password"})

    assert refused.status_code == 400


async def test_a_field_given_twice_with_two_values_is_refused(world: World) -> None:
    async with world.client() as client:
        refused = await client.post(
            "/service/token", content=f"grant_type=password&username=guest&username=admin&password={PASSWORD}",
            headers={"content-type": "application/x-www-form-urlencoded"},
        )  # fmt: skip

    assert refused.status_code == 400


async def test_other_methods_are_refused(world: World) -> None:
    async with world.client() as client:
        refused = await client.put("/service/token")

    assert refused.status_code == 405


async def test_more_than_a_hundred_scopes_are_refused(world: World) -> None:
    within = await world.ask(*(f"repository:a/{n}:pull" for n in range(90)))
    beyond = await world.ask(*(f"repository:a/{n}:pull" for n in range(101)))

    assert (within.status_code, beyond.status_code) == (200, 400)


async def test_the_longest_token_that_is_granted_is_one_that_is_accepted(world: World) -> None:
    names = [f"long/{n:03}-{'x' * 240}" for n in range(25)]
    scopes = [f"repository:{name}:pull,push,delete" for name in names]

    refused = await world.ask(*scopes, user="admin")
    granted = await world.granted(*scopes[:24], user="admin")

    assert refused.status_code == 400
    assert set(granted) == set(names[:24])


async def test_a_flood_of_guesses_is_told_to_come_back_later(world: World) -> None:
    over = asyncio.Event()

    async def pause(_: float) -> None:
        await over.wait()

    world.passwords = Passwords(pause=pause)
    world.access = Access(world.db, REGISTRY, world.master, world.passwords)
    flood = {asyncio.create_task(world.ask(user="guest", password=f"guess {n}")) for n in range(40)}
    waiting = flood
    while len(flood) - len(waiting) < 24:
        _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    over.set()

    answers = await asyncio.gather(*flood)

    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 20
    assert all(answer.headers["retry-after"] == "2" for answer in refused)
    assert {answer.status_code for answer in answers} == {401, 429}


async def test_a_robot_signs_in_with_its_secret(world: World) -> None:
    robot = await world.add_robot("ci", "repository:pull", "repository:push")

    assert robot.name == "robot$team+ci"
    assert await world.granted("repository:team/app:*", user=robot.name, password=robot.secret) == {
        "team/app": ["pull", "push"]
    }


async def test_a_token_of_a_robot_does_not_outlive_the_robot(world: World) -> None:
    robot = await world.add_robot("ci", "repository:pull", days=1)
    world.clock.go_on(24 * 3600 - 90)

    answer = await world.ask(user=robot.name, password=robot.secret)

    assert 60 <= answer.json()["expires_in"] <= 90


async def test_an_expired_robot_does_not_sign_in(world: World) -> None:
    robot = await world.add_robot("ci", "repository:pull", days=1)
    world.clock.go_on(24 * 3600 + 1)

    assert (await world.ask(user=robot.name, password=robot.secret)).status_code == 401


async def test_a_disabled_user_is_refused_like_an_unknown_one(world: World) -> None:
    await world.change(lambda tx: users.set_disabled(tx, world.numbers["guest"], disabled=True))

    refused = await world.ask(user="guest")

    assert refused.status_code == 401
    assert "unknown user or robot, or wrong password" in refused.text


async def test_a_refresh_token_lives_ninety_days_from_its_last_use(world: World) -> None:
    kept = (await world.ask(user="guest", offline_token="true")).json()["refresh_token"]

    async def use() -> int:
        return (await world.post(grant_type="refresh_token", refresh_token=kept)).status_code

    world.clock.go_on(89 * 86400)
    first = await use()
    world.clock.go_on(89 * 86400)
    second = await use()
    world.clock.go_on(91 * 86400)

    assert (first, second, await use()) == (200, 200, 401)


async def test_a_refresh_token_that_is_out_ends_sooner_when_its_life_is_shortened(world: World) -> None:
    kept = (await world.ask(user="guest", offline_token="true")).json()["refresh_token"]
    world.access = Access(world.db, REGISTRY, world.master, world.passwords, refresh_life=3600 * 1_000_000)

    world.clock.go_on(3000)
    first = (await world.post(grant_type="refresh_token", refresh_token=kept)).status_code
    world.clock.go_on(3000)
    second = (await world.post(grant_type="refresh_token", refresh_token=kept)).status_code
    world.clock.go_on(3601)
    third = (await world.post(grant_type="refresh_token", refresh_token=kept)).status_code

    assert (first, second, third) == (200, 200, 401)


@pytest.mark.parametrize("weak", [
    PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD),
    of_harbor("sha256", "salt", hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), b"salt", 4096, 16).hex()),
], ids=["argon2", "harbor"])  # fmt: skip
async def test_a_password_under_old_parameters_is_hashed_anew_at_sign_in(world: World, weak: str) -> None:
    await world.change(lambda tx: users.set_password(tx, world.numbers["guest"], weak))
    with pytest.raises(Unauthorized):
        await world.access.sign_in("guest", f"{PASSWORD}x")
    token = await world.token(user="guest")

    account = await world.access.sign_in("guest", PASSWORD)

    assert account.password is not None
    assert not world.passwords.outdated(account.password)
    assert (await world.access.identify(f"Bearer {token}")).caller.name == "guest"


async def test_a_client_that_goes_away_in_its_form_gets_no_answer(world: World) -> None:
    sent: list[object] = []
    messages: Iterator[dict[str, object]] = iter(
        [{"type": "http.request", "body": b"grant", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> dict[str, object]:
        return next(messages)

    async def send(message: object) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/service/token",
        "headers": [],
        "query_string": b"",
        "scheme": "http",
    }
    await TokenService(world.access)(scope, receive, send)

    assert sent == []


async def test_the_service_shows_no_secret_in_a_refusal(world: World) -> None:
    answer = await world.post(grant_type="password", username="guest", password="Very-secret-1", service="x")

    assert "Very-secret-1" not in answer.text
    assert "Very-secret-1" not in repr(TokenService(world.access))
