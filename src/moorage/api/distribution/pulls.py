"""Reading: manifests, blobs, and the lists (end-2, end-3, end-8, end-12, catalog, extensions)."""

from pathlib import Path
from urllib.parse import quote, urlencode

from moorage.api.distribution.asks import API_VERSION, CONFINED, NO_PAGE, NOT_SNIFFED, Ask
from moorage.api.http import conditions
from moorage.api.http.responses import Header, send_file, send_stream
from moorage.oci import names
from moorage.oci.manifests import OCI_INDEX, referrer
from moorage.oci.ranges import byte_range
from moorage.registry import blobs, listings, manifests, repositories

_BYTES: Header = (b"accept-ranges", b"bytes")
_OCTETS: Header = (b"content-type", b"application/octet-stream")
# Content never changes under its digest, and may be private.
_FOREVER: Header = (b"cache-control", b"private, max-age=31536000, immutable")


async def base(ask: Ask) -> None:
    """end-1: say that this is a registry."""
    await ask.reply_json({})


async def pull_manifest(ask: Ask) -> None:
    """end-3: give a manifest, as it was pushed, whatever Accept says."""
    found = await manifests.get(ask.registry.db, ask.name, names.reference(ask.place.rest))
    digest = str(found.digest).encode()
    etag = b'"%b"' % digest
    if conditions.is_there(ask.headers.get(b"if-none-match"), etag):
        await ask.reply(304, (b"etag", etag), (b"docker-content-digest", digest))
        return
    await ask.reply(
        200,
        (b"content-type", found.media_type.encode()),
        (b"docker-content-digest", digest),
        (b"etag", etag),
        *NO_PAGE,
        body=found.body,
    )
    if ask.scope["method"] == "GET":
        ask.count_pull(found.id, f"{ask.name}@{found.digest}")


async def pull_blob(ask: Ask) -> None:
    """end-2: give a blob's bytes, or a range of them; to HEAD, promise that they stay a while."""
    digest, registry = ask.digest, ask.registry
    tag = f'"{digest}"'.encode()
    same = [_FOREVER, (b"docker-content-digest", str(digest).encode()), (b"etag", tag)]
    headers = [_OCTETS, _BYTES, *same, *NO_PAGE]
    has_it = conditions.is_there(ask.headers.get(b"if-none-match"), tag)
    if ask.scope["method"] == "HEAD" and not has_it:
        promised = await blobs.promise(registry.db, ask.name, digest)
        await ask.reply_size(promised.size, headers)
        return
    found = await blobs.get(registry.db, ask.name, digest)
    if has_it:
        await ask.reply(304, *same)
        return
    asked = ask.header(b"range") if conditions.is_part_of(ask.headers.get(b"if-range"), tag) else None
    part = byte_range(asked, found.size)
    start, end = part or (0, found.size)
    status = 206 if part else 200
    if part:
        headers.append((b"content-range", f"bytes {start}-{end - 1}/{found.size}".encode()))
    way = await registry.store.shortcut(found.key)
    headers += (API_VERSION, NOT_SNIFFED)
    if isinstance(way, Path):
        await send_file(ask.scope, ask.send, way, start=start, end=end, status=status, headers=headers)
    elif way is not None and CONFINED not in ask.scope:
        await ask.reply(307, (b"location", way.encode()), (b"docker-content-digest", str(digest).encode()))
    else:
        pieces = registry.store.read(found.key, start, end)
        await send_stream(ask.scope, ask.send, pieces, length=end - start, status=status, headers=headers)


async def list_tags(ask: Ask) -> None:
    """end-8: list tags in ASCII order, a page at a time."""
    most, last = ask.page()
    found = await listings.tags(ask.registry.db, ask.name, last, most + 1)
    more = _next(f"/v2/{ask.asked}/tags/list", most, found[:most][-1:], more=len(found) > most)
    await ask.reply_json({"name": str(ask.asked), "tags": found[:most]}, *more)


async def catalog(ask: Ask) -> None:
    """List every repository, for those who may see them all."""
    most, last = ask.page()
    found = await repositories.page(ask.registry.db, last, most + 1)
    more = _next("/v2/_catalog", most, found[:most][-1:], more=len(found) > most)
    await ask.reply_json({"repositories": found[:most]}, *more)


async def list_referrers(ask: Ask) -> None:
    """end-12: list the manifests that name this one as their subject; never 404."""
    subject, artifact_type = ask.digest, ask.query("artifactType")
    most, _ = ask.page()
    type_, _, id_ = (ask.query("after") or "").rpartition(":")
    after = (type_, int(id_)) if id_.isascii() and id_.isdigit() and len(id_) < 19 else None  # noqa: PLR2004 64 bits
    page = await listings.referrers(
        ask.registry.db, ask.name, subject, artifact_type=artifact_type, after=after, most=max(most, 1)
    )
    shown = page.found
    if not shown and await ask.go_on_elsewhere("pull"):
        await list_referrers(ask)
        return
    headers: list[Header] = [(b"content-type", OCI_INDEX.encode())]
    if artifact_type is not None:
        headers.append((b"oci-filters-applied", b"artifactType"))
    if page.more:
        cursor = {"n": str(most), "after": f"{shown[-1].artifact_type}:{shown[-1].id}"}
        if artifact_type is not None:
            cursor["artifactType"] = artifact_type
        headers.append(_link(f"/v2/{ask.asked}/referrers/{subject}?{urlencode(cursor)}"))
    listed = [
        referrer(
            media_type=one.media_type,
            digest=one.digest,
            size=one.size,
            artifact_type=one.artifact_type,
            annotations=dict(one.annotations),
        )
        for one in shown
    ]
    await ask.reply_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}, *headers)


async def discover(ask: Ask) -> None:
    """List the extensions that are served here: none."""
    await ask.reply_json({"extensions": []})


def _next(path: str, most: int, last: list[str], *, more: bool) -> list[Header]:
    if not more or not last:
        return []
    return [_link(f"{path}?n={most}&last={quote(last[0], safe='')}")]


def _link(path: str) -> Header:
    return (b"link", f'<{path}>; rel="next"'.encode())
