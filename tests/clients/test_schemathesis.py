"""schemathesis: all that the description of Harbor's API allows, and much that it does not, asked of a registry.

Each answer has a status, a media type, headers and a body that are described, none is a fault of ours, nothing is told to
who does not sign in, and what breaks the description is refused.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from moorage.api.harbor import off
from moorage.api.harbor.operations import OPERATIONS
from tests.clients.programs import program
from tests.servers.house import house
from tests.worlds import ADMIN, PASSWORD

SECONDS = 550
CHECKS = Path(__file__).with_name("schemathesis.toml")
OFF = off.answers().keys()
SERVED = [one.id for one in OPERATIONS if one.id not in OFF]


def asked(home: Path, address: str, operations: Iterable[str], *flags: str) -> None:
    """Ask all of some operations, and fail with what is said of the answers."""
    chosen = [word for one in sorted(operations) for word in ("--include-operation-id", one)]
    ran = subprocess.run(
        [program("schemathesis"), "--config-file", str(CHECKS), "run", f"{address}/swagger.json",
         "--auth", f"{ADMIN}:{PASSWORD}", "--generation-deterministic", "--no-shrink", "--no-color",
         "--continue-on-failure", "--warnings", "off", *flags, *chosen],
        cwd=home, env={**os.environ, "HOME": str(home)}, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, f"{ran.stdout[-20_000:]}\n{ran.stderr}"


@pytest.mark.parametrize(
    ("operations", "flags"),
    [
        (SERVED, ["--phases", "coverage,fuzzing", "--max-examples", "2"]),
        (OFF, ["--phases", "fuzzing", "--max-examples", "1"]),
    ],
    ids=["served", "off"],
)
def test_every_answer_is_one_that_the_description_has(
    tmp_path: Path, operations: Iterable[str], flags: list[str]
):
    # A registry of its own: what is made up may be somebody's project elsewhere.
    program("schemathesis")
    with house(tmp_path / "house", PASSWORD=PASSWORD) as up:
        asked(tmp_path, up.registry, operations, *flags)
