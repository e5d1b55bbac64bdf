"""`moorage up`, as a person meets it: a first start, its ports and its page, and its mistakes."""

from __future__ import annotations

import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from moorage.supervisor import HOPELESS
from tests.servers.house import SECONDS, House, environment, house, moorage

CHOSEN = "admin", "Chosen-pass-1"
NAME = re.compile(r"^  Its name +(\S+\.local\.moorage\.test:\d+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Run one for all tests that only look at it."""
    with house(tmp_path_factory.mktemp("house") / "data") as made:
        yield made


@dataclass(frozen=True, slots=True)
class Start:
    """What one start of a house showed: its greeting, what hosts were answered with, and its console's page."""

    greeting: str
    answers: dict[str, int]
    page: str

    @classmethod
    def of(cls, running: House, *hosts: str) -> Start:
        """Look at a house that runs, and ask for the hosts and for each name that it greets with."""
        named = NAME.findall(running.greeting)
        asked = {
            host: httpx.get(f"{running.registry}/v2/", headers={"Host": host}, auth=CHOSEN, timeout=SECONDS)
            for host in (*hosts, *named)
        }
        page = httpx.get(running.console, timeout=SECONDS).text
        return cls(running.greeting, {host: answer.status_code for host, answer in asked.items()}, page)


@dataclass(frozen=True, slots=True)
class Life:
    """A folder that is started upon again and again."""

    modes: dict[str, int]
    chosen: Start
    named: Start
    domains: list[Start]
    keyless: subprocess.CompletedProcess[str]
    data: Path


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Start a house with a password that was chosen, then with names, then twice with a domain, then without its key."""
    data = tmp_path_factory.mktemp("life") / "deep" / "data"
    with house(data, PASSWORD=CHOSEN[1]) as up:
        chosen = Start.of(up, "localhost")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (data, data / "master.key")}
    with house(data, NAMES="registry.example.com, box.lan:5000") as up:
        named = Start.of(up, "registry.example.com", "BOX.lan:5000", "localhost", "evil.example")
    domains = []
    for _ in range(2):
        with house(data, DOMAIN="moorage.test") as up:
            domains.append(Start.of(up))
    (data / "master.key").unlink()
    return Life(modes, chosen, named, domains, moorage("up", data=data), data)


def test_a_first_start_makes_a_folder_and_a_key_that_nobody_else_can_read(life: Life):
    assert life.modes == {"data": 0o700, "master.key": 0o600}


def test_a_password_that_was_chosen_is_not_shown(life: Life):
    """Standard output ends in journals and container logs."""
    assert life.chosen.answers == {"localhost": 200}
    assert CHOSEN[1] not in life.chosen.greeting
    assert "Password" not in life.chosen.greeting


def test_a_second_start_makes_nothing_and_tells_no_password(life: Life):
    assert "Password" not in life.named.greeting
    assert life.named.answers["localhost"] == 200


def test_a_domain_that_is_set_later_gives_the_first_registry_a_name_that_the_greeting_shows(life: Life):
    first, again = life.domains

    for start in life.domains:
        (name,) = start.answers
        assert start.answers[name] == 200
        assert f"docker push {name}/library/alpine" in start.greeting
        assert f"docker push {name}/library/alpine" in start.page
    # The port is another each time, here.
    assert len({name.partition(":")[0] for name in (*first.answers, *again.answers)}) == 1


def test_a_machine_answers_to_the_names_that_it_was_given(life: Life):
    known = dict.fromkeys(("registry.example.com", "BOX.lan:5000", "localhost"), 200)
    assert life.named.answers == known | {"evil.example": 421}
    assert "docker push registry.example.com/library/alpine" in life.named.greeting


def test_a_folder_whose_master_key_is_gone_is_not_given_another(life: Life):
    assert life.keyless.returncode == HOPELESS
    assert "master.key is missing" in life.keyless.stderr
    assert not (life.data / "master.key").exists()


def test_the_greeting_fits_a_screen_and_names_every_address(running: House):
    lines = running.greeting.splitlines()

    assert len(lines) < 24
    assert max(len(line) for line in lines if "  Data " not in line) <= 80
    assert set(running.ports) == {"Registry", "Console", "Operator"}
    assert f"docker login --username admin localhost:{running.ports['Registry']}" in running.greeting


async def test_every_port_says_that_it_lives_and_is_ready(running: House):
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        for address in (running.registry, running.console, running.ops):
            alive = await client.get(f"{address}/livez", headers={"Host": "a-probe-names-no-registry"})
            ready = await client.get(f"{address}/readyz")

            assert (alive.status_code, alive.text) == (200, "ok\n")
            assert (ready.status_code, ready.json()["ready"]) == (200, True)


async def test_the_console_shows_browsers_a_page_that_may_do_nothing(running: House):
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        page = await client.get(running.console, headers={"Accept": "text/html,*/*;q=0.8"})

        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        assert page.text.count("<li>") == 3
        assert not re.search(r"<script|javascript:| style=| on\w+=|src=|href=", page.text)


async def test_the_console_shows_others_plain_text(running: House):
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        page = await client.get(running.console)

        assert page.headers["content-type"] == "text/plain; charset=utf-8"
        assert f"docker push localhost:{running.ports['Registry']}/library/alpine" in page.text


async def test_an_unknown_path_is_refused_with_the_request_s_id(running: House):
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        refused = await client.get(f"{running.console}/nothing")

        assert refused.status_code == 404
        assert refused.headers["x-request-id"] in refused.text


async def test_an_unknown_host_is_refused_in_the_dialect_of_its_path(running: House):
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        stranger = {"Host": "rebound.example:5000"}
        oci = await client.get(f"{running.registry}/v2/", headers=stranger)
        page = await client.get(f"{running.registry}/", headers=stranger)

        assert (oci.status_code, page.status_code) == (421, 421)
        assert oci.json()["errors"][0]["detail"] == {"host": "rebound.example:5000"}
        assert "MOORAGE_NAMES" in oci.json()["errors"][0]["message"]
        assert page.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("given", "taken"),
    [("build-1.2_3", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ('"a"', False)],
)
async def test_a_request_s_id_is_taken_if_it_is_harmless(running: House, *, given: str, taken: bool):
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        answer = await client.get(f"{running.ops}/livez", headers={"X-Request-Id": given})

        assert (answer.headers["x-request-id"] == given) is taken
        assert len(answer.headers.get_list("x-request-id")) == 1


@pytest.mark.parametrize("name", ["REGISTRY_PORT", "CONSOLE_PORT", "OPS_PORT"])
def test_a_busy_port_is_told_in_one_line_that_names_its_variable(tmp_path: Path, name: str):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        ended = moorage("up", data=tmp_path / "data", **{name: port})

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    assert f"MOORAGE_{name}" in ended.stderr
    assert port in ended.stderr


def test_an_address_that_this_machine_has_not_is_told_in_one_line(tmp_path: Path):
    ended = moorage("up", data=tmp_path / "data", HOST="192.0.2.1")

    assert (ended.returncode, ended.stderr) == (1, "MOORAGE_HOST: this machine has no address 192.0.2.1\n")


def test_a_bad_setting_is_told_in_one_line(tmp_path: Path):
    ended = moorage("up", data=tmp_path / "data", WORKERS="many")

    assert (ended.returncode, ended.stderr) == (
        HOPELESS,
        "MOORAGE_WORKERS: 'many' is not a whole number from 1 to 64\n",
    )


@pytest.mark.parametrize("password", ["a", "no-upper-case-1"])
def test_a_weak_password_is_told_in_one_line_before_anything_is_made(tmp_path: Path, password: str):
    ended = moorage("up", data=tmp_path, PASSWORD=password)

    assert ended.returncode == HOPELESS
    assert ended.stderr.startswith("MOORAGE_PASSWORD: a password ")
    assert len(ended.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_lets_nobody_in_is_told_in_one_line_at_the_first_start(tmp_path: Path):
    secret = "hush-hush"
    url = f"s3://bucket?endpoint=http://127.0.0.1:1&access_key_id=key&secret_access_key={secret}"

    ended = moorage("up", data=tmp_path, STORE_URL=url)

    assert ended.returncode == 1
    assert ended.stderr.startswith("MOORAGE_STORE_URL: the store answers: ")
    assert len(ended.stderr.splitlines()) == 1
    assert secret not in ended.stderr


def test_a_bad_master_key_is_told_in_one_line(tmp_path: Path):
    ended = moorage("up", data=tmp_path / "data", MASTER_KEY="short")

    assert ended.returncode == HOPELESS
    assert ended.stderr.startswith("MOORAGE_MASTER_KEY: ")
    assert ended.stderr.count("\n") == 1
    assert "short" not in ended.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["migrate", "--help"]])
def test_small_commands_write_only_what_was_asked(tmp_path: Path, arguments: list[str]):
    ended = moorage(*arguments, data=tmp_path)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout


def test_asking_for_help_imports_no_server():
    heavy = "sqlalchemy uvicorn starlette cryptography"
    code = f"import sys, moorage.__main__; sys.exit(sum(name in sys.modules for name in {heavy!r}.split()))"

    assert subprocess.run([sys.executable, "-c", code], env=environment(Path()), check=False).returncode == 0
