"""Real clients, each with a home of its own, signed in to nothing yet."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.clients.layouts import Layout
from tests.clients.programs import program
from tests.servers.house import House
from tests.worlds import ADMIN, PASSWORD

if TYPE_CHECKING:
    from tests.clients.strict_harborapi import SignIn, Strict

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

    def push(self, layout: Layout, tag: str, name: str, *flags: str) -> str:
        """Push what a layout calls *tag* to a repository, with skopeo and every image of an index; give its digest."""
        self.run(
            "skopeo", "copy", "--all", "--dest-tls-verify=false", "--dest-creds", f"{ADMIN}:{PASSWORD}", *flags,
            f"oci:{layout.path}:{tag}", f"docker://{self.host}/{name}:{tag}",
        )  # fmt: skip
        return self.head(f"{name}/manifests/{tag}").headers["docker-content-digest"]

    def push_index(self, name: str) -> str:
        """Push an index of two images to a repository as v1, and give its digest."""
        layout = self.layout()
        layout.name("v1", layout.index(name))
        return self.push(layout, "v1", name)

    def absent(self, name: str, reference: str) -> list[str]:
        """List what a manifest, and what it names, names and a repository does not have."""
        found = self.get(f"{name}/manifests/{reference}")
        if found.is_error:
            return [reference]
        manifest = found.json()
        blobs = [blob["digest"] for blob in (manifest.get("config"), *manifest.get("layers", [])) if blob]
        missing = [digest for digest in blobs if self.head(f"{name}/blobs/{digest}").is_error]
        for child in manifest.get("manifests", []):
            missing += self.absent(name, child["digest"])
        return missing

    def head(self, path: str) -> httpx.Response:
        """Ask the registry itself what is there."""
        return httpx.head(f"http://{self.host}/v2/{path}", auth=(ADMIN, PASSWORD), timeout=SECONDS)

    def get(self, path: str) -> httpx.Response:
        """Get from the registry itself."""
        return httpx.get(f"http://{self.host}/v2/{path}", auth=(ADMIN, PASSWORD), timeout=SECONDS)


@pytest.fixture
def desk(running: House, tmp_path: Path) -> Desk:
    """Give a place to work at."""
    return Desk.at(running, tmp_path)


@pytest.fixture
async def sign_in(running: House) -> AsyncIterator[SignIn]:
    """Give what makes a harborapi of the running registry, for the administrator or for somebody else."""
    from tests.clients.strict_harborapi import Strict  # noqa: PLC0415 - asked for by these tests alone

    async with AsyncExitStack() as closing:

        def of(name: str = ADMIN, password: str = PASSWORD) -> Strict:
            made = Strict(f"{running.registry}/api/v2.0", name, password, timeout=float(SECONDS), retry=None)
            closing.push_async_callback(made.client.aclose)
            return made

        yield of


@pytest.fixture
def admin(sign_in: SignIn) -> Strict:
    """Give the administrator's client."""
    return sign_in()


@pytest.fixture
def name() -> str:
    """Give a name that nothing has yet: the registry is shared."""
    return f"h{uuid.uuid4().hex[:12]}"
