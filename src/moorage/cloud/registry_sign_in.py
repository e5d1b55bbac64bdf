"""How people sign in to a registry, as its owner's account has it: by the registry's own passwords, by OIDC, or by IAM.

One of them at a time. Users of another way are in the way of a change: they go first, and only if that is said.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Final
from urllib.parse import urlsplit

from moorage.cloud.provisioning import ADMINISTRATOR
from moorage.db import Database, Reader, Tx
from moorage.errors import Problem
from moorage.identity import configuration, users
from moorage.identity.configuration import AUTH_MODE, IAM, LOCAL, OIDC, Value
from moorage.identity.keys import MasterKey
from moorage.registry import events
from moorage.registry.events import Origin

LONGEST: Final = 255
LONGEST_SECRET: Final = 1024
LONGEST_URL: Final = 2048
WRAPPED: Final = "oidc_client_secret"
ID: Final = "oidc_id"

_URL = re.compile(r"[!-~]+")
_SCOPE = re.compile(r"[!#-\[\]-~]+")
_REQUIRED: Final = ("name", "endpoint", "client_id", "client_secret", "scope")
_YES: Final = "true"


class OidcInvalid(Problem):
    """A field of an OIDC provider breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "not a configuration of an OIDC provider"


class OidcUnknown(Problem):
    """The registry has no OIDC provider."""

    code, status, summary = "NOT_FOUND", 404, "this registry has no OIDC provider"


class UsersInTheWay(Problem):
    """Users who sign in another way are there, and nobody has said that they may be deleted."""

    code, status, summary = "BAD_REQUEST", 400, "users exist, set parameter deleteUsers to delete them"


class SignInTaken(Problem):
    """People sign in to the registry another way, which has to be ended first."""

    code, status, summary = "CONFLICT", 409, "people sign in to this registry another way"


@dataclass(frozen=True, slots=True)
class Provider:
    """An OIDC provider, as a registry is to ask it. A secret that is empty is the one that is kept."""

    name: str
    endpoint: str
    client_id: str
    scope: str
    client_secret: str = field(default="", repr=False)
    admin_group: str = ""
    groups_claim: str = ""
    group_filter: str = ""
    user_claim: str = ""
    auto_onboard: bool = False
    verify_cert: bool = True


@dataclass(frozen=True, slots=True)
class Configured:
    """An OIDC provider that a registry has, without its secret; times are microseconds."""

    id: str
    provider: Provider
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Place:
    """A registry's rows, what they are called where secrets are wrapped for them, and who changes them."""

    db: Database
    registry: str
    master: MasterKey
    origin: Origin


async def oidc(reader: Reader) -> Configured:
    """Give a registry's OIDC provider, or raise OidcUnknown."""
    found = await _read(reader)
    if found is None:
        raise OidcUnknown
    return found


async def put_oidc(place: Place, provider: Provider, *, delete_users: bool) -> None:
    """Let people sign in by an OIDC provider's word, in place of the one before if there is one.

    Raises OidcInvalid, SignInTaken, and UsersInTheWay where the first one comes before users with passwords have gone.
    """
    check(provider)

    async def work(tx: Tx) -> None:
        before = await _read(tx)
        if before is None:
            await _make_way(tx, place.origin, OIDC, delete_users=delete_users)
        await _write(tx, place, before, provider)

    await place.db.change(work)


async def edit_oidc(place: Place, changes: Mapping[str, object]) -> None:
    """Change some fields of a registry's OIDC provider; raise OidcUnknown or OidcInvalid."""

    async def work(tx: Tx) -> None:
        before = await oidc(tx)
        # The fields are a provider's own: the call's struct has no others.
        after = replace(before.provider, **changes)  # type: ignore[arg-type]
        check(after, secret_kept="client_secret" not in changes)
        await _write(tx, place, before, after)

    await place.db.change(work)


async def drop_oidc(place: Place) -> None:
    """End sign-in by OIDC, and the users who came by it; raise OidcUnknown."""

    async def work(tx: Tx) -> None:
        before = await oidc(tx)
        await configuration.drop(tx, AUTH_MODE, ID, *(_key(one.name) for one in fields(Provider)))
        gone = await _delete_users(tx, place.origin, await users.from_outside(tx))
        await events.record(tx, "oidc.delete", place.origin, before=_shown(before.provider), users=gone)

    await place.db.change(work)


async def enable_iam(place: Place, *, delete_users: bool) -> None:
    """Let members of the cloud project sign in, and nobody by a password of the registry's own.

    Raises SignInTaken and UsersInTheWay. Done twice, it changes nothing more.
    """

    async def work(tx: Tx) -> None:
        if await configuration.auth_mode(tx) != IAM:
            await _make_way(tx, place.origin, IAM, delete_users=delete_users)
            await configuration.put(tx, {AUTH_MODE: IAM})
            await events.record(tx, "iam.enable", place.origin)

    await place.db.change(work)


async def disable_iam(place: Place) -> None:
    """End sign-in by IAM, and the users who came by it. Where it is not on, it changes nothing."""

    async def work(tx: Tx) -> None:
        if await configuration.auth_mode(tx) == IAM:
            await configuration.drop(tx, AUTH_MODE)
            gone = await _delete_users(tx, place.origin, await users.from_outside(tx))
            await events.record(tx, "iam.disable", place.origin, users=gone)

    await place.db.change(work)


def check(provider: Provider, *, secret_kept: bool = False) -> None:
    """Raise OidcInvalid, which names the field and the rule, unless a provider can be asked."""
    for name in _REQUIRED:
        if not getattr(provider, name) and not (name == "client_secret" and secret_kept):
            raise _invalid(name, "must not be empty")
    for one in fields(Provider):
        value = getattr(provider, one.name)
        if isinstance(value, str):
            _check_text(one.name, value)
    _check_endpoint(provider.endpoint)
    scopes = provider.scope.split(",")
    if not all(_SCOPE.fullmatch(scope) for scope in scopes) or "openid" not in scopes:
        raise _invalid(
            "scope", "must be scopes apart by commas, openid among them, such as openid,profile,email"
        )


def _check_text(name: str, text: str) -> None:
    most = {"client_secret": LONGEST_SECRET, "endpoint": LONGEST_URL}.get(name, LONGEST)
    if len(text) > most or not text.isprintable():
        raise _invalid(name, f"must be one line of at most {most} characters that can be shown")


def _check_endpoint(url: str) -> None:
    """Refuse what is no address that can be asked. Whether anybody answers there shows when somebody signs in."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme == "https" and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        alone = parts.username is None and parts.password is None and not parts.query and not parts.fragment
    except ValueError:
        fine = alone = False
    if not fine or not alone or not _URL.fullmatch(url) or url.endswith(("?", "#")):
        raise _invalid("endpoint", "must be an https address without user, query or fragment")


def _invalid(name: str, rule: str) -> OidcInvalid:
    shown = "".join(word.title() if place else word for place, word in enumerate(name.split("_")))
    return OidcInvalid(f"{shown}: {rule}", field=shown, rule=rule)


async def _make_way(tx: Tx, origin: Origin, wanted: str, *, delete_users: bool) -> None:
    """Raise SignInTaken, or UsersInTheWay unless they may be deleted: then they are."""
    mode = await configuration.auth_mode(tx)
    if mode not in {LOCAL, wanted}:
        raise SignInTaken(
            "people sign in to this registry by "
            + (
                "IAM: end that first (DELETE …/iam)"
                if mode == IAM
                else "OIDC: end that first (DELETE …/openIdConnect)"
            )
        )
    found = await users.all_but(tx, ADMINISTRATOR)
    if found and not delete_users:
        raise UsersInTheWay(f"{len(found)} users exist, set parameter deleteUsers to delete them")
    await _delete_users(tx, origin, found)


async def _delete_users(tx: Tx, origin: Origin, found: Mapping[int, str]) -> int:
    await users.remove_all(tx, found.keys())
    for number, name in found.items():
        await events.record(tx, "user.delete", origin, user=number, name=name)
    return len(found)


async def _read(reader: Reader) -> Configured | None:
    rows = await configuration.get(reader, ID, *(_key(one.name) for one in fields(Provider)))
    if ID not in rows:
        return None
    given = {one.name: _value(rows.get(_key(one.name)), one.default) for one in fields(Provider)}
    at = max(row.updated_at for row in rows.values())
    return Configured(rows[ID].text, Provider(**given), rows[ID].created_at, at)  # type: ignore[arg-type]


async def _write(tx: Tx, place: Place, before: Configured | None, after: Provider) -> None:
    """Write what differs; a secret that is given differs unless it is the one that is kept."""
    old = {} if before is None else _shown(before.provider)
    new = _shown(after)
    changed = {
        _key(name): _text(value) for name, value in new.items() if name not in old or old[name] != value
    }
    has_secret = bool(after.client_secret) and after.client_secret != await _secret(tx, place)
    if before is None:
        changed |= {ID: str(uuid.uuid4()), AUTH_MODE: OIDC}
    if not changed and not has_secret:
        return
    await configuration.put(tx, changed)
    if has_secret:
        await configuration.put_secret(tx, place.master, place.registry, WRAPPED, after.client_secret)
    await events.record(
        tx, "oidc.put", place.origin, before=old, after=new, secret="changed" if has_secret else "kept"
    )


async def _secret(tx: Tx, place: Place) -> str | None:
    kept = (await configuration.get(tx, WRAPPED)).get(WRAPPED)
    return None if kept is None else configuration.opened(kept, place.master, place.registry, WRAPPED)


def _shown(provider: Provider) -> dict[str, str | bool]:
    """Give all of a provider that may be shown."""
    return {one.name: getattr(provider, one.name) for one in fields(Provider) if one.name != "client_secret"}


def _key(name: str) -> str:
    return f"oidc_{name}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _value(row: Value | None, default: object) -> object:
    if row is None:
        return default if isinstance(default, str | bool) else ""
    return row.text == _YES if isinstance(default, bool) else row.text
