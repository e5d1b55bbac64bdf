"""What else there is about an artifact: a history, a chart's or a model's own files. Read from its blobs, within bounds."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select

from moorage.db import Statement
from moorage.db.tables import blob, manifest, project, repository, repository_blob
from moorage.errors import Problem
from moorage.oci import manifests as documents
from moorage.oci.digests import Digest
from moorage.registry import archives, facts, kinds
from moorage.registry.archives import ArchiveRefused
from moorage.registry.projects import LIVE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moorage.db import Database, Reader
    from moorage.oci.names import RepositoryName
    from moorage.storage import BlobStore

JSON, TEXT, MARKDOWN = (
    f"{one}; charset=utf-8" for one in ("application/json", "text/plain", "text/markdown")
)
_PATHS: Final = ("org.cncf.model.filepath", "org.cnai.model.filepath")
_CHART_FILES: Final = {"values.yaml": TEXT, "readme.md": MARKDOWN}
_MODEL_FILES: Final = {"readme.md": MARKDOWN, "license": TEXT}
_MOST_HOMES: Final = 20

_BODY = Statement(select(manifest.c.body).where(manifest.c.id == bindparam("which")))
_HOMES = Statement(
    select(repository.c.name)
    .select_from(
        blob.join(repository_blob, repository_blob.c.blob_id == blob.c.id)
        .join(repository, repository.c.id == repository_blob.c.repository_id)
        .join(project, project.c.id == repository.c.project_id)
    )
    .where(
        blob.c.digest == bindparam("digest"),
        repository_blob.c.refs > 0,
        repository.c.deleted_at.is_(None),
        repository.c.state == LIVE,
        project.c.state == LIVE,
    )
    .limit(_MOST_HOMES)
)


class NoSuchAddition(Problem):
    """Artifacts of this type have no such addition."""

    code, status, summary = "BAD_REQUEST", 400, "artifacts of this type have no such addition"


class AdditionUnknown(Problem):
    """The artifact has no such file."""

    code, status, summary = "NOT_FOUND", 404, "the artifact has no such file"


@dataclass(frozen=True, slots=True)
class Addition:
    """Some bytes, and what they are."""

    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Additions:
    """Reads what else there is about a registry's artifacts; few at once, since each may take much memory."""

    db: Database
    store: BlobStore
    places: asyncio.Semaphore

    async def read(self, name: RepositoryName, row: Any, wanted: str) -> Addition:
        """Give an addition of an artifact, or raise NoSuchAddition, AdditionUnknown or ArchiveRefused."""
        found = await self.db.one(_BODY, which=row.id)
        if found is None:
            raise AdditionUnknown("the artifact is gone")
        body = bytes(found.body)
        read = await asyncio.to_thread(documents.parse, body, row.media_type)
        kind = kinds.of(read)
        if kind == kinds.IMAGE and wanted == "build_history" and read.config is not None:
            return _json((await self._config(name, read)).get("history") or [])
        if kind == kinds.CHART and wanted == "dependencies":
            return _json((await self._config(name, read)).get("dependencies") or [])
        if kind == kinds.CHART and wanted in _CHART_FILES:
            return await self._of_chart(name, read, wanted)
        if kind == kinds.MODEL and wanted == "files":
            return _json(tree(json.loads(body)))
        if kind == kinds.MODEL and wanted in _MODEL_FILES:
            return await self._of_model(name, json.loads(body), wanted)
        if kind == kinds.SBOM and wanted == "sbom" and len(read.blobs) > 1:
            return Addition(JSON, await self._blob(name, read.blobs[-1], archives.LARGEST_FILE))
        message = f"addition {wanted} isn't supported for {kind} ({read.media_type})"
        raise NoSuchAddition(message, addition=wanted)

    async def _config(self, name: RepositoryName, read: documents.Manifest) -> Mapping[str, Any]:
        found = await facts.config_of(self.db, self.store, name, read)
        if found is None:
            message = f"the config is no JSON object of at most {facts.LARGEST_CONFIG} bytes"
            raise ArchiveRefused(message)
        return found

    async def _of_chart(self, name: RepositoryName, read: documents.Manifest, wanted: str) -> Addition:
        """Give a file at the top of a chart; what a chart has not is empty, as in Harbor."""
        layer = next((one for one in read.blobs if one.media_type == kinds.CHART_CONTENT), None)
        if layer is None:
            raise AdditionUnknown("the chart has no content")
        async with self.places:
            data = await self._blob(name, layer, archives.LARGEST)
            body = await asyncio.to_thread(_top_file, data, wanted)
        return Addition(_CHART_FILES[wanted], body)

    async def _of_model(self, name: RepositoryName, document: Mapping[str, Any], wanted: str) -> Addition:
        for layer in document.get("layers") or ():
            path = _path(layer).lower()
            if path == wanted or path.partition(".")[0] == wanted:
                one = documents.Descriptor(layer["mediaType"], Digest.parse(layer["digest"]), layer["size"])
                async with self.places:
                    data = await self._blob(name, one, archives.LARGEST)
                    if ".tar" in one.media_type:
                        data = await asyncio.to_thread(_first_file, data)
                return Addition(_MODEL_FILES[wanted], _bounded(data))
        raise AdditionUnknown(f"the model has no {wanted}")

    async def _blob(self, name: RepositoryName, one: documents.Descriptor, most: int) -> bytes:
        if one.size > most:
            raise ArchiveRefused(f"{one.digest} has {one.size} bytes, and {most} are read", limit=most)
        data = await facts.content(self.db, self.store, name, one.digest, most)
        if data is None:
            raise AdditionUnknown(f"{one.digest} is not there")
        return data


async def homes(reader: Reader, digest: Digest) -> list[str]:
    """Name some repositories that a blob belongs to an artifact of."""
    return [row.name for row in await reader.all(_HOMES, digest=digest.raw)]


def tree(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Draw a model's files, by the paths that its layers say they have."""
    top: dict[str, Any] = {}
    for layer in document.get("layers") or ():
        *folders, last = _path(layer).strip("/").split("/")[-32:]
        if not last:
            continue
        at = top
        for folder in folders:
            at = at.setdefault(folder, {"name": folder, "type": "directory", "inside": {}}).setdefault(
                "inside", {}
            )
        at[last] = {"name": last, "type": "file", "size": layer["size"]}
    return _drawn(top)


def _drawn(inside: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": one["name"], "type": "directory", "children": _drawn(one["inside"])}
        if "inside" in one
        else one
        for one in inside.values()
    ]


def _path(layer: Mapping[str, Any]) -> str:
    notes = layer.get("annotations")
    found = next((notes[name] for name in _PATHS if name in notes), "") if isinstance(notes, dict) else ""
    return found if isinstance(found, str) else ""


def _top_file(data: bytes, wanted: str) -> bytes:
    """Give a file that stands right in an archive's one folder."""
    for name, body in archives.files(data):
        parts = name.lower().removeprefix("./").split("/")
        if parts[1:] == [wanted]:
            return _bounded(body)
    return b""


def _first_file(data: bytes) -> bytes:
    return next((body for _, body in archives.files(data)), b"")


def _bounded(body: bytes) -> bytes:
    if len(body) > archives.LARGEST_FILE:
        raise ArchiveRefused(f"the file has {len(body)} bytes, and {archives.LARGEST_FILE} are shown")
    return body


def _json(found: object) -> Addition:
    return Addition(JSON, json.dumps(found, separators=(",", ":")).encode())
