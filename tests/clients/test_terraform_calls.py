"""Harbor's Terraform provider: its calls, in Go, with its bodies and in its order; what is read back is what was set."""

from __future__ import annotations

import json
import subprocess

from tests.clients.programs import program
from tests.servers.house import House
from tests.worlds import ADMIN, PASSWORD

SECONDS = 180
STEPS = {
    "project", "project changed", "quota", "user", "user changed", "member", "member changed", "group", "member group",
    "member group changed", "label g", "label g changed", "label p", "label p changed", "robot project",
    "robot project changed", "robot system", "robot system changed", "configuration", "off", "destroyed",
}  # fmt: skip


def test_what_terraform_sets_is_what_it_reads_back_and_a_second_plan_is_empty(running: House, name: str):
    ran = subprocess.run(
        [program("harbor-calls"), running.registry, ADMIN, PASSWORD, name],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    assert {json.loads(line)["step"] for line in ran.stdout.splitlines()} == STEPS
