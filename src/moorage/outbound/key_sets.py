"""The keys that issuers of tokens sign by: asked for when a token of theirs is shown, and believed for an hour.

An issuer is asked for its keys by one at a time, whoever waits. One that does not answer is left alone for a while, and so
is one whose keys were just read: a stranger's tokens, with names of keys that nobody knows, have it asked no more often.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError

from moorage.errors import Problem
from moorage.outbound import signatures
from moorage.outbound.http import Caller, NotAsked, Target
from moorage.outbound.oidc import check_address
from moorage.outbound.signatures import Key

SECOND: Final = 1_000_000
BELIEVED: Final = 3600 * SECOND
PAUSE: Final = 30 * SECOND
"""How long an issuer is not asked again, whether it answered or not."""
LARGEST: Final = 256 * 1024
MOST_KEYS: Final = 50
MOST_KNOWN: Final = 500
SECONDS: Final = 8.0
THREADS: Final = 64

_JSON: Final = {"accept": "application/json"}


class IssuerAway(Problem):
    """The issuer of a token does not give its keys."""

    code, status, summary = (
        "UNAVAILABLE",
        503,
        "the token's issuer cannot be asked for its keys just now: try again",
    )


class NotAKeySet(ValueError):
    """What should be a set of public keys is none: the message says why."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """Public keys, each with what it says of itself."""

    keys: tuple[tuple[Mapping[str, Any], Key], ...] = ()

    @classmethod
    def read(cls, given: object) -> KeySet:
        """Read a JSON Web Key Set, leaving out what is no key to verify by; raise NotAKeySet."""
        listed = given.get("keys") if isinstance(given, dict) else None
        if not isinstance(listed, list) or len(listed) > MOST_KEYS:
            raise NotAKeySet(f"must be a set of at most {MOST_KEYS} keys")
        return cls.of([one for one in listed if isinstance(one, dict)])

    @classmethod
    def of(cls, listed: Sequence[Mapping[str, Any]]) -> KeySet:
        """Take keys, but for those that are none."""
        found = []
        for one in listed:
            try:
                found.append((one, signatures.key(one)))
            except (JoseError, ValueError, TypeError, AssertionError):
                continue
        return cls(tuple(found))

    def has_signed(self, token: str, header: Mapping[str, Any]) -> bool:
        """Say whether one of these has signed a token: the only one that can have, so that nobody has many tried."""
        fitting = [key for said, key in self.keys if signatures.suits(said, header)]
        if len(fitting) != 1:
            return False
        try:
            jws.deserialize_compact(token, fitting[0], algorithms=[header["alg"]])
        except (JoseError, ValueError, TypeError):
            return False
        return True


@dataclass(slots=True)
class _Known:
    """What is known of an issuer."""

    keys: KeySet = field(default_factory=KeySet)
    read_at: int | None = None
    asked_at: int | None = None
    failure: str = ""
    asking: asyncio.Task[None] | None = None


class KeySets:
    """The keys of every issuer that this process has asked."""

    def __init__(self, caller: Caller, now: Callable[[], int]) -> None:
        """Ask through *caller*; *now* gives the time in microseconds."""
        self.caller = caller
        self._now = now
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def have_signed(
        self, issuer: str, token: str, header: Mapping[str, Any], turns: asyncio.Semaphore
    ) -> bool:
        """Say whether an issuer has signed a token, or raise IssuerAway where it cannot be asked for its keys.

        *turns* are those of who asks: whoever has many issuers asked that are slow keeps the threads from nobody else.
        """
        known = self._of(issuer)
        before = known.read_at
        if self._is_fresh(known) and known.keys.has_signed(token, header):
            return True
        async with turns:
            await self._asked(issuer, known)
        if known.read_at is None or not self._is_fresh(known):
            raise IssuerAway(f"{_host(issuer)}: {known.failure}", retry_after=PAUSE // SECOND)
        return known.read_at != before and known.keys.has_signed(token, header)

    def _is_fresh(self, known: _Known) -> bool:
        return known.read_at is not None and self._now() - known.read_at <= BELIEVED

    async def _asked(self, issuer: str, known: _Known) -> None:
        """Have an issuer's keys read anew, unless it was asked a moment ago; whoever goes away meanwhile ends nothing."""
        if known.asking is None:
            if known.asked_at is not None and self._now() - known.asked_at < PAUSE:
                return
            known.asking = asyncio.create_task(self._ask(issuer, known))
        await asyncio.shield(known.asking)

    async def _ask(self, issuer: str, known: _Known) -> None:
        try:
            known.keys = await self._read(issuer)
            known.read_at, known.failure = self._now(), ""
        except (NotAsked, ValueError) as error:
            known.failure = str(error)
        finally:
            known.asked_at, known.asking = self._now(), None

    async def _read(self, issuer: str) -> KeySet:
        """Ask an issuer where its keys are (OpenID Connect Discovery, 4), and for them."""
        check_address(self.caller, issuer)
        said = await self._json(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if not isinstance(said, dict) or said.get("issuer") != issuer:
            raise ValueError("what stands below its name is not this issuer's")
        place = said.get("jwks_uri")
        if not isinstance(place, str):
            raise ValueError("it does not say where its keys are")  # noqa: TRY004 - it is another's mistake.
        check_address(self.caller, place, of=issuer)
        return KeySet.read(await self._json(place))

    async def _json(self, url: str) -> object:
        answer = await self.caller.ask("GET", url, _JSON, most=LARGEST)
        if answer.status != 200:  # noqa: PLR2004 - Discovery, 4.2.
            raise NotAsked(f"answers with the status {answer.status}")
        try:
            return json.loads(answer.body)
        except RecursionError:
            raise ValueError("does not answer with JSON") from None

    def _of(self, issuer: str) -> _Known:
        known = self._known.setdefault(issuer, _Known())
        self._known.move_to_end(issuer)
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return known


def _host(url: str) -> str:
    try:
        return Target.of(url).host
    except ValueError:
        return "the issuer"
