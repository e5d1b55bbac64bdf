"""Real proxies for the tests: Debian's nginx and HAProxy, set up by the very lines that docs/how-to shows."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "tls-and-proxies.md"
SHOWN_ADDRESS = "127.0.0.1:5000"
BLANKING = re.compile(r'^.*(?:del-header .*|"";)\n', re.MULTILINE)
SECONDS = 30

NGINX = """\
daemon off; worker_processes 1; error_log stderr error; pid {folder}/pid; {user}
events {{}}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port};
{shown}
  }}
}}
"""
HAPROXY = """\
defaults
    mode http
    timeout connect 10s
    timeout client 900s
frontend all
    bind fd@{descriptor}
    default_backend moorage
{shown}
"""

Command = Callable[[str, Path, socket.socket, str], list[str]]


def _nginx(program: str, folder: Path, listening: socket.socket, shown: str) -> list[str]:
    user = "user root;" if os.geteuid() == 0 else ""
    port = listening.getsockname()[1]
    (folder / "conf").write_text(NGINX.format(folder=folder, user=user, port=port, shown=shown))
    return [program, "-c", str(folder / "conf"), "-p", str(folder)]


def _haproxy(program: str, folder: Path, listening: socket.socket, shown: str) -> list[str]:
    (folder / "conf").write_text(HAPROXY.format(descriptor=listening.fileno(), shown=shown))
    return [program, "-db", "-f", str(folder / "conf")]


PROXIES: dict[str, Command] = {"nginx": _nginx, "haproxy": _haproxy}


@contextmanager
def proxy(name: str, registry_port: int, *, blanking: bool = True) -> Iterator[str]:
    """Run a proxy as the page shows it before a registry plane until the block ends, and give its address.

    It may leave out the lines that blank headers which it does not set.
    """
    program = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
    if program is None:
        pytest.skip(f"Debian's package {name} is missing: .ci/run installs it")
    found = re.search(rf"^```{name}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    assert SHOWN_ADDRESS in found[1]
    shown = found[1].replace(SHOWN_ADDRESS, f"127.0.0.1:{registry_port}")
    if not blanking:
        shown, blanked = BLANKING.subn("", shown)
        assert blanked == 2
    folder = Path(tempfile.mkdtemp(prefix=f"moorage-{name}-"))
    # It is handed a socket that listens already, so whoever comes before it runs waits for it.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        kept = listening.fileno()
        command = PROXIES[name](program, folder, listening, shown)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        process = subprocess.Popen(command, pass_fds=[kept], env={**os.environ, "NGINX": f"{kept};"})
        try:
            yield address
        finally:
            process.terminate()
            process.wait(SECONDS)
            shutil.rmtree(folder)
