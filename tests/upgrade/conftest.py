"""The release before, as its commit has it: ``previous-release`` names it, and nothing else does."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GIT = ("git", "-C", str(HERE.parents[1]))
NAME = (HERE / "previous-release").read_text().strip()


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the source of the previous release, and give the folder that Python finds it in."""
    if subprocess.run(
        [*GIT, "cat-file", "-e", f"{NAME}^{{commit}}"], capture_output=True, check=False
    ).returncode:
        pytest.skip(
            f"the previous release's commit {NAME} is missing on this machine: a shallow clone, or none"
        )
    archived = subprocess.run(
        [*GIT, "archive", "--format=tar", f"{NAME}:src"], capture_output=True, check=True
    )
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder
