"""A repository to try the wire on, and the cases that try it, each under the spec's id of its endpoint."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import httpx
from starlette.types import Scope

from moorage.api.distribution import paths
from moorage.errors import Problem
from moorage.oci.digests import Digest
from moorage.oci.manifests import OCI_INDEX, OCI_MANIFEST

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCTETS = "application/octet-stream"

Case = Callable[["Site"], Awaitable[None]]
CASES: list[tuple[str, Case]] = []


def case(id_: str) -> Callable[[Case], Case]:
    """Put a case under the spec's id of the endpoint that it tries."""

    def add(function: Case) -> Case:
        CASES.append((id_, function))
        return function

    return add


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """Give the digest of some bytes, as text."""
    return str(Digest.of(content, algorithm))


def descriptor(media_type: str, content: bytes, **more: object) -> dict[str, object]:
    """Describe some bytes as documents do."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content), **more}


async def stream(*pieces: bytes) -> AsyncIterator[bytes]:
    """Give a body of no told length."""
    for piece in pieces:
        yield piece


def refused(answer: httpx.Response, status: int, code: str) -> None:
    """Assert that a request was refused, as the spec writes refusals."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    errors = answer.json()["errors"]
    assert [error["code"] for error in errors] == [code]
    assert all(error["message"] for error in errors)


@dataclass(frozen=True, slots=True)
class Site:
    """A repository of a registry, and a client that may do anything to it."""

    client: httpx.AsyncClient
    name: str = "library/app"

    def at(self, name: str) -> Site:
        """Give another repository of the same registry."""
        return Site(self.client, name)

    def path(self, rest: str) -> str:
        """Give a path of this repository."""
        return f"/v2/{self.name}/{rest}"

    async def ask(self, method: str, rest: str, **more: Any) -> httpx.Response:
        """Ask something of this repository."""
        return await self.client.request(method, self.path(rest), **more)

    async def get(self, rest: str, **more: Any) -> httpx.Response:
        """Get something of this repository."""
        return await self.ask("GET", rest, **more)

    async def begin(self, **query: str) -> str:
        """Begin an upload and give its location."""
        begun = await self.ask("POST", "blobs/uploads/", params=query)
        assert begun.status_code == 202, begun.text
        return begun.headers["location"]

    async def append(self, location: str, content: bytes, start: int | None = None) -> httpx.Response:
        """Send a chunk: at *start*, or (None) wherever the upload is."""
        headers = {"content-type": OCTETS}
        if start is not None:
            headers["content-range"] = f"{start}-{start + len(content) - 1}"
        return await self.client.patch(location, content=content, headers=headers)

    async def finish(self, location: str, digest: str, content: bytes = b"") -> httpx.Response:
        """Finish an upload, with its last chunk."""
        return await self.client.put(location, params={"digest": digest}, content=content)

    async def push_blob(self, content: bytes, algorithm: str = "sha256") -> str:
        """Push a blob and give its digest."""
        digest = digest_of(content, algorithm)
        pushed = await self.finish(await self.begin(), digest, content)
        assert pushed.status_code == 201, pushed.text
        return digest

    async def push(
        self,
        document: Mapping[str, object] | bytes,
        reference: str | None = None,
        media_type: str | None = None,
    ) -> httpx.Response:
        """Push a manifest, by its digest if no reference is given."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        told = media_type or (json.loads(body).get("mediaType") if media_type is None else None)
        headers = {"content-type": str(told)} if told else {}
        return await self.ask(
            "PUT", f"manifests/{reference or digest_of(body)}", content=body, headers=headers
        )

    async def push_image(self, reference: str | None = None, layer: bytes = b"layer", **more: object) -> str:
        """Push an image with one layer, and give its digest."""
        document = await self.image(layer, **more)
        pushed = await self.push(document, reference)
        assert pushed.status_code == 201, pushed.text
        return pushed.headers["docker-content-digest"]

    async def image(self, layer: bytes = b"layer", **more: object) -> dict[str, object]:
        """Push an image's blobs, and give its manifest; a member given as ... is left out."""
        for content in (b"{}", layer):
            await self.push_blob(content)
        whole = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(CONFIG, b"{}"),
            "layers": [descriptor(LAYER, layer)],
            **more,
        }
        return {name: value for name, value in whole.items() if value is not ...}

    async def push_index(
        self, *children: tuple[str, int], reference: str | None = None, **more: object
    ) -> str:
        """Push an index of manifests of some digests and sizes, and give its digest."""
        manifests = [{"mediaType": OCI_MANIFEST, "digest": digest, "size": size} for digest, size in children]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests, **more}
        pushed = await self.push(index, reference)
        assert pushed.status_code == 201, pushed.text
        return pushed.headers["docker-content-digest"]


_IDS = {
    ("base", "GET"): "end-1",
    ("blobs", "GET"): "end-2",
    ("blobs", "HEAD"): "end-2-head",
    ("manifests", "GET"): "end-3",
    ("manifests", "HEAD"): "end-3-head",
    ("uploads", "POST"): "end-4a",
    ("upload", "PATCH"): "end-5",
    ("upload", "PUT"): "end-6",
    ("manifests", "PUT"): "end-7a",
    ("tags", "GET"): "end-8a",
    ("manifests", "DELETE"): "end-9",
    ("blobs", "DELETE"): "end-10",
    ("referrers", "GET"): "end-12a",
    ("upload", "GET"): "end-13",
    ("upload", "DELETE"): "end-14",
    ("catalog", "GET"): "catalog",
    ("discover", "GET"): "extensions",
}
_BY_QUERY = {
    "end-4a": (("mount", "end-11"), ("digest", "end-4b"), ("digest-algorithm", "end-4c")),
    "end-7a": (("tag", "end-7b"),),
    "end-8a": (("n", "end-8b"), ("last", "end-8b")),
    "end-12a": (("artifactType", "end-12b"),),
}


def endpoint_of(scope: Scope) -> str:
    """Give the spec's id of the endpoint that a request asks, or nothing."""
    try:
        place = paths.read(scope["path"])
    except Problem:
        return ""
    id_ = _IDS.get((place.kind, scope["method"]), "") if place else ""
    fields = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
    return next((finer for name, finer in _BY_QUERY.get(id_, ()) if name in fields), id_)
