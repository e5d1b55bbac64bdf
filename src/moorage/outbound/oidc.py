"""OpenID providers, asked as OpenID Connect Core 1.0 has it: what they say of themselves, their keys, and a code redeemed.

    metadata   what stands below the issuer's name, which has to be the issuer's own word (Discovery, 4.3)
    redeem     a code, with the verifier of RFC 7636, for an ID token
    claims     what an ID token says, once everything about it is right (Core, 3.1.3.7)

Nothing that a provider says is believed for longer than an hour. Keys that it has changed are found when a token names one
that is not known, which is asked at most twice a minute. A provider that is slow keeps none waiting but those who ask it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from joserfc import jws
from joserfc.errors import JoseError

from moorage.errors import Problem
from moorage.outbound import signatures
from moorage.outbound.http import Answered, Caller, NotAsked, Target
from moorage.outbound.signatures import TokenRefused

SECOND: Final = 1_000_000
SKEW: Final = 60
BELIEVED: Final = 3600 * SECOND
KEYS_PAUSE: Final = 30 * SECOND
LARGEST: Final = 256 * 1024
LONGEST_TOKEN: Final = 64 * 1024
LONGEST_SUBJECT: Final = 255
MOST_KEYS: Final = 50
MOST_KNOWN: Final = 500
SECONDS: Final = 10.0
THREADS: Final = 64
AT_ONCE: Final = 4
"""How many calls to one provider go on at once; who comes then waits a while."""

_JSON: Final = {"accept": "application/json"}
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HASHES: Final = {"256": "sha256", "384": "sha384", "512": "sha512"}
_VISIBLE = re.compile(r"[!-~]+(?: [!-~]+)*")


class IssuerAway(Problem):
    """An account's OpenID provider did not answer, or not as one does."""

    code, status, summary = (
        "UNAVAILABLE",
        503,
        "the account's OpenID provider cannot be asked just now: sign in with the password, or try again",
    )


@dataclass(frozen=True, slots=True)
class Client:
    """What an account is at its OpenID provider."""

    issuer: str
    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider says of itself."""

    authorization: str
    token: str
    keys: str
    userinfo: str
    end_session: str
    """Where a browser goes to sign out there, too (RP-Initiated Logout 1.0, 2.1); empty if nowhere."""
    in_body: bool
    """Whether the client's secret goes into the body, because the provider takes it nowhere else."""
    names_itself: bool
    """Whether it says who it is when it sends a browser back (RFC 9207)."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a code was redeemed for."""

    id: str = field(repr=False)
    access: str = field(repr=False)


@dataclass(slots=True)
class _Known:
    """What is known of a provider."""

    metadata: Metadata | None = None
    metadata_at: int = 0
    keys: list[dict[str, Any]] = field(default_factory=list)
    keys_at: int = 0
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))


def check_address(caller: Caller, url: str, *, of: str = "") -> None:
    """Raise ValueError, with the rule, for what no provider's address may be; one that is *of* an issuer is as safe as that."""
    target = Target.of(url)
    caller.check(url)
    if target.scheme != "https" and (target.host not in _HERE or of.startswith("https:")):
        raise ValueError("must begin with https://")


class Issuers:
    """Every provider that this process has asked."""

    def __init__(self, caller: Caller, now: Callable[[], int]) -> None:
        """Ask through *caller*; *now* gives the time in microseconds."""
        self.caller = caller
        self._now = now
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def metadata(self, issuer: str, *, anew: bool = False) -> Metadata:
        """Give what a provider says of itself, or raise IssuerAway."""
        known = self._of(issuer)
        if known.metadata is None or anew or self._now() - known.metadata_at > BELIEVED:
            url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
            known.metadata = self._metadata(issuer, await self._json(issuer, url))
            known.metadata_at = self._now()
        return known.metadata

    async def redeem(self, client: Client, code: str, verifier: str, redirect: str) -> Tokens:
        """Redeem a code; raise IssuerAway, or TokenRefused for one that the provider does not take."""
        told = await self.metadata(client.issuer)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": verifier,
        }
        headers = {**_JSON, "content-type": "application/x-www-form-urlencoded"}
        if told.in_body or not client.secret:
            form["client_id"] = client.id
            if client.secret:
                form["client_secret"] = client.secret
        else:
            # RFC 6749, 2.3.1: each is written as a form's value first.
            pair = f"{quote_plus(client.id)}:{quote_plus(client.secret)}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        answer = await self._ask(client.issuer, "POST", told.token, headers, urlencode(form).encode())
        given = _object(client.issuer, answer)
        if answer.status != 200:  # noqa: PLR2004 - as RFC 6749, 5.1 has it.
            raise TokenRefused(f"{_host(client.issuer)} does not take the code: {_told(given)}")
        token, access = given.get("id_token"), given.get("access_token", "")
        if not isinstance(token, str) or not isinstance(access, str) or len(token) > LONGEST_TOKEN:
            raise TokenRefused(f"{_host(client.issuer)} has given no ID token")
        return Tokens(token, access)

    async def claims(self, client: Client, tokens: Tokens, nonce: str, since: int) -> dict[str, Any]:
        """Give what an ID token says that was asked for at *since*, or raise TokenRefused, which says what is wrong with it."""
        found, payload = await self._verified(client.issuer, tokens.id)
        try:
            claims = json.loads(payload)
        except (ValueError, RecursionError):
            raise TokenRefused("the ID token holds no JSON") from None
        if not isinstance(claims, dict):
            raise TokenRefused("the ID token holds no claims")
        check_claims(claims, client, nonce, since=since, now=self._now())
        _check_hash(claims, found, tokens.access)
        return claims

    async def userinfo(self, client: Client, tokens: Tokens, subject: str) -> dict[str, Any]:
        """Give what the provider says of a person beside the ID token, which must be of the same person."""
        told = await self.metadata(client.issuer)
        if not told.userinfo or not _VISIBLE.fullmatch(tokens.access):
            return {}
        headers = {**_JSON, "authorization": f"Bearer {tokens.access}"}
        answer = await self._ask(client.issuer, "GET", told.userinfo, headers)
        given = _object(client.issuer, answer)
        if answer.status != 200 or given.get("sub") != subject:  # noqa: PLR2004 - Core, 5.3.2.
            raise TokenRefused(f"{_host(client.issuer)} tells of somebody else than it has signed in")
        return given

    async def _verified(self, issuer: str, token: str) -> tuple[str, bytes]:
        """Give the algorithm and the payload of a token that a key of the provider's has signed."""
        header = signatures.header(token)
        for anew in (False, True):
            keys = await self._keys(issuer, anew=anew)
            for one in [one for one in keys if signatures.suits(one, header)]:
                try:
                    read = jws.deserialize_compact(token, signatures.key(one), algorithms=[header["alg"]])
                except (JoseError, ValueError, TypeError):
                    continue
                return header["alg"], read.payload or b""
        raise TokenRefused(f"no key of {_host(issuer)} has signed the ID token")

    async def _keys(self, issuer: str, *, anew: bool) -> list[dict[str, Any]]:
        known, now = self._of(issuer), self._now()
        age = now - known.keys_at
        if not known.keys_at or age > BELIEVED or (anew and age > KEYS_PAUSE):
            told = await self.metadata(issuer)
            given = (await self._json(issuer, told.keys)).get("keys")
            if not isinstance(given, list) or len(given) > MOST_KEYS:
                raise IssuerAway(f"{_host(issuer)} publishes no set of at most {MOST_KEYS} keys")
            known.keys, known.keys_at = [one for one in given if isinstance(one, dict)], now
        return known.keys

    def _metadata(self, issuer: str, given: Mapping[str, Any]) -> Metadata:
        if given.get("issuer") != issuer:
            raise IssuerAway(
                f"{_host(issuer)} says that its issuer is {str(given.get('issuer'))[:200]!r}, not {issuer!r}"
            )
        found = {
            name: given.get(f"{name}_endpoint", "") if name != "jwks" else given.get("jwks_uri", "")
            for name in ("authorization", "token", "jwks", "userinfo", "end_session")
        }
        for name, url in found.items():
            if name in {"userinfo", "end_session"} and url == "":
                continue
            try:
                check_address(self.caller, url if isinstance(url, str) else "", of=issuer)
            except ValueError as error:
                raise IssuerAway(f"{_host(issuer)} names an address of its {name} that {error}") from None
        ways = given.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        in_body = (
            isinstance(ways, list) and "client_secret_basic" not in ways and "client_secret_post" in ways
        )
        itself = given.get("authorization_response_iss_parameter_supported") is True
        return Metadata(
            found["authorization"],
            found["token"],
            found["jwks"],
            found["userinfo"],
            found["end_session"],
            in_body=in_body,
            names_itself=itself,
        )

    async def _json(self, issuer: str, url: str) -> dict[str, Any]:
        answer = await self._ask(issuer, "GET", url, _JSON)
        if answer.status != 200:  # noqa: PLR2004 - Discovery, 4.2.
            raise IssuerAway(f"{_host(url)} answers with the status {answer.status}")
        return _object(issuer, answer)

    async def _ask(
        self, issuer: str, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answered:
        turns = self._of(issuer).turns
        try:
            async with asyncio.timeout(self.caller.seconds):
                await turns.acquire()
        except TimeoutError:
            raise IssuerAway(
                f"{_host(issuer)} is slow, and others wait for it: try again", retry_after=10
            ) from None
        try:
            return await self.caller.ask(method, url, headers, body, most=LARGEST)
        except (NotAsked, ValueError) as error:
            raise IssuerAway(str(error)) from None
        finally:
            turns.release()

    def _of(self, issuer: str) -> _Known:
        known = self._known.setdefault(issuer, _Known())
        self._known.move_to_end(issuer)
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return known


def check_claims(claims: Mapping[str, Any], client: Client, nonce: str, *, since: int, now: int) -> None:
    """Raise TokenRefused, with the claim, unless an ID token is this provider's, for this client, of this sign-in and of now."""
    if claims.get("iss") != client.issuer:
        raise TokenRefused("iss: the ID token is another issuer's")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if client.id not in named:
        raise TokenRefused("aud: the ID token is for another client")
    if (len(named) > 1 or "azp" in claims) and claims.get("azp") != client.id:
        raise TokenRefused("azp: the ID token was given to another client")
    given = claims.get("nonce")
    if not isinstance(given, str) or not _is_same(given, nonce):
        raise TokenRefused("nonce: the ID token is of another sign-in")
    subject = claims.get("sub")
    if (
        not isinstance(subject, str)
        or not 0 < len(subject) <= LONGEST_SUBJECT
        or not subject.isascii()
        or "\0" in subject
    ):
        raise TokenRefused(f"sub: must have 1 to {LONGEST_SUBJECT} ASCII characters")
    _check_times(claims, since=since, now=now)


def _check_times(claims: Mapping[str, Any], *, since: int, now: int) -> None:
    here, asked = now // SECOND, since // SECOND
    if _time(claims, "exp") <= here - SKEW:
        raise TokenRefused("exp: the ID token has expired")
    if not asked - SKEW <= _time(claims, "iat") <= here + SKEW:
        raise TokenRefused(
            "iat: the ID token was not made for this sign-in, or the clocks differ by more than a minute"
        )
    if "nbf" in claims and _time(claims, "nbf") > here + SKEW:
        raise TokenRefused("nbf: the ID token is not good yet")


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 40:
        raise TokenRefused(f"{name}: the ID token has no such time")
    return value


def _check_hash(claims: Mapping[str, Any], algorithm: str, access: str) -> None:
    """Hold the access token against the ID token, where that says what it is (Core, 3.1.3.6)."""
    if "at_hash" not in claims:
        return
    name = _HASHES.get(algorithm[-3:], "sha512")
    digest = hashlib.new(name, _bytes(access)).digest()
    expected = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
    given = claims["at_hash"]
    if not isinstance(given, str) or not _is_same(given, expected):
        raise TokenRefused("at_hash: the access token is not the one that came with the ID token")


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(_bytes(given), _bytes(expected))


def _bytes(text: str) -> bytes:
    # JSON can hold half a character, too.
    return text.encode("utf-8", "surrogatepass")


def _object(issuer: str, answer: Answered) -> dict[str, Any]:
    try:
        given = json.loads(answer.body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise IssuerAway(f"{_host(issuer)} did not answer with JSON, but with the status {answer.status}")
    return given


def _told(given: Mapping[str, Any]) -> str:
    said = str(given.get("error_description") or given.get("error") or "it does not say why")[:200]
    return "".join(letter for letter in said if letter.isprintable())


def _host(url: str) -> str:
    try:
        return Target.of(url).host
    except ValueError:
        return "the OpenID provider"
