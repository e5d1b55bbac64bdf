"""How people sign in to a registry, as its owner's account has it: by the registry's own passwords, by OIDC, or by IAM.

Users of another way are in the way of the first provider and of IAM: they go first, and only if that is said. The registry's own
administrators may turn what is set here off and on again (`identity.methods`), whoever its users are, but for IAM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from moorage.cloud.provisioning import ADMINISTRATOR
from moorage.db import Database, Reader, Tx
from moorage.errors import Problem
from moorage.identity import configuration, oidc_settings, users
from moorage.identity.configuration import AUTH_MODE, IAM, LOCAL, OIDC
from moorage.identity.keys import MasterKey
from moorage.identity.oidc_settings import Configured, Provider
from moorage.registry import events
from moorage.registry.events import Origin


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
class Place:
    """A registry's rows, what they are called where secrets are wrapped for them, and who changes them."""

    db: Database
    registry: str
    master: MasterKey
    origin: Origin


async def oidc(reader: Reader) -> Configured:
    """Give a registry's OIDC provider, or raise OidcUnknown."""
    found = await oidc_settings.read(reader)
    if found is None:
        raise OidcUnknown
    return found


async def put_oidc(place: Place, provider: Provider, *, delete_users: bool) -> None:
    """Let people sign in by an OIDC provider's word, in place of the one before if there is one.

    Raises OidcInvalid, SignInTaken, and UsersInTheWay where the first one comes before users with passwords have gone.
    """
    oidc_settings.check(provider)

    async def work(tx: Tx) -> None:
        before = await oidc_settings.read(tx)
        await _require_no_iam(tx)
        if before is None:
            await _make_way(tx, place.origin, delete_users=delete_users)
        # What is set through Harbor's API alone stays as it is.
        kept = Provider("", "", "", "") if before is None else before.provider
        whole = replace(provider, extra_redirect_parms=kept.extra_redirect_parms, logout=kept.logout)
        await _write(tx, place, before, whole, turn_on=True)

    await place.db.change(work)


async def edit_oidc(place: Place, changes: Mapping[str, object]) -> None:
    """Change some fields of a registry's OIDC provider; raise OidcUnknown or OidcInvalid."""

    async def work(tx: Tx) -> None:
        before = await oidc(tx)
        # The fields are a provider's own: the call's struct has no others.
        after = replace(before.provider, **changes)  # type: ignore[arg-type]
        oidc_settings.check(after, secret_kept="client_secret" not in changes)
        if not after.client_secret:
            oidc_settings.check_secret_stays(before.provider, after)
        await _require_no_iam(tx)
        await _write(tx, place, before, after)

    await place.db.change(work)


async def drop_oidc(place: Place) -> None:
    """End sign-in by OIDC, and the users who came by it; raise OidcUnknown."""

    async def work(tx: Tx) -> None:
        before = await oidc(tx)
        await oidc_settings.drop(tx)
        if await configuration.auth_mode(tx) == OIDC:
            await configuration.drop(tx, AUTH_MODE)
        gone = await _delete_users(tx, place.origin, await users.from_outside(tx, "http"))
        told = oidc_settings.shown(before.provider)
        await events.record(tx, "oidc.delete", place.origin, before=told, users=gone)

    await place.db.change(work)


async def enable_iam(place: Place, *, delete_users: bool) -> None:
    """Let members of the cloud project sign in, and nobody by a password of the registry's own.

    Raises SignInTaken and UsersInTheWay. Done twice, it changes nothing more.
    """

    async def work(tx: Tx) -> None:
        if await configuration.auth_mode(tx) != IAM:
            if await configuration.auth_mode(tx) == OIDC:
                raise SignInTaken(
                    "people sign in to this registry by OIDC: end that first (DELETE …/openIdConnect)"
                )
            await _make_way(tx, place.origin, delete_users=delete_users)
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


async def _require_no_iam(tx: Tx) -> None:
    if await configuration.auth_mode(tx) == IAM:
        raise SignInTaken("people sign in to this registry by IAM: end that first (DELETE …/iam)")


async def _make_way(tx: Tx, origin: Origin, *, delete_users: bool) -> None:
    """Raise UsersInTheWay unless they may be deleted: then they are."""
    found = await users.all_but(tx, ADMINISTRATOR)
    if found and not delete_users:
        raise UsersInTheWay(f"{len(found)} users exist, set parameter deleteUsers to delete them")
    await _delete_users(tx, origin, found)


async def _delete_users(tx: Tx, origin: Origin, found: Mapping[int, str]) -> int:
    await users.remove_all(tx, found.keys())
    for number, name in found.items():
        await events.record(tx, "user.delete", origin, user=number, name=name)
    return len(found)


async def _write(
    tx: Tx, place: Place, before: Configured | None, after: Provider, *, turn_on: bool = False
) -> None:
    """Write what differs, and have people sign in so if they did by passwords of the registry's own alone."""
    secret = await oidc_settings.write(tx, place.master, place.registry, before, after)
    if before is not None and before.provider.endpoint != after.endpoint:
        await users.sign_out_outside(tx, before.provider.endpoint)
    turn_on = turn_on and await configuration.auth_mode(tx) == LOCAL
    if turn_on:
        await configuration.put(tx, {AUTH_MODE: OIDC})
    if secret is None and not turn_on:
        return
    old = {} if before is None else oidc_settings.shown(before.provider)
    new = oidc_settings.shown(after)
    await events.record(tx, "oidc.put", place.origin, before=old, after=new, secret=secret or "kept")
