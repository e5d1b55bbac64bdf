"""Forged, stolen, stale and borrowed tokens, each by the name of its attack."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.jwk import ECKey

from moorage.identity import keys, robots, users
from moorage.identity.access import Access
from moorage.identity.keys import MasterKey, MasterKeyWrong
from moorage.oci.errors import Unauthorized
from tests.functional.identity_world import (
    ENGINES,
    OTHER_REGISTRY,
    PASSWORD,
    REGISTRY,
    Clock,
    SqlitePlace,
    World,
    place_for,
)

PULL = "repository:team/app:pull"


@pytest.fixture(params=ENGINES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = await (await World.begin(place_for(request, tmp_path), Clock())).people()
    yield made
    await made.close()


def read(text: str, part: int) -> dict[str, Any]:
    raw = text.split(".")[part]
    read_: dict[str, Any] = json.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))
    return read_


def write(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def sign(header: dict[str, Any], claims: dict[str, Any], key: ECKey) -> str:
    """Sign as an attacker does who minds no rule about headers."""
    signed = f"{write(header)}.{write(claims)}"
    r, s = decode_dss_signature(key.get_op_key("sign").sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{signed}.{base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}"


async def refused(world: World, text: str) -> str:
    """Make sure that *text* is refused, and say why."""
    with pytest.raises(Unauthorized) as problem:
        await world.access.identify(f"Bearer {text}")
    return str(problem.value)


async def real_key(world: World) -> ECKey:
    """Take the registry's own key out of its memory, to forge what only it could sign."""
    await world.token()
    key = world.access.tokens._keys.current
    assert key is not None
    return key


async def test_a_token_as_it_was_given_is_accepted(world: World) -> None:
    text = await world.token(PULL, user="guest")

    who = await world.access.identify(f"Bearer {text}")

    assert (who.caller.name, who.caller.kind) == ("guest", "user")
    assert read(text, 0).keys() == {"alg", "typ", "kid"}
    assert (read(text, 0)["alg"], read(text, 0)["typ"]) == ("ES256", "JWT")
    assert read(text, 1).keys() == {"iss", "aud", "sub", "epoch", "iat", "nbf", "exp", "jti", "access"}


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
async def test_a_token_without_a_signature_is_refused(world: World, alg: str) -> None:
    header, claims, _ = (await world.token(PULL, user="guest")).split(".")
    forged = write(read(f"{header}.", 0) | {"alg": alg})

    await refused(world, f"{forged}.{claims}.")


async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(world: World) -> None:
    key = await real_key(world)
    text = await world.token(PULL, user="guest")
    head = write(read(text, 0) | {"alg": "HS256"})
    for secret in (key.as_pem(private=False), json.dumps(key.as_dict(private=False)).encode()):
        mac = hmac.digest(secret, f"{head}.{text.split('.')[1]}".encode(), hashlib.sha256)

        await refused(
            world, f"{head}.{text.split('.')[1]}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        )


@pytest.mark.parametrize("alg", ["RS256", "ES384", "ES512", "EdDSA", "PS256", "ES256K"])
async def test_a_token_of_another_algorithm_is_refused(world: World, alg: str) -> None:
    key = await real_key(world)
    text = await world.token(PULL, user="guest")

    await refused(world, sign(read(text, 0) | {"alg": alg}, read(text, 1), key))


@pytest.mark.parametrize(
    "more",
    [
        lambda key: {"jwk": key.as_dict(private=False)},
        lambda _: {"x5c": ["MIIB"]},
        lambda _: {"jku": "https://evil.test/keys"},
        lambda _: {"x5u": "https://evil.test/keys"},
        lambda _: {"crit": ["exp"]},
        lambda _: {"b64": False},
        lambda _: {"typ": "at+jwt"},
        lambda key: {"kid": key.as_dict(private=False)},
        lambda _: {"kid": "../../../../dev/null"},
        lambda _: {"kid": "x' OR 1=1 --"},
        lambda _: {"kid": ""},
        lambda _: {"kid": None},
    ],
)
async def test_a_key_that_comes_with_the_token_is_not_trusted(
    world: World, more: Callable[[ECKey], dict[str, Any]]
) -> None:
    own = ECKey.generate_key("P-256")
    text = await world.token(PULL, user="guest")

    await refused(world, sign(read(text, 0) | more(own), read(text, 1), own))


async def test_even_the_right_key_signs_no_token_with_another_header(world: World) -> None:
    key = await real_key(world)
    text = await world.token(PULL, user="guest")

    await refused(world, sign(read(text, 0) | {"jwk": key.as_dict(private=False)}, read(text, 1), key))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "other"},
        {"aud": ["harbor-registry"]},
        {"iss": "moorage/registries/" + OTHER_REGISTRY},
        {"iss": ""},
        {"exp": "tomorrow"},
        {"exp": None},
        {"sub": 7},
        {"epoch": "0"},
        {"epoch": 0},
        {"access": "everything"},
        {"sub": "user:999"},
        {"sub": "user:1"},
        {"nbf": 1 << 62},
        {"exp": 1},
    ],
)
async def test_claims_that_are_not_this_registrys_are_refused_even_when_signed(
    world: World, claims: dict[str, Any]
) -> None:
    key = await real_key(world)
    text = await world.token(PULL, user="guest")

    await refused(world, sign(read(text, 0), read(text, 1) | claims, key))


async def test_a_token_without_a_claim_is_refused_even_when_signed(world: World) -> None:
    key = await real_key(world)
    text = await world.token(PULL, user="guest")

    for missing in read(text, 1):
        rest = {name: value for name, value in read(text, 1).items() if name != missing}
        await refused(world, sign(read(text, 0), rest, key))


async def test_a_changed_token_is_refused(world: World) -> None:
    head, claims, signature = (await world.token(PULL, user="guest")).split(".")
    grown = read(f"{head}.{claims}", 1)
    grown["access"][0]["actions"] = ["pull", "push", "delete"]

    for text in (
        f"{head}.{write(grown)}.{signature}",
        f"{head}.{claims}.{signature[:-4]}AAAA",
        f"{head}.{claims}.",
        f"{head}.{claims}",
        f"{head}.{claims}.{signature}.x",
        f".{claims}.{signature}",
        f"{head}..{signature}",
        f"{head}.{claims}.{'A' * 86}",
        "",
        "..",
        "x" * 20_000,
    ):
        await refused(world, text)


async def test_no_noise_in_a_token_does_anything_but_void_it(world: World) -> None:
    text = await world.token(PULL, user="guest")
    chance = random.Random(7)

    for _ in range(500):
        place = chance.randrange(len(text) - 6)
        noise = "".join(chance.choices('Ab9.-_={}"\x00\u00ff\u2028', k=chance.randrange(1, 6)))
        changed = text[:place] + noise + text[place + len(noise) :]
        if changed != text:
            await refused(world, changed)


async def test_a_token_expires(world: World) -> None:
    text = await world.token(PULL, user="guest")

    world.clock.go_on(1799)
    await world.access.identify(f"Bearer {text}")
    world.clock.go_on(1)

    assert "expired" in await refused(world, text)


async def test_a_token_from_the_future_is_refused(world: World) -> None:
    world.clock.go_on(3600)
    text = await world.token(PULL, user="guest")
    world.clock.go_on(-3600)

    assert "not valid yet" in await refused(world, text)


async def test_another_registrys_token_is_refused(world: World) -> None:
    other = await (
        await World.begin(world.place.other(), world.clock, name=OTHER_REGISTRY, master=world.master)
    ).people()
    text = await other.token(PULL, user="guest")
    kept = (await other.ask(user="guest", offline_token="true")).json()["refresh_token"]
    await other.close()

    await refused(world, text)
    assert (await world.post(grant_type="refresh_token", refresh_token=kept)).status_code == 401


async def test_a_key_row_copied_from_another_registry_opens_nothing(world: World) -> None:
    await world.token()
    elsewhere = Access(world.db, OTHER_REGISTRY, world.master, world.passwords)

    with pytest.raises(MasterKeyWrong):
        await elsewhere.issue(None, ())


async def test_a_token_is_no_password_and_no_refresh_token(world: World) -> None:
    text = await world.token(PULL, user="guest")

    assert (await world.ask(user="guest", password=text)).status_code == 401
    assert (await world.post(grant_type="refresh_token", refresh_token=text)).status_code == 401


async def test_an_anonymous_token_is_nobodys_whatever_it_grants(world: World) -> None:
    text = await world.token("repository:open/x:pull")

    who = await world.access.identify(f"Bearer {text}")

    assert who.caller.is_anonymous


@pytest.mark.parametrize(
    "revoke",
    [
        lambda tx, n: users.set_password(tx, n, "$argon2id$nobody"),
        lambda tx, n: users.set_disabled(tx, n, disabled=True),
        users.sign_out,
        users.remove,
    ],
    ids=["password changed", "disabled", "signed out", "deleted"],
)
async def test_what_a_user_had_is_void_at_the_next_request(world: World, revoke: Callable[..., Any]) -> None:
    text = await world.token(PULL, user="guest")
    kept = (await world.ask(user="guest", offline_token="true")).json()["refresh_token"]
    await world.access.identify(f"Bearer {text}")

    await world.change(lambda tx: revoke(tx, world.numbers["guest"]))

    assert "void" in await refused(world, text)
    assert (await world.post(grant_type="refresh_token", refresh_token=kept)).status_code == 401


async def test_a_user_who_is_let_in_again_needs_new_tokens(world: World) -> None:
    text = await world.token(PULL, user="guest")
    number = world.numbers["guest"]
    await world.change(lambda tx: users.set_disabled(tx, number, disabled=True))
    await world.change(lambda tx: users.set_disabled(tx, number, disabled=False))

    await refused(world, text)
    assert await world.granted(PULL, user="guest") == {"team/app": ["pull"]}


async def test_a_new_user_of_an_old_name_inherits_no_token(world: World) -> None:
    text = await world.token(PULL, user="guest")
    await world.change(lambda tx: users.remove(tx, world.numbers["guest"]))
    await world.add_user("guest", await world.passwords.hash(PASSWORD))

    await refused(world, text)
    assert await world.granted(PULL, user="guest") == {}


@pytest.mark.parametrize(
    "revoke",
    [
        lambda tx, n: robots.set_disabled(tx, n, disabled=True),
        robots.refresh_secret,
        robots.remove,
    ],
    ids=["disabled", "secret changed", "deleted"],
)
async def test_what_a_robot_had_is_void_at_the_next_request(world: World, revoke: Callable[..., Any]) -> None:
    robot = await world.add_robot("ci", "repository:pull")
    text = await world.token(PULL, user=robot.name, password=robot.secret)
    await world.access.identify(f"Bearer {text}")

    await world.change(lambda tx: revoke(tx, robot.id))

    await refused(world, text)
    assert (await world.ask(user=robot.name, password=robot.secret)).status_code == 401


async def test_a_robots_old_secret_is_good_for_the_while_that_was_said(world: World) -> None:
    robot = await world.add_robot("ci", "repository:pull")
    new = await world.change(lambda tx: robots.refresh_secret(tx, robot.id, keep_old=60))

    both = [(await world.ask(user=robot.name, password=one)).status_code for one in (robot.secret, new)]
    world.clock.go_on(61)
    then = [(await world.ask(user=robot.name, password=one)).status_code for one in (robot.secret, new)]

    assert (both, then) == ([200, 200], [401, 200])


async def test_a_change_made_by_another_process_is_seen(world: World) -> None:
    text = await world.token(PULL, user="guest")
    await world.access.identify(f"Bearer {text}")
    elsewhere = await world.elsewhere()
    assert (await elsewhere.identify(f"Bearer {text}")).caller.name == "guest"

    await elsewhere.db.change(lambda tx: users.set_disabled(tx, world.numbers["guest"], disabled=True))

    if not isinstance(world.place, SqlitePlace):
        await asyncio.wait_for(is_refused(world, text), 30)
    await refused(world, text)


async def is_refused(world: World, text: str) -> None:
    with contextlib.suppress(Unauthorized):
        while await world.access.identify(f"Bearer {text}"):
            await asyncio.sleep(0.01)


async def test_after_a_rotation_old_tokens_are_good_until_they_expire_and_new_ones_have_the_new_key(
    world: World,
) -> None:
    old = await world.token(PULL, user="guest")

    await world.access.tokens.rotate()

    new = await world.token(PULL, user="guest")
    assert read(old, 0)["kid"] != read(new, 0)["kid"]
    assert (await world.access.identify(f"Bearer {old}")).caller.name == "guest"
    assert (await world.access.identify(f"Bearer {new}")).caller.name == "guest"


async def test_two_processes_that_need_a_first_key_make_one(world: World) -> None:
    again = await world.elsewhere()

    (first, _), (second, _) = await asyncio.gather(world.access.issue(None, ()), again.issue(None, ()))

    assert read(first.text, 0)["kid"] == read(second.text, 0)["kid"]


async def test_tokens_stay_good_when_the_master_key_is_rotated(world: World) -> None:
    text = await world.token(PULL, user="guest")
    both = MasterKey((*MasterKey.new().keys, *world.master.keys))

    moved = await keys.rewrap(world.db, REGISTRY, both, keys.SIGNING_KEYS)
    again = await keys.rewrap(world.db, REGISTRY, both, keys.SIGNING_KEYS)
    alone = Access(world.db, REGISTRY, MasterKey(both.keys[:1]), world.passwords)

    assert (moved, again) == (1, 0)
    assert (await alone.identify(f"Bearer {text}")).caller.name == "guest"


async def test_no_secret_stands_in_the_database_in_clear(world: World, tmp_path: Path) -> None:
    robot = await world.add_robot("ci", "repository:pull")
    kept = (await world.ask(user="guest", offline_token="true")).json()["refresh_token"]
    key = await real_key(world)
    if not isinstance(world.place, SqlitePlace):
        # What is written to rows is the same code's; a file shows it whole.
        return
    await world.close()

    rows = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())

    assert b"signing_key" in rows
    private = key.as_dict(private=True)["d"]
    assert isinstance(private, str)
    number = base64.urlsafe_b64decode(private + "=" * (-len(private) % 4))
    for secret in (robot.secret.encode(), kept.encode(), PASSWORD.encode(), number, world.master.keys[0]):
        assert secret not in rows
