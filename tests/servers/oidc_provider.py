"""A real OpenID provider: the certified library's own server, on a port of this machine, with people of ours."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.clients.programs import program

SECONDS = 60.0
CLIENT, SECRET, PASSWORD = "web", "secret", "very-secure"
PEOPLE = ("ada", "bob", "eve")


@dataclass(slots=True)
class OidcProvider:
    """A provider that runs; each of its people signs in with PASSWORD."""

    port: int

    @property
    def issuer(self) -> str:
        """Give its name."""
        return f"http://localhost:{self.port}/"

    async def sign_in(self, url: str, person: str, password: str = PASSWORD) -> str:
        """Sign in at the page that a browser was led to, and give where the browser is led then."""
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            page = await client.get(url, follow_redirects=True)
            assert page.status_code == 200, page.text
            (asked,) = parse_qs(urlsplit(str(page.url)).query)["authRequestID"]
            form = {"username": person, "password": password, "id": asked}
            answer = await client.post(f"{self.issuer}login/username", data=form)
            while answer.is_redirect and answer.headers["location"].startswith(("/", self.issuer)):
                answer = await client.get(answer.headers["location"] if "://" in answer.headers["location"] else
                                          f"{self.issuer}{answer.headers['location'].lstrip('/')}")  # fmt: skip
            assert answer.is_redirect, answer.text
            return answer.headers["location"]


@contextlib.contextmanager
def oidc_provider(port: int, redirect: str, folder: Path) -> Iterator[OidcProvider]:
    """Run one whose client is sent back to *redirect*."""
    people = {
        f"id-{name}": {
            "ID": f"id-{name}", "Username": name, "Password": PASSWORD, "FirstName": name.title(), "LastName": "Staff",
            "Email": "alice@example.com", "EmailVerified": True, "PreferredLanguage": "en",
        }
        for name in PEOPLE
    }  # fmt: skip
    file = folder / "people.json"
    file.write_text(json.dumps(people))
    given = {"PORT": str(port), "REDIRECT_URI": redirect, "USERS_FILE": str(file)}
    with (folder / "provider.log").open("wb") as log:
        process = subprocess.Popen(
            [program("oidc-provider")], env={**os.environ, **given}, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _until_it_answers(process, port, folder / "provider.log")
            yield OidcProvider(port)
        finally:
            process.terminate()
            process.wait(SECONDS)


def _until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://localhost:{port}/.well-known/openid-configuration")
            return
        time.sleep(0.02)
    raise AssertionError(log.read_text())
