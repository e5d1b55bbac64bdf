"""The OpenID provider of a registry, as its configuration keeps it: by the names that Harbor gives it, its secret wrapped.

The provider's API and Harbor's both set it here. Whichever did, there is one, and both show it.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from moorage.errors import Problem
from moorage.identity import configuration, patterns
from moorage.identity.configuration import Value

if TYPE_CHECKING:
    from moorage.db import Reader, Tx
    from moorage.identity.keys import MasterKey

LONGEST: Final = 255
LONGEST_SECRET: Final = 1024
LONGEST_URL: Final = 2048
LONGEST_MORE: Final = 2048
PREFIX: Final = "oidc_"
SECRET: Final = "oidc_client_secret"  # noqa: S105 - what it is called.
ID: Final = "oidc_id"

_URL = re.compile(r"[!-~]+")
_SCOPE = re.compile(r"[!#-\[\]-~]+")
_REQUIRED: Final = ("name", "endpoint", "client_id", "client_secret", "scope")
_MOSTS: Final = {
    "client_secret": LONGEST_SECRET,
    "endpoint": LONGEST_URL,
    "extra_redirect_parms": LONGEST_MORE,
}
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OURS: Final = frozenset(
    {"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method"}
)  # fmt: skip
_YES: Final = "true"


class OidcInvalid(Problem):
    """A field of an OIDC provider breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "not a configuration of an OIDC provider"


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
    extra_redirect_parms: str = "{}"
    auto_onboard: bool = False
    verify_cert: bool = True
    logout: bool = False

    @property
    def scopes(self) -> list[str]:
        """Give what is asked for at the provider."""
        return self.scope.split(",")

    @property
    def more(self) -> dict[str, str]:
        """Give what else goes to the provider with the browser."""
        return dict(json.loads(self.extra_redirect_parms or "{}"))


@dataclass(frozen=True, slots=True)
class Configured:
    """An OIDC provider that a registry has, without its secret; times are microseconds."""

    id: str
    provider: Provider
    created_at: int
    updated_at: int


NAMES: Final = tuple(f"{PREFIX}{one.name}" for one in fields(Provider))
"""All that is kept of a provider."""


def check(provider: Provider, *, secret_kept: bool = False) -> None:
    """Raise OidcInvalid, which names the field and the rule, unless a provider can be asked."""
    for name in _REQUIRED:
        if not getattr(provider, name) and not (name == "client_secret" and secret_kept):
            raise _invalid(name, "must not be empty")
    check_given(provider)


def check_given(provider: Provider) -> None:
    """Raise OidcInvalid for what is given of a provider and breaks a rule, whether or not all of it is there."""
    for one in fields(Provider):
        value = getattr(provider, one.name)
        if isinstance(value, str):
            _check_text(one.name, value)
    if provider.endpoint:
        check_endpoint(provider.endpoint)
    scopes = provider.scopes
    if provider.scope and (not all(_SCOPE.fullmatch(scope) for scope in scopes) or "openid" not in scopes):
        raise _invalid(
            "scope", "must be scopes apart by commas, openid among them, such as openid,profile,email"
        )
    if provider.group_filter:
        try:
            patterns.compiled(provider.group_filter)
        except patterns.PatternInvalid as problem:
            raise _invalid("group_filter", f"must be a regular expression: {problem}") from None
    _check_more(provider.extra_redirect_parms)


async def read(reader: Reader) -> Configured | None:
    """Give the provider that a registry has, if it has one."""
    rows = await configuration.get(reader, ID, *NAMES)
    if ID not in rows:
        return None
    at = max(row.updated_at for row in rows.values())
    return Configured(rows[ID].text, of(rows), rows[ID].created_at, at)


def of(rows: Mapping[str, Value]) -> Provider:
    """Read a provider out of what is set, without its secret."""
    given = {one.name: _value(rows.get(f"{PREFIX}{one.name}"), one.default) for one in fields(Provider)}
    given["client_secret"] = ""
    return Provider(**given)  # type: ignore[arg-type]


async def write(
    tx: Tx, master: MasterKey, registry: str, before: Configured | None, after: Provider
) -> str | None:
    """Write what differs, and say whether the secret was ``changed`` or ``kept``; None: nothing differs."""
    old, new = {} if before is None else shown(before.provider), shown(after)
    changed = {
        f"{PREFIX}{name}": _text(value)
        for name, value in new.items()
        if name not in old or old[name] != value
    }
    has_secret = bool(after.client_secret) and after.client_secret != await secret(tx, master, registry)
    if before is None:
        changed[ID] = str(uuid.uuid4())
    if not changed and not has_secret:
        return None
    await configuration.put(tx, changed)
    if has_secret:
        await configuration.put_secret(tx, master, registry, SECRET, after.client_secret)
    return "changed" if has_secret else "kept"


async def ensure_known(tx: Tx) -> None:
    """Give the provider the number that it is shown by, if it has none."""
    if ID not in await configuration.get(tx, ID):
        await configuration.put(tx, {ID: str(uuid.uuid4())})


async def secret(reader: Reader, master: MasterKey, registry: str) -> str | None:
    """Give the secret that is kept, if one is."""
    kept = (await configuration.get(reader, SECRET)).get(SECRET)
    return None if kept is None else configuration.opened(kept, master, registry, SECRET)


async def drop(tx: Tx) -> None:
    """Keep nothing of a provider."""
    await configuration.drop(tx, ID, *NAMES)


def shown(provider: Provider) -> dict[str, str | bool]:
    """Give all of a provider that may be shown."""
    return {one.name: getattr(provider, one.name) for one in fields(Provider) if one.name != "client_secret"}


def _check_text(name: str, text: str) -> None:
    most = _MOSTS.get(name, LONGEST)
    if len(text) > most or not text.isprintable():
        raise _invalid(name, f"must be one line of at most {most} characters that can be shown")


def check_endpoint(url: str) -> None:
    """Raise OidcInvalid for what is no address that can be asked. Whether anybody answers there shows when somebody signs in."""
    try:
        parts = urlsplit(url)
        # What is on this machine needs no certificate; whether it may be asked at all, the caller knows.
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE)
        fine = safe and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        alone = parts.username is None and parts.password is None and not parts.query and not parts.fragment
    except ValueError:
        fine = alone = False
    if not fine or not alone or not _URL.fullmatch(url) or url.endswith(("?", "#")):
        raise _invalid("endpoint", "must be an https address without user, query or fragment")


def check_secret_stays(before: Provider, after: Provider) -> None:
    """Raise OidcInvalid where a secret that is kept would be sent to another host than it is kept for."""
    old, new = (
        (parts.scheme, parts.netloc.lower()) for parts in map(urlsplit, (before.endpoint, after.endpoint))
    )
    if before.endpoint and after.endpoint and old != new:
        raise _invalid(
            "client_secret", "has to be given with an endpoint at another host, since it would be sent there"
        )


def _check_more(text: str) -> None:
    try:
        given = json.loads(text or "{}")
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or not all(isinstance(one, str) for one in given.values()):
        raise _invalid("extra_redirect_parms", 'must be a JSON object of texts, such as {"prompt": "login"}')
    if taken := sorted(_OURS & given.keys()):
        raise _invalid("extra_redirect_parms", f"must not have {taken[0]}, which each sign-in makes anew")


def _invalid(name: str, rule: str) -> OidcInvalid:
    written = "".join(word.title() if place else word for place, word in enumerate(name.split("_")))
    return OidcInvalid(f"{written}: {rule}", field=written, rule=rule, name=f"{PREFIX}{name}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _value(row: Value | None, default: object) -> object:
    if row is None:
        return default if isinstance(default, str | bool) else ""
    return row.text == _YES if isinstance(default, bool) else row.text
