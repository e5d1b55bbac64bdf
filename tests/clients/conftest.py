"""Real clients, each with a home of its own, signed in to nothing yet."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest

from tests.clients.layouts import Layout
from tests.clients.programs import program
from tests.servers.house import House
from tests.worlds import ADMIN, PASSWORD

SECONDS = 120


@dataclass(frozen=True, slots=True)
class Desk:
    """A person's place: a folder, and a registry to work with."""

    host: str
    home: Path

    @classmethod
    def at(cls, up: House, home: Path) -> Desk:
        """Make a place to work with a running registry."""
        for folder in (".docker", "run", ".config"):
            (home / folder).mkdir(mode=0o700)
        return cls(up.registry.removeprefix("http://"), home)

    def layout(self, name: str = "layout") -> Layout:
        """Begin an image layout."""
        return Layout(self.home / name)

    def run(
        self,
        name: str,
        *arguments: str,
        fails: bool = False,
        errors: bool = False,
        given: str | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Run a client, and give what it says (*errors*: there too); it must succeed, or (*fails*) must not."""
        path = program(name)
        everything = {
            **os.environ,
            "HOME": str(self.home),
            "DOCKER_CONFIG": str(self.home / ".docker"),
            "REGISTRY_AUTH_FILE": str(self.home / ".docker" / "config.json"),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_DATA_HOME": str(self.home / ".local"),
            **environment,
        }
        ran = subprocess.run(
            [path, *arguments], env=everything, cwd=self.home, input=given, capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
        assert (ran.returncode != 0) == fails, f"{name} {' '.join(arguments)}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout + ran.stderr if fails or errors else ran.stdout

    def head(self, path: str) -> httpx.Response:
        """Ask the registry itself what is there."""
        return httpx.head(f"http://{self.host}/v2/{path}", auth=(ADMIN, PASSWORD))

    def get(self, path: str) -> httpx.Response:
        """Get from the registry itself."""
        return httpx.get(f"http://{self.host}/v2/{path}", auth=(ADMIN, PASSWORD))


@pytest.fixture
def desk(running: House, tmp_path: Path) -> Desk:
    """Give a place to work at."""
    return Desk.at(running, tmp_path)
