"""Inputs that no client sends: too many, too deep, too long, in disguise; on each engine with each store."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from moorage.oci.manifests import OCI_INDEX, OCI_MANIFEST
from tests.conformance.site import CONFIG, LAYER, Site, descriptor, digest_of, refused
from tests.worlds import World

ONE = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-s3"], indirect=True)
SECONDS = 5.0
"""How long our own work on one request may take; the time of others on a busy machine is not counted."""


@ONE
@pytest.mark.parametrize(
    "name",
    ["..", "../library", "%2e%2e/app", "%252e%252e/app", "library/%00", "library/a%00b", "library/%E2%80%AEapp",
     "library//app", "library/APP", "library/app%0d%0aset-cookie:x", "l" * 300, "library/" + "a/" * 200 + "b", "%ff"],
)  # fmt: skip
async def test_no_name_is_read_that_breaks_the_rule(world: World, name: str):
    for rest in ("manifests/v1", "tags/list", "blobs/uploads/", f"blobs/{digest_of(b'')}"):
        for method in ("GET", "POST", "PUT"):
            answer = await world.client.request(method, f"/v2/{name}/{rest}")

            assert answer.status_code in {400, 404, 405}, (method, rest, answer.text)
            assert "set-cookie" not in answer.headers


@ONE
async def test_no_page_is_longer_than_the_longest_and_none_is_of_a_negative_length(world: World):
    site = Site(world.client)
    await site.push_image("v1")
    for wanted in (2**31, 2**31 - 1, 10**18 - 1):
        for path in (
            "/v2/library/app/tags/list",
            "/v2/_catalog",
            f"/v2/library/app/referrers/{digest_of(b'')}",
        ):
            assert (await world.client.get(path, params={"n": wanted})).status_code == 200

    for odd in ("-1", "1.5", "0x10", "9" * 19, "1e9", " 1", "", "\u0661", "1\0"):
        answer = await world.client.get("/v2/library/app/tags/list", params={"n": odd})
        assert answer.status_code == 400, odd


@ONE
@pytest.mark.parametrize(
    "query",
    [
        "last=a%00b",
        "artifactType=%00",
        "after=%00:1",
        "after=x:99999999999999999999",
        "last=%ff%fe",
        "last=" + "x" * 10_000,
    ],
)
async def test_no_query_breaks_a_list(world: World, query: str):
    await Site(world.client).push_image("v1")

    for path in ("/v2/library/app/tags/list", "/v2/_catalog", f"/v2/library/app/referrers/{digest_of(b'')}"):
        assert (await world.client.get(f"{path}?{query}")).status_code in {200, 400}


@ONE
async def test_thousands_of_tags_in_one_push_are_refused(world: World):
    site = Site(world.client)
    document = json.dumps(await site.image()).encode()
    many = "&".join(f"tag={n}" for n in range(7_000))
    some = "&".join(f"tag=v{n}" for n in range(51))

    for query, status in ((many, 414), (some, 414)):
        path = f"manifests/{digest_of(document)}?{query}"
        answer = await site.ask("PUT", path, content=document, headers={"content-type": OCI_MANIFEST})
        assert answer.status_code == status
    assert (await site.get("tags/list")).json()["tags"] == []


@ONE
async def test_a_hundred_thousand_layers_are_refused_soon(world: World):
    layer = {"mediaType": LAYER, "digest": digest_of(b""), "size": 0}
    short = json.dumps(layer, separators=(",", ":"))
    config = json.dumps(descriptor(CONFIG, b"{}"))
    body = f'{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{",".join([short] * 30_000)}]}}'
    begun = time.process_time()

    # Four MiB hold no more than so many; a hundred thousand are too long altogether.
    refused(
        await Site(world.client).push(body.encode()[: 4 << 20], "v1", OCI_MANIFEST), 400, "MANIFEST_INVALID"
    )
    whole = body.replace("]}", "," + ",".join([short] * 70_000) + "]}").encode()
    refused(await Site(world.client).push(whole, "v1", OCI_MANIFEST), 413, "SIZE_INVALID")

    assert time.process_time() - begun < SECONDS


@ONE
@pytest.mark.parametrize(
    "body",
    [b"[" * 2_000_000, b'{"a":' * 500_000, b'{"annotations":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
     b"\xff\xfe{}", b"1e999999", b"9" * 1_000_000, b"{" + b'"a":1,' * 400_000 + b'"b":2}', b"", b"null", b"\0" * 1000],
    ids=lambda body: f"{body[:8]!r}-{len(body)}",
)  # fmt: skip
async def test_no_document_costs_more_than_its_refusal(world: World, body: bytes):
    begun = time.process_time()

    answer = await Site(world.client).push(body, "v1", OCI_MANIFEST)

    refused(answer, 400, "MANIFEST_INVALID")
    assert time.process_time() - begun < SECONDS


@ONE
async def test_a_manifest_of_100_megabytes_is_refused_before_it_is_read(world: World):
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1 << 20
            yield bytes(1 << 20)

    answer = await world.client.put(
        "/v2/library/app/manifests/v1", content=body(), headers={"content-type": OCI_MANIFEST}
    )
    told = await world.client.put(
        "/v2/library/app/manifests/v1", content=bytes((4 << 20) + 1), headers={"content-type": OCI_MANIFEST}
    )

    refused(answer, 413, "SIZE_INVALID")
    assert read <= 100 << 20
    refused(told, 413, "SIZE_INVALID")


@ONE
async def test_a_long_accept_changes_nothing(world: World):
    site = Site(world.client)
    digest = await site.push_image("v1")

    answer = await site.get(
        "manifests/v1", headers={"accept": ",".join(f"text/{n};q=0.{n}" for n in range(5000))}
    )

    assert (answer.status_code, answer.headers["docker-content-digest"]) == (200, digest)


@ONE
async def test_a_manifest_is_never_read_as_another_kind_than_it_was_pushed_as(world: World):
    site = Site(world.client)
    image = await site.image()
    body = json.dumps({name: value for name, value in image.items() if name != "mediaType"}).encode()
    assert (await site.push(body, "v1", OCI_MANIFEST)).status_code == 201

    for other in (OCI_INDEX, "text/html", "application/xhtml+xml", "application/json\r\nx: y"):
        try:
            answer = await site.push(body, "v1", other)
        except ValueError:
            continue
        assert answer.status_code == 400, other
    both = {**image, "manifests": []}
    refused(await site.push(both, "v2"), 400, "MANIFEST_INVALID")
    again = await site.push(body, "v1", "application/vnd.docker.distribution.manifest.v2+json")

    assert again.status_code in {201, 400}
    assert (await site.get("manifests/v1")).headers["content-type"] == OCI_MANIFEST


@ONE
async def test_what_was_pushed_is_no_page_in_a_browser(world: World):
    site, page = Site(world.client), b"<html><script>alert(1)</script>"
    await site.push_image("v1", page)

    for rest in (f"blobs/{digest_of(page)}", "manifests/v1"):
        for method in ("GET", "HEAD"):
            headers = (await site.ask(method, rest, headers={"cookie": "session=1"})).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "sandbox" in headers["content-security-policy"]
            assert headers["content-disposition"] == "attachment"
            assert "html" not in headers["content-type"]
            assert "set-cookie" not in headers


@ONE
async def test_a_cookie_is_nobody(world: World):
    await Site(world.client).push_image("v1")
    nobody = await world.as_(None)

    answer = await nobody.get("/v2/library/app/manifests/v1", headers={"cookie": "sid=1; token=2"})

    assert answer.status_code == 401


@ONE
@pytest.mark.parametrize(
    "text", ["a\r\nset-cookie: x=1", "a\nfoo", "\x1b[31mred", "\u202eevil", "a\0b", '"><script>', "a" * 4000]
)
async def test_nothing_a_client_says_becomes_a_header_or_an_order_to_a_terminal(
    world: World, text: str, capfd: pytest.CaptureFixture[str]
):
    client, sent = world.client, text.encode().replace(b"\0", b"")
    answers = [
        await client.get(f"/v2/library/app/manifests/{quote(text, safe='')}"),
        await client.get(f"/v2/{quote(text, safe='')}/tags/list"),
        await client.get(f"/v2/library/app/blobs/uploads/{quote(text, safe='')}"),
        await client.post("/v2/library/app/blobs/uploads/", params={"digest-algorithm": text}),
        await client.get("/v2/library/app/tags/list", params={"n": text}),
        await client.get("/v2/", headers={b"user-agent": sent, b"x-request-id": sent, b"accept": sent}),
        await client.put("/v2/library/app/manifests/v1", content=b"{}", headers={b"content-type": sent}),
    ]

    for answer in answers:
        assert answer.status_code < 500, answer.text
        assert not {"set-cookie", "foo"} & {*answer.headers}
        assert all("\n" not in value and "\r" not in value for value in answer.headers.values())
        assert not {"\x1b", "\u202e", "\0"} & {*answer.text}
    logged = capfd.readouterr()
    assert "\x1b" not in logged.err + logged.out
