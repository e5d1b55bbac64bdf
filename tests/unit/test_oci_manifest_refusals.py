"""What is no safe manifest is refused with the rule, the place and the value."""

import base64
import json
from collections.abc import Callable

import pytest

from moorage.oci import manifests
from moorage.oci.digests import Digest
from moorage.oci.errors import ManifestInvalid
from moorage.oci.manifests import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    SIZE_LIMIT,
)
from tests.unit.oci_documents import (
    LAYER,
    Members,
    artifact,
    descriptor,
    image,
    index,
    parse,
)

# What is refused


def changed(**more: object) -> Members:
    """Make an image whose only layer is broken in one way."""
    layer = {**descriptor(LAYER, b"layer"), **more}
    return image(layers=[{name: value for name, value in layer.items() if value is not ...}])


REFUSED: dict[str, tuple[object, str]] = {
    "no object": ([], r"\$: must be a JSON object, but it is a list of 0"),
    "a string": ("x", r'\$: must be a JSON object, but it is "x"'),
    "no shape": ({"schemaVersion": 2}, r"\$: must have config and layers, or manifests, or blobs"),
    "schema 1 by number": (
        image(schemaVersion=1),
        r"\$.schemaVersion: must be the number 2, but it is 1",
    ),
    "schema 1 by member": ({"schemaVersion": 1, "fsLayers": []}, "must not be a Docker schema 1"),
    "version missing": (image(schemaVersion=...), "schemaVersion: .* missing"),
    "version null": (index(schemaVersion=None), "schemaVersion: .* missing"),
    "version a string": (image(schemaVersion="2"), r'schemaVersion: .* "2"'),
    "version a float": (image(schemaVersion=2.0), r"schemaVersion: .* 2\.0"),
    "version true": (index(schemaVersion=True), r"schemaVersion: .* true"),
    "media type no string": (image(mediaType=2), r"\$.mediaType: must be a string, but it is 2"),
    "media type of a page": (image(mediaType="text/html"), r'mediaType: .* "text/html"'),
    "media type of JSON": (image(mediaType="application/json"), r"\$.mediaType: must be the media"),
    "image with manifests": (image(manifests=[]), r"\$.manifests: must not be there"),
    "image with blobs": (image(blobs=[]), r"\$.blobs: must not be there"),
    "index with layers": (index(layers=[]), r"\$.layers: must not be there"),
    "index with config": (index(config={}), r"\$.config: must not be there"),
    "artifact with layers": (artifact(layers=[]), r"\$.layers: must not be there"),
    "unknown type with two shapes": (
        image(mediaType="application/x+json", manifests=[]),
        r"\$.manifests: must not be there",
    ),
    "index as image": (index(mediaType=OCI_MANIFEST), "must not be there"),
    "image as index": (image(mediaType=OCI_INDEX), "must not be there"),
    "no config": (image(config=...), r"\$.config: .* missing"),
    "null config": (image(config=None), r"\$.config: .* missing"),
    "no manifests": (index(manifests=...), r"\$.manifests: .* missing"),
    "layers no list": (image(layers={}), r"\$.layers: must be a list"),
    "layer no object": (image(layers=[1]), r"\$.layers\[0\]: must be a descriptor, but it is 1"),
    "layer null": (image(layers=[None]), r"\$.layers\[0\]: must be a descriptor"),
    "subject no object": (image(subject="x"), r"\$.subject: must be a descriptor"),
    "subject without size": (
        image(subject={"mediaType": "a/b", "digest": str(Digest.of(b""))}),
        "subject.size",
    ),
    "no digest": (changed(digest=...), r"\$.layers\[0\].digest: .* missing"),
    "digest a number": (changed(digest=1), r"digest: .* 1"),
    "digest short": (changed(digest="sha256:abc"), r'digest: must be a digest, .* "sha256:abc"'),
    "digest by md5": (changed(digest="md5:" + "a" * 32), "must be a digest, sha256 or sha512"),
    "no size": (changed(size=...), r"\$.layers\[0\].size: .* missing"),
    "size negative": (changed(size=-1), r"size: must be a whole number from 0 .* -1"),
    "size too large": (changed(size=SIZE_LIMIT + 1), r"size: must be a whole number"),
    "size a float": (changed(size=5.0), r"size: .* 5\.0"),
    "size a string": (changed(size="5"), r'size: .* "5"'),
    "size true": (changed(size=True), r"size: .* true"),
    "sizes too large together": (changed(size=SIZE_LIMIT), r"must name no more than"),
    "no media type": (changed(mediaType=...), r"\$.layers\[0\].mediaType: .* missing"),
    "media type empty": (changed(mediaType=""), r"mediaType: must be a media type"),
    "media type without slash": (changed(mediaType="layer"), r"mediaType: must be a media type"),
    "media type with line end": (changed(mediaType="a/b\r\nSet-Cookie: x"), r"mediaType: must be"),
    "media type long": (changed(mediaType="a/" + "b" * 254), r"mediaType: must be a media type"),
    "data no string": (changed(data=1), r"data: must be base64"),
    "data no base64": (changed(data="!"), r"data: must be base64"),
    "data not ASCII": (changed(data="é"), r"data: must be base64"),
    "data too short": (changed(data="YQ=="), r"data: must have as many bytes as size says, 5"),
    "data of others": (
        changed(data=base64.b64encode(b"LAYER").decode()),
        r"data: must be the bytes of sha256:",
    ),
    "artifact type a number": (image(artifactType=1), r"\$.artifactType: must be a media type"),
    "artifact type with line end": (index(artifactType="a/b\n"), r"\$.artifactType: must be"),
    "annotations a list": (image(annotations=[]), r"\$.annotations: must be an object"),
    "annotation a number": (image(annotations={"a": 1}), r"annotations\['a'\]: must be a string"),
    "annotation null": (index(annotations={"a": None}), r"annotations\['a'\]: must be a string"),
    "annotation half a pair": (image(annotations={"a": "\ud800"}), r"annotations: must be text"),
    "member in other case": (
        {**image(), "Layers": []},
        r'must have "layers" in this very spelling',
    ),
    "member in folded case": ({**image(), "manife\u017fts": []}, r'must have "manifests"'),
    "descriptor in other case": (changed(Digest="x"), r'layers\[0\]: must have "digest"'),
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_a_broken_document_is_refused_with_the_rule(what: str):
    document, expected = REFUSED[what]

    with pytest.raises(ManifestInvalid, match=expected) as refused:
        parse(document)

    assert refused.value.detail["path"]
    assert refused.value.detail["rule"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"<html>",
        b"{}{}",
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":NaN}',
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_not_json_is_refused(body: bytes):
    with pytest.raises(ManifestInvalid, match="must be JSON in UTF-8"):
        manifests.parse(body, OCI_MANIFEST)


@pytest.mark.parametrize("name", ["layers", "config", "mediaType", "schemaVersion", "annotations"])
def test_a_member_that_comes_twice_is_refused(name: str):
    whole = image(annotations={})
    body = json.dumps(whole)[:-1] + f",{json.dumps(name)}:{json.dumps(whole[name])}}}"

    with pytest.raises(ManifestInvalid, match=rf'\$: must not have the same name twice.* "{name}"'):
        manifests.parse(body.encode(), OCI_MANIFEST)


def test_a_member_that_comes_twice_is_found_behind_escapes():
    body = json.dumps(image())[:-1] + ',"layer\\u0073":[]}'

    with pytest.raises(ManifestInvalid, match='twice, but it is "layers"'):
        manifests.parse(body.encode(), None)


def test_a_descriptor_s_member_that_comes_twice_is_refused_with_its_place():
    body = json.dumps(image()).replace('"size": 5', '"size": 5, "size": 6')

    with pytest.raises(ManifestInvalid, match=r'\$.layers\[0\]: must not have .* "size"'):
        manifests.parse(body.encode(), None)


def test_an_annotation_that_comes_twice_is_refused():
    body = json.dumps(image(annotations={"a": "1"})).replace('"a": "1"', '"a": "1", "a": "2"')

    with pytest.raises(ManifestInvalid, match=r'\$.annotations: must not have .* "a"'):
        manifests.parse(body.encode(), None)


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        (image(), OCI_INDEX),
        (image(), DOCKER_MANIFEST),
        (index(), OCI_MANIFEST),
        (image(), OCI_MANIFEST.upper()),
        (image(), "application/json"),
    ],
)
def test_a_media_type_other_than_the_content_type_is_refused(document: Members, content_type: str):
    with pytest.raises(ManifestInvalid, match=r"\$.mediaType: must be the same as the Content-Type"):
        parse(document, content_type)


@pytest.mark.parametrize("content_type", ["text/html", "application/json", "application/x+json\r\nA: b"])
def test_a_content_type_of_no_manifest_is_refused(content_type: str):
    with pytest.raises(ManifestInvalid, match="Content-Type: must be the media type of a manifest"):
        parse(image(mediaType=...), content_type)


@pytest.mark.parametrize("suffix", ["json", "prettyjws"])
def test_docker_schema_1_is_refused_with_what_to_do(suffix: str):
    media_type = f"application/vnd.docker.distribution.manifest.v1+{suffix}"

    with pytest.raises(ManifestInvalid, match=r"push with Docker 1\.10 or later"):
        parse({"schemaVersion": 1, "fsLayers": []}, media_type)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
        b"[" * 101 + b"]" * 101,
        b'[["]]]]' * 60_000,
        b'{"a":"' + b'\\"' * 1_000_000,
    ],
)
def test_deep_and_endless_documents_are_refused(body: bytes):
    with pytest.raises(ManifestInvalid, match=r"\$: must"):
        manifests.parse(body, OCI_MANIFEST)


def test_a_hundred_levels_are_read():
    body = json.dumps(image()).encode()[:-1] + b',"x":' + b"[" * 99 + b"]" * 99 + b"}"

    assert manifests.parse(body, None) == parse(image())


def test_brackets_in_text_are_no_levels():
    assert parse(image(annotations={"a": "[" * 1000 + '\\"]'})).annotations


@pytest.mark.parametrize(("make", "member"), [(image, "layers"), (index, "manifests")])
def test_a_document_names_no_more_than_it_may(make: Callable[..., Members], member: str):
    three = make(**{member: [descriptor(OCI_MANIFEST, b"a")] * 3})

    assert parse(three, most=3)
    with pytest.raises(ManifestInvalid, match=rf"\$.{member}: must have no more than 2 entries"):
        parse(three, most=2)


def test_a_hundred_thousand_layers_are_refused():
    body = image(layers=[{}] * 100_000)

    with pytest.raises(ManifestInvalid, match=r"must have no more than 10000 entries, .* 100000"):
        parse(body)


def test_a_refusal_is_short_however_long_the_value():
    with pytest.raises(ManifestInvalid) as refused:
        parse(changed(mediaType="\x1b" * 1_000_000))

    assert len(str(refused.value)) < 300
    assert "\x1b" not in str(refused.value)
