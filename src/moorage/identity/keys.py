"""The master key, which wraps whatever secret a database has to keep in a form that can be undone.

A wrapped secret is AES-256-GCM under the master key, bound to the registry that it is of and to what
it is for, so a row that is copied elsewhere opens nothing. Each names the master key that it needs.

The key stands in the environment or in a file of mode 0600, as 64 hexadecimal digits (or in base64):
the first is the one that wraps, any further ones still open what they wrapped. To rotate: put a new
one first (`add_new`), wrap everything anew (`rewrap`), forget the others (`forget_old`). Processes
that run meanwhile read the file again before they wrap anything, and when they meet a key that they
do not know; so what is wrapped in a turn after the new key came is wrapped by it, and what was wrapped
in a turn before is found by `rewrap`, whose turns come later.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import bindparam, func, select, update

from moorage.db import Statement
from moorage.db.tables import signing_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moorage.db import Database, Reader, Tx

LENGTH: Final = 32
_NONCE = 12
_OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO

SIGNING: Final = "signing key"

_STEP = 100
_OTHERS = Statement(
    select(signing_key.c.id, signing_key.c.wrapped.label("secret"), signing_key.c.master)
    .where(signing_key.c.master != bindparam("name"))
    .limit(bindparam("most"))
)
_COUNT = Statement(select(func.count().label("n")).where(signing_key.c.master != bindparam("name")))
_REWRAP = Statement(
    update(signing_key)
    .where(signing_key.c.id == bindparam("which"))
    .values(wrapped=bindparam("wrapped"), master=bindparam("name"))
)


class MasterKeyWrong(ValueError):
    """The master key is not one, may be read by others, or is not the one that wrapped a secret."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """Secrets of one table: those that another key than *name* wraps, how many they are, and how one is replaced.

    ``purpose`` says of a row's id what its secret is wrapped for. ``tests/house/test_tables.py`` holds that each table
    with a column ``master`` has one.
    """

    others: Statement
    count: Statement
    replace: Statement
    purpose: Callable[[str], str]


@dataclass(slots=True)
class MasterKey:
    """The key that wraps, first, and older ones that still unwrap; read again from *path*, if they stand there."""

    keys: tuple[bytes, ...]
    path: Path | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one or more keys, apart by spaces, commas or lines, or raise MasterKeyWrong."""
        keys = tuple(_key(word) for word in text.replace(",", " ").split())
        if not keys:
            raise MasterKeyWrong("there is no master key: give 32 random bytes, in hexadecimal")
        return cls(keys)

    @classmethod
    def open(cls, text: str, path: Path) -> Self:
        """Read the key from *text*, or from the file at *path*, which is made when it is not there."""
        if text:
            return cls.parse(text)
        if not path.exists():
            _make(path)
        made = cls.parse(_read(path))
        made.path = path
        return made

    @classmethod
    def new(cls) -> Self:
        """Make a key up."""
        return cls((os.urandom(LENGTH),))

    def __repr__(self) -> str:
        """Show which keys these are, and nothing of them."""
        return f"MasterKey({', '.join(map(_name, self.keys))})"

    @property
    def names(self) -> tuple[str, ...]:
        """Name every key, the one that wraps first."""
        return tuple(map(_name, self.keys))

    @property
    def name(self) -> str:
        """Give the name of the key that wraps."""
        return _name(self.keys[0])

    def wrap(self, secret: bytes, *, registry: str, purpose: str) -> bytes:
        """Encrypt *secret* for one registry and one purpose; *name* then says under which key.

        Called inside the turn that writes it: see above.
        """
        self._look()
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self.keys[0]).encrypt(nonce, secret, _bond(registry, purpose))

    def unwrap(self, wrapped: bytes, *, name: str, registry: str, purpose: str) -> bytes:
        """Decrypt what the key *name* wrapped for this registry and purpose, or raise MasterKeyWrong."""
        key = self._find(name)
        if key is None:
            self._look()
            key = self._find(name)
        if key is None:
            raise MasterKeyWrong(f"a {purpose} was wrapped by the master key {name}, not {self!r}")
        try:
            bond = _bond(registry, purpose)
            return AESGCM(key).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], bond)
        except InvalidTag:
            raise MasterKeyWrong(f"a {purpose} of {registry} does not open: changed?") from None

    def _find(self, name: str) -> bytes | None:
        return next((key for key in self.keys if _name(key) == name), None)

    def _look(self) -> None:
        """Read the file again; what was known stays so, for a row that was read a moment ago may need it."""
        if self.path is None:
            return
        # Who has a key goes on with it, whatever becomes of the file.
        with contextlib.suppress(OSError):
            fresh = MasterKey.parse(_read(self.path)).keys
            self.keys = (*fresh, *(key for key in self.keys if key not in fresh))


def add_new(path: Path) -> MasterKey:
    """Put a new key before those in the file at *path*: it wraps from now on."""
    old = MasterKey.parse(_read(path))
    return _replace(path, MasterKey((os.urandom(LENGTH), *old.keys)))


def forget_old(path: Path) -> MasterKey:
    """Keep only the first key of the file at *path*, once everything is wrapped by it."""
    return _replace(path, MasterKey(MasterKey.parse(_read(path)).keys[:1]))


@contextlib.contextmanager
def rotating(path: Path) -> Iterator[None]:
    """Be the only one that changes the file at *path*, or raise BlockingIOError; clean up after who was killed."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for draft in path.parent.glob(f".{path.name}.*"):
            draft.unlink(missing_ok=True)
        yield
    finally:
        os.close(folder)


async def rewrap(db: Database, registry: str, master: MasterKey, what: Wrapped) -> int:
    """Wrap by today's master key what another wraps, few secrets a turn, and tell how many they were.

    It may be cut between any two turns, and done again: every secret is wrapped by a key that is known.
    """

    async def work(tx: Tx) -> int:
        rows = await tx.all(what.others, name=master.name, most=_STEP)
        for row in rows:
            purpose = what.purpose(row.id)
            secret = master.unwrap(row.secret, name=row.master, registry=registry, purpose=purpose)
            wrapped = master.wrap(secret, registry=registry, purpose=purpose)
            await tx.run(what.replace, which=row.id, wrapped=wrapped, name=master.name)
        return len(rows)

    done = 0
    while some := await db.change(work):
        done += some
    return done


async def count_others(db: Reader, master: MasterKey, what: Wrapped) -> int:
    """Count the secrets that need another key than the one that wraps."""
    row = await db.one(what.count, name=master.name)
    return 0 if row is None else int(row.n)


def signing_purpose(kid: str) -> str:
    """Say what a signing key is wrapped for."""
    return f"{SIGNING} {kid}"


SIGNING_KEYS: Final = Wrapped(_OTHERS, _COUNT, _REWRAP, signing_purpose)


def _key(word: str) -> bytes:
    try:
        key = bytes.fromhex(word) if len(word) == 2 * LENGTH else base64.b64decode(word, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != LENGTH:
        raise MasterKeyWrong("a master key is 32 bytes: 64 hexadecimal digits, or 44 of base64")
    return key


def _name(key: bytes) -> str:
    return hashlib.sha256(b"moorage master key\0" + key).hexdigest()[:16]


def _bond(registry: str, purpose: str) -> bytes:
    return f"moorage\0{registry}\0{purpose}".encode()


def _read(path: Path) -> str:
    with path.open(encoding="ascii", errors="replace") as file:
        if os.fstat(file.fileno()).st_mode & _OTHERS_MAY:
            raise MasterKeyWrong(f"others may read {path}: chmod 600 it, and think of a new key")
        return file.read()


def _make(path: Path) -> None:
    """Write a new key where none is; of several processes that start at once, one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(path, MasterKey.new())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    _sync_folder(path.parent)


def _replace(path: Path, master: MasterKey) -> MasterKey:
    master.path = path
    _draft(path, master).replace(path)
    _sync_folder(path.parent)
    return master


def _draft(path: Path, master: MasterKey) -> Path:
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.writelines(f"{key.hex()}\n" for key in master.keys)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
