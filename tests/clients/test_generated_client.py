"""A client that openapi-generator writes from a registry's own description: it asks every operation."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import pytest

from moorage.api.harbor.operations import OPERATIONS
from tests.clients.conftest import Desk
from tests.clients.programs import program
from tests.servers.house import House
from tests.worlds import ADMIN, PASSWORD

SECONDS = 300
NO_PAGES = "apis,models,supportingFiles,apiTests=false,modelTests=false,apiDocs=false,modelDocs=false"


def run(*words: str | Path) -> str:
    """Run something to its end, which must be a good one, and give what it says."""
    ran = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.mark.parametrize("running", ["postgres-s3"], indirect=True)
def test_a_generated_client_asks_every_operation(running: House, desk: Desk, tmp_path: Path, name: str):
    generator = Path(program("openapi-generator"))
    java = program("java")
    jar = next(generator.resolve().parents[1].glob("lib/python3*/site-packages/*/openapi-generator.jar"))
    made = tmp_path / "made"
    run(java, "-jar", jar, "generate", "-i", f"{running.registry}/swagger.json", "-g", "python",
        "-o", made, "--package-name", "generated", "--global-property", NO_PAGES)  # fmt: skip
    address = f"{running.registry}/api/v2.0/projects"
    httpx.post(
        address, json={"project_name": name}, auth=(ADMIN, PASSWORD), timeout=SECONDS
    ).raise_for_status()
    digest = desk.push_index(f"{name}/app")
    told = run(generator.resolve().with_name("python"), Path(__file__).with_name("generated.py"), made,
               running.registry, ADMIN, PASSWORD, name, "app", digest)  # fmt: skip
    answers = [json.loads(line) for line in told.splitlines()]

    assert {one["id"] for one in answers} == {one.id for one in OPERATIONS}
    assert [one for one in answers if one["status"] >= 500] == []
    meant = {one["id"]: one for one in answers if one["meant"]}
    assert len(meant) > 75
    assert {name: one for name, one in meant.items() if one["status"] >= 400} == {}
    assert meant["getProject"]["read"]["name"] == name
