"""Manifests and indexes (image-spec manifest.md, image-index.md; Docker's schema 2), read once at the edge."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from moorage.oci.digests import Digest
from moorage.oci.errors import ManifestInvalid, OCIError

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SCHEMA1 = ("application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws")
INDEXES = (OCI_INDEX, DOCKER_LIST)

Size = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
MediaType = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class _Descriptor(msgspec.Struct, rename="camel"):
    media_type: MediaType
    digest: str
    size: Size


class _Document(msgspec.Struct, rename="camel"):
    """Every field of every kind of manifest that we look at; the others are kept with the body, unread."""

    schema_version: int | None = None
    media_type: str | None = None
    artifact_type: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    blobs: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    subject: _Descriptor | None = None
    annotations: dict[str, str] | None = None
    fs_layers: Any = None


_decode = msgspec.json.Decoder(_Document).decode


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Media type, digest and size of some content."""

    media_type: str
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a registry needs to know of a manifest.

    ``blobs`` must be in the repository; ``foreign`` layers are not distributed and need not be; ``children`` are
    an index's manifests. ``artifact_type`` is what the referrers list shows, "" for none. ``content_size`` adds up
    the config and the layers that we hold.
    """

    media_type: str
    artifact_type: str
    config: Descriptor | None
    blobs: tuple[Descriptor, ...]
    foreign: tuple[Descriptor, ...]
    children: tuple[Descriptor, ...]
    subject: Digest | None
    annotations: Mapping[str, str]
    content_size: int


def media_type_of(content_type: str | None) -> str | None:
    """Give a Content-Type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower() if content_type else None


def parse(body: bytes, content_type: str | None, *, most: int = 10_000) -> Manifest:
    """Read a manifest or index, or raise ManifestInvalid, which tells the rule and the place.

    ``most`` bounds its layers or children.
    """
    try:
        document = _decode(body)
    except (msgspec.DecodeError, RecursionError) as problem:
        message = f"the manifest is not what its format asks for: {str(problem)[:300]}"
        raise ManifestInvalid(message) from problem
    media_type = _media_type(document, media_type_of(content_type))
    listed = [*(document.layers or ()), *(document.blobs or ()), *(document.manifests or ())]
    if len(listed) > most:
        message = f"the manifest names {len(listed)} layers or manifests; the most is {most}"
        raise ManifestInvalid(message, count=len(listed), most=most)
    config = _descriptor(document.config, "config") if document.config else None
    layers = [*_descriptors(document.layers, "layers"), *_descriptors(document.blobs, "blobs")]
    held = [layer for layer in layers if not _foreign(layer.media_type)]
    blobs = ((config,) if config else ()) + tuple(held)
    return Manifest(
        media_type,
        document.artifact_type or (config.media_type if config else ""),
        config,
        blobs,
        tuple(layer for layer in layers if _foreign(layer.media_type)),
        tuple(_descriptors(document.manifests, "manifests")),
        _descriptor(document.subject, "subject").digest if document.subject else None,
        document.annotations or {},
        sum(blob.size for blob in blobs),
    )


def _media_type(document: _Document, asked: str | None) -> str:
    if document.fs_layers is not None or asked in DOCKER_SCHEMA1 or document.schema_version == 1:
        raise ManifestInvalid("Docker's manifest schema 1 is not taken; push the image with a current client")
    if document.schema_version != 2 and OCI_ARTIFACT not in (asked, document.media_type):  # noqa: PLR2004 the specs' own number
        message = f"schemaVersion is {document.schema_version}; it must be 2"
        raise ManifestInvalid(message, field="schemaVersion")
    if document.media_type and asked and document.media_type.lower() != asked:
        message = f"mediaType is {document.media_type!r} and Content-Type is {asked!r}; they must be the same"
        raise ManifestInvalid(message, field="mediaType")
    media_type = asked or document.media_type or (OCI_INDEX if document.manifests is not None else OCI_MANIFEST)
    # Read as one kind by us and as another by a client, a document could hide what it really holds.
    index = media_type in INDEXES
    both = document.manifests is not None and (document.layers is not None or document.config is not None)
    if both or (index and (document.layers or document.config)) or (not index and document.manifests):
        message = f"a {media_type} cannot have manifests and layers or a config at once"
        raise ManifestInvalid(message, field="manifests")
    if index and document.manifests is None:
        raise ManifestInvalid("an index must have a list of manifests", field="manifests")
    if media_type in (OCI_MANIFEST, DOCKER_MANIFEST) and (document.config is None or document.layers is None):
        raise ManifestInvalid("an image manifest must have a config and a list of layers", field="config")
    return media_type


def _descriptors(raw: Iterable[_Descriptor] | None, field: str) -> list[Descriptor]:
    return [_descriptor(one, f"{field}[{n}]") for n, one in enumerate(raw or ())]


def _descriptor(raw: _Descriptor, field: str) -> Descriptor:
    try:
        return Descriptor(raw.media_type, Digest.parse(raw.digest), raw.size)
    except OCIError as problem:
        message = f"{field}.digest: {problem}"
        raise ManifestInvalid(message, field=f"{field}.digest") from problem


def _foreign(media_type: str) -> bool:
    return ".nondistributable." in media_type or media_type.startswith("application/vnd.docker.image.rootfs.foreign.")
