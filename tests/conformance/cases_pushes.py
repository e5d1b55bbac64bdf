"""Cases of pushing blobs: end-4, end-5, end-6, end-10, end-11, end-13, end-14."""

from __future__ import annotations

import re

from tests.conformance.site import Site, case, digest_of, refused, stream

BLOB = b"a blob of the cases" * 100


async def pulled(site: Site, location: str) -> bytes:
    """Pull what an answer's Location points to."""
    answer = await site.client.get(location)
    assert answer.status_code == 200, answer.text
    return answer.content


@case("end-4a")
async def an_upload_begins(site: Site) -> None:
    answer = await site.ask("POST", "blobs/uploads/")

    assert answer.status_code == 202
    location = answer.headers["location"]
    assert re.fullmatch(rf"/v2/{site.name}/blobs/uploads/[A-Za-z0-9_-]{{20,}}", location)
    assert answer.headers["range"] == "0-0"
    assert location.endswith(answer.headers["docker-upload-uuid"])
    assert answer.headers["content-length"] == "0"


@case("end-4a")
async def each_upload_is_another(site: Site) -> None:
    locations = {await site.begin() for _ in range(3)}

    assert len(locations) == 3


@case("end-4b")
async def a_blob_is_pushed_in_one_request(site: Site) -> None:
    for algorithm in ("sha256", "sha512"):
        digest = digest_of(BLOB, algorithm)

        answer = await site.ask("POST", "blobs/uploads/", params={"digest": digest}, content=BLOB)

        assert answer.status_code == 201
        assert answer.headers["docker-content-digest"] == digest
        assert await pulled(site, answer.headers["location"]) == BLOB


@case("end-4b")
async def one_request_with_other_bytes_is_refused(site: Site) -> None:
    digest = digest_of(BLOB)

    answer = await site.ask("POST", "blobs/uploads/", params={"digest": digest}, content=BLOB + b"!")

    refused(answer, 400, "DIGEST_INVALID")
    refused(await site.get(f"blobs/{digest}"), 404, "BLOB_UNKNOWN")


@case("end-4b")
async def one_request_with_no_digest_in_its_digest_is_refused(site: Site) -> None:
    answer = await site.ask("POST", "blobs/uploads/", params={"digest": "sha256:bad"}, content=BLOB)

    refused(answer, 400, "DIGEST_INVALID")


@case("end-4c")
async def an_upload_may_tell_its_algorithm(site: Site) -> None:
    for algorithm in ("sha256", "sha512"):
        begun = await site.ask("POST", "blobs/uploads/", params={"digest-algorithm": algorithm})
        assert begun.status_code == 202
        location = (await site.append(begun.headers["location"], BLOB)).headers["location"]

        finished = await site.finish(location, digest_of(BLOB, algorithm))

        assert finished.status_code == 201
        assert await pulled(site, finished.headers["location"]) == BLOB


@case("end-4c")
async def an_algorithm_that_is_not_known_is_refused(site: Site) -> None:
    answer = await site.ask("POST", "blobs/uploads/", params={"digest-algorithm": "md5"})

    refused(answer, 400, "DIGEST_INVALID")


@case("end-5")
async def chunks_come_in_order(site: Site) -> None:
    location, at = await site.begin(), 0

    for chunk in (BLOB[:700], BLOB[700:701], BLOB[701:]):
        answer = await site.append(location, chunk, at)
        at += len(chunk)

        assert answer.status_code == 202
        assert answer.headers["range"] == f"0-{at - 1}"
        assert answer.headers["docker-upload-uuid"]
        location = answer.headers["location"]

    assert (await site.finish(location, digest_of(BLOB))).status_code == 201
    assert await pulled(site, site.path(f"blobs/{digest_of(BLOB)}")) == BLOB


@case("end-5")
async def a_stream_has_no_range_and_no_length(site: Site) -> None:
    location = await site.begin()

    first = await site.client.patch(location, content=stream(b"", BLOB[:10], BLOB[10:900]))
    second = await site.client.patch(first.headers["location"], content=stream(BLOB[900:]))

    assert [first.headers["range"], second.headers["range"]] == ["0-899", f"0-{len(BLOB) - 1}"]
    assert (await site.finish(second.headers["location"], digest_of(BLOB))).status_code == 201


@case("end-5")
async def a_chunk_out_of_order_is_refused_and_the_upload_goes_on(site: Site) -> None:
    location = await site.begin()
    refused(await site.append(location, BLOB[100:], 100), 416, "RANGE_INVALID")
    empty = await site.client.get(location)
    await site.append(location, BLOB[:100], 0)

    for start in (0, 99, 101):
        refused(await site.append(location, BLOB[start:], start), 416, "RANGE_INVALID")

    kept = await site.client.get(location)
    assert (empty.status_code, empty.headers["range"]) == (204, "0-0")
    assert (kept.status_code, kept.headers["range"]) == (204, "0-99")
    assert (await site.append(kept.headers["location"], BLOB[100:], 100)).status_code == 202
    assert (await site.finish(location, digest_of(BLOB))).status_code == 201


@case("end-5")
async def a_chunk_of_nothing_changes_nothing(site: Site) -> None:
    location = await site.begin()

    for content in (b"", BLOB[:100], b""):
        assert (await site.append(location, content)).status_code == 202

    answer = await site.finish(location, digest_of(BLOB), BLOB[100:])
    assert answer.status_code == 201
    assert await pulled(site, answer.headers["location"]) == BLOB


@case("end-5")
async def a_chunk_of_another_length_than_its_range_is_refused(site: Site) -> None:
    location = await site.begin()

    answer = await site.client.patch(location, content=b"1234", headers={"content-range": "0-4"})

    refused(answer, 400, "SIZE_INVALID")
    refused(
        await site.client.patch(location, content=b"1234", headers={"content-range": "some"}),
        416,
        "RANGE_INVALID",
    )


@case("end-5")
async def an_upload_that_is_not_there_is_told(site: Site) -> None:
    refused(await site.append(site.path("blobs/uploads/no-such-upload"), BLOB), 404, "BLOB_UPLOAD_UNKNOWN")


@case("end-6")
async def an_upload_finishes_with_all_its_bytes(site: Site) -> None:
    for algorithm in ("sha256", "sha512"):
        digest = digest_of(BLOB, algorithm)

        answer = await site.finish(await site.begin(), digest, BLOB)

        assert answer.status_code == 201
        assert answer.headers["docker-content-digest"] == digest
        assert await pulled(site, answer.headers["location"]) == BLOB


@case("end-6")
async def an_upload_finishes_with_its_last_chunk(site: Site) -> None:
    location = await site.begin()
    await site.append(location, BLOB[:1000], 0)
    digest = digest_of(BLOB, "sha512")

    answer = await site.client.put(
        location,
        params={"digest": digest},
        content=BLOB[1000:],
        headers={"content-range": f"1000-{len(BLOB) - 1}"},
    )

    assert (answer.status_code, answer.headers["docker-content-digest"]) == (201, digest)
    assert await pulled(site, answer.headers["location"]) == BLOB


@case("end-6")
async def a_last_chunk_out_of_order_is_refused_and_may_come_again(site: Site) -> None:
    location = await site.begin()
    await site.append(location, BLOB[:1000], 0)
    query = {"digest": digest_of(BLOB)}

    wrong = await site.client.put(
        location, params=query, content=BLOB[1001:], headers={"content-range": "1001-1899"}
    )
    status = await site.client.get(location, params=query)
    again = await site.client.put(
        status.headers["location"], params=query, content=BLOB[1000:], headers={"content-range": "1000-1899"}
    )

    refused(wrong, 416, "RANGE_INVALID")
    assert (status.status_code, status.headers["range"]) == (204, "0-999")
    assert again.status_code == 201


@case("end-6")
async def other_bytes_than_the_digest_s_are_refused(site: Site) -> None:
    digest = digest_of(BLOB)

    for content in (BLOB[1:], b""):
        refused(await site.finish(await site.begin(), digest, content), 400, "DIGEST_INVALID")

    refused(await site.get(f"blobs/{digest}"), 404, "BLOB_UNKNOWN")


@case("end-6")
async def an_upload_needs_a_digest_to_finish(site: Site) -> None:
    location = await site.begin()

    refused(await site.client.put(location, content=BLOB), 400, "DIGEST_INVALID")
    refused(await site.finish(location, "sha256:baddigeststring", BLOB), 400, "DIGEST_INVALID")


@case("end-6")
async def a_finished_upload_is_over(site: Site) -> None:
    location = await site.begin()
    assert (await site.finish(location, digest_of(BLOB), BLOB)).status_code == 201

    refused(await site.finish(location, digest_of(BLOB), BLOB), 404, "BLOB_UPLOAD_UNKNOWN")


@case("end-6")
async def an_empty_blob_is_pushed_in_every_way(site: Site) -> None:
    digest = digest_of(b"")
    streamed = await site.begin()
    await site.client.patch(streamed, content=stream(b""))
    await site.append(streamed, b"")

    answers = [
        await site.finish(await site.begin(), digest),
        await site.finish(streamed, digest),
        await site.ask("POST", "blobs/uploads/", params={"digest": digest}),
    ]

    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert await pulled(site, answers[0].headers["location"]) == b""


@case("end-10")
async def a_blob_is_deleted(site: Site) -> None:
    digest = await site.push_blob(BLOB)

    answer = await site.ask("DELETE", f"blobs/{digest}")

    assert answer.status_code == 202
    refused(await site.get(f"blobs/{digest}"), 404, "BLOB_UNKNOWN")
    refused(await site.ask("DELETE", f"blobs/{digest}"), 404, "BLOB_UNKNOWN")


@case("end-10")
async def a_blob_that_a_manifest_needs_stays(site: Site) -> None:
    await site.push_image("v1", layer=BLOB)

    refused(await site.ask("DELETE", f"blobs/{digest_of(BLOB)}"), 405, "UNSUPPORTED")

    assert await pulled(site, site.path(f"blobs/{digest_of(BLOB)}")) == BLOB


@case("end-10")
async def a_blob_deleted_here_stays_elsewhere(site: Site) -> None:
    other = site.at("library/other")
    digest = await site.push_blob(BLOB)
    await other.push_blob(BLOB)

    await site.ask("DELETE", f"blobs/{digest}")

    assert (await other.get(f"blobs/{digest}")).content == BLOB


@case("end-11")
async def a_blob_is_mounted_from_another_repository(site: Site) -> None:
    digest = await site.at("library/source").push_blob(BLOB)

    answer = await site.ask("POST", "blobs/uploads/", params={"mount": digest, "from": "library/source"})

    assert answer.status_code == 201
    assert answer.headers["docker-content-digest"] == digest
    assert await pulled(site, answer.headers["location"]) == BLOB


@case("end-11")
async def a_blob_is_mounted_from_anywhere(site: Site) -> None:
    digest = await site.at("library/source").push_blob(BLOB, "sha512")

    answer = await site.ask("POST", "blobs/uploads/", params={"mount": digest})

    assert answer.status_code == 201
    assert await pulled(site, answer.headers["location"]) == BLOB


@case("end-11")
async def a_mount_of_what_is_not_there_begins_an_upload(site: Site) -> None:
    await site.at("library/source").push_blob(b"another blob")

    for query in ({"from": "library/source"}, {"from": "library/never"}, {}):
        answer = await site.ask("POST", "blobs/uploads/", params={"mount": digest_of(BLOB), **query})

        assert answer.status_code == 202
        assert (await site.finish(answer.headers["location"], digest_of(BLOB), BLOB)).status_code == 201
        await site.ask("DELETE", f"blobs/{digest_of(BLOB)}")


@case("end-11")
async def a_mount_of_no_digest_is_refused(site: Site) -> None:
    refused(await site.ask("POST", "blobs/uploads/", params={"mount": "sha256:bad"}), 400, "DIGEST_INVALID")
    refused(
        await site.ask("POST", "blobs/uploads/", params={"mount": digest_of(BLOB), "from": "UPPER"}),
        400,
        "NAME_INVALID",
    )


@case("end-13")
async def an_upload_tells_how_far_it_is(site: Site) -> None:
    location = await site.begin()

    for chunk, told in ((b"", "0-0"), (BLOB[:500], "0-499"), (BLOB[500:], f"0-{len(BLOB) - 1}")):
        await site.append(location, chunk)
        answer = await site.client.get(location)

        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["range"] == told
        assert answer.headers["docker-upload-uuid"] == location.rpartition("/")[2]
        location = answer.headers["location"]

    assert (await site.finish(location, digest_of(BLOB))).status_code == 201


@case("end-13")
async def no_upload_tells_nothing(site: Site) -> None:
    refused(await site.get("blobs/uploads/no-such-upload"), 404, "BLOB_UPLOAD_UNKNOWN")


@case("end-14")
async def an_upload_is_cancelled(site: Site) -> None:
    location = await site.begin()
    await site.append(location, BLOB)

    answer = await site.client.delete(location)

    assert (answer.status_code, answer.content) == (204, b"")
    refused(await site.client.get(location), 404, "BLOB_UPLOAD_UNKNOWN")
    refused(await site.append(location, BLOB), 404, "BLOB_UPLOAD_UNKNOWN")
    refused(await site.finish(location, digest_of(BLOB)), 404, "BLOB_UPLOAD_UNKNOWN")


@case("end-14")
async def no_upload_is_cancelled_twice(site: Site) -> None:
    location = await site.begin()
    await site.client.delete(location)

    refused(await site.client.delete(location), 404, "BLOB_UPLOAD_UNKNOWN")
