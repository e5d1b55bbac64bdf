"""The provider's own library for Go, driven as its Terraform provider drives it: made, read twice, changed and destroyed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.programs import program
from tests.servers.house import house, moorage
from tests.worlds import PASSWORD

SECONDS = 180
PRINTED = re.compile(
    r"^(Cloud project|Application key|Application secret|Consumer key) +(\w+)$", re.MULTILINE
)
GIB = 1 << 30


def called(home: Path, endpoint: str, keys: dict[str, str]) -> dict[str, Any]:
    """Run every call, and give what each step read."""
    ran = subprocess.run(
        [program("ovh-calls"), keys["Cloud project"]],
        cwd=home, capture_output=True, text=True, timeout=SECONDS, check=False,
        env={
            **os.environ, "HOME": str(home), "OVH_ENDPOINT": endpoint,
            "OVH_APPLICATION_KEY": keys["Application key"],
            "OVH_APPLICATION_SECRET": keys["Application secret"],
            "OVH_CONSUMER_KEY": keys["Consumer key"],
        },
    )  # fmt: skip
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return {line["step"]: line["is"] for line in map(json.loads, ran.stdout.splitlines())}


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_registry_is_made_read_changed_and_destroyed_as_terraform_does(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str
):
    given = {"PASSWORD": PASSWORD}
    if engine == "postgres":
        given["DATABASE_URL"] = request.getfixturevalue("postgres_server").cell()
    program("ovh-calls")
    with house(tmp_path / "house", **given) as up:
        made = moorage("application", "create", "terraform", data=tmp_path / "house", **given)
        assert made.returncode == 0, made.stderr
        seen = called(tmp_path, f"{up.console}/1.0", dict(PRINTED.findall(made.stdout)))

    assert (seen["create"]["name"], seen["create"]["status"]) == ("terraformed", "READY")
    assert (seen["update"]["name"], seen["update"]["id"]) == ("renamed", seen["create"]["id"])
    assert seen["plan"]["registryLimits"] == {"imageStorage": 600 * GIB, "parallelRequest": 45}
    for part in ("registry", "management"):
        blocks = [one["ipBlock"] for one in seen[f"restrictions {part}"]]
        assert sorted(blocks) == ["192.0.2.0/24", "2001:db8::/64"]
    assert seen["openIdConnect"]["adminGroup"] == "admins"
    assert "clientSecret" not in seen["openIdConnect"]
    assert seen["openIdConnect again"]["adminGroup"] == "others"
    assert (seen["iam on"]["iamEnabled"], seen["iam off"]["iamEnabled"]) == (True, False)
