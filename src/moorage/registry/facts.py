"""What the management API shows of an artifact beyond its row: attributes of its config, annotations, platforms.

They are worked out from the manifest and its config when somebody first looks, and kept beside the manifest: a list reads no
blob that it has read before. A manifest never changes, so they never have to be worked out again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select, update

from moorage.db import Statement, one_of
from moorage.db.tables import manifest, repository
from moorage.errors import Unavailable
from moorage.oci import manifests as documents
from moorage.oci.errors import ManifestInvalid
from moorage.registry import blobs, kinds
from moorage.storage import Missing

if TYPE_CHECKING:
    from moorage.db import Database
    from moorage.oci.digests import Digest
    from moorage.oci.names import RepositoryName
    from moorage.storage import BlobStore

LARGEST_CONFIG: Final = 1 << 20
"""Bytes of a config that are read: of a larger one nothing is shown."""
LARGEST_OTHER: Final = 16 << 10
LARGEST: Final = 64 << 10
"""Bytes that are kept of one artifact, so that a page of a list is not as large as all its manifests."""
ICON: Final = "io.goharbor.artifact.v1alpha1.icon"
STEP: Final = 100
AT_ONCE: Final = 4 << 20
"""Bytes of manifests that are read at once; one may have as many by itself."""

_IMAGE: Final = ("architecture", "author", "config", "created", "os", "os.version", "variant")
_MODEL: Final = ("architecture", "format", "paramSize", "precision", "quantization", "capabilities")
_MODEL_DESCRIPTOR: Final = (
    "name",
    "family",
    "version",
    "createdAt",
    "authors",
    "vendor",
    "licenses",
    "title",
)

_BODY = Statement(select(manifest.c.media_type, manifest.c.body).where(manifest.c.id == bindparam("which")))
_KEEP = Statement(
    update(manifest)
    .where(manifest.c.id == bindparam("which"))
    .values(kind=bindparam("new_kind"), config_type=bindparam("new_type"), facts=bindparam("new_facts"))
)
_NAME = Statement(
    update(manifest)
    .where(manifest.c.id == bindparam("which"))
    .values(kind=bindparam("new_kind"), config_type=bindparam("new_type"))
)
_KINDLESS = Statement(
    select(manifest.c.id, manifest.c.size)
    .where(
        manifest.c.repository_id == bindparam("repository"),
        manifest.c.kind.is_(None),
        manifest.c.deleted_at.is_(None),
        manifest.c.id > bindparam("after"),
    )
    .order_by(manifest.c.id)
    .limit(STEP)
)
# By their repositories, of which each knows its own in an index; in the order of numbers all would be gone through.
_KINDLESS_OF_PROJECT = Statement(
    select(manifest.c.id, manifest.c.size)
    .where(
        manifest.c.repository_id.in_(
            select(repository.c.id).where(
                repository.c.project_id == bindparam("project"), repository.c.deleted_at.is_(None)
            )
        ),
        manifest.c.kind.is_(None),
        manifest.c.deleted_at.is_(None),
        manifest.c.id + 0 > bindparam("after"),
    )
    .order_by(manifest.c.id + 0)
    .limit(STEP)
)
_BODIES = Statement(
    select(manifest.c.id, manifest.c.media_type, manifest.c.body).where(one_of(manifest.c.id, "manifests"))
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is shown of one artifact."""

    kind: str
    config_type: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    references: list[dict[str, Any]] = field(default_factory=list)
    icon: str = ""


def kept(kind: str, config_type: str, text: str) -> Facts:
    """Read what was kept."""
    return Facts(kind, config_type, **json.loads(text))


async def learn(db: Database, store: BlobStore, name: RepositoryName, number: int) -> Facts:
    """Work out what is shown of an artifact, and keep it."""
    row = await db.one(_BODY, which=number)
    if row is None:
        return Facts(kinds.UNKNOWN, "")
    try:
        read = documents.parse(row.body, row.media_type)
    except ManifestInvalid:
        # Rules for manifests were looser once.
        return Facts(kinds.UNKNOWN, row.media_type)
    document = json.loads(row.body)
    kind, config_type = kinds.of(read), kinds.config_type(read)
    config = await config_of(db, store, name, read)
    found = {
        "attributes": {} if config is None else attributes(kind, config),
        "annotations": read.annotations,
        "references": [_reference(one) for one in document.get("manifests") or ()],
        "icon": _icon(document),
    }
    text = _written(found)
    if len(text) > LARGEST:
        text = _written({name: _cut(one) for name, one in found.items()})
    # What cannot be kept now is shown all the same, and worked out again next time.
    with suppress(Unavailable):
        await db.write(_KEEP, which=number, new_kind=kind, new_type=config_type, new_facts=text)
    return kept(kind, config_type, text)


async def name_kinds(db: Database, **of: int) -> None:
    """Tell the types of artifacts that nobody has looked at since they were pushed: of a *repository* or a *project*."""
    kindless, after = _KINDLESS if "repository" in of else _KINDLESS_OF_PROJECT, 0
    while rows := await db.all(kindless, **of, after=after):
        for numbers in portions(rows):
            found = await db.all(_BODIES, manifests=numbers)
            await _keep_kinds(db, [_named(row) for row in found])
        after = rows[-1].id


def portions(rows: Sequence[Any]) -> list[list[int]]:
    """Part manifests so that the bodies of each part together are not large."""
    made: list[list[int]] = []
    left = 0
    for row in rows:
        if row.size > left or not made:
            made.append([])
            left = AT_ONCE
        made[-1].append(row.id)
        left -= row.size
    return made


async def _keep_kinds(db: Database, named: list[dict[str, object]]) -> None:
    # In no turn: nothing else hangs on these columns, and whoever writes them writes the same.
    await db.record(lambda tx: tx.many(_NAME, named))


def _named(row: Any) -> dict[str, object]:
    try:
        read = documents.parse(row.body, row.media_type)
    except ManifestInvalid:
        return {"which": row.id, "new_kind": kinds.UNKNOWN, "new_type": row.media_type}
    return {"which": row.id, "new_kind": kinds.of(read), "new_type": kinds.config_type(read)}


async def config_of(
    db: Database, store: BlobStore, name: RepositoryName, read: documents.Manifest
) -> Mapping[str, Any] | None:
    """Read an artifact's config, if it is a JSON object that is not too large."""
    if read.config is None or read.config.size > LARGEST_CONFIG:
        return None
    data = await content(db, store, name, read.config.digest, LARGEST_CONFIG)
    try:
        found = None if data is None else json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


async def content(
    db: Database, store: BlobStore, name: RepositoryName, digest: Digest, most: int
) -> bytes | None:
    """Read a blob of a repository, unless it is not there or has more than *most* bytes."""
    blob = await blobs.find(db, name, digest)
    if blob is None or blob.size > most:
        return None
    try:
        return b"".join([piece async for piece in store.read(blob.key, 0, blob.size)])
    except Missing:
        return None


def attributes(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Choose what of a config is shown."""
    if kind == kinds.MODEL:
        parts = {name: config.get(name) for name in ("config", "descriptor")}
        inner, about = (one if isinstance(one, dict) else {} for one in parts.values())
        return {**_chosen(inner, _MODEL), **_chosen(about, _MODEL_DESCRIPTOR)}
    if kind in {kinds.CHART, kinds.CNAB}:
        return dict(config)
    if kind in {kinds.IMAGE, kinds.WASM} or "rootfs" in config:
        return _chosen(config, _IMAGE)
    return dict(config) if len(json.dumps(config)) <= LARGEST_OTHER else {}


def _written(found: object) -> str:
    return json.dumps(found, separators=(",", ":"))


def _cut(found: Any) -> Any:
    """Keep of annotations, attributes or references as many as fit."""
    left = LARGEST // 4
    fitting: list[Any] = []
    if isinstance(found, str):
        return found
    for one in found.items() if isinstance(found, dict) else found:
        size = len(_written(one))
        if size <= left:
            left -= size
            fitting.append(one)
    return dict(fitting) if isinstance(found, dict) else fitting


def _chosen(found: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: found[name] for name in names if found.get(name) is not None}


def _reference(one: Any) -> dict[str, Any]:
    given = {name: one[name] for name in ("platform", "annotations", "urls") if one.get(name)}
    return {"digest": one["digest"], **given}


def _icon(document: Mapping[str, Any]) -> str:
    """Find the layer that says of itself that it is the artifact's icon."""
    for layer in document.get("layers") or ():
        notes = layer.get("annotations")
        if isinstance(notes, dict) and ICON in notes:
            return str(layer["digest"])
    return ""
