"""A manifest that lies about its blobs is refused when it is pushed, not when it is pulled."""

import json

import pytest

from moorage.oci.digests import Digest
from tests.worlds import World

CONFIG = b"{}"
DIGEST = Digest.of(CONFIG)
TYPE = "application/vnd.oci.image.manifest.v1+json"


def _image(size: int, **layer: object) -> bytes:
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(DIGEST), "size": size}
    return json.dumps(
        {"schemaVersion": 2, "mediaType": TYPE, "config": config, "layers": [layer] if layer else []}
    ).encode()


@pytest.mark.parametrize(("size", "status"), [(2, 201), (1, 400), (2**40, 400)])
async def test_a_descriptor_s_size_is_held_against_the_blob(world: World, size: int, status: int):
    await world.client.post(f"/v2/library/app/blobs/uploads/?digest={DIGEST}", content=CONFIG)

    answer = await world.client.put(
        "/v2/library/app/manifests/v1", content=_image(size), headers={"content-type": TYPE}
    )

    assert answer.status_code == status
    if status != 201:
        assert answer.json()["errors"][0]["code"] == "MANIFEST_INVALID"
        assert "2" in answer.json()["errors"][0]["message"]
