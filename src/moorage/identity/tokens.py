"""Bearer tokens: ES256 JWTs, signed by keys that each registry has of its own.

A token says who asked (``sub``), as of which state of the account (``epoch``, its ``valid_from``), and
what was granted. It proves nothing that the account has lost since: `access` looks at the account on
every request, and an epoch that is no longer the account's voids the token. What a signature proved
stays proven, so verified tokens are remembered until they expire.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from sqlalchemy import bindparam, select, update

from moorage.db import Statement, insert
from moorage.db.tables import signing_key
from moorage.identity import scopes
from moorage.identity.keys import signing_purpose
from moorage.identity.scopes import Scope
from moorage.oci.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moorage.db import Database, Tx
    from moorage.identity.keys import MasterKey

SERVICE: Final = "harbor-registry"
"""The service that tokens are for, ``aud``: Harbor's name, since clients were configured with it."""

ALGORITHM: Final = "ES256"
LONGEST: Final = 16 * 1024
"""A longer token is refused without a look."""
LIFE: Final = 1800
"""Seconds that a token lives, unless the registry says otherwise."""
LONGEST_LIFE: Final = 24 * 3600
SECOND: Final = 1_000_000
NEVER: Final = -(1 << 63)
"""An access version that no database ever gives."""
_EARLY = 5
_REMEMBERED = 10_000

_KEYS = Statement(
    select(
        signing_key.c.id,
        signing_key.c.wrapped,
        signing_key.c.master,
        signing_key.c.created_at,
        signing_key.c.retired_at,
    ).order_by(signing_key.c.created_at.desc(), signing_key.c.id)
)
_ADD = Statement(
    insert(signing_key).values(
        id=bindparam("id"),
        algorithm=ALGORITHM,
        wrapped=bindparam("wrapped"),
        master=bindparam("master"),
        created_at=bindparam("created_at"),
    )
)
_RETIRE = Statement(
    update(signing_key)
    .where(signing_key.c.retired_at.is_(None), signing_key.c.id != bindparam("but"))
    .values(retired_at=bindparam("now"))
)


@dataclass(frozen=True, slots=True)
class Grants:
    """What a token was granted: actions by repository, and the catalog or not."""

    repositories: Mapping[str, frozenset[str]]
    catalog: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """A token whose signature and claims were found good; whether it is in time is another matter."""

    key: str
    kind: str
    number: int
    epoch: int
    not_before: int
    expires_at: int
    grants: Grants


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token, and when it was made and ends (seconds since 1970)."""

    text: str
    issued_at: int
    expires_at: int


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    """The one header that our tokens have: no key, no address of one, no other algorithm."""

    alg: str
    typ: str
    kid: str


class _Access(msgspec.Struct):
    type: str
    name: str
    actions: list[str]


class _Claims(msgspec.Struct):
    iss: str
    aud: str
    sub: str
    epoch: int
    iat: int
    nbf: int
    exp: int
    jti: str
    access: list[_Access]


@dataclass(frozen=True, slots=True)
class _Keys:
    """The signing keys as of one state of the access rows."""

    version: int
    known: dict[str, ECKey]
    current: ECKey | None


class Tokens:
    """Issues and verifies one registry's tokens."""

    def __init__(self, db: Database, registry: str, master: MasterKey) -> None:
        """Work for the registry whose lasting name is *registry*, on its own rows."""
        self._db = db
        self._registry = registry
        self._master = master
        self._issuer = f"moorage/registries/{registry}"
        self._keys = _Keys(NEVER, {}, None)
        self._verified: dict[str, Verified] = {}

    async def issue(
        self, subject: str, epoch: int, granted: Iterable[Scope], *, life: int, until: int | None
    ) -> Issued:
        """Sign a token that lives for *life* seconds, or to the microsecond *until* if that is less."""
        key = (await self._load()).current or await self._first_key()
        now = self._db.now() // SECOND
        ends = now + life if until is None else min(now + life, until // SECOND)
        claims: dict[str, object] = {
            "iss": self._issuer,
            "aud": SERVICE,
            "sub": subject,
            "epoch": epoch,
            "iat": now,
            "nbf": now,
            "exp": ends,
            "jti": secrets.token_urlsafe(12),
            "access": [
                {"type": one.type, "name": one.name, "actions": sorted(one.actions)} for one in granted
            ],
        }
        header = {"alg": ALGORITHM, "typ": "JWT", "kid": key.kid}
        return Issued(jwt.encode(header, claims, key, algorithms=[ALGORITHM]), now, ends)

    async def verify(self, text: str, *, version: int) -> Verified:
        """Give what *text* says, if this registry signed it and it is in time, or raise Unauthorized.

        *version* is the access version that the caller found just now.
        """
        keys = self._keys if self._keys.version == version else await self._load()
        verified = self._verified.get(text)
        if verified is None or verified.key not in keys.known:
            verified = self._read(text, keys)
            if len(self._verified) >= _REMEMBERED:
                del self._verified[next(iter(self._verified))]
            self._verified[text] = verified
        now = self._db.now() // SECOND
        if now >= verified.expires_at:
            raise Unauthorized("the token has expired; ask for a new one")
        if now + _EARLY < verified.not_before:
            raise Unauthorized("the token is not valid yet; are the clocks right?")
        return verified

    async def rotate(self) -> str:
        """Sign with a new key from now on, and give its id; old keys verify until their tokens expire."""

        async def work(tx: Tx) -> str:
            key = await self._make(tx)
            await tx.run(_RETIRE, but=key.kid, now=tx.at)
            return str(key.kid)

        return await self._db.change(work)

    def _read(self, text: str, keys: _Keys) -> Verified:
        header = _header(text)
        key = keys.known.get(header.kid)
        if key is None:
            raise Unauthorized("the token is signed by a key that this registry does not know")
        try:
            token = jwt.decode(text, key, algorithms=[ALGORITHM])
            claims = msgspec.convert(token.claims, _Claims)
        except (JoseError, ValueError, msgspec.ValidationError):
            raise Unauthorized("the token is not one of ours, or was changed") from None
        if claims.iss != self._issuer or claims.aud != SERVICE:
            raise Unauthorized("the token is for another registry or service")
        kind, number = _subject(claims.sub)
        return Verified(
            header.kid, kind, number, claims.epoch, claims.nbf, claims.exp, _grants(claims.access)
        )

    async def _load(self) -> _Keys:
        """Read the keys that still verify, and find the one that signs."""
        version = self._db.access_version()
        if self._keys.version == version:
            return self._keys
        oldest = self._db.now() - LONGEST_LIFE * SECOND
        known: dict[str, ECKey] = {}
        current = None
        for row in await self._db.all(_KEYS):
            if row.retired_at is not None and row.retired_at < oldest:
                continue
            known[row.id] = self._keys.known.get(row.id) or self._open(row)
            if row.retired_at is None:
                current = current or known[row.id]
        self._keys = _Keys(version, known, current)
        return self._keys

    def _open(self, row: Any) -> ECKey:
        secret = self._master.unwrap(
            row.wrapped, name=row.master, registry=self._registry, purpose=signing_purpose(row.id)
        )
        private = load_der_private_key(secret, None)
        return _key(private, row.id)

    async def _first_key(self) -> ECKey:
        """Make the key of a registry that has none; of two processes that do, one does."""

        async def work(tx: Tx) -> None:
            if all(row.retired_at is not None for row in await tx.all(_KEYS)):
                await self._make(tx)

        await self._db.change(work)
        # A change by this very process may not move the version before the next look.
        self._keys = _Keys(NEVER, self._keys.known, None)
        current = (await self._load()).current
        assert current is not None
        return current

    async def _make(self, tx: Tx) -> ECKey:
        private = ec.generate_private_key(ec.SECP256R1())
        kid = secrets.token_urlsafe(12)
        secret = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        wrapped = self._master.wrap(secret, registry=self._registry, purpose=signing_purpose(kid))
        await tx.run(_ADD, id=kid, wrapped=wrapped, master=self._master.name, created_at=tx.at)
        await tx.touch_access()
        return _key(private, kid)


def _key(private: Any, kid: str) -> ECKey:
    return ECKey.import_key(private, {"kid": kid, "use": "sig", "alg": ALGORITHM})


def _header(text: str) -> _Header:
    """Read a token's header, before anything is done with its key; only our very own will do."""
    head, dot, rest = text.partition(".")
    if len(text) > LONGEST or not dot or rest.count(".") != 1:
        raise Unauthorized("the token is malformed")
    try:
        header = msgspec.json.decode(
            base64.b64decode(head + "=" * (-len(head) % 4), b"-_", validate=True), type=_Header
        )
    except (binascii.Error, ValueError):
        raise Unauthorized("the token is not one of ours, or was changed") from None
    if header.alg != ALGORITHM or header.typ != "JWT":
        raise Unauthorized("the token is not one of ours, or was changed")
    return header


def _subject(text: str) -> tuple[str, int]:
    kind, _, number = text.partition(":")
    return (kind, int(number)) if number else ("anonymous", 0)


def _grants(access: list[_Access]) -> Grants:
    found = tuple(Scope(one.type, one.name, frozenset(one.actions)) for one in access)
    catalog = any(one.type == scopes.REGISTRY and one.name == scopes.CATALOG for one in found)
    return Grants(scopes.by_repository(found), catalog)
