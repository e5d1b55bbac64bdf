"""Documents to push: whole ones, from which a test takes or changes what it is about."""

import json
from typing import Any

from moorage.oci import manifests
from moorage.oci.digests import Digest
from moorage.oci.manifests import OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST, Descriptor

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
SBOM = "application/vnd.example.sbom.v1"

Members = dict[str, Any]


def descriptor(media_type: str, content: bytes, **more: object) -> Members:
    """Describe some content as documents do."""
    return {
        "mediaType": media_type,
        "digest": str(Digest.of(content)),
        "size": len(content),
        **more,
    }


def image(**more: object) -> Members:
    """Make an image manifest with one layer; a member given as ... is left out."""
    whole = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(CONFIG, b"config"),
        "layers": [descriptor(LAYER, b"layer")],
        **more,
    }
    return {name: value for name, value in whole.items() if value is not ...}


def index(**more: object) -> Members:
    """Make an index with one child; a member given as ... is left out."""
    whole = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(OCI_MANIFEST, b"child")],
        **more,
    }
    return {name: value for name, value in whole.items() if value is not ...}


def artifact(**more: object) -> Members:
    """Make an artifact manifest with one blob."""
    blob = descriptor("text/plain; charset=utf-8", b"text")
    return {"mediaType": OCI_ARTIFACT, "artifactType": SBOM, "blobs": [blob], **more}


def parse(document: object, content_type: str | None = None, **more: int) -> manifests.Manifest:
    """Write a document and read it."""
    return manifests.parse(json.dumps(document).encode(), content_type, **more)


def held(media_type: str, content: bytes) -> Descriptor:
    """Describe some content as manifests hold it."""
    return Descriptor(media_type, Digest.of(content), len(content))
