"""Clients that are sent to the object store for blobs, where the operator says that they reach it."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.clients.conftest import SECONDS, Desk
from tests.clients.layouts import blobs
from tests.servers.house import house
from tests.servers.seaweedfs import SeaweedFS
from tests.worlds import ADMIN, PASSWORD


def test_clients_follow_to_the_store_and_get_every_byte(seaweedfs: SeaweedFS, tmp_path: Path):
    store = seaweedfs.url("redirected", redirect=True)
    with house(tmp_path / "data", PASSWORD=PASSWORD, STORE_URL=store) as up:
        desk = Desk.at(up, tmp_path)
        layout = desk.layout()
        index = layout.name("v1", layout.index("redirected"))
        there = f"{desk.host}/library/redirected:v1"
        plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
        desk.run("skopeo", "login", "--tls-verify=false", "-u", ADMIN, "-p", PASSWORD, desk.host)

        desk.run("skopeo", "copy", "--all", *plain, f"oci:{layout.path}:v1", f"docker://{there}")
        desk.run("skopeo", "copy", "--all", *plain, f"docker://{there}", f"oci:{tmp_path}/skopeo:v1")
        # crane follows to no private address, so it is not asked.
        desk.run("oras", "copy", "--from-plain-http", "--to-oci-layout", there, f"{tmp_path}/oras:v1")

        blob = desk.get(f"library/redirected/manifests/{index['digest']}").json()["manifests"][0]["digest"]
        config = desk.get(f"library/redirected/manifests/{blob}").json()["config"]
        sent = desk.get(f"library/redirected/blobs/{config['digest']}")
    assert blobs(tmp_path / "skopeo") == blobs(layout.path)
    assert blobs(tmp_path / "oras") == blobs(layout.path)
    assert sent.status_code == 307
    assert len(httpx.get(sent.headers["location"], timeout=SECONDS).content) == config["size"]
