"""Manifests: documents that name blobs and other manifests (image-spec, manifest.md).

A document has one of three shapes, told by the members that name its content::

    image      config, layers    OCI image manifest, Docker schema 2
    index      manifests         OCI index, Docker manifest list
    artifact   blobs             OCI artifact manifest (given up by the spec, still met)

Its media type says which it must have, and members of another shape are refused: two clients
could see two contents under one digest (GHSA-qq97-vm5h-rrhg). A media type that is not known is
taken when it is ``application/…+json`` and the document has one of the shapes, so that what it
names can be held. Whatever else is in a document is kept with it, byte for byte, and not looked at.
"""

import base64
import re
from dataclasses import dataclass, field

from moorage.oci.digests import ALGORITHMS, Digest
from moorage.oci.documents import Repeated, folded, read, refusal, unambiguous
from moorage.oci.errors import DigestInvalid

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

SIZE_LIMIT = 2**63 - 1
SCHEMA_VERSION = 2

_SHAPES = {
    OCI_MANIFEST: "image",
    DOCKER_MANIFEST: "image",
    OCI_INDEX: "index",
    DOCKER_LIST: "index",
    OCI_ARTIFACT: "artifact",
}
_MEMBERS = {"image": ("config", "layers"), "index": ("manifests",), "artifact": ("blobs",)}
_OCI_TYPES = {"image": OCI_MANIFEST, "index": OCI_INDEX, "artifact": OCI_ARTIFACT}

_TOP = folded(
    "schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "blobs",
    "subject", "annotations", "fsLayers",
)  # fmt: skip
_DESCRIPTOR = folded("mediaType", "digest", "size", "data")

_DIGEST_RULE = f"must be a digest, {' or '.join(ALGORITHMS)}"
_MANIFEST_TYPE = re.compile(r"application/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,120}\+json")
_MEDIA_TYPE = re.compile(r"(?=.{3,255}\Z)[A-Za-z0-9][!-.0-~]*/[!-~](?:[ -~]*[!-~])?")
_SCHEMA_1 = re.compile(r"application/vnd\.docker\.distribution\.manifest\.v1\+(?:json|prettyjws)")
_FOREIGN = re.compile(
    r"application/vnd\.oci\.image\.layer\.nondistributable\..+"
    r"|application/vnd\.docker\.image\.rootfs\.foreign\..+"
)
# BuildKit's caches are indexes whose entries are layers and a config, not manifests.
_BLOB_IN_INDEX = re.compile(
    r"application/vnd\.(?:oci\.image\.(?:layer|config)\.|docker\.image\.rootfs\."
    r"|docker\.container\.image\.|buildkit\.cacheconfig\.).+"
)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of some content: its media type, its digest and its size in bytes."""

    media_type: str
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a registry needs to know of a manifest or index to keep it whole.

    ``blobs``, the config among them, must be in the repository. ``foreign`` blobs (layers that
    are not distributed) and ``children`` need not be, but are held once they are.
    """

    media_type: str
    artifact_type: str
    config: Descriptor | None = None
    blobs: tuple[Descriptor, ...] = ()
    foreign: tuple[Descriptor, ...] = ()
    children: tuple[Descriptor, ...] = ()
    subject: Digest | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    content_size: int = 0
    """The bytes of ``blobs``, each digest once: what pulling this moves besides manifests. An
    index has none of its own; what its children have is theirs, and they may come later."""


def media_type_of(content_type: str | None) -> str:
    """Give a Content-Type without its parameters, "" when there is none."""
    return (content_type or "").partition(";")[0].strip(" \t")


def parse(body: bytes, content_type: str | None, *, most: int = 10_000) -> Manifest:
    """Read a manifest that comes under *content_type*, or raise ManifestInvalid.

    It has no more than *most* layers, blobs or children. It cannot name itself, as its subject or
    as a child: its digest would have to be in the bytes that it is the hash of.
    """
    document = read(body)
    unambiguous("$", document, _TOP)
    media_type, shape = _media_type(document, media_type_of(content_type))
    _check_members(document, shape)
    _check_schema_version(document, shape)
    config = _descriptor(document["config"], "$.config") if shape == "image" else None
    entries = _descriptors(document, "manifests", most)
    layers = [
        *_descriptors(document, "blobs" if shape == "artifact" else "layers", most),
        *(entry for entry in entries if _BLOB_IN_INDEX.fullmatch(entry.media_type)),
    ]
    held = (layer for layer in layers if not _FOREIGN.fullmatch(layer.media_type))
    blobs = (*((config,) if config else ()), *held)
    subject = document.get("subject")
    return Manifest(
        media_type=media_type,
        artifact_type=_artifact_type(document, config),
        config=config,
        blobs=blobs,
        foreign=tuple(layer for layer in layers if _FOREIGN.fullmatch(layer.media_type)),
        children=tuple(e for e in entries if not _BLOB_IN_INDEX.fullmatch(e.media_type)),
        subject=None if subject is None else _descriptor(subject, "$.subject").digest,
        annotations=_annotations(document),
        content_size=_content_size(blobs),
    )


def referrer(
    *,
    media_type: str,
    digest: Digest,
    size: int,
    artifact_type: str,
    annotations: dict[str, str],
) -> dict[str, object]:
    """Make an entry of the referrers list (end-12a), without the members that it has not."""
    entry: dict[str, object] = {"mediaType": media_type, "digest": str(digest), "size": size}
    if artifact_type:
        entry["artifactType"] = artifact_type
    if annotations:
        entry["annotations"] = annotations
    return entry


def _media_type(document: dict[str, object], sent: str) -> tuple[str, str]:
    """Settle the media type, and with it the shape that the document must have."""
    own = document.get("mediaType")
    if own is not None and not isinstance(own, str):
        raise refusal("$.mediaType", "must be a string", own)
    if own and sent and own != sent:
        raise refusal("$.mediaType", f'must be the same as the Content-Type, "{sent[:120]}"', own)
    media_type = own or sent
    if _SCHEMA_1.fullmatch(media_type) or "fsLayers" in document:
        rule = "must not be a Docker schema 1 manifest: push with Docker 1.10 or later"
        raise refusal("$", rule)
    if media_type in _SHAPES:
        return media_type, _SHAPES[media_type]
    if media_type and _MANIFEST_TYPE.fullmatch(media_type) is None:
        rule = f"must be the media type of a manifest, such as {OCI_MANIFEST} or {OCI_INDEX}"
        raise refusal("Content-Type" if sent else "$.mediaType", rule, media_type)
    shape = _shape(document)
    return media_type or _OCI_TYPES[shape], shape


def _shape(document: dict[str, object]) -> str:
    for shape, members in _MEMBERS.items():
        if any(document.get(member) is not None for member in members):
            return shape
    raise refusal("$", "must have config and layers, or manifests, or blobs")


def _check_members(document: dict[str, object], shape: str) -> None:
    for other, members in _MEMBERS.items():
        for member in members:
            if other != shape and document.get(member) is not None:
                raise refusal(f"$.{member}", f"must not be there: the media type is of the kind {shape}")
    if shape == "image" and document.get("config") is None:
        raise refusal("$.config", "must be the descriptor of the image's config", None)
    if shape == "index" and "manifests" not in document:
        raise refusal("$.manifests", "must be a list of descriptors", None)


def _check_schema_version(document: dict[str, object], shape: str) -> None:
    version = document.get("schemaVersion")
    # Artifact manifests never had one.
    if version is None and shape == "artifact":
        return
    if type(version) is not int or version != SCHEMA_VERSION:
        raise refusal("$.schemaVersion", f"must be the number {SCHEMA_VERSION}", version)


def _descriptors(document: dict[str, object], member: str, most: int) -> list[Descriptor]:
    found = document.get(member)
    # Go writes a list that was never made as null.
    if found is None:
        return []
    path = f"$.{member}"
    if not isinstance(found, list):
        raise refusal(path, "must be a list of descriptors", found)
    if len(found) > most:
        raise refusal(path, f"must have no more than {most} entries", found)
    return [_descriptor(one, f"{path}[{number}]") for number, one in enumerate(found)]


def _descriptor(found: object, path: str) -> Descriptor:
    if not isinstance(found, dict):
        raise refusal(path, "must be a descriptor", found)
    unambiguous(path, found, _DESCRIPTOR)
    media_type = found.get("mediaType")
    if not isinstance(media_type, str) or _MEDIA_TYPE.fullmatch(media_type) is None:
        raise refusal(f"{path}.mediaType", "must be a media type", media_type)
    digest = _digest(found.get("digest"), f"{path}.digest")
    size = found.get("size")
    if type(size) is not int or not 0 <= size <= SIZE_LIMIT:
        raise refusal(f"{path}.size", f"must be a whole number from 0 to {SIZE_LIMIT}", size)
    if found.get("data") is not None:
        _check_data(found["data"], digest, size, f"{path}.data")
    return Descriptor(media_type, digest, size)


def _digest(found: object, path: str) -> Digest:
    if not isinstance(found, str):
        raise refusal(path, _DIGEST_RULE, found)
    try:
        return Digest.parse(found)
    except DigestInvalid as error:
        raise refusal(path, _DIGEST_RULE, found) from error


def _check_data(found: object, digest: Digest, size: int, path: str) -> None:
    """Hold a descriptor's embedded copy to its size and digest: a client may trust it unchecked."""
    try:
        data = base64.b64decode(found, validate=True) if isinstance(found, str) else None
    except ValueError:
        data = None
    if data is None:
        raise refusal(path, "must be base64", found)
    if len(data) != size:
        raise refusal(path, f"must have as many bytes as size says, {size}", len(data))
    if Digest.of(data, digest.algorithm) != digest:
        raise refusal(path, f"must be the bytes of {digest}", found)


def _artifact_type(document: dict[str, object], config: Descriptor | None) -> str:
    own = document.get("artifactType")
    if own is None or own == "":
        return config.media_type if config else ""
    if not isinstance(own, str) or _MEDIA_TYPE.fullmatch(own) is None:
        raise refusal("$.artifactType", "must be a media type", own)
    return own


def _annotations(document: dict[str, object]) -> dict[str, str]:
    found = document.get("annotations")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise refusal("$.annotations", "must be an object", found)
    if isinstance(found, Repeated):
        raise refusal("$.annotations", "must not have the same name twice", found.names[0])
    for name, value in found.items():
        if not isinstance(value, str):
            raise refusal(f"$.annotations[{name[:80]!a}]", "must be a string", value)
    try:
        "".join((*found, *found.values())).encode()
    except UnicodeEncodeError as error:
        rule = "must be text that UTF-8 can write"
        raise refusal("$.annotations", rule, error.reason) from error
    return found


def _content_size(blobs: tuple[Descriptor, ...]) -> int:
    total = sum({blob.digest: blob.size for blob in blobs}.values())
    if total > SIZE_LIMIT:
        raise refusal("$", f"must name no more than {SIZE_LIMIT} bytes", total)
    return total
