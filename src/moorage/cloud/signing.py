"""What the provider says and signs: with Ed25519 keys of its own, whose public halves stay published for good.

The private key is wrapped by the master key. Keys are numbered, and the highest number signs; older ones are kept, so that
what they signed can be checked for as long as anybody has it. A key's id is the SHA-256 of its public half, so an id that was
written down once can name no other key.

Whoever signs begins the payload with what it is, or names its type in it: the same key signs payloads of several kinds, and
none may be taken for another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from sqlalchemy import bindparam, func, select, update

from moorage.cloud.credentials import PLACE
from moorage.cloud.events import Origin, record
from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.platform import provider_key
from moorage.identity.keys import MasterKey, Wrapped

ALGORITHM: Final = "Ed25519"
ID_LENGTH: Final = 32

_ADD = Statement(
    insert(provider_key)
    .values(
        id=bindparam("id"), number=bindparam("number"), public=bindparam("public"), secret=bindparam("secret"),
        master=bindparam("master"), created_at=bindparam("at"),
    )
    .on_conflict_do_nothing(index_elements=[provider_key.c.number])
)  # fmt: skip
_LAST = Statement(select(provider_key).order_by(provider_key.c.number.desc()).limit(1))
_ALL = Statement(
    select(provider_key.c.id, provider_key.c.public, provider_key.c.created_at).order_by(
        provider_key.c.number
    )
)
_OTHERS = Statement(
    select(provider_key.c.id, provider_key.c.secret, provider_key.c.master)
    .where(provider_key.c.master != bindparam("name"))
    .limit(bindparam("most"))
)
_COUNT = Statement(select(func.count().label("n")).where(provider_key.c.master != bindparam("name")))
_REWRAP = Statement(
    update(provider_key)
    .where(provider_key.c.id == bindparam("which"))
    .values(secret=bindparam("wrapped"), master=bindparam("name"))
)


class SignatureInvalid(ValueError):
    """A signature is not by a key of the provider's, or not of this payload; the message says which."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature, and the id of the key that checks it."""

    key_id: str
    value: bytes


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public half of a key; it signed from *created_at* until *retired_at*, or signs still."""

    id: str
    public: bytes
    created_at: int
    retired_at: int | None = None

    @classmethod
    def parse(cls, public: bytes) -> PublicKey:
        """Take the 32 bytes that somebody kept of a key; raise SignatureInvalid."""
        try:
            Ed25519PublicKey.from_public_bytes(public)
        except ValueError:
            raise SignatureInvalid(f"a public key of {ALGORITHM} has 32 bytes, not {len(public)}") from None
        return cls(id_of(public), public, 0)

    @classmethod
    def from_pem(cls, text: str) -> PublicKey:
        """Read a key as the API publishes it; raise SignatureInvalid."""
        try:
            key = load_pem_public_key(text.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise SignatureInvalid("this is no public key in PEM") from None
        if not isinstance(key, Ed25519PublicKey):
            raise SignatureInvalid(f"this is no public key of {ALGORITHM}")
        return cls.parse(key.public_bytes_raw())

    @property
    def pem(self) -> str:
        """Write it as any tool reads it."""
        key = Ed25519PublicKey.from_public_bytes(self.public)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def id_of(public: bytes) -> str:
    """Name a key by its public half."""
    return hashlib.sha256(public).hexdigest()[:ID_LENGTH]


async def sign(platform: Database, master: MasterKey, payload: bytes) -> Signature:
    """Sign with the key that signs now, which is made when there is none."""
    row = await platform.one(_LAST)
    if row is None:
        await platform.record(lambda tx: _make(tx, master, 1))
        row = await platform.one(_LAST)
    secret = master.unwrap(row.secret, name=row.master, registry=PLACE, purpose=_purpose(row.id))
    return Signature(row.id, Ed25519PrivateKey.from_private_bytes(secret).sign(payload))


async def published(platform: Reader) -> list[PublicKey]:
    """List the public halves of all keys that ever signed, the oldest first."""
    rows = await platform.all(_ALL)
    ends = [*(row.created_at for row in rows[1:]), None]
    return [PublicKey(row.id, row.public, row.created_at, end) for row, end in zip(rows, ends, strict=False)]


def verify(keys: Iterable[PublicKey], key_id: str, payload: bytes, signature: bytes) -> None:
    """Raise SignatureInvalid unless one of *keys* has this id and signed this payload."""
    found = next((one for one in keys if one.id == key_id), None)
    if found is None or id_of(found.public) != key_id:
        raise SignatureInvalid(f"it is signed by the key {key_id[:80]}, which is not among those given")
    try:
        Ed25519PublicKey.from_public_bytes(found.public).verify(signature, payload)
    except InvalidSignature:
        raise SignatureInvalid(
            f"the signature by the key {key_id} is not of what it is said to be of"
        ) from None


async def rotate(platform: Database, master: MasterKey, origin: Origin) -> str:
    """Sign with a new key from now on, and give its id. Whoever signs meanwhile signs with one or the other."""

    async def work(tx: Tx) -> str:
        row = await tx.one(_LAST)
        await _make(tx, master, 1 if row is None else row.number + 1)
        made = await tx.one(_LAST)
        await record(
            tx, "signing-key.rotated", origin, target=made.id, before=None if row is None else row.id
        )
        return str(made.id)

    return await platform.change(work)


async def _make(tx: Tx, master: MasterKey, number: int) -> None:
    """Make the key of a number, unless another process has made it just now."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    id_ = id_of(public)
    wrapped = master.wrap(key.private_bytes_raw(), registry=PLACE, purpose=_purpose(id_))
    await tx.run(_ADD, id=id_, number=number, public=public, secret=wrapped, master=master.name, at=tx.at)


def _purpose(key_id: str) -> str:
    return f"provider key {key_id}"


PROVIDER_KEYS: Final = Wrapped(_OTHERS, _COUNT, _REWRAP, _purpose)
