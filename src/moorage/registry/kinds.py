"""What an artifact is, told from its manifest: the types that Harbor knows, and what hangs on another artifact."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from moorage.oci.manifests import DOCKER_LIST, OCI_INDEX, Manifest

IMAGE, CHART, CNAB, WASM, MODEL = "IMAGE", "CHART", "CNAB", "WASM", "CNAI"
SBOM, SIGNATURE, UNKNOWN = "SBOM", "SIGNATURE", "UNKNOWN"

CHART_CONTENT: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
_HARBOR_SBOM: Final = "application/vnd.goharbor.harbor.sbom.v1"
_NOTATION: Final = "application/vnd.cncf.notary.signature"
_COSIGN: Final = "application/vnd.dev.cosign.artifact.sig.v1+json"
_SIGSTORE_BUNDLE: Final = "application/vnd.dev.sigstore.bundle"
_EMPTY: Final = "application/vnd.oci.empty.v1+json"
_CNAB_INDEX: Final = "application/vnd.cnab.manifest.v1"
_BY_TYPE: Final[Mapping[str, str]] = {
    "application/vnd.oci.image.config.v1+json": IMAGE,
    "application/vnd.docker.container.image.v1+json": IMAGE,
    "application/vnd.cncf.helm.config.v1+json": CHART,
    "application/vnd.cnab.config.v1+json": CNAB,
    "application/vnd.wasm.config.v0+json": WASM,
    "application/vnd.wasm.config.v1+json": WASM,
    "application/vnd.cncf.model.config.v1+json": MODEL,
    "application/vnd.cncf.model.manifest.v1+json": MODEL,
    "application/spdx+json": SBOM,
    "application/vnd.cyclonedx+json": SBOM,
    _HARBOR_SBOM: SBOM,
    _NOTATION: SIGNATURE,
    _COSIGN: SIGNATURE,
}
_ITS_OWN: Final = re.compile(r"application/vnd\.[^.]*\.(.*)\.config\.[^.]+")
_WASM_NOTE: Final = "module.wasm.image/variant"


def of(read: Manifest) -> str:
    """Tell an artifact's type; of a type that nobody has named it is what its config's media type says."""
    if read.media_type in {OCI_INDEX, DOCKER_LIST}:
        named = read.annotations.get("org.opencontainers.artifactType") or read.artifact_type
        return CNAB if named == _CNAB_INDEX else _BY_TYPE.get(named, IMAGE)
    if any(one.media_type == _SIMPLE_SIGNING for one in read.blobs):
        return SIGNATURE
    if read.annotations.get(_WASM_NOTE):
        return WASM
    config = config_type(read)
    named = config if config and config != _EMPTY else read.artifact_type
    for one in (read.artifact_type, named):
        if one in _BY_TYPE:
            return _BY_TYPE[one]
        if one.startswith(_SIGSTORE_BUNDLE):
            return SIGNATURE
    own = _ITS_OWN.fullmatch(named)
    return own[1].upper()[:64] if own else UNKNOWN


def config_type(read: Manifest) -> str:
    """Give the media type of an artifact's config; what has none, as an index, is of its own media type."""
    return read.config.media_type if read.config else read.media_type


def accessory(artifact_type: str) -> str:
    """Tell what sort of accessory a manifest is that names a subject."""
    if artifact_type == _NOTATION:
        return "signature.notation"
    if artifact_type == _COSIGN or artifact_type.startswith(_SIGSTORE_BUNDLE):
        return "signature.cosign"
    return "sbom.harbor" if artifact_type == _HARBOR_SBOM else "subject.accessory"
