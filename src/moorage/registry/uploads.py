"""Uploads: blobs on their way in.

The key stands in a row before its first byte; what is stored is the truth about how much came, and the row's hash
state is a hint that is used only if it counted as much. Any replica may continue an upload.
"""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, or_, select, update

from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.errors import Broken
from moorage.db.tables import blob, project, repository, upload, upload_part
from moorage.errors import Unavailable
from moorage.oci.digests import Digest
from moorage.oci.errors import BlobUploadUnknown, DigestInvalid, RangeInvalid, SizeInvalid
from moorage.oci.names import RepositoryName
from moorage.registry import dooming, links, quotas, repositories
from moorage.registry.errors import QuotaExceeded
from moorage.registry.events import Origin, record
from moorage.registry.projects import BEGUN, LIVE
from moorage.registry.quotas import Account
from moorage.registry.repositories import Repository
from moorage.storage import BlobStore, Disconnected, Hasher, Key, Missing, Source, WrongOffset, new_key

_COLUMNS = (
    upload.c.id,
    upload.c.repository_id,
    repository.c.project_id,
    upload.c.subject,
    upload.c.algorithm,
    upload.c.version,
    upload.c.received,
    upload.c.hash_state,
)
# The upload once for each of its parts, all of one moment: another request may be ending it.
_FIND = Statement(
    select(*_COLUMNS, upload_part.c.n, upload_part.c.key, upload_part.c.size)
    .select_from(
        upload.join(repository, repository.c.id == upload.c.repository_id)
        .join(project, project.c.id == repository.c.project_id)
        .outerjoin(upload_part, upload_part.c.upload_id == upload.c.id)
    )
    .where(
        upload.c.id == bindparam("upload"),
        repository.c.name == bindparam("name"),
        repository.c.deleted_at.is_(None),
        or_(repository.c.state == LIVE, repository.c.state == BEGUN),
        or_(project.c.state == LIVE, project.c.state == BEGUN),
        upload.c.expires_at > bindparam("now"),
    )
    .order_by(upload_part.c.n)
)
_ADD = Statement(
    insert(upload).values(
        id=bindparam("upload"),
        repository_id=bindparam("repository"),
        subject=bindparam("subject"),
        algorithm=bindparam("algorithm"),
        reserved=bindparam("reserved"),
        created_at=bindparam("at"),
        expires_at=bindparam("expires"),
    )
)
_ADD_PART = Statement(
    insert(upload_part).values(upload_id=bindparam("upload"), n=bindparam("n"), key=bindparam("key"))
)
# Compare and swap: of two requests that continue one upload, the second finds another version.
_ADVANCE = Statement(
    update(upload)
    .where(upload.c.id == bindparam("upload"), upload.c.version == bindparam("seen"))
    .values(
        version=upload.c.version + 1,
        received=bindparam("count"),
        algorithm=bindparam("hashed"),
        hash_state=bindparam("state"),
        expires_at=bindparam("expires"),
    )
)
_SIZE_PART = Statement(
    update(upload_part)
    .where(upload_part.c.upload_id == bindparam("upload"), upload_part.c.n == bindparam("part"))
    .values(size=bindparam("bytes"))
)
_CLAIM = Statement(
    select(upload.c.id).where(upload.c.id == bindparam("upload"), upload.c.version == bindparam("version"))
)
# A part is added outside any turn: this waits for one that is being added, and none is added after it.
_LOCK = Statement(select(upload.c.repository_id).where(upload.c.id == bindparam("upload")).with_for_update())
_DROP_PARTS = Statement(
    delete(upload_part)
    .where(upload_part.c.upload_id == bindparam("upload"))
    .returning(upload_part.c.key, upload_part.c.size)
)
_DROP = Statement(delete(upload).where(upload.c.id == bindparam("upload")))
_STANDS = Statement(select(upload.c.id).where(upload.c.id == bindparam("upload")))
_BLOB = Statement(select(blob.c.id).where(blob.c.digest == bindparam("digest")))
_ADD_BLOB = Statement(
    insert(blob)
    .values(
        digest=bindparam("digest"), size=bindparam("size"), key=bindparam("key"), created_at=bindparam("at")
    )
    .returning(blob.c.id)
)
_EXPIRED = Statement(
    select(upload.c.id)
    .where(upload.c.expires_at <= bindparam("at"))
    .order_by(upload.c.expires_at)
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class Part:
    """One stretch of an upload's bytes, under a key of its own."""

    n: int
    key: Key
    size: int | None


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload as it stands: how much is stored, and where."""

    id: str
    repository: Repository
    subject: str
    algorithm: str
    version: int
    received: int
    hash_state: bytes | None
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Uploads:
    """The uploads of one registry, and what they work on. ``lifetime`` is microseconds since the last byte."""

    db: Database
    store: BlobStore
    lifetime: int
    largest: int

    async def begin(
        self,
        name: RepositoryName,
        subject: str,
        *,
        algorithm: str = "sha256",
        expected: int = 0,
        creates_project: bool = False,
    ) -> Upload:
        """Begin an upload of *subject*'s; *expected* bytes are refused now if they cannot fit."""
        id_ = secrets.token_urlsafe(24)
        # Where bytes cannot be added to, each request that brings some gets a key of its own, when it comes.
        parts = (Part(0, new_key(), None),) if self.store.appends else ()

        async def work(tx: Tx) -> Repository:
            home = await repositories.begin(tx, name, creates_project=creates_project)
            if expected:
                await quotas.expect_room(tx, home.project_id, expected)
            await tx.run(
                _ADD,
                upload=id_,
                repository=home.id,
                subject=subject,
                algorithm=algorithm,
                reserved=expected,
                at=tx.at,
                expires=tx.at + self.lifetime,
            )
            for part in parts:
                await tx.run(_ADD_PART, upload=id_, n=part.n, key=part.key)
            return home

        home = await self.db.change(work)
        return Upload(id_, home, subject, algorithm, 0, 0, None, parts)

    async def find(self, name: RepositoryName, id_: str, subject: str) -> Upload:
        """Find an upload of this repository and subject, or raise BlobUploadUnknown; another's is not there."""
        rows = await self.db.all(_FIND, upload=id_, name=name.text, now=self.db.now())
        if not rows or rows[0].subject != subject:
            message = (
                f"there is no upload {id_[:64]} in {name}: it is finished, cancelled, expired or somebody else's; "
                "begin a new one"
            )
            raise BlobUploadUnknown(message, upload=id_[:64])
        row = rows[0]
        parts = tuple(Part(p.n, Key(p.key), p.size) for p in rows if p.key is not None)
        home = Repository(row.repository_id, row.project_id, name)
        found = Upload(
            row.id, home, row.subject, row.algorithm, row.version, row.received, row.hash_state, parts
        )
        return await self._as_stored(found)

    async def _as_stored(self, found: Upload) -> Upload:
        """Believe the store about how much came: a crash may have kept more than the row says."""
        if not self.store.appends:
            return found
        stored = await self.store.size(found.parts[-1].key) or 0
        if stored == found.received:
            return found
        return Upload(
            found.id,
            found.repository,
            found.subject,
            found.algorithm,
            found.version,
            stored,
            None,
            found.parts,
        )

    async def append(
        self,
        found: Upload,
        source: Source,
        *,
        chunk: tuple[int, int] | None = None,
        length: int | None = None,
        algorithm: str | None = None,
    ) -> Upload:
        """Add *source*'s bytes, which are *chunk* (first and last byte) if it is given; give the upload as it then stands.

        Raises RangeInvalid if they do not continue what is stored, SizeInvalid past the chunk or the largest blob,
        QuotaExceeded where a limit leaves no room for what is on its way, and Disconnected if they were cut, having
        kept what the store keeps of them; BlobUploadUnknown if it was cancelled meanwhile.
        """
        if chunk is not None and chunk[0] != found.received:
            raise _out_of_order(found, chunk[0])
        async with self._unless_ended(found) as written:
            return await self._append(found, source, written, chunk, length=length, algorithm=algorithm)

    async def _append(
        self,
        found: Upload,
        source: Source,
        written: list[Key],
        chunk: tuple[int, int] | None,
        *,
        length: int | None,
        algorithm: str | None,
    ) -> Upload:
        limit = self.largest - found.received if chunk is None else chunk[1] + 1 - found.received
        room = await quotas.room(self.db, found.repository.project_id)
        if room is not None and (length or 1) > room.left:
            raise room.exceeded(length or 1)
        hasher = await self._hasher(found, algorithm)
        part = found.parts[-1] if self.store.appends else await self._new_part(found)
        offset = found.received if self.store.appends else 0
        most = limit if room is None else min(limit, room.left)
        written.append(part.key)
        try:
            await self.store.write(part.key, offset, source, hasher, limit=most)
        except (Disconnected, SizeInvalid) as ended:
            if self.store.appends:
                await self._advance(found, part, hasher)
            if room is not None and most < limit and isinstance(ended, SizeInvalid):
                raise room.exceeded(most + 1) from ended
            raise
        return await self._advance(found, part, hasher)

    @asynccontextmanager
    async def _unless_ended(self, found: Upload) -> AsyncIterator[list[Key]]:
        """Whatever goes wrong, say that the upload is unknown if another request has ended it; destroy what was *written*."""
        written: list[Key] = []
        try:
            yield written
        except (WrongOffset, Missing, Unavailable, RangeInvalid, BlobUploadUnknown) as problem:
            if await self.db.one(_STANDS, upload=found.id) is None:
                await dooming.destroy_now(self.db, self.store, written)
                raise _ended(found) from problem
            if isinstance(problem, WrongOffset):
                raise _out_of_order(found, found.received) from problem
            raise

    async def _new_part(self, found: Upload) -> Part:
        part = Part(found.parts[-1].n + 1 if found.parts else 0, new_key(), None)
        try:
            await self.db.write(_ADD_PART, upload=found.id, n=part.n, key=part.key)
        except Broken as raced:
            # Another request has just continued this upload, or ended it.
            raise _out_of_order(found, found.received) from raced
        return part

    async def _advance(self, found: Upload, part: Part, hasher: Hasher) -> Upload:
        added = hasher.count - found.received

        async def work(tx: Tx) -> None:
            changed = await tx.run(
                _ADVANCE,
                upload=found.id,
                seen=found.version,
                count=hasher.count,
                hashed=hasher.algorithm,
                state=hasher.state(),
                expires=tx.at + self.lifetime,
            )
            if not changed:
                raise _out_of_order(found, found.received)
            await tx.run(
                _SIZE_PART, upload=found.id, part=part.n, bytes=hasher.count if self.store.appends else added
            )

        await self.db.change(work)
        parts = (*(p for p in found.parts if p.n < part.n), Part(part.n, part.key, added))
        return Upload(
            found.id,
            found.repository,
            found.subject,
            hasher.algorithm,
            found.version + 1,
            hasher.count,
            hasher.state(),
            parts,
        )

    async def _hasher(self, found: Upload, algorithm: str | None) -> Hasher:
        """Go on hashing where the last request stopped, reading again what was stored if its state is not known."""
        wanted = algorithm or found.algorithm
        if not found.received:
            return Hasher(wanted)
        if found.hash_state is not None and wanted == found.algorithm:
            return Hasher.resume(wanted, found.hash_state, found.received)
        hasher = Hasher(wanted)
        for part in found.parts:
            size = found.received if self.store.appends else part.size or 0
            if size:
                async for piece in self.store.read(part.key, 0, size):
                    hasher.update(piece)
        return hasher

    async def finish(self, found: Upload, digest: Digest, origin: Origin) -> None:
        """Make the upload a blob of its repository: whole, durable and of this digest, or raise DigestInvalid.

        Raises BlobUploadUnknown if it was cancelled or finished meanwhile.
        """
        async with self._unless_ended(found) as written:
            hasher = await self._hasher(found, digest.algorithm)
            if hasher.digest() != digest:
                message = f"the {found.received} bytes have digest {hasher.digest()}, not {digest}; the upload is dropped"
                await self.cancel(found)
                raise DigestInvalid(message, digest=str(digest), actual=str(hasher.digest()))
            keys = await self._keys(found)
            into = keys[0] if len(keys) == 1 else (await self._new_part(found)).key
            written.append(into)
            size = await self.store.commit(keys, into)
            if size != found.received:
                # Another request brought bytes after those that were hashed: they are no part of what was asked for.
                raise _out_of_order(found, size)
            try:
                await self.db.change(lambda tx: self._link(tx, found, digest, size, into, origin))
            except QuotaExceeded:
                # What was refused must not fill the disk until it expires.
                await self.cancel(found)
                raise

    async def _keys(self, found: Upload) -> list[Key]:
        """List the keys that hold the upload's bytes. There is at least one: even an empty blob has a key."""
        if found.received:
            return [part.key for part in found.parts if self.store.appends or part.size]
        written = [part.key for part in found.parts if part.size is not None]
        if written and not self.store.appends:
            return written[:1]
        key = found.parts[0].key if self.store.appends else (await self._new_part(found)).key
        # It is there already, perhaps whole, if a request before this one was cut after its commit.
        if not self.store.appends or await self.store.size(key) is None:
            await self.store.write(key, 0, _Nothing(), None, limit=0)
        return [key]

    async def _link(self, tx: Tx, found: Upload, digest: Digest, size: int, key: Key, origin: Origin) -> None:
        if not await tx.one(_CLAIM, upload=found.id, version=found.version):
            raise _ended(found)
        home = await repositories.ensure_of(tx, found.repository)
        known = await tx.one(_BLOB, digest=digest.raw)
        if known is None:
            known = await tx.one(_ADD_BLOB, digest=digest.raw, size=size, key=key, at=tx.at)
            kept: Key | None = key
        else:
            kept = None
        await self._drop(tx, found.id, kept=kept)
        account = Account(tx, home.project_id)
        await links.hold(tx, account, home, known.id)
        await account.settle()
        await record(tx, "blob.push", origin, repository=home.name.text, digest=str(digest), size=size)

    async def cancel(self, found: Upload) -> None:
        """Drop an upload, and destroy its bytes."""
        keys = await self.db.change(lambda tx: self._drop(tx, found.id, kept=None))
        await dooming.destroy_now(self.db, self.store, keys)

    async def _drop(self, tx: Tx, id_: str, *, kept: Key | None) -> list[Key]:
        return await drop(tx, id_, kept=kept, appends=self.store.appends)


async def has_expired(reader: Reader, at: int) -> bool:
    """Say whether there is any upload that nobody continued in time."""
    return bool(await reader.all(_EXPIRED, at=at, most=1))


async def expire(tx: Tx, most: int, *, appends: bool) -> int:
    """Drop uploads that nobody continued in time."""
    rows = await tx.all(_EXPIRED, at=tx.at, most=most)
    for row in rows:
        await drop(tx, row.id, kept=None, appends=appends)
    return len(rows)


async def drop(tx: Tx, id_: str, *, kept: Key | None, appends: bool) -> list[Key]:
    """Drop an upload's rows and doom its keys but one; what may still be written is destroyed twice.

    Where keys are not appended to, one whose size is known is written no more; elsewhere a request that has just
    found the upload may begin its file anew.
    """
    ended = await tx.one(_LOCK, upload=id_)
    rows = [row for row in await tx.all(_DROP_PARTS, upload=id_) if row.key != kept]
    for row in rows:
        await dooming.doom(tx, Key(row.key), twice=appends or row.size is None)
    await tx.run(_DROP, upload=id_)
    if ended is not None:
        await repositories.forget_begun(tx, ended.repository_id)
    return [Key(row.key) for row in rows]


class _Nothing:
    """A source of no bytes: even an empty blob has a key in the store."""

    async def drain(self, consume: Callable[[memoryview], None]) -> int:
        """Hand over nothing."""
        del consume
        return 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give nothing."""
        for nothing in list[bytes]():
            yield nothing


def _ended(found: Upload) -> BlobUploadUnknown:
    message = f"upload {found.id} was finished or cancelled by another request; begin a new one"
    return BlobUploadUnknown(message, upload=found.id)


def _out_of_order(found: Upload, start: int) -> RangeInvalid:
    message = f"the upload holds {found.received} bytes: the next chunk begins there, not at {start}"
    return RangeInvalid(message, received=found.received, start=start)
