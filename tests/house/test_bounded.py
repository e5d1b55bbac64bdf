"""What `.ci/run` runs its gates with: nothing outlives it, whatever hangs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.house.source import ROOT
from tests.servers.processes import until_gone

COMMAND = [sys.executable, str(ROOT / ".ci" / "bounded")]
# A server that has left its parent and its session.
LEAVES = "setsid sh -c 'echo $$ > {}; exec sleep 600' & "


def bounded(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_a_command_keeps_its_status_and_what_it_says_is_logged(tmp_path: Path):
    ran = bounded("--log", str(tmp_path / "log"), "2", "sh", "-c", "echo said; exit 3")

    assert (ran.returncode, ran.stdout, ran.stderr) == (3, "said\n", "")
    assert (tmp_path / "log").read_text() == "said\n"


def test_what_was_left_running_is_ended_named_and_a_fault(tmp_path: Path):
    pid = tmp_path / "pid"

    ran = bounded("2", "sh", "-c", LEAVES.format(pid) + f"while [ ! -s {pid} ]; do sleep 0.1; done")

    assert ran.returncode == 1
    assert f"{pid.read_text().strip()} sleep 600" in ran.stderr
    assert until_gone([int(pid.read_text())]) == []


def test_a_command_whose_time_is_up_is_ended_with_all_that_it_began(tmp_path: Path):
    pid = tmp_path / "pid"

    ran = bounded("0.2", "sh", "-c", LEAVES.format(pid) + "sleep 600")

    assert ran.returncode == 124
    assert "not done after 0.2 minutes" in ran.stderr
    assert until_gone([int(pid.read_text())]) == []


def test_who_is_told_to_stop_ends_all_that_was_begun(tmp_path: Path):
    pid = tmp_path / "pid"
    with subprocess.Popen([*COMMAND, "2", "sh", "-c", LEAVES.format(pid) + "sleep 600"]) as process:
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)

        assert process.wait(60) == 128 + signal.SIGTERM
    assert until_gone([int(pid.read_text())]) == []
