"""Types of artifacts are told from their manifests: each that Harbor knows, and those that it does not."""

import pytest

from moorage.oci.manifests import DOCKER_LIST, OCI_INDEX
from moorage.registry import kinds
from tests.unit.oci_documents import CONFIG, Members, descriptor, image, index, parse

EMPTY = "application/vnd.oci.empty.v1+json"


def of_config(media_type: str, **more: object) -> Members:
    """Make a manifest whose config is of a media type."""
    return image(config=descriptor(media_type, b"{}"), **more)


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (image(), "IMAGE"),
        (of_config("application/vnd.docker.container.image.v1+json"), "IMAGE"),
        (index(), "IMAGE"),
        (of_config("application/vnd.cncf.helm.config.v1+json"), "CHART"),
        (of_config("application/vnd.cnab.config.v1+json"), "CNAB"),
        (index(artifactType="application/vnd.cnab.manifest.v1"), "CNAB"),
        (index(annotations={"org.opencontainers.artifactType": "application/vnd.cnab.manifest.v1"}), "CNAB"),
        (of_config("application/vnd.wasm.config.v0+json"), "WASM"),
        (of_config("application/vnd.wasm.config.v1+json"), "WASM"),
        (image(annotations={"module.wasm.image/variant": "compat"}), "WASM"),
        (of_config("application/vnd.cncf.model.config.v1+json"), "CNAI"),
        (of_config(EMPTY, artifactType="application/vnd.cncf.model.manifest.v1+json"), "CNAI"),
        (of_config("application/vnd.goharbor.harbor.sbom.v1"), "SBOM"),
        (of_config(EMPTY, artifactType="application/spdx+json"), "SBOM"),
        (of_config(EMPTY, artifactType="application/vnd.cyclonedx+json"), "SBOM"),
        (of_config("application/vnd.cncf.notary.signature"), "SIGNATURE"),
        (of_config(EMPTY, artifactType="application/vnd.cncf.notary.signature"), "SIGNATURE"),
        (of_config(EMPTY, artifactType="application/vnd.dev.cosign.artifact.sig.v1+json"), "SIGNATURE"),
        (of_config(EMPTY, artifactType="application/vnd.dev.sigstore.bundle.v0.3+json"), "SIGNATURE"),
        (image(layers=[descriptor("application/vnd.dev.cosign.simplesigning.v1+json", b"s")]), "SIGNATURE"),
        (of_config("application/vnd.example.Robot.config.v1+json"), "ROBOT"),
        (of_config("application/vnd.example.thing"), "UNKNOWN"),
        (of_config(EMPTY), "UNKNOWN"),
    ],
)
def test_a_type_is_told_from_the_manifest(document: Members, kind: str) -> None:
    assert kinds.of(parse(document)) == kind


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index_is_of_its_own_media_type_and_an_image_of_its_configs(media_type: str) -> None:
    assert kinds.config_type(parse(index(mediaType=media_type))) == media_type
    assert kinds.config_type(parse(image())) == CONFIG


@pytest.mark.parametrize(
    ("artifact_type", "sort"),
    [
        ("application/vnd.cncf.notary.signature", "signature.notation"),
        ("application/vnd.dev.cosign.artifact.sig.v1+json", "signature.cosign"),
        ("application/vnd.dev.sigstore.bundle.v0.3+json", "signature.cosign"),
        ("application/vnd.goharbor.harbor.sbom.v1", "sbom.harbor"),
        ("application/spdx+json", "subject.accessory"),
        ("", "subject.accessory"),
    ],
)
def test_what_hangs_on_an_artifact_is_told_from_its_type(artifact_type: str, sort: str) -> None:
    assert kinds.accessory(artifact_type) == sort
