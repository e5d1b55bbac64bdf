"""cosign: signatures and attestations with a key, offline, laid out as tags and as what refers to an image.

Nothing is told to the world's transparency log, and nothing asked of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.clients.conftest import Desk
from tests.worlds import ADMIN, PASSWORD

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
ENVELOPE = "application/vnd.dsse.envelope.v1+json"

SIGNING = ("--yes", "--key", "cosign.key", "--use-signing-config=false", "--tlog-upload=false")
VERIFYING = ("--key", "cosign.pub", "--insecure-ignore-tlog=true")
# Until its third version cosign named signatures after the digest of what they sign: sha256-….sig and .att.
AS_TAGS, AS_REFERRERS = "--new-bundle-format=false", "--new-bundle-format=true"


@pytest.fixture
def cosign(desk: Desk) -> Callable[..., str]:
    """Give what runs cosign, signed in, with a pair of keys."""
    desk.run("cosign", "login", "--username", ADMIN, "--password", PASSWORD, desk.host)
    desk.run("cosign", "generate-key-pair", given=PASSWORD)
    secret = {"COSIGN_PASSWORD": PASSWORD}
    return lambda *arguments, **how: desk.run("cosign", *arguments, environment=secret, **how)


def tags(desk: Desk, name: str) -> list[str]:
    """List a repository's tags."""
    listed: list[str] = desk.get(f"{name}/tags/list").json()["tags"]
    return listed


def test_cosign_verifies_what_it_signed_and_nothing_else(desk: Desk, cosign: Callable[..., str]):
    name = "library/cosign"
    digest = desk.push_index(name)
    there = f"{desk.host}/{name}@{digest}"
    unsigned = desk.get(f"{name}/manifests/{digest}").json()["manifests"][0]["digest"]

    cosign("sign", *SIGNING, AS_REFERRERS, there)
    verified = json.loads(cosign("verify", *VERIFYING, there))
    refused = cosign("verify", *VERIFYING, f"{desk.host}/{name}@{unsigned}", fails=True)

    assert [one["critical"]["image"]["docker-manifest-digest"] for one in verified] == [digest]
    assert "no signatures found" in refused
    referring = desk.get(f"{name}/referrers/{digest}").json()["manifests"]
    assert [one["artifactType"] for one in referring] == [BUNDLE]
    assert tags(desk, name) == ["v1"]


def test_cosign_verifies_a_signature_that_is_a_tag(desk: Desk, cosign: Callable[..., str]):
    name = "library/cosign-tag"
    digest = desk.push_index(name)
    there = f"{desk.host}/{name}@{digest}"
    signature = digest.replace(":", "-") + ".sig"

    cosign("sign", *SIGNING, AS_TAGS, there)
    verified = json.loads(cosign("verify", *VERIFYING, AS_TAGS, there))

    assert [one["critical"]["image"]["docker-manifest-digest"] for one in verified] == [digest]
    layers = desk.get(f"{name}/manifests/{signature}").json()["layers"]
    assert [layer["mediaType"] for layer in layers] == [SIMPLE_SIGNING]
    assert tags(desk, name) == [signature, "v1"]
    assert desk.get(f"{name}/referrers/{digest}").json()["manifests"] == []


def test_cosign_signs_every_image_of_an_index(desk: Desk, cosign: Callable[..., str]):
    name = "library/cosign-recursive"
    digest = desk.push_index(name)

    cosign("sign", *SIGNING, "--recursive", f"{desk.host}/{name}@{digest}")

    children = [one["digest"] for one in desk.get(f"{name}/manifests/{digest}").json()["manifests"]]
    for signed in (digest, *children):
        cosign("verify", *VERIFYING, f"{desk.host}/{name}@{signed}")


def test_cosign_does_not_verify_with_another_key(desk: Desk, cosign: Callable[..., str]):
    name = "library/cosign-stranger"
    there = f"{desk.host}/{name}@{desk.push_index(name)}"
    cosign("sign", *SIGNING, there)
    for half in ("cosign.key", "cosign.pub"):
        (desk.home / half).unlink()
    cosign("generate-key-pair")

    refused = cosign("verify", *VERIFYING, there, fails=True)

    assert "could not verify envelope" in refused


@pytest.mark.parametrize("layout", [AS_TAGS, AS_REFERRERS])
def test_cosign_verifies_what_it_attested(desk: Desk, cosign: Callable[..., str], layout: str):
    name = "library/cosign-attest" + ("-tag" if layout == AS_TAGS else "")
    digest = desk.push_index(name)
    there = f"{desk.host}/{name}@{digest}"
    (desk.home / "predicate").write_text('{"built": "by a test"}')

    cosign("attest", *SIGNING, layout, "--predicate", "predicate", "--type", "custom", there)
    verified = json.loads(cosign("verify-attestation", *VERIFYING, layout, "--type", "custom", there))
    seen = cosign("tree", there)

    assert verified["payloadType"] == "application/vnd.in-toto+json"
    attestation = digest.replace(":", "-") + ".att"
    if layout == AS_TAGS:
        layers = desk.get(f"{name}/manifests/{attestation}").json()["layers"]
        assert [layer["mediaType"] for layer in layers] == [ENVELOPE]
        assert attestation in seen
    else:
        (referring,) = desk.get(f"{name}/referrers/{digest}").json()["manifests"]
        assert referring["artifactType"] == BUNDLE
        assert referring["digest"] in seen


def test_cosign_copies_an_image_with_signatures_that_are_tags(desk: Desk, cosign: Callable[..., str]):
    name, copied = "library/cosign-copy", "team/cosign/copied"
    digest = desk.push_index(name)
    cosign("sign", *SIGNING, AS_TAGS, f"{desk.host}/{name}@{digest}")

    cosign("copy", f"{desk.host}/{name}:v1", f"{desk.host}/{copied}:v1")

    assert json.loads(cosign("verify", *VERIFYING, AS_TAGS, f"{desk.host}/{copied}@{digest}"))


def test_a_copy_made_by_oras_keeps_what_cosign_signed(desk: Desk, cosign: Callable[..., str]):
    name, copied = "library/cosign-oras", "team/cosign/oras"
    digest = desk.push_index(name)
    cosign("sign", *SIGNING, f"{desk.host}/{name}@{digest}")

    desk.run(
        "oras", "cp", "-r", "--from-plain-http", "--to-plain-http",
        f"{desk.host}/{name}:v1", f"{desk.host}/{copied}:v1",
    )  # fmt: skip

    assert json.loads(cosign("verify", *VERIFYING, f"{desk.host}/{copied}@{digest}"))


def test_a_copy_made_by_skopeo_keeps_a_signature_that_is_a_tag(desk: Desk, cosign: Callable[..., str]):
    name, copied = "library/cosign-skopeo", "team/cosign/skopeo"
    layout = desk.layout()
    layout.name("v1", layout.image("cosign and skopeo"))
    digest = desk.push(layout, "v1", name)
    cosign("sign", *SIGNING, AS_TAGS, f"{desk.host}/{name}@{digest}")
    (desk.home / "registries.d").mkdir()
    (desk.home / "registries.d" / "here.yaml").write_text(
        f"docker:\n  {desk.host}:\n    use-sigstore-attachments: true\n"
    )

    desk.run(
        "skopeo", "--registries.d", "registries.d", "copy", "--src-tls-verify=false", "--dest-tls-verify=false",
        f"docker://{desk.host}/{name}:v1", f"docker://{desk.host}/{copied}:v1",
    )  # fmt: skip

    assert json.loads(cosign("verify", *VERIFYING, AS_TAGS, f"{desk.host}/{copied}@{digest}"))


def test_cosign_saves_a_signed_image_and_loads_it_elsewhere(desk: Desk, cosign: Callable[..., str]):
    name, loaded = "library/cosign-save", "team/cosign/loaded"
    digest = desk.push_index(name)
    cosign("sign", *SIGNING, AS_TAGS, f"{desk.host}/{name}@{digest}")
    (desk.home / "saved").mkdir()

    cosign("save", "--dir", "saved", f"{desk.host}/{name}:v1")
    cosign("load", "--dir", "saved", f"{desk.host}/{loaded}:v1")

    assert json.loads(cosign("verify", *VERIFYING, AS_TAGS, f"{desk.host}/{loaded}@{digest}"))


def test_cosign_removes_signatures(desk: Desk, cosign: Callable[..., str]):
    name = "library/cosign-clean"
    digest = desk.push_index(name)
    there = f"{desk.host}/{name}@{digest}"
    cosign("sign", *SIGNING, AS_TAGS, there)
    cosign("sign", *SIGNING, AS_REFERRERS, there)

    cosign("clean", "--force", there)

    assert tags(desk, name) == ["v1"]
    assert desk.get(f"{name}/referrers/{digest}").json()["manifests"] == []
