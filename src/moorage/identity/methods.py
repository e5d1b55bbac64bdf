"""The ways in which people sign in to a registry: several at once, each turned on and off by its own administrators.

    db_auth     by passwords of the registry's own, and no other way
    oidc_auth   by its OpenID provider's word, too
    ldap_auth   by its LDAP server's, too
    iam_auth    as the provider's API alone sets it, and ends it

Passwords of the registry's own are good under each of the first three. Under ``oidc_auth`` and ``ldap_auth`` each of the two is on
that is configured: the mode says which one clients show first. Nobody's account is touched when a way is turned on; when one is
turned off, whoever came by it is signed out, and comes in again when it is on again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from moorage.identity import configurable, configuration, ldap_settings, oidc_settings, users
from moorage.identity.configurable import ConfigurationFixed, ConfigurationInvalid
from moorage.identity.configuration import AUTH_MODE, IAM, LDAP, OIDC
from moorage.identity.oidc_settings import OidcInvalid, Provider

if TYPE_CHECKING:
    from moorage.db import Reader, Tx
    from moorage.identity.keys import MasterKey

ENDPOINT: Final = "oidc_endpoint"
LDAP_URL: Final = "ldap_url"
_SECRET_OF: Final = {ENDPOINT: oidc_settings.SECRET, LDAP_URL: ldap_settings.SECRET}


@dataclass(frozen=True, slots=True)
class Methods:
    """Which ways are on beside the registry's own passwords, and which one clients show first."""

    mode: str
    oidc: bool
    ldap: bool

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Methods:
        """Tell by what is set."""
        mode = settings[AUTH_MODE]
        outside = mode in {OIDC, LDAP}
        return cls(
            mode, oidc=outside and bool(settings[ENDPOINT]), ldap=outside and bool(settings.get(LDAP_URL))
        )


@dataclass(frozen=True, slots=True)
class Place:
    """What secrets are wrapped by, and for which registry."""

    master: MasterKey
    registry: str


async def on(reader: Reader) -> Methods:
    """Say which ways are on."""
    found = await configuration.get(reader, AUTH_MODE, ENDPOINT, LDAP_URL)
    texts = {name: found[name].text if name in found else "" for name in (AUTH_MODE, ENDPOINT, LDAP_URL)}
    return Methods.of({**texts, AUTH_MODE: texts[AUTH_MODE] or configuration.LOCAL})


async def configure(
    tx: Tx, place: Place, given: Mapping[str, object]
) -> tuple[dict[str, object], dict[str, object]]:
    """Set some of the configuration, and give what was and what is; raise ConfigurationInvalid or ConfigurationFixed."""
    now = await configurable.values(tx)
    changed, secrets = configurable.changes(now, given), configurable.secrets(given)
    after = now | {name: configurable.KEYS[name].read(text) for name, text in changed.items()}
    if IAM in {now[AUTH_MODE], after[AUTH_MODE]} and AUTH_MODE in changed:
        raise ConfigurationFixed(
            "auth_mode cannot be changed here while people sign in by IAM: it is ended through the provider's API",
            name=AUTH_MODE,
        )
    await _check_oidc(tx, now, after, changed, secrets)
    _check_ldap(now, after, secrets)
    await configuration.put(tx, changed)
    # A secret is kept for a place: one that is taken away leaves none for the next.
    await configuration.drop(
        tx, *(secret for place, secret in _SECRET_OF.items() if now[place] and not after[place])
    )
    for name, text in secrets.items():
        await configuration.put_secret(tx, place.master, place.registry, name, text)
    if Methods.of(after).oidc:
        await oidc_settings.ensure_known(tx)
    if Methods.of(now).oidc and (not Methods.of(after).oidc or now[ENDPOINT] != after[ENDPOINT]):
        await users.sign_out_outside(tx, str(now[ENDPOINT]))
    if Methods.of(now).ldap and (not Methods.of(after).ldap or _directory(now) != _directory(after)):
        await users.sign_out_outside(tx, _directory(now))
    hidden = dict.fromkeys(secrets, "a secret")
    return {name: now[name] for name in changed}, {**changed, **hidden}


def _directory(settings: Mapping[str, object]) -> str:
    return ldap_settings.issuer(str(settings[ldap_settings.BASE]))


def _check_ldap(now: Mapping[str, object], after: Mapping[str, object], secrets: Mapping[str, str]) -> None:
    """Raise ConfigurationInvalid where people are to sign in by a directory that cannot be asked."""
    if after[AUTH_MODE] == LDAP or Methods.of(after).ldap:
        lacks = ldap_settings.missing(after)
        if lacks:
            raise ConfigurationInvalid(f"{lacks}: must not be empty where people sign in by LDAP", name=lacks)
    before, there = (ldap_settings.place(str(one[LDAP_URL])) for one in (now, after))
    if (
        before
        and there
        and before != there
        and after["ldap_search_dn"]
        and ldap_settings.SECRET not in secrets
    ):
        # Else whoever may set the address could have the password sent to where they read it.
        raise ConfigurationInvalid(
            f"{ldap_settings.SECRET}: has to be given with another ldap_url, since it would be sent there",
            name=ldap_settings.SECRET,
        )


async def _check_oidc(
    tx: Tx,
    now: Mapping[str, object],
    after: Mapping[str, object],
    changed: Mapping[str, str],
    secrets: Mapping[str, str],
) -> None:
    """Raise ConfigurationInvalid unless what is set of an OpenID provider can be, and is all there where people sign in by it."""
    touched = AUTH_MODE in changed or any(
        name.startswith(oidc_settings.PREFIX) for name in (*changed, *secrets)
    )
    if not touched:
        return
    names = [one.name for one in fields(Provider) if one.name != "client_secret"]
    given: dict[str, Any] = {name: after[f"{oidc_settings.PREFIX}{name}"] for name in names}
    secret = secrets.get(oidc_settings.SECRET, "")
    provider = Provider(**given, client_secret=secret)
    kept = oidc_settings.SECRET in await configuration.get(tx, oidc_settings.SECRET)
    try:
        if after[AUTH_MODE] == OIDC or Methods.of(after).oidc:
            oidc_settings.check(provider, secret_kept=kept)
        else:
            oidc_settings.check_given(provider)
        if kept and not secret:
            oidc_settings.check_secret_stays(replace(provider, endpoint=str(now[ENDPOINT])), provider)
    except OidcInvalid as problem:
        name, rule = problem.detail["name"], problem.detail["rule"]
        raise ConfigurationInvalid(f"{name}: {rule}", name=name) from None
