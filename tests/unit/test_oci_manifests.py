"""Manifests are read whole."""

import base64
import json
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moorage.oci import manifests
from moorage.oci.digests import Digest
from moorage.oci.errors import ManifestInvalid
from moorage.oci.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_ARTIFACT,
    OCI_INDEX,
    OCI_MANIFEST,
    SIZE_LIMIT,
)
from tests.unit.oci_documents import (
    CONFIG,
    DOCKER_FOREIGN,
    FOREIGN,
    LAYER,
    SBOM,
    Members,
    artifact,
    descriptor,
    held,
    image,
    index,
    parse,
)

# What is accepted


def test_an_image_holds_its_config_and_layers():
    found = parse(image(), OCI_MANIFEST)

    assert found.config == held(CONFIG, b"config")
    assert found.blobs == (held(CONFIG, b"config"), held(LAYER, b"layer"))
    assert (found.foreign, found.children, found.subject) == ((), (), None)
    assert (found.media_type, found.artifact_type) == (OCI_MANIFEST, CONFIG)
    assert found.content_size == len(b"config") + len(b"layer")


def test_an_index_holds_its_children_and_no_bytes_of_its_own():
    found = parse(index(), OCI_INDEX)

    assert found.children == (held(OCI_MANIFEST, b"child"),)
    assert (found.config, found.blobs, found.artifact_type, found.content_size) == (None, (), "", 0)


def test_an_artifact_manifest_holds_its_blobs():
    found = parse(artifact(), OCI_ARTIFACT)

    assert found.blobs == (held("text/plain; charset=utf-8", b"text"),)
    assert found.artifact_type == SBOM


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_images_of_both_families_are_read(media_type: str):
    assert parse(image(mediaType=media_type), media_type).media_type == media_type


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_indexes_of_both_families_are_read(media_type: str):
    assert parse(index(mediaType=media_type), media_type).media_type == media_type


@pytest.mark.parametrize("empty", [[], None, ...])
def test_an_image_may_have_no_layers(empty: object):
    assert parse(image(layers=empty)).blobs == (held(CONFIG, b"config"),)


@pytest.mark.parametrize("empty", [[], None])
def test_an_index_may_be_empty(empty: object):
    assert parse(index(manifests=empty)).children == ()


def test_an_index_may_hold_indexes():
    found = parse(index(manifests=[descriptor(OCI_INDEX, b"nested")]))

    assert found.children == (held(OCI_INDEX, b"nested"),)


def test_a_build_cache_is_an_index_whose_entries_are_blobs():
    cache = "application/vnd.buildkit.cacheconfig.v0"
    entries = [
        descriptor(LAYER, b"layer"),
        descriptor(cache, b"cache"),
        descriptor(FOREIGN, b"far"),
    ]

    found = parse(index(manifests=entries))

    assert found.blobs == (held(LAYER, b"layer"), held(cache, b"cache"))
    assert found.foreign == (held(FOREIGN, b"far"),)
    assert found.children == ()


@pytest.mark.parametrize("media_type", [FOREIGN, FOREIGN.replace("+gzip", ""), DOCKER_FOREIGN])
def test_layers_that_are_not_distributed_are_apart_and_not_counted(media_type: str):
    far = descriptor(media_type, b"far away", urls=["https://example.com/layer"])

    found = parse(image(layers=[far, descriptor(LAYER, b"layer")]))

    assert found.foreign == (held(media_type, b"far away"),)
    assert found.blobs == (held(CONFIG, b"config"), held(LAYER, b"layer"))
    assert found.content_size == len(b"config") + len(b"layer")


def test_a_layer_named_twice_counts_once():
    layer = descriptor(LAYER, b"layer")

    found = parse(image(layers=[layer, layer]))

    assert found.blobs.count(held(LAYER, b"layer")) == 2
    assert found.content_size == len(b"config") + len(b"layer")


@pytest.mark.parametrize("make", [image, index, artifact])
def test_the_subject_is_known_whether_or_not_it_is_there(make: Callable[..., Members]):
    found = parse(make(subject=descriptor(OCI_MANIFEST, b"elsewhere")))

    assert found.subject == Digest.of(b"elsewhere")


def test_sha512_is_a_digest_too():
    layer = {"mediaType": LAYER, "digest": str(Digest.of(b"a", "sha512")), "size": 1}

    assert parse(image(layers=[layer])).blobs[1].digest == Digest.of(b"a", "sha512")


def test_a_descriptor_may_carry_its_bytes():
    data = base64.b64encode(b"layer").decode()

    assert parse(image(layers=[descriptor(LAYER, b"layer", data=data)])).blobs[1].size == len(b"layer")


def test_unknown_members_are_no_matter_even_twice():
    body = json.dumps(image(**{"org.example.x": [{"a": None}]}))[:-1] + ',"x":{"y":1,"y":2},"x":3}'

    assert manifests.parse(body.encode(), None) == parse(image())


def test_a_large_document_of_annotations_is_read():
    annotations = {f"org.example.{number}": "v" * 1000 for number in range(3800)}

    assert parse(image(annotations=annotations)).annotations == annotations


# Artifact types and referrers


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (image(), CONFIG),
        (image(artifactType=""), CONFIG),
        (image(artifactType=None), CONFIG),
        (image(artifactType=SBOM), SBOM),
        (image(mediaType=DOCKER_MANIFEST), CONFIG),
        (index(), ""),
        (index(artifactType=SBOM), SBOM),
        (artifact(), SBOM),
    ],
)
def test_the_artifact_type_is_its_own_or_the_config_s_or_none(document: Members, expected: str):
    assert parse(document).artifact_type == expected


def test_a_referrer_has_the_members_that_it_has():
    digest = Digest.of(b"a")

    entry = manifests.referrer(
        media_type=OCI_MANIFEST, digest=digest, size=1, artifact_type=SBOM, annotations={"a": "b"}
    )
    bare = manifests.referrer(media_type=OCI_INDEX, digest=digest, size=1, artifact_type="", annotations={})

    assert entry == {
        "mediaType": OCI_MANIFEST,
        "digest": str(digest),
        "size": 1,
        "artifactType": SBOM,
        "annotations": {"a": "b"},
    }
    assert bare == {"mediaType": OCI_INDEX, "digest": str(digest), "size": 1}


# Media types


def test_parameters_of_the_content_type_are_no_matter():
    assert parse(image(), f"{OCI_MANIFEST} ; charset=utf-8").media_type == OCI_MANIFEST


@pytest.mark.parametrize("content_type", [None, "", "; charset=utf-8"])
def test_without_a_content_type_the_document_tells(content_type: str | None):
    assert parse(image(mediaType=DOCKER_MANIFEST), content_type).media_type == DOCKER_MANIFEST


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (image(mediaType=...), OCI_MANIFEST),
        (image(mediaType=""), OCI_MANIFEST),
        (index(mediaType=...), OCI_INDEX),
        ({"blobs": []}, OCI_ARTIFACT),
    ],
)
def test_without_any_media_type_the_shape_tells(document: Members, expected: str):
    assert parse(document).media_type == expected


def test_the_content_type_tells_when_the_document_does_not():
    assert parse(image(mediaType=...), DOCKER_MANIFEST).media_type == DOCKER_MANIFEST


@pytest.mark.parametrize("document", [image(), index()])
def test_an_unknown_manifest_type_is_read_by_its_shape(document: Members):
    media_type = "application/vnd.example.manifest.v7+json"

    found = parse({**document, "mediaType": media_type}, media_type)

    assert found.media_type == media_type
    assert found.blobs or found.children


# Anything at all

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
known_names = st.sampled_from(
    [
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "manifests",
        "blobs",
        "subject",
    ]
)
descriptors = st.builds(
    descriptor,
    st.sampled_from([CONFIG, LAYER, FOREIGN, OCI_MANIFEST, SBOM]),
    st.binary(max_size=8),
)


@given(st.binary(), st.none() | st.text())
@example(b"[" * 150, None)
def test_any_bytes_are_a_manifest_or_are_refused(body: bytes, content_type: str | None):
    with pytest.raises(ManifestInvalid):
        manifests.parse(body, content_type)


@given(
    st.sampled_from([image(), index(), artifact()]),
    st.dictionaries(known_names, json_values | descriptors | st.lists(descriptors, max_size=2), max_size=3),
    st.sampled_from([None, OCI_MANIFEST, OCI_INDEX, OCI_ARTIFACT, "a/b"]),
)
def test_any_change_to_a_document_is_read_or_refused(whole: Members, change: Members, sent: str | None):
    try:
        found = parse({**whole, **change}, sent)
    except ManifestInvalid as refused:
        assert refused.detail["path"]  # noqa: PT017 - either outcome is right
        return

    assert found.media_type.startswith("application/")
    assert 0 <= found.content_size <= SIZE_LIMIT


@given(st.lists(descriptors, max_size=5), st.dictionaries(st.text(), st.text(), max_size=3))
def test_what_is_written_is_what_is_read(layers: list[Members], annotations: dict[str, str]):
    found = parse(image(layers=layers, annotations=annotations), OCI_MANIFEST)

    named = [*found.blobs[1:], *found.foreign]
    assert sorted(str(one.digest) for one in named) == sorted(one["digest"] for one in layers)
    assert found.annotations == annotations
