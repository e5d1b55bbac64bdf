"""Commands beside a house that runs: they find its settings in its data folder, and nobody else does."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from moorage import running
from tests.conformance.site import digest_of
from tests.servers.house import House, environment, house
from tests.servers.ports import reserved
from tests.servers.processes import standing_still, until_gone
from tests.worlds import PASSWORD

SECRET = "A secret that only the environment has 7"
COMMAND = [sys.executable, "-m", "moorage"]


@dataclass(frozen=True)
class Neighbour:
    """A house, and a second terminal in which only its data folder is known."""

    up: House
    data: Path

    def moorage(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        return bare(*arguments, DATA=str(self.data), **settings)


def bare(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command with no settings but these."""
    return bare_in(None, *arguments, **settings)


def bare_in(folder: Path | None, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with no settings but these."""
    kept = {k: v for k, v in environment(Path()).items() if not k.startswith("MOORAGE_")}
    given = {**kept, **{f"MOORAGE_{name}": value for name, value in settings.items()}}
    return subprocess.run(
        [*COMMAND, *arguments], env=given, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def told(made: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Read what `registry create` writes."""
    assert made.returncode == 0, made.stderr
    return dict(line.split(maxsplit=1) for line in made.stdout.splitlines() if line.strip())


@pytest.fixture(scope="module", params=["sqlite-posix", "postgres-s3"])
def neighbour(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Neighbour]:
    """Run a house whose settings are all its own, in a folder whose path is too long for a socket's address."""
    data = tmp_path_factory.mktemp("running") / ("long" * 30)
    given = {"PASSWORD": PASSWORD}
    if request.param == "postgres-s3":
        given["DATABASE_URL"] = request.getfixturevalue("postgres_server").cell()
        given["STORE_URL"] = request.getfixturevalue("seaweedfs").url("neighbour")
        given["MASTER_KEY"] = bytes(range(32)).hex()
    with reserved(8) as ports:
        names = ("REGISTRY_PORT", "CONSOLE_PORT", "OPS_PORT")
        # The console's port is the next after the registry's, which a further registry would take.
        given |= {name: str(port) for name, port in zip(names, ports, strict=False)}
        with house(data, **given) as up:
            # An object store's bucket may come to be with its first object.
            pushed = httpx.post(
                f"{up.registry}/v2/library/app/blobs/uploads/",
                params={"digest": digest_of(b"layer")},
                content=b"layer",
                auth=("admin", PASSWORD),
                timeout=60,
            )
            assert pushed.status_code == 201
            yield Neighbour(up, data)


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbour]:
    """Run a house whose registries have host names, with a secret that only its environment has."""
    data = tmp_path_factory.mktemp("named")
    given = {"PASSWORD": SECRET, "REDIS_URL": "redis://:hidden@127.0.0.1:1/0"}
    with house(data, DOMAIN="moorage.test", REGION="here", **given) as up:
        yield Neighbour(up, data)


def test_a_registry_made_in_another_terminal_answers_at_the_address_that_it_says(neighbour: Neighbour):
    words = told(neighbour.moorage("registry", "create", "second"))

    answer = httpx.get(f"http://{words['Address']}/v2/", auth=(words["User"], words["Password"]))
    assert answer.status_code == 200
    assert httpx.get(f"http://{words['Address']}/v2/", auth=("admin", PASSWORD)).status_code == 401
    assert words["docker"] == f"login --username admin {words['Address']}"
    assert int(words["Address"].rpartition(":")[2]) not in neighbour.up.ports.values()


def test_the_list_has_the_addresses_of_the_house(neighbour: Neighbour):
    listed = neighbour.moorage("registry", "list")

    first = next(line.split("\t") for line in listed.stdout.splitlines())
    assert (first[0], first[3]) == ("first", f"localhost:{neighbour.up.ports['Registry']}")


@pytest.mark.parametrize("arguments", [["fsck"], ["collect"], ["migrate"]])
def test_other_commands_work_on_the_house_too(neighbour: Neighbour, arguments: list[str]):
    ended = neighbour.moorage(*arguments)

    assert (ended.stderr, ended.returncode) == ("", 0)
    assert ("first" in ended.stdout) == (arguments != ["migrate"])


def test_a_copy_is_of_the_house(neighbour: Neighbour, tmp_path: Path):
    copied = neighbour.moorage("copy", str(tmp_path / "copy"))

    assert copied.returncode == 0, copied.stderr
    assert " 1 blobs (5 bytes) " in copied.stdout
    assert not (tmp_path / "copy" / running.SOCKET).exists()


def test_what_is_set_for_a_command_comes_before_what_the_house_has(neighbour: Neighbour):
    refused = neighbour.moorage("registry", "list", STORE_URL="file:relative")

    assert refused.returncode != 0
    assert "MOORAGE_STORE_URL" in refused.stderr


def test_the_socket_is_the_users_own_and_tells_neither_password_nor_folder(neighbour: Neighbour):
    state = (neighbour.data / running.SOCKET).stat()
    settings = running.settings_of(neighbour.data)

    assert stat.S_ISSOCK(state.st_mode)
    assert stat.S_IMODE(state.st_mode) == 0o600
    assert settings["MOORAGE_REGISTRY_PORT"] == str(neighbour.up.ports["Registry"])
    assert not {"MOORAGE_PASSWORD", "MOORAGE_DATA", "MOORAGE_LOG_LEVEL"} & settings.keys()


def test_no_file_of_the_folder_holds_what_only_the_environment_had(named: Neighbour):
    assert "hidden" in running.settings_of(named.data)["MOORAGE_REDIS_URL"]

    for path in named.data.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()
            assert b"hidden" not in path.read_bytes()


def test_another_user_is_not_told(named: Neighbour):
    if os.getuid() != 0:
        pytest.skip("the right to become another user is missing")
    asking = """
import os, socket, sys
os.setuid(65534)
with socket.socket(socket.AF_UNIX) as asking:
    asking.connect("house.socket")
    sys.stdout.buffer.write(asking.recv(100))
"""
    named.data.chmod(0o755)
    (named.data / running.SOCKET).chmod(0o666)
    asked = subprocess.run(
        [sys.executable, "-c", asking], cwd=named.data, capture_output=True, timeout=60, check=True
    )

    assert asked.stdout == b""


def test_a_house_of_another_user_is_left_alone(tmp_path: Path):
    if os.getuid() != 0:
        pytest.skip("the right to become another user is missing")
    listening = """
import os, socket, sys
os.setuid(65534)
server = socket.socket(socket.AF_UNIX)
server.bind("house.socket")
server.listen()
print("listens", flush=True)
server.accept()[0].recv(1)
"""
    tmp_path.chmod(0o777)
    with subprocess.Popen([sys.executable, "-c", listening], cwd=tmp_path, stdout=subprocess.PIPE) as theirs:
        assert theirs.stdout is not None
        theirs.stdout.readline()
        refused = bare("registry", "create", "mine", DATA=str(tmp_path))

    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "user 65534 runs: run this as that user" in refused.stderr


def test_where_no_house_is_the_folder_is_named_and_nothing_is_made(tmp_path: Path):
    refused = bare_in(tmp_path, "registry", "create", "x")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"there is no house in {tmp_path / 'data'}" in refused.stderr
    assert "MOORAGE_DATA" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_has_one_house_whatever_ports_another_is_given(named: Neighbour):
    second = bare("up", DATA=str(named.data), REGISTRY_PORT="0", CONSOLE_PORT="0", OPS_PORT="0")

    assert (second.returncode, second.stdout) == (1, "")
    assert (
        second.stderr
        == f"a house runs in {named.data} already: stop it, or set MOORAGE_DATA to another folder\n"
    )
    assert named.moorage("registry", "list").returncode == 0


def test_nothing_is_done_beside_a_house_that_stands_still(named: Neighbour, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(running, "PATIENCE", 0.2)
    with (
        standing_still(named.up.process.pid),
        pytest.raises(running.CannotAsk, match="does not answer"),
    ):
        running.settings_of(named.data)


def test_a_folder_that_another_user_may_not_look_into_is_named(tmp_path: Path):
    if os.getuid() != 0:
        pytest.skip("the right to become another user is missing")
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o700)
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            running.settings_of(kept)
        except running.CannotAsk as refused:
            os._exit(0 if "may not look into it" in str(refused) else 2)
        os._exit(1)

    assert os.waitpid(child, 0)[1] == 0


def test_a_house_that_was_killed_is_none_and_its_files_are_worked_on(tmp_path: Path):
    with house(tmp_path) as up:
        children = up.children()
        up.process.send_signal(signal.SIGKILL)
        up.process.wait()
        until_gone(children)
    assert (tmp_path / running.SOCKET).exists()

    words = told(bare("registry", "create", "second", DATA=str(tmp_path)))

    assert "house runs" in words["It"]
    with house(tmp_path):
        assert running.settings_of(tmp_path)
    assert not (tmp_path / running.SOCKET).exists()


def test_who_says_half_of_it_has_said_nothing(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / running.SOCKET))
        server.listen()
        child = os.fork()
        if child == 0:
            connection, _ = server.accept()
            connection.send(b'{"MOORAGE_REGISTRY_PORT": "50')
            os._exit(0)

        assert running.settings_of(tmp_path) == {}
        os.waitpid(child, 0)


def test_with_a_domain_the_new_registrys_address_is_its_host_name(named: Neighbour):
    words = told(named.moorage("registry", "create", "second"))

    port = named.up.ports["Registry"]
    assert words["Address"].endswith(f".here.moorage.test:{port}")
    answer = httpx.get(
        f"http://127.0.0.1:{port}/v2/",
        headers={"host": words["Address"]},
        auth=("admin", words["Password"]),
        timeout=60,
    )
    assert answer.status_code == 200
