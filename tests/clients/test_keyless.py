"""Clients as they are, signed in by a token that a cluster signed, in place of a secret."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.clients.conftest import SECONDS, Desk
from tests.worlds import ADMIN, PASSWORD

ROOT = Path(__file__).parents[2]
CLUSTER = "https://kubernetes.default.svc.cluster.local"
UID = "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"
PLAIN = "--insecure"


@pytest.fixture
def robot(desk: Desk, name: str) -> str:
    """Make a robot that trusts an account of a cluster; give its whole name."""
    access = [{"resource": "repository", "action": action} for action in ("pull", "push")]
    given = [{"kind": "project", "namespace": "library", "access": access}]
    body = {"name": name, "level": "project", "duration": -1, "permissions": given}
    told = post(desk, "robots", body)
    claims = {"/kubernetes.io/serviceaccount/uid": UID, "/kubernetes.io/namespace": name}
    trust = {"issuer": CLUSTER, "claims": claims, "jwks": {"keys": [KEY.as_dict(private=False)]}}
    assert post(desk, f"robots/{told['id']}/trusts", trust)["audience"] == desk.host
    return str(told["name"])


KEY = ECKey.generate_key("P-256", {"kid": "cluster"})


def post(desk: Desk, path: str, body: object) -> dict[str, object]:
    answer = httpx.post(
        f"http://{desk.host}/api/v2.0/{path}", json=body, auth=(ADMIN, PASSWORD), timeout=SECONDS
    )
    assert answer.status_code == 201, answer.text
    made: dict[str, object] = answer.json()
    return made


def token(desk: Desk, namespace: str, *, audience: str = "") -> str:
    """Sign a token as Kubernetes 1.34 does for a pod of an account's."""
    now = int(time.time())
    inside = {
        "namespace": namespace,
        "pod": {"name": "web-0", "uid": "5e0b"},
        "serviceaccount": {"name": "web", "uid": UID},
    }
    claims = {
        "aud": [audience or desk.host], "exp": now + 3600, "iat": now, "nbf": now, "iss": CLUSTER, "jti": "7f",
        "kubernetes.io": inside, "sub": f"system:serviceaccount:{namespace}:web",
    }  # fmt: skip
    return jwt.encode({"alg": "ES256", "kid": "cluster"}, claims, KEY)


def test_skopeo_and_crane_sign_in_by_a_token_and_push_and_pull(desk: Desk, robot: str, name: str):
    layout, there = desk.layout(), f"{desk.host}/library/{name}:v1"
    digest = layout.name("v1", layout.image(name))["digest"]
    login = ("skopeo", "login", "--tls-verify=false", "--username", robot, "--password-stdin", desk.host)

    wrong = desk.run(*login, given=token(desk, name, audience="elsewhere.test"), fails=True)
    desk.run(*login, given=token(desk, name))
    desk.run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout.path}:v1", f"docker://{there}")
    desk.run("skopeo", "logout", desk.host)
    desk.run("crane", "digest", PLAIN, there, fails=True)
    desk.run(
        "crane",
        "auth",
        "login",
        desk.host,
        "--username",
        "__token__",
        "--password-stdin",
        given=token(desk, name),
    )

    assert "invalid username/password" in wrong
    assert desk.run("crane", "digest", PLAIN, there).strip() == digest
    desk.run("crane", "tag", PLAIN, there, "v2")
    desk.run("crane", "validate", PLAIN, "--remote", there)
    # It may what the robot may: not to list every repository.
    desk.run("crane", "catalog", PLAIN, desk.host, fails=True)


def test_the_kubelets_plugin_of_the_guide_hands_on_what_signs_a_pod_in(desk: Desk, robot: str, name: str):
    guide = (ROOT / "docs" / "how-to" / "push-without-a-secret.md").read_text()
    (script,) = re.findall(r"```sh\n(#!/bin/sh\n.*?)```", guide, flags=re.DOTALL)
    plugin = desk.home / "moorage-credentials"
    plugin.write_text(script.replace("registry.example.com", desk.host))
    plugin.chmod(0o755)
    asked = {
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "kind": "CredentialProviderRequest",
        "image": f"{desk.host}/library/{name}:v1", "serviceAccountToken": token(desk, name),
        "serviceAccountAnnotations": {"a": "b"},
    }  # fmt: skip

    for written in (json.dumps(asked), json.dumps(asked, indent=2), json.dumps(asked, separators=(",", ":"))):
        ran = subprocess.run([str(plugin)], input=written, capture_output=True, text=True, check=True)
        told = json.loads(ran.stdout)
        given = told["auth"][desk.host]
        answer = httpx.get(
            f"http://{desk.host}/service/token",
            params={"service": "harbor-registry", "scope": f"repository:library/{name}:pull"},
            auth=(given["username"], given["password"]),
            timeout=SECONDS,
        )
        assert (told["kind"], answer.status_code) == ("CredentialProviderResponse", 200)
        assert 0 < answer.json()["expires_in"] <= 900
    assert robot.endswith(name)
