"""The master key is rotated beside a house that runs, as a person would do it, and as the page says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.servers.house import House, environment, house, moorage
from tests.servers.orders import ordered
from tests.servers.postgres import PostgresServer
from tests.servers.processes import until_gone
from tests.worlds import PASSWORD

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "rotate-the-master-key.md"
OLD = "0c" * 32
TOKEN = "/service/token?service=harbor-registry&scope=repository:library/app:pull"
GIVEN = {"PASSWORD": PASSWORD, "DOMAIN": "moorage.test", "WORKERS": "2"}


@dataclass
class People:
    """The administrators of some registries of one house, who come again and again."""

    who: list[tuple[str, str]]

    @classmethod
    def of(cls, data: Path, count: int) -> People:
        """Make registries beside the house that runs."""
        return cls(ordered(data, *(f"r-{number}" for number in range(count))))

    def sign_in(self, up: House) -> None:
        """Have each get a token and show it."""
        address = f"http://127.0.0.1:{up.ports['Registry']}"
        for host, password in self.who:
            answer = httpx.get(address + TOKEN, headers={"host": host}, auth=("admin", password), timeout=60)
            assert answer.status_code == 200, answer.text
            shown = {"authorization": f"Bearer {answer.json()['token']}", "host": host}
            assert httpx.get(address + "/v2/", headers=shown, timeout=60).status_code == 200


def blocks(heading: str) -> list[str]:
    """Give what the page has to be typed below a heading."""
    section = PAGE.read_text().partition(f"## {heading}")[2].partition("\n## ")[0]
    found = re.findall(r"^( *)```sh\n(.*?)^ *```$", section, re.DOTALL | re.MULTILINE)
    assert found
    return [body.replace(f"\n{indent}", "\n").strip() for indent, body in found]


def typed(block: str, data: Path, **variables: str) -> tuple[str, dict[str, str]]:
    """Run a block of the page in a shell; give what it wrote, and the variables as it left them."""
    program = f"set -e\n{block}\necho ===\necho $NEW\necho $MOORAGE_MASTER_KEY\n"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    bare = {k: v for k, v in environment(data).items() if not k.startswith("MOORAGE_")}
    given = {**bare, "PATH": path, "MOORAGE_DATA": str(data), **variables}
    ran = subprocess.run(
        ["bash", "-c", program], env=given, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    wrote, _, left = ran.stdout.partition("===\n")
    new, master = left.split("\n")[:2]
    return wrote, {"NEW": new, "MOORAGE_MASTER_KEY": master}


@pytest.fixture(params=["sqlite", "postgres"])
def up(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """Run a house with some registries."""
    given = dict(GIVEN)
    if request.param == "postgres":
        given["DATABASE_URL"] = request.getfixturevalue("postgres_server").cell()
    with house(tmp_path, **given) as running:
        yield running


def test_a_running_house_signs_in_whoever_comes_while_a_rotation_is_killed_and_ended(
    up: House, tmp_path: Path
):
    people = People.of(tmp_path, 3)
    people.sign_in(up)
    (old,) = (tmp_path / "master.key").read_text().split()
    command = [sys.executable, "-m", "moorage", "key", "rotate", "--alone"]
    with subprocess.Popen(
        command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as rotating:
        # As soon as there is a new key: how far it comes is left to chance, and test_key_rotation.py tries each.
        while rotating.poll() is None and len((tmp_path / "master.key").read_text().split()) == 1:
            time.sleep(0.005)
        rotating.send_signal(signal.SIGKILL)
    people.sign_in(up)
    rotated = moorage("key", "rotate", "--alone", data=tmp_path)
    people.sign_in(up)
    forgot = moorage("key", "forget", data=tmp_path)
    (new,) = (tmp_path / "master.key").read_text().split()
    victims = up.children("serve registry")
    for victim in victims:
        os.kill(victim, signal.SIGKILL)

    assert (rotated.returncode, rotated.stderr, forgot.returncode, forgot.stderr) == (0, "", 0, "")
    assert new != old
    assert not re.search("[0-9a-f]{64}", rotated.stdout + forgot.stdout)
    people.sign_in(up)


def moved(said: str) -> int:
    """Give how many secrets were wrapped anew: the registries', and the provider's once a first head was signed."""
    found = re.search(r"(\d+) moved just now", said)
    assert found, said
    return int(found[1])


def test_one_machine_rotates_as_the_page_says(tmp_path: Path):
    rotate, forget = blocks("One machine")
    with house(tmp_path, **GIVEN) as up:
        people = People.of(tmp_path, 2)
        people.sign_in(up)
        (old,) = (tmp_path / "master.key").read_text().split()
        rotated, _ = typed(rotate, tmp_path)
        people.sign_in(up)
        forgot, _ = typed(forget, tmp_path)
        people.sign_in(up)

    assert moved(rotated) >= 2
    (new,) = (tmp_path / "master.key").read_text().split()
    assert new != old
    assert new not in rotated + forgot
    with house(tmp_path, **GIVEN) as up:
        people.sign_in(up)


def test_a_fleet_rotates_as_the_page_says(tmp_path: Path, postgres_server: PostgresServer):
    both, first, alone = blocks("A fleet")
    given = {**GIVEN, "DATABASE_URL": postgres_server.cell(), "OPEN_REGISTRIES": "2"}
    with house(tmp_path, MASTER_KEY=OLD, **given) as up:
        people = People.of(tmp_path, 3)
        people.sign_in(up)
    _, left = typed(both, tmp_path, OLD=OLD)
    new = left["NEW"]
    assert left["MOORAGE_MASTER_KEY"] == f"{OLD} {new}"
    with house(tmp_path, MASTER_KEY=left["MOORAGE_MASTER_KEY"], **given) as before:
        people.sign_in(before)
        other = {**given, "MASTER_KEY": f"{new} {OLD}", "WORKER_NAME": "another"}
        with house(tmp_path / "another", **other) as up:
            people.sign_in(up)
        # The last of the old ones still runs, and opens what moves meanwhile.
        known = {"OLD": OLD, "NEW": new, "MOORAGE_DATABASE_URL": given["DATABASE_URL"]}
        rotated, left = typed(first, tmp_path, **known)
        victims = before.children("serve registry")
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        until_gone(victims)
        people.sign_in(before)
    with house(tmp_path, MASTER_KEY=left["MOORAGE_MASTER_KEY"], **given) as up:
        people.sign_in(up)
        forgot, left = typed(alone, tmp_path, **known)
    with house(tmp_path, MASTER_KEY=left["MOORAGE_MASTER_KEY"], **given) as up:
        people.sign_in(up)

    assert left["MOORAGE_MASTER_KEY"] == new
    assert moved(rotated) >= 3
    assert "can be alone" in forgot
    assert new not in rotated + forgot
