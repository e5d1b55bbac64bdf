"""Cases of pushing and deleting manifests: end-7, end-9."""

from __future__ import annotations

import json

from moorage.oci.manifests import DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST
from tests.conformance.site import CONFIG, LAYER, Site, case, descriptor, digest_of, refused

FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
MOST = 4 << 20


async def same(site: Site, reference: str, body: bytes, media_type: str) -> None:
    """Assert that a manifest is pulled as it was pushed."""
    answer = await site.get(f"manifests/{reference}")
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["content-type"] == media_type


@case("end-7a")
async def a_manifest_is_pushed_by_tag_and_by_digest(site: Site) -> None:
    body = json.dumps(await site.image()).encode()
    digest = digest_of(body)

    for reference in ("v1", digest, digest_of(body, "sha512")):
        answer = await site.push(body, reference)

        assert answer.status_code == 201
        told = reference if ":" in reference else digest
        assert answer.headers["docker-content-digest"] == told
        assert answer.headers["location"] == site.path(f"manifests/{told}")
        assert "oci-subject" not in answer.headers
        await same(site, reference, body, OCI_MANIFEST)


@case("end-7a")
async def a_tag_moves_to_what_was_pushed_last(site: Site) -> None:
    first = await site.push_image("v1")

    second = await site.push_image("v1", layer=b"another layer")

    assert (await site.get("manifests/v1")).headers["docker-content-digest"] == second
    assert (await site.get(f"manifests/{first}")).status_code == 200


@case("end-7a")
async def every_kind_of_manifest_is_taken(site: Site) -> None:
    image = await site.image()
    child = digest_of(json.dumps(image).encode())
    await site.push(image)
    children = [{"mediaType": OCI_MANIFEST, "digest": child, "size": 1}]
    documents: list[tuple[str, dict[str, object]]] = [
        (OCI_MANIFEST, {**image, "mediaType": OCI_MANIFEST}),
        (OCI_MANIFEST, {name: value for name, value in image.items() if name != "mediaType"}),
        (DOCKER_MANIFEST, {**image, "mediaType": DOCKER_MANIFEST}),
        (OCI_INDEX, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}),
        (OCI_INDEX, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}),
        (DOCKER_LIST, {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": children}),
        (OCI_ARTIFACT, {"mediaType": OCI_ARTIFACT, "artifactType": "text/x", "blobs": image["layers"]}),
        ("application/vnd.example.thing+json", {"schemaVersion": 2, "manifests": children}),
        (OCI_MANIFEST, {**image, "layers": []}),
        (OCI_MANIFEST, {**image, "of the": {"next": "spec"}}),
        (OCI_MANIFEST, {**image, "config": descriptor(CONFIG, b"{}", data="e30=")}),
    ]

    for number, (media_type, document) in enumerate(documents):
        body = json.dumps(document).encode()
        answer = await site.push(body, f"v{number}", media_type)

        assert answer.status_code == 201, answer.text
        await same(site, f"v{number}", body, media_type)


@case("end-7a")
async def a_content_type_s_parameters_are_left_out(site: Site) -> None:
    document = await site.image(mediaType=...)

    await site.push(document, "v1", f"{OCI_MANIFEST}; charset=utf-8")

    assert (await site.get("manifests/v1")).headers["content-type"] == OCI_MANIFEST


@case("end-7a")
async def layers_that_are_not_distributed_need_not_be_there(site: Site) -> None:
    document = await site.image()
    document["layers"] = [descriptor(FOREIGN, b"elsewhere", urls=["https://example.org/layer"])]

    answer = await site.push(document, "v1")

    assert answer.status_code == 201
    refused(await site.get(f"blobs/{digest_of(b'elsewhere')}"), 404, "BLOB_UNKNOWN")


@case("end-7a")
async def indexes_may_be_sparse_and_nested(site: Site) -> None:
    there = await site.push_image()
    inner = await site.push_index((there, 1), (digest_of(b"not there"), 1))

    outer = await site.push_index((inner, 1), reference="all")

    pulled = (await site.get("manifests/all")).json()["manifests"][0]["digest"]
    assert (pulled, (await site.get("manifests/all")).headers["docker-content-digest"]) == (inner, outer)


@case("end-7a")
async def a_missing_subject_is_no_reason_to_refuse(site: Site) -> None:
    subject = digest_of(b"not pushed yet")

    answer = await site.push(await site.image(subject=descriptor(OCI_MANIFEST, b"not pushed yet")), "v1")

    assert answer.status_code == 201
    assert answer.headers["oci-subject"] == subject


@case("end-7a")
async def a_missing_blob_is_one(site: Site) -> None:
    document = await site.image()
    document["layers"] = [descriptor(LAYER, b"never pushed")]

    answer = await site.push(document, "v1")

    refused(answer, 400, "MANIFEST_BLOB_UNKNOWN")
    assert digest_of(b"never pushed") in answer.json()["errors"][0]["detail"]["digests"]
    refused(await site.get("manifests/v1"), 404, "MANIFEST_UNKNOWN")


@case("end-7a")
async def what_is_no_manifest_is_refused(site: Site) -> None:
    image = await site.image()
    for body in (
        b"",
        b"no json",
        b"[]",
        b'{"schemaVersion": 2}',
        json.dumps({**image, "config": "text"}).encode(),
        json.dumps({**image, "manifests": []}).encode(),
        json.dumps(image).encode().replace(b'"schemaVersion": 2', b'"schemaVersion": 1'),
    ):
        answer = await site.ask("PUT", "manifests/v1", content=body, headers={"content-type": OCI_MANIFEST})

        refused(answer, 400, "MANIFEST_INVALID")


@case("end-7a")
async def a_digest_that_is_not_the_body_s_is_refused(site: Site) -> None:
    document = await site.image()

    refused(await site.push(document, digest_of(b"another")), 400, "DIGEST_INVALID")
    refused(await site.push(document, "sha256:baddigeststring"), 400, "DIGEST_INVALID")
    refused(await site.push(document, "-dash"), 400, "TAG_INVALID")
    refused(await site.push(document, "t" * 129), 400, "TAG_INVALID")


@case("end-7a")
async def four_mebibytes_are_taken_and_not_a_byte_more(site: Site) -> None:
    document = await site.image(annotations={"fill": ""})
    room = MOST - len(json.dumps(document))

    most = json.dumps({**document, "annotations": {"fill": "x" * room}}).encode()
    more = json.dumps({**document, "annotations": {"fill": "x" * (room + 1)}}).encode()

    assert len(most) == MOST
    assert (await site.push(most, "most")).status_code == 201
    await same(site, "most", most, OCI_MANIFEST)
    refused(await site.push(more, "more"), 413, "SIZE_INVALID")


@case("end-7b")
async def one_push_makes_many_tags(site: Site) -> None:
    body = json.dumps(await site.image()).encode()
    tags = [f"v{number}" for number in range(12)]

    for algorithm in ("sha256", "sha512"):
        digest = digest_of(body, algorithm)
        answer = await site.ask(
            "PUT",
            f"manifests/{digest}",
            params={"tag": tags},
            content=body,
            headers={"content-type": OCI_MANIFEST},
        )

        assert answer.status_code == 201
        assert answer.headers.get_list("oci-tag") == tags
        assert answer.headers["docker-content-digest"] == digest
        for tag in tags:
            pulled = await site.ask("HEAD", f"manifests/{tag}")
            assert pulled.headers["docker-content-digest"] == digest


@case("end-7b")
async def a_push_makes_all_its_tags_or_none(site: Site) -> None:
    body = json.dumps(await site.image()).encode()
    path = f"manifests/{digest_of(body)}"
    headers = {"content-type": OCI_MANIFEST}

    bad = await site.ask("PUT", path, params={"tag": ["good", "-bad"]}, content=body, headers=headers)
    many = await site.ask(
        "PUT", path, params={"tag": [f"v{n}" for n in range(51)]}, content=body, headers=headers
    )

    refused(bad, 400, "TAG_INVALID")
    refused(many, 414, "UNSUPPORTED")
    refused(await site.get("manifests/good"), 404, "MANIFEST_UNKNOWN")
    refused(await site.get("manifests/v0"), 404, "MANIFEST_UNKNOWN")


@case("end-9")
async def a_tag_is_deleted_and_nothing_else(site: Site) -> None:
    digest = await site.push_image("v1")
    await site.push_image("v2")

    answer = await site.ask("DELETE", "manifests/v1")

    assert answer.status_code == 202
    refused(await site.get("manifests/v1"), 404, "MANIFEST_UNKNOWN")
    assert (await site.get("manifests/v2")).status_code == 200
    assert (await site.get(f"manifests/{digest}")).status_code == 200
    assert (await site.get("tags/list")).json()["tags"] == ["v2"]


@case("end-9")
async def a_manifest_is_deleted_with_its_tags(site: Site) -> None:
    digest = await site.push_image("v1")
    await site.push_image("v2")
    await site.push_image("other", layer=b"another layer")

    answer = await site.ask("DELETE", f"manifests/{digest}")

    assert answer.status_code == 202
    for reference in ("v1", "v2", digest):
        refused(await site.get(f"manifests/{reference}"), 404, "MANIFEST_UNKNOWN")
    assert (await site.get("tags/list")).json()["tags"] == ["other"]


@case("end-9")
async def what_was_deleted_may_be_pushed_again(site: Site) -> None:
    digest = await site.push_image("v1")
    await site.ask("DELETE", f"manifests/{digest}")

    assert await site.push_image("v1") == digest

    assert (await site.get("manifests/v1")).headers["docker-content-digest"] == digest


@case("end-9")
async def what_is_not_there_is_not_deleted(site: Site) -> None:
    digest = await site.push_image("v1")
    await site.ask("DELETE", f"manifests/{digest}")

    for reference in ("v1", "never", digest, digest_of(b"never")):
        refused(await site.ask("DELETE", f"manifests/{reference}"), 404, "MANIFEST_UNKNOWN")
    refused(await site.at("library/never").ask("DELETE", "manifests/v1"), 404, "NAME_UNKNOWN")


@case("end-9")
async def a_manifest_of_an_index_is_not_deleted_before_it(site: Site) -> None:
    child = await site.push_image()
    index = await site.push_index((child, 1), reference="all")

    refused(await site.ask("DELETE", f"manifests/{child}"), 405, "UNSUPPORTED")

    assert (await site.ask("DELETE", f"manifests/{index}")).status_code == 202
    assert (await site.ask("DELETE", f"manifests/{child}")).status_code in {202, 404}
