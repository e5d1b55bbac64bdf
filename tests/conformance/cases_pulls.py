"""Cases of pulling: end-1, end-2, end-3."""

from __future__ import annotations

import json

from moorage.oci.manifests import OCI_MANIFEST
from tests.conformance.site import OCTETS, Site, case, digest_of, refused

BLOB = bytes(range(256)) * 8


@case("end-1")
async def it_says_that_it_is_a_registry(site: Site) -> None:
    answer = await site.client.get("/v2/")

    assert answer.status_code == 200
    assert answer.json() == {}
    assert answer.headers["docker-distribution-api-version"] == "registry/2.0"


@case("end-1")
async def it_asks_a_stranger_to_sign_in(site: Site) -> None:
    answer = await site.client.get("/v2/", auth=None)

    refused(answer, 401, "UNAUTHORIZED")
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('Bearer realm="http://localhost:')
    assert 'service="harbor-registry"' in challenge
    assert "scope" not in challenge


@case("end-2")
async def a_blob_is_pulled_whole(site: Site) -> None:
    digest = await site.push_blob(BLOB)

    answer = await site.get(f"blobs/{digest}")

    assert answer.status_code == 200
    assert answer.content == BLOB
    assert answer.headers["content-length"] == str(len(BLOB))
    assert answer.headers["docker-content-digest"] == digest
    assert answer.headers["content-type"] == OCTETS
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"] == f'"{digest}"'


@case("end-2")
async def an_empty_blob_is_pulled(site: Site) -> None:
    digest = await site.push_blob(b"")

    answer = await site.get(f"blobs/{digest}")

    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")


@case("end-2")
async def a_blob_is_pulled_in_ranges(site: Site) -> None:
    digest = await site.push_blob(BLOB)
    wanted = {"500-1499": (500, 1499), "500-": (500, 2047), "-500": (1548, 2047), "1900-5000": (1900, 2047)}

    for asked, (start, end) in wanted.items():
        answer = await site.get(f"blobs/{digest}", headers={"range": f"bytes={asked}"})

        assert answer.status_code == 206, asked
        assert answer.content == BLOB[start : end + 1]
        assert answer.headers["content-range"] == f"bytes {start}-{end}/{len(BLOB)}"
        assert answer.headers["content-length"] == str(end - start + 1)


@case("end-2")
async def a_range_that_is_not_there_is_refused(site: Site) -> None:
    digest = await site.push_blob(BLOB)

    for asked in ("500-0", "5000-10000", "2048-"):
        answer = await site.get(f"blobs/{digest}", headers={"range": f"bytes={asked}"})

        refused(answer, 416, "RANGE_INVALID")
        assert answer.headers["content-range"] == f"bytes */{len(BLOB)}"


@case("end-2")
async def a_header_that_is_no_range_is_ignored(site: Site) -> None:
    digest = await site.push_blob(BLOB)

    for asked in ("lines=1-2", "bytes=1-2,5-6", "bytes=x", "bytes=-"):
        answer = await site.get(f"blobs/{digest}", headers={"range": asked})

        assert (answer.status_code, answer.content) == (200, BLOB), asked


@case("end-2")
async def a_blob_of_another_repository_is_not_there(site: Site) -> None:
    digest = await site.push_blob(BLOB)
    await site.at("library/other").push_blob(b"something else")

    for name in ("library/other", "library/never-pushed"):
        refused(await site.at(name).get(f"blobs/{digest}"), 404, "BLOB_UNKNOWN")


@case("end-2")
async def what_is_no_digest_is_told(site: Site) -> None:
    for bad in ("sha256:baddigeststring", "sha256:" + "A" * 64, "md5:" + "0" * 32, "latest"):
        refused(await site.get(f"blobs/{bad}"), 400, "DIGEST_INVALID")


@case("end-2-head")
async def the_head_of_a_blob_tells_its_length(site: Site) -> None:
    digest = await site.push_blob(BLOB)

    answer = await site.ask("HEAD", f"blobs/{digest}")

    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["content-length"] == str(len(BLOB))
    assert answer.headers["docker-content-digest"] == digest
    assert answer.headers["content-type"] == OCTETS


@case("end-2-head")
async def the_head_of_no_blob_is_404(site: Site) -> None:
    answer = await site.ask("HEAD", f"blobs/{digest_of(b'never pushed')}")

    assert (answer.status_code, answer.content) == (404, b"")


@case("end-3")
async def a_manifest_is_pulled_as_it_was_pushed(site: Site) -> None:
    body = json.dumps(await site.image(annotations={"of": "the case"}), indent=3).encode() + b"\n"
    digest = digest_of(body)
    assert (await site.push(body, "v1")).status_code == 201

    for reference in ("v1", digest):
        answer = await site.get(f"manifests/{reference}")

        assert answer.status_code == 200
        assert answer.content == body
        assert answer.headers["content-type"] == OCI_MANIFEST
        assert answer.headers["content-length"] == str(len(body))
        assert answer.headers["docker-content-digest"] == digest


@case("end-3")
async def a_manifest_is_pulled_whatever_is_accepted(site: Site) -> None:
    digest = await site.push_image("v1")

    for accept in ("application/vnd.docker.distribution.manifest.v1+json", "text/html", ""):
        answer = await site.get("manifests/v1", headers={"accept": accept})

        assert (answer.status_code, answer.headers["docker-content-digest"]) == (200, digest)
        assert answer.headers["content-type"] == OCI_MANIFEST


@case("end-3")
async def a_manifest_that_the_client_has_is_not_sent_again(site: Site) -> None:
    digest = await site.push_image("v1")
    etag = (await site.get("manifests/v1")).headers["etag"]

    for known in (etag, f"W/{etag}", f'"another", {etag}', "*"):
        answer = await site.get("manifests/v1", headers={"if-none-match": known})

        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["docker-content-digest"] == digest
    other = await site.get("manifests/v1", headers={"if-none-match": '"another", W/"third"'})
    assert other.status_code == 200


@case("end-2")
async def a_blob_that_the_client_has_is_not_sent_again(site: Site) -> None:
    await site.push_image("v1")
    digest = digest_of(b"layer")
    etag = (await site.get(f"blobs/{digest}")).headers["etag"]

    for method in ("GET", "HEAD"):
        answer = await site.ask(method, f"blobs/{digest}", headers={"if-none-match": f'"x", {etag}'})

        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["docker-content-digest"] == digest


@case("end-2")
async def a_part_of_other_bytes_is_not_given(site: Site) -> None:
    await site.push_image("v1")
    path = f"blobs/{digest_of(b'layer')}"
    etag = (await site.get(path)).headers["etag"]

    same = await site.get(path, headers={"range": "bytes=1-2", "if-range": etag})
    other = await site.get(path, headers={"range": "bytes=1-2", "if-range": '"another"'})

    assert (same.status_code, same.content) == (206, b"ay")
    assert (other.status_code, other.content) == (200, b"layer")


@case("end-3")
async def no_manifest_is_told_from_no_repository(site: Site) -> None:
    await site.push_image("v1")

    for reference in ("v2", digest_of(b"never pushed")):
        refused(await site.get(f"manifests/{reference}"), 404, "MANIFEST_UNKNOWN")
        refused(await site.at("library/never").get(f"manifests/{reference}"), 404, "NAME_UNKNOWN")


@case("end-3")
async def what_names_no_manifest_is_told(site: Site) -> None:
    await site.push_image("v1")

    refused(await site.get("manifests/sha256:bad"), 400, "DIGEST_INVALID")
    refused(await site.get("manifests/-dash"), 400, "TAG_INVALID")


@case("end-3-head")
async def the_head_of_a_manifest_tells_all_but_its_bytes(site: Site) -> None:
    digest = await site.push_image("v1")
    whole = await site.get("manifests/v1")

    for reference in ("v1", digest):
        answer = await site.ask("HEAD", f"manifests/{reference}")

        assert (answer.status_code, answer.content) == (200, b"")
        for name in ("content-type", "content-length", "docker-content-digest"):
            assert answer.headers[name] == whole.headers[name]


@case("end-3-head")
async def the_head_of_no_manifest_is_404(site: Site) -> None:
    answer = await site.ask("HEAD", "manifests/v1")

    assert (answer.status_code, answer.content) == (404, b"")
