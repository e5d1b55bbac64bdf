"""Artifacts to ask Harbor's API about: pushed as clients push them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx

from moorage.api.harbor.operations import PREFIX
from moorage.oci.digests import Digest

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def path_of(name: str) -> str:
    """Give a repository's path as Harbor's clients write it: encoded twice."""
    project, _, rest = name.partition("/")
    return f"{PREFIX}/projects/{project}/repositories/{quote(quote(rest, safe=''), safe='')}"


async def upload(client: httpx.AsyncClient, name: str, data: bytes, media_type: str) -> dict[str, Any]:
    """Push a blob, and give how a manifest describes it."""
    digest = str(Digest.of(data))
    done = await client.post(f"/v2/{name}/blobs/uploads/", params={"digest": digest}, content=data)
    assert done.status_code == 201, done.text
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


async def put(client: httpx.AsyncClient, name: str, reference: str | None, document: dict[str, Any]) -> str:
    """Push a manifest under a tag or (None) its digest alone, and give its digest."""
    body = json.dumps({"schemaVersion": 2, "mediaType": IMAGE, **document}).encode()
    digest = str(Digest.of(body))
    kind = document.get("mediaType", IMAGE)
    path = f"/v2/{name}/manifests/{reference or digest}"
    done = await client.put(path, content=body, headers={"content-type": kind})
    assert done.status_code == 201, done.text
    return digest


async def push(
    client: httpx.AsyncClient,
    name: str,
    reference: str | None,
    config: Any,
    *layers: bytes,
    config_type: str = CONFIG,
    layer_type: str = LAYER,
    **more: Any,
) -> str:
    """Push an artifact: its config, its layers and its manifest."""
    described = await upload(client, name, json.dumps(config).encode(), config_type)
    named = [await upload(client, name, layer, layer_type) for layer in layers]
    return await put(client, name, reference, {"config": described, "layers": named, **more})
