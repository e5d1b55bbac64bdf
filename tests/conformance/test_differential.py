"""The same requests to the registry that the spec was written after, and to ours: the same answers, but where told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.conformance.site import Site, digest_of
from tests.servers.distribution import running_distribution
from tests.worlds import World

IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
LAYER, CONFIG, UNKNOWN = b"a layer", b"{}", digest_of(b"nobody pushed this")
COMPARED = (
    "content-type",
    "docker-content-digest",
    "content-range",
    "range",
    "docker-distribution-api-version",
)


def described(content: bytes, media_type: str = "application/octet-stream") -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": IMAGE, "config": described(CONFIG), "layers": [described(LAYER)]}
).encode()
LIST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{**described(MANIFEST, IMAGE), "platform": {"architecture": "amd64", "os": "linux"}}],
    }
).encode()

ASKED: dict[str, tuple[str, str, dict[str, str], bytes]] = {
    "base": ("GET", "/v2/", {}, b""),
    "blob": ("GET", f"blobs/{digest_of(LAYER)}", {}, b""),
    "head of a blob": ("HEAD", f"blobs/{digest_of(LAYER)}", {}, b""),
    "first bytes": ("GET", f"blobs/{digest_of(LAYER)}", {"range": "bytes=0-2"}, b""),
    "middle bytes": ("GET", f"blobs/{digest_of(LAYER)}", {"range": "bytes=2-4"}, b""),
    "last bytes": ("GET", f"blobs/{digest_of(LAYER)}", {"range": "bytes=-3"}, b""),
    "unknown blob": ("GET", f"blobs/{UNKNOWN}", {}, b""),
    "bad digest": ("GET", "blobs/sha256:zz", {}, b""),
    "manifest by tag": ("GET", "manifests/v1", {"accept": IMAGE}, b""),
    "head of a manifest": ("HEAD", "manifests/v1", {"accept": IMAGE}, b""),
    "manifest by digest": ("GET", f"manifests/{digest_of(MANIFEST)}", {"accept": IMAGE}, b""),
    "list by tag": ("GET", "manifests/all", {"accept": INDEX}, b""),
    "unknown tag": ("GET", "manifests/none", {"accept": IMAGE}, b""),
    "unknown manifest": ("GET", f"manifests/{UNKNOWN}", {"accept": IMAGE}, b""),
    "unknown repository": ("GET", "/v2/library/none/manifests/v1", {"accept": IMAGE}, b""),
    "tags": ("GET", "tags/list", {}, b""),
    "tags of nobody": ("GET", "/v2/library/none/tags/list", {}, b""),
    "catalog": ("GET", "/v2/_catalog", {}, b""),
    "manifest pushed again": ("PUT", "manifests/v1", {"content-type": IMAGE}, MANIFEST),
    "no manifest": ("PUT", "manifests/bad", {"content-type": IMAGE}, b"{"),
    "manifest of an unknown blob": (
        "PUT",
        "manifests/bad",
        {"content-type": IMAGE},
        MANIFEST.replace(digest_of(LAYER).encode(), UNKNOWN.encode()),
    ),
    "manifest under another digest": ("PUT", f"manifests/{UNKNOWN}", {"content-type": IMAGE}, MANIFEST),
    "mount": ("POST", f"/v2/library/other/blobs/uploads/?mount={digest_of(LAYER)}&from=library/app", {}, b""),
    "mount of nothing": (
        "POST",
        f"/v2/library/other/blobs/uploads/?mount={UNKNOWN}&from=library/app",
        {},
        b"",
    ),
    "unknown upload": ("GET", "blobs/uploads/00000000-0000-0000-0000-000000000000?_state=x", {}, b""),
    "deleting an unknown blob": ("DELETE", f"blobs/{UNKNOWN}", {}, b""),
    "deleting a manifest": ("DELETE", f"manifests/{digest_of(LIST)}", {}, b""),
    "deleting it again": ("DELETE", f"manifests/{digest_of(LIST)}", {}, b""),
}
# Where the two differ, and why it is ours that is right.
DIFFERENT = {
    "tags": "the spec wants them in ASCII order",
    "unknown repository": "the spec has NAME_UNKNOWN for a repository that is not there",
    "unknown upload": "an upload that is not there is BLOB_UPLOAD_UNKNOWN; theirs says so of its query only",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What is compared of an answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    code: str
    body: bytes


@pytest.fixture(scope="module")
def distribution() -> Iterator[str]:
    with running_distribution() as address:
        yield address


async def fill(client: httpx.AsyncClient) -> None:
    """Push one image and a list of it."""
    site = Site(client)
    for blob in (LAYER, CONFIG):
        # Whatever is in the query of the location stays there.
        whole = httpx.URL(await site.begin()).copy_merge_params({"digest": digest_of(blob)})
        finished = await client.put(whole, content=blob)
        assert finished.status_code == 201, finished.text
    for body, media_type, tag in ((MANIFEST, IMAGE, "v1"), (LIST, INDEX, "all")):
        pushed = await site.push(body, tag, media_type)
        assert pushed.status_code == 201, pushed.text


async def ask(client: httpx.AsyncClient, name: str) -> Said:
    method, path, headers, body = ASKED[name]
    whole = path if path.startswith("/") else f"/v2/library/app/{path}"
    answer = await client.request(method, whole, headers=headers, content=body)
    refused = answer.status_code >= 400 and method != "HEAD" and answer.content
    code = answer.json()["errors"][0]["code"] if refused else ""
    told = tuple((header, "" if refused else _plain(answer.headers.get(header, ""))) for header in COMPARED)
    said = b"" if refused else answer.content
    if "application/json" in str(told):
        said = json.dumps(answer.json(), sort_keys=True).encode()
    return Said(answer.status_code, told, code, said)


def _plain(value: str) -> str:
    """Leave a type's parameters out: JSON is UTF-8 whether somebody says so or not."""
    return value.partition(";")[0]


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_ours_answers_as_the_first_registry_does(world: World, distribution: str) -> None:
    async with httpx.AsyncClient(base_url=distribution, timeout=30) as theirs:
        for client in (theirs, world.client):
            await fill(client)
        said = {name: (await ask(theirs, name), await ask(world.client, name)) for name in ASKED}

    differing = {name: both for name, both in said.items() if both[0] != both[1]}
    assert set(differing) == set(DIFFERENT), "\n".join(
        f"{name}:\n  {a}\n  {b}" for name, (a, b) in differing.items()
    )
