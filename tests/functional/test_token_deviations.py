"""Where this token service answers other than Harbor's: the whole list, each case tested.

OCI's token protocol wins where the two disagree. What stands here is on purpose; a difference that
does not is a bug.
"""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moorage.api.token import challenge, realm
from moorage.identity.scopes import Scope
from moorage.oci.errors import Unauthorized
from tests.functional.identity_world import ENGINES, PASSWORD, Clock, World, basic, place_for


@pytest.fixture(params=ENGINES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = await (await World.begin(place_for(request, tmp_path), Clock())).people()
    yield made
    await made.close()


def part(text: str, number: int) -> dict[str, object]:
    raw = text.split(".")[number]
    content: dict[str, object] = json.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))
    return content


async def test_harbor_answers_405_to_post_and_we_give_a_token(world: World) -> None:
    answer = await world.post(grant_type="password", username="guest", password=PASSWORD)

    assert answer.status_code == 200


async def test_harbor_grants_all_that_a_user_has_and_we_what_was_asked_of_it(world: World) -> None:
    assert await world.granted("repository:team/app:pull", user="maintainer") == {"team/app": ["pull"]}


async def test_harbor_lists_what_it_granted_nothing_of_and_we_leave_it_out(world: World) -> None:
    text = await world.token("repository:team/app:pull,push")

    assert part(text, 1)["access"] == []


async def test_harbor_signs_rs256_with_one_key_and_we_es256_with_each_registrys(world: World) -> None:
    assert part(await world.token(), 0)["alg"] == "ES256"


async def test_harbor_leaves_access_token_empty_and_we_fill_it(world: World) -> None:
    content = (await world.ask(user="guest")).json()

    assert content["access_token"] == content["token"]


async def test_harbor_answers_401_to_nobody_without_a_scope_and_we_give_a_token_for_nothing(
    world: World,
) -> None:
    answer = await world.ask()

    assert answer.status_code == 200
    assert part(answer.json()["token"], 1)["access"] == []


async def test_harbor_takes_a_wrong_password_for_nobody_and_we_refuse_it(world: World) -> None:
    answer = await world.ask("repository:open/x:pull", user="guest", password="wrong")

    assert answer.status_code == 401
    with pytest.raises(Unauthorized):
        await world.access.identify(basic("guest", "wrong"))


async def test_harbor_has_no_refresh_tokens_and_we_do(world: World) -> None:
    assert (await world.ask(user="guest", offline_token="true")).json()["refresh_token"]


async def test_harbor_puts_the_name_into_sub_and_we_a_number_that_is_never_given_again(world: World) -> None:
    assert part(await world.token(user="guest"), 1)["sub"] == f"user:{world.numbers['guest']}"
    assert part(await world.token(), 1)["sub"] == ""


async def test_harbor_needs_library_before_a_bare_name_and_we_add_it(world: World) -> None:
    await world.add_project("library", public=True)

    assert await world.granted("repository:alpine:pull") == {"library/alpine": ["pull"]}


async def test_harbor_freezes_a_name_after_a_wrong_password_and_we_put_off_whoever_guesses(
    world: World,
) -> None:
    await world.ask(user="admin", password="wrong")

    assert (await world.ask(user="admin")).status_code == 200


async def test_like_harbor_another_service_is_refused(world: World) -> None:
    async with world.client() as client:
        answer = await client.get("/service/token", params={"service": "token-service"})

    assert answer.status_code == 400


def scope_of(host: str = "registry.test:5000", scheme: str = "http") -> dict[str, object]:
    return {"scheme": scheme, "headers": [(b"host", host.encode("latin-1"))], "server": ("127.0.0.1", 5000)}


def test_a_challenge_leads_to_the_address_that_the_client_used() -> None:
    wanted = Scope("repository", "team/app", frozenset({"push", "pull"}))

    assert challenge(scope_of(), wanted) == (
        'Bearer realm="http://registry.test:5000/service/token",service="harbor-registry",'
        'scope="repository:team/app:pull,push"'
    )
    assert realm(scope_of("[::1]:5000", "https")) == "https://[::1]:5000/service/token"


def test_a_challenge_names_several_scopes_in_one_parameter_and_the_error() -> None:
    first = Scope("repository", "a/b", frozenset({"pull", "push"}))
    second = Scope("repository", "c/d", frozenset({"pull"}))

    written = challenge(scope_of(), first, second, error="insufficient_scope")

    assert written.endswith('scope="repository:a/b:pull,push repository:c/d:pull",error="insufficient_scope"')
    assert "scope" not in challenge(scope_of())


@pytest.mark.parametrize(
    "host",
    [
        'x",realm="http://evil.test',
        "x\r\nset-cookie: a=b",
        "evil.test/path",
        "a b",
        "",
        "ü.test",
        "x:99999999",
        "user@evil.test",
    ],
)
def test_a_host_that_is_none_gets_into_no_challenge(host: str) -> None:
    assert (
        challenge(scope_of(host))
        == 'Bearer realm="http://127.0.0.1:5000/service/token",service="harbor-registry"'
    )


def test_nothing_breaks_out_of_a_quoted_parameter() -> None:
    wanted = Scope("repository", 'a"b\\c\r\nd', frozenset({"pull"}))

    assert 'scope="repository:abcd:pull"' in challenge(scope_of(), wanted)


def test_the_schemes_names_stand_in_no_value() -> None:
    written = challenge(scope_of(), Scope("repository", "a/b", frozenset({"pull"}))).lower()

    assert written.count("bearer") == 1
    assert "basic" not in written
