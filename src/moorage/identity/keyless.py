"""Robots signed in by tokens of others: a job's, or an account's for machines in a cluster, in place of a secret.

What a token says of itself is read first, and a fault in it is told as it is: whoever shows it can read it as well. All that
depends on a registry's robots, and on whom they trust, is answered alike: nobody learns by it which there are. A token that
was found good is remembered until it ends, or until anybody's rights change.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from moorage.identity import accounts, trusts
from moorage.identity.tokens import NEVER
from moorage.identity.trust_rules import TrustInvalid
from moorage.oci.errors import Unauthorized
from moorage.outbound import signatures
from moorage.outbound.key_sets import KeySet
from moorage.outbound.oidc import check_address
from moorage.outbound.signatures import TokenRefused

if TYPE_CHECKING:
    from moorage.db import Database
    from moorage.identity.trusts import InForce
    from moorage.outbound.key_sets import KeySets

SECOND: Final = 1_000_000
ANY_ROBOT: Final = "__token__"
"""The user name of who leaves it to the token which robot it signs in."""
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
"""The grant of RFC 8693: another's token for one of ours."""
LIFE: Final = 900
"""Seconds that a token of ours lives which another's token was exchanged for."""
SHORTEST: Final = 129
"""No password and no robot's secret is as long as the shortest of tokens."""
LONGEST: Final = 16 * 1024
SKEW: Final = 60
LONGEST_BY: Final = 512
LONGEST_LIFE: Final = 24 * 3600
"""A token that was made to live longer is a secret to be kept, and no better than one."""
MOST_FITTING: Final = trusts.MOST
"""How many trusts that fit a token have their keys tried."""
MOST_AT_ONCE: Final = 2
"""Of issuers that one registry has asked for their keys."""
_REMEMBERED: Final = 10_000
_MANY: Final = "many robots trust such tokens: say which one signs in, by its whole name"
WRONG: Final = (
    "unknown robot, or one that does not trust this token:"
    " compare the robot's trusts with the token's issuer, audience and claims"
)


@dataclass(frozen=True, slots=True)
class Read:
    """A token taken apart, and believed in nothing yet."""

    text: str = field(repr=False)
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    issuer: str
    ends: int

    @property
    def by(self) -> str:
        """Say whose it is, in its issuer's words and no more of them than fit."""
        subject = self.claims.get("sub")
        said = f"{subject if isinstance(subject, str) else 'somebody'} of {self.issuer}"
        return "".join(letter for letter in said[:LONGEST_BY] if letter.isprintable())


@dataclass(frozen=True, slots=True)
class Proven:
    """The robot that a token signs in, in which state of its, and until when (seconds); and whose the token is, for the record."""

    robot: int
    epoch: int
    ends: int
    by: str


@dataclass(slots=True)
class _Remembered:
    """What was found since the access rows last changed."""

    version: int
    proven: dict[tuple[int | None, bytes], Proven] = field(default_factory=dict)
    """By the robot that was asked for, and a token's hash."""
    trusts: dict[tuple[str, int | None], list[InForce]] = field(default_factory=dict)


def is_token(password: str) -> bool:
    """Say whether what was shown as a password is a signed token, which no password can be."""
    return len(password) >= SHORTEST and password.startswith("eyJ") and password.count(".") == len("..")


def is_name(name: str) -> bool:
    """Say whether a name is one that a token signs in as."""
    return name == ANY_ROBOT or accounts.is_robots(name)


class Keyless:
    """Tells which robot of one registry a token of another's signs in."""

    def __init__(self, db: Database, key_sets: KeySets) -> None:
        """Look at the registry's own trusts, and at *key_sets* of those whom they name."""
        self._db = db
        self._key_sets = key_sets
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)
        self._known = _Remembered(NEVER)

    def check_issuer(self, issuer: str) -> None:
        """Raise TrustInvalid for an issuer that could never be asked for its keys."""
        try:
            check_address(self._key_sets.caller, issuer)
        except ValueError as error:
            raise TrustInvalid(
                f"issuer: {error}; give its keys (jwks) where it cannot be reached from here"
            ) from None

    async def robot(self, asked: int | None, token: str) -> Proven:
        """Give the robot that a token signs in: the one *asked* for, or (None) whichever trusts it.

        Raises Unauthorized, or IssuerAway.
        """
        known = self._current()
        key = asked, hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        now = self._db.now() // SECOND
        if (found := known.proven.get(key)) is not None and now < found.ends:
            return found
        read = self._read(token)
        one = await self._proven(known, read, asked)
        if len(known.proven) >= _REMEMBERED:
            del known.proven[next(iter(known.proven))]
        known.proven[key] = found = Proven(one.robot, one.epoch, read.ends, read.by)
        return found

    async def _proven(self, known: _Remembered, read: Read, asked: int | None) -> InForce:
        """Find the one robot with a trust that fits what a token says, by whose keys it is signed."""
        now = self._db.now()
        fitting = [
            one
            for one in await self._in_force(known, read.issuer, asked)
            if one.trust.fits(read.claims) and (one.until is None or now < one.until)
        ]
        if len(fitting) > MOST_FITTING:
            raise Unauthorized(_MANY)
        signed: dict[tuple[Any, ...], bool] = {}
        found: dict[int, InForce] = {}
        for one in fitting:
            # Most trusts in an issuer are in the same keys: those are tried once.
            keys = tuple(json.dumps(key, sort_keys=True) for key in one.trust.keys)
            if keys not in signed:
                signed[keys] = await self._has_signed(one, read)
            if signed[keys]:
                found[one.robot] = one
        if len(found) > 1:
            raise Unauthorized(
                f"{len(found)} robots trust this token: say which one signs in, by its whole name"
            )
        if not found:
            raise Unauthorized(WRONG)
        return found.popitem()[1]

    async def _in_force(self, known: _Remembered, issuer: str, asked: int | None) -> list[InForce]:
        found = known.trusts.get((issuer, asked))
        if found is None:
            found = await trusts.in_force(self._db, issuer, asked)
            if len(found) > trusts.MOST_UNNAMED and asked is None:
                raise Unauthorized(_MANY)
            # What is not there costs whoever asks for it, and no memory.
            if found:
                if len(known.trusts) >= _REMEMBERED:
                    del known.trusts[next(iter(known.trusts))]
                known.trusts[issuer, asked] = found
        return found

    async def _has_signed(self, one: InForce, read: Read) -> bool:
        if one.trust.keys:
            # Only what can have signed it is read at all.
            fitting = [key for key in one.trust.keys if signatures.suits(key, read.header)]
            return len(fitting) == 1 and KeySet.of(fitting).has_signed(read.text, read.header)
        return await self._key_sets.have_signed(read.issuer, read.text, read.header, self._turns)

    def _read(self, token: str) -> Read:
        """Take a token apart, or raise Unauthorized with what is wrong with it whoever it is for."""
        try:
            if len(token) > LONGEST:
                raise TokenRefused(f"a token has at most {LONGEST} characters")
            header = signatures.header(token)
            if "crit" in header:
                raise TokenRefused("crit: the token asks for what is not known here")
            claims = _claims(token)
            ends = _check_times(claims, self._db.now() // SECOND)
        except TokenRefused as refused:
            raise Unauthorized(f"the token is not taken: {refused}") from None
        issuer = claims.get("iss")
        # JSON can hold what no row can: half a character, or none.
        if not isinstance(issuer, str) or not issuer.isprintable() or not issuer:
            raise Unauthorized("the token is not taken: iss: it names no issuer")
        return Read(token, header, claims, issuer, ends)

    def _current(self) -> _Remembered:
        """Give what is known, and forget it first if any access row changed."""
        version = self._db.access_version()
        if self._known.version != version:
            self._known = _Remembered(version)
        return self._known


def _claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    try:
        read = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise TokenRefused("it holds no claims")
    return read


def _check_times(claims: Mapping[str, Any], now: int) -> int:
    """Give when a token ends (seconds), or raise TokenRefused unless it is of now, and was made for a while."""
    ends, made = _time(claims, "exp"), _time(claims, "iat")
    begins = _time(claims, "nbf") if "nbf" in claims else made
    if ends <= now - SKEW:
        raise TokenRefused("exp: it has expired")
    if max(begins, made) > now + SKEW:
        raise TokenRefused("nbf, iat: it is not good yet; are the clocks right?")
    if ends - made > LONGEST_LIFE:
        raise TokenRefused(f"exp: it lives longer than {LONGEST_LIFE // 3600} hours")
    return int(ends)


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 40:
        raise TokenRefused(f"{name}: it has no such time")
    return value
