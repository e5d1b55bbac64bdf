"""The programs that tests run and Debian may not have: found, or named as missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def program(name: str) -> str:
    """Give a program's path, or skip the test.

    Looked for in the folder that MOORAGE_TEST_TOOLS names, in PATH, in the folder that `.ci/tools`
    installs into, and where Go installs.
    """
    home = Path.home()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    named = os.environ.get("MOORAGE_TEST_TOOLS")
    folders = [
        *([named] if named else []),
        None,
        cache / "moorage" / "tools",
        home / "go" / "bin",
        home / "gobin",
    ]
    for folder in folders:
        found = shutil.which(name, path=folder)
        if found:
            return found
    pytest.skip(f"{name} is missing: .ci/tools installs it, or set MOORAGE_TEST_TOOLS to its folder")
