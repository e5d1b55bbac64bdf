"""Writing: uploads, mounts, manifests, deletes (end-4 to end-7, end-9 to end-11, end-13, end-14)."""

import asyncio
from collections.abc import Sequence

from moorage.api import dialects
from moorage.api.distribution.asks import Ask, location
from moorage.api.http.responses import Header
from moorage.oci import manifests as documents
from moorage.oci import names, ranges
from moorage.oci.digests import ALGORITHMS, Digest
from moorage.oci.errors import DigestInvalid, SizeInvalid, TagsTooMany
from moorage.oci.manifests import Manifest
from moorage.oci.names import RepositoryName, Tag
from moorage.registry import blobs, manifests, projects
from moorage.registry.uploads import Upload

# Reading a document takes as long as it is: longer ones leave the loop to others.
LONG_DOCUMENT = 64 * 1024


async def begin_upload(ask: Ask) -> None:
    """end-4, end-11: begin an upload, take a whole blob, or mount one that is here already."""
    mount = ask.query("mount")
    if mount is not None and await _mount(ask, Digest.parse(mount)):
        await _created(ask, Digest.parse(mount))
        return
    whole = ask.query("digest") if mount is None else None
    algorithm = ask.query("digest-algorithm") or "sha256"
    if algorithm not in ALGORITHMS:
        message = f"digest-algorithm {algorithm[:40]!r} is not known here; use one of {', '.join(ALGORITHMS)}"
        raise DigestInvalid(message, algorithm=algorithm[:40])
    digest = None if whole is None else Digest.parse(whole)
    body = ask.body()
    begun = await ask.registry.uploads.begin(
        ask.name,
        ask.subject,
        algorithm=digest.algorithm if digest else algorithm,
        expected=(body.length or 0) if digest else 0,
        creates_project=ask.caller.admin,
    )
    if digest is None:
        await _accepted(ask, begun)
        return
    finished = await ask.registry.uploads.append(begun, body, length=body.length)
    await ask.registry.uploads.finish(finished, digest, ask.origin())
    await _created(ask, digest)


async def append_chunk(ask: Ask) -> None:
    """end-5: add a chunk, or a stream, to an upload."""
    found = await _upload(ask)
    chunk = ranges.content_range(ask.header(b"content-range"))
    body = ask.body()
    if chunk is not None and body.length is not None and chunk[1] - chunk[0] + 1 != body.length:
        message = f"Content-Range {chunk[0]}-{chunk[1]} does not fit a Content-Length of {body.length}"
        raise SizeInvalid(message, start=chunk[0], end=chunk[1], length=body.length)
    await _accepted(ask, await ask.registry.uploads.append(found, body, chunk=chunk, length=body.length))


async def finish_upload(ask: Ask) -> None:
    """end-6: add a last chunk, if any, and make the upload a blob."""
    digest = ask.needed_digest()
    found = await _upload(ask)
    chunk = ranges.content_range(ask.header(b"content-range"))
    body = ask.body()
    if body.length or b"transfer-encoding" in ask.headers or chunk is not None:
        algorithm = None if found.received else digest.algorithm
        found = await ask.registry.uploads.append(
            found, body, chunk=chunk, length=body.length, algorithm=algorithm
        )
    await ask.registry.uploads.finish(found, digest, ask.origin())
    await _created(ask, digest)


async def upload_status(ask: Ask) -> None:
    """end-13: say how much of an upload is here."""
    found = await _upload(ask)
    await ask.reply(204, *_progress(ask.asked, found))


async def cancel_upload(ask: Ask) -> None:
    """end-14: drop an upload."""
    await ask.registry.uploads.cancel(await _upload(ask))
    await ask.reply(204)


async def delete_blob(ask: Ask) -> None:
    """end-10: take a blob out of the repository, unless a manifest needs it."""
    digest, origin = ask.digest, ask.origin()
    await ask.registry.db.change(lambda tx: blobs.delete(tx, ask.name, digest, origin))
    await ask.reply(202)


async def push_manifest(ask: Ask) -> None:
    """end-7: make a manifest current, and the tags that come with it."""
    reference = names.reference(ask.place.rest)
    tags = _tags(ask, reference)
    if ask.document is None:
        ask.document = await ask.body().read(ask.registry.limits.manifest_size)
    body = ask.document
    digest = Digest.of(body, reference.algorithm if isinstance(reference, Digest) else "sha256")
    if isinstance(reference, Digest) and digest != reference:
        message = f"the manifest's digest is {digest}, not {reference}"
        raise DigestInvalid(message, digest=str(reference), actual=str(digest))
    read = await _read(body, ask.header(b"content-type"))
    origin, admin = ask.origin(), ask.caller.admin
    warnings = await ask.registry.db.change(
        lambda tx: manifests.push(tx, ask.name, digest, read, body, tags, origin, creates_project=admin)
    )
    headers: list[Header] = [location(f"/v2/{ask.asked}/manifests/{digest}"), _content(digest)]
    if read.subject is not None:
        headers.append((b"oci-subject", str(read.subject).encode()))
    if isinstance(reference, Digest):
        headers += [(b"oci-tag", tag.encode()) for tag in tags]
    await ask.reply(201, *headers, *dialects.warnings(warnings))


async def delete_manifest(ask: Ask) -> None:
    """end-9: put a manifest in the trash by its digest, or delete one tag of it."""
    reference, origin = names.reference(ask.place.rest), ask.origin()
    if isinstance(reference, Digest):
        await ask.registry.db.change(lambda tx: manifests.delete(tx, ask.name, reference, origin))
    else:
        await ask.registry.db.change(lambda tx: manifests.untag(tx, ask.name, reference, origin))
    await ask.reply(202)


async def _mount(ask: Ask, digest: Digest) -> bool:
    """Link a blob from a repository that the caller may pull from; a token says which those are."""
    asked = ask.query("from")
    source = None if asked is None else RepositoryName.parse(asked)
    if source is not None:
        sources = [source] if await ask.may(source, "pull") else []
    elif ask.who.grants is not None:
        granted = [RepositoryName.parse(name) for name in ask.who.grants.repositories]
        sources = [name for name in granted if await ask.may(name, "pull")]
    else:
        sources = None
    homes = await _pullable(ask) if sources is None else ()
    if await _mount_from(ask, digest, sources, homes):
        return True
    now = None if source is None else await ask.registry.access.old_names.repository(source)
    return (
        now is not None and await ask.may(now, "pull", asked=source) and await _mount_from(ask, digest, [now])
    )


async def _mount_from(
    ask: Ask, digest: Digest, sources: list[RepositoryName] | None, homes: Sequence[int] = ()
) -> bool:
    admin = ask.caller.admin
    return await ask.registry.db.change(
        lambda tx: blobs.mount(tx, ask.name, digest, sources=sources, projects=homes, creates_project=admin)
    )


async def _pullable(ask: Ask) -> list[int]:
    access = ask.registry.access
    found = await projects.all_of(ask.registry.db)
    return [one.id for one in found if "pull" in await access.actions(ask.caller, one.name)]


async def _upload(ask: Ask) -> Upload:
    return await ask.registry.uploads.find(ask.name, ask.place.rest, ask.subject)


def _tags(ask: Ask, reference: Digest | Tag) -> list[Tag]:
    if not isinstance(reference, Digest):
        return [reference]
    tags = [names.tag(text) for text in ask.queries("tag")]
    if len(tags) > (most := ask.registry.limits.tags_per_push):
        message = f"{len(tags)} tags in one push; the most is {most}"
        raise TagsTooMany(message, count=len(tags), most=most)
    return tags


async def _read(body: bytes, content_type: str | None) -> Manifest:
    if len(body) > LONG_DOCUMENT:
        return await asyncio.to_thread(documents.parse, body, content_type)
    return documents.parse(body, content_type)


async def _accepted(ask: Ask, upload: Upload) -> None:
    await ask.reply(202, *_progress(ask.asked, upload))


def _progress(name: RepositoryName, upload: Upload) -> tuple[Header, ...]:
    return (
        location(f"/v2/{name}/blobs/uploads/{upload.id}"),
        (b"range", f"0-{max(upload.received - 1, 0)}".encode()),
        (b"docker-upload-uuid", upload.id.encode()),
    )


async def _created(ask: Ask, digest: Digest) -> None:
    await ask.reply(201, location(f"/v2/{ask.asked}/blobs/{digest}"), _content(digest))


def _content(digest: Digest) -> Header:
    return (b"docker-content-digest", str(digest).encode())
