"""Redirects of pulls to the store: given where the operator says so, but to nobody who is kept to blocks of addresses."""

from __future__ import annotations

from pathlib import Path

from moorage import parts
from moorage.oci.digests import Digest
from moorage.planes import RegistryApp
from moorage.registry.address_rules import AddressRules
from tests.servers.seaweedfs import SeaweedFS
from tests.worlds import ADMIN, MASTER_KEY, opened


async def test_a_registry_with_address_rules_signs_no_url_that_would_pass_over_them(
    seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    place = parts.Place(
        data=tmp_path,
        database_url="",
        store_url=seaweedfs.url("confined", redirect=True),
        master_key=MASTER_KEY,
    )
    async with opened(place) as world:
        blob = b"bytes" * 1000
        path = f"/v2/library/app/blobs/{Digest.of(blob)}"
        pushed = await world.client.post(
            "/v2/library/app/blobs/uploads/", params={"digest": str(Digest.of(blob))}, content=blob
        )
        app = await world.plane.find("localhost", world.settings.listening.registry_port)
        assert isinstance(app, RegistryApp)
        confined = app.ruled(AddressRules.read("127.0.0.0/8", ""))
        managed = app.ruled(AddressRules.read("", "127.0.0.0/8"))

        answers = [await (await world.as_(ADMIN, app=one)).get(path) for one in (app, managed, confined)]

    assert pushed.status_code == 201
    assert [answer.status_code for answer in answers] == [307, 307, 200]
    assert answers[2].content == blob
