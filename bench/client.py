"""The clients: plain requests to prepare, and raw sockets that cost as little as can be, to measure."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.servers import MANIFEST, Server, tool

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """A file and a tail that makes the whole unlike any other."""

    path: Path
    size: int
    hashed: Any
    tail: bytes = b""

    @property
    def digest(self) -> str:
        """Give the digest of the whole."""
        whole = self.hashed.copy()
        whole.update(self.tail)
        return f"sha256:{whole.hexdigest()}"

    def other(self) -> Content:
        """Give content of the same size that was never sent before."""
        return Content(self.path, self.size, self.hashed, os.urandom(len(self.tail)))


def content(path: Path, size: int, *, tail: int = 16) -> Content:
    """Write a file of random bytes, *tail* bytes short of *size*."""
    block = os.urandom(8 * MIB)
    hashed = hashlib.sha256()
    left = size - tail
    with path.open("wb") as file:
        while left:
            piece = block[: min(left, len(block))]
            file.write(piece)
            hashed.update(piece)
            left -= len(piece)
    return Content(path, size, hashed, os.urandom(tail))


def ask(
    server: Server, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Make one request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, server.headers | named)
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    return answer.status, answer.headers, read


def sign_in(server: Server, *repositories: str) -> None:
    """Get a token for repositories, which every later request shows."""
    if server.credentials is None:
        return
    basic = base64.b64encode(":".join(server.credentials).encode()).decode()
    scopes = "".join(f"&scope=repository:{name}:pull,push" for name in repositories)
    server.headers.pop("Authorization", None)
    path = f"/service/token?service=harbor-registry{scopes}"
    status, _, body = ask(server, "GET", path, Authorization=f"Basic {basic}")
    _expect(status, 200, path, body)
    server.headers["Authorization"] = f"Bearer {json.loads(body)['token']}"


def _expect(status: int, wanted: int, path: str, body: bytes) -> None:
    if status != wanted:
        raise SystemExit(f"{path} was answered {status}, not {wanted}: {body[:500]!r}")


def _head(server: Server, method: str, path: str, *more: str) -> bytes:
    headers = [f"{name}: {value}" for name, value in server.headers.items()]
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *headers, *more, "", ""]
    return "\r\n".join(lines).encode()


def connect(server: Server) -> socket.socket:
    """Open a connection."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=120)


def read_head(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read an answer's head: status, headers, and what came after it."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(65536)
        if not piece:
            raise SystemExit(f"the connection was closed within a head: {got[:500]!r}")
        got += piece
    head, _, rest = got.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, rest


def begin_download(server: Server, path: str) -> socket.socket:
    """Ask for something, and read nothing of the answer."""
    connection = connect(server)
    connection.sendall(_head(server, "GET", path))
    return connection


def download(server: Server, path: str) -> int:
    """Read the whole answer into one buffer and count its bytes."""
    with begin_download(server, path) as connection:
        status, headers, rest = read_head(connection)
        _expect(status, 200, path, rest)
        left = int(headers["content-length"]) - len(rest)
        total, buffer = left + len(rest), bytearray(MIB)
        while left:
            count = connection.recv_into(buffer)
            if not count:
                raise SystemExit(f"{path} was cut, {left} bytes before its end")
            left -= count
    return total


def begin_upload(server: Server, repository: str) -> str:
    """Begin an upload and give its path."""
    path = f"/v2/{repository}/blobs/uploads/"
    status, headers, body = ask(server, "POST", path, b"")
    _expect(status, 202, path, body)
    return _path(headers["location"])


def _path(location: str) -> str:
    parts = urlsplit(location)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def stream(server: Server, upload: str, size: int) -> socket.socket:
    """Announce *size* bytes of an upload, and send none of them."""
    connection = connect(server)
    lines = ("Content-Type: application/octet-stream", f"Content-Length: {size}")
    connection.sendall(_head(server, "PATCH", upload, *lines))
    return connection


def push(server: Server, repository: str, sent: Content) -> int:
    """Push a blob in one PATCH and a PUT, and count its bytes."""
    upload = begin_upload(server, repository)
    with stream(server, upload, sent.size) as connection, sent.path.open("rb") as file:
        connection.sendfile(file)
        connection.sendall(sent.tail)
        status, headers, rest = read_head(connection)
        _expect(status, 202, upload, rest)
    upload = _path(headers["location"])
    path = f"{upload}{'&' if '?' in upload else '?'}digest={sent.digest}"
    status, _, body = ask(server, "PUT", path, b"")
    _expect(status, 201, path, body)
    return sent.size


def push_manifest(server: Server, repository: str, tag: str, layers: list[Content], padding: int) -> bytes:
    """Push a manifest of *layers*, the first its configuration, and give its bytes."""
    described = [
        {"mediaType": "application/octet-stream", "digest": one.digest, "size": one.size} for one in layers
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described[0],
        "layers": described[1:],
        "annotations": {"org.example.padding": "x" * padding},
    }
    body = json.dumps(document).encode()
    path = f"/v2/{repository}/manifests/{tag}"
    status, _, answer = ask(server, "PUT", path, body, Content_Type=MANIFEST)
    _expect(status, 201, path, answer)
    return body


def at_once(count: int, work: Callable[[int], int]) -> tuple[float, int]:
    """Do *work* in *count* threads; give the seconds it took and the sum of what they gave."""
    given: list[int] = []
    threads = [threading.Thread(target=lambda n=n: given.append(work(n))) for n in range(count)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    if len(given) < count:
        raise SystemExit("a client failed; see above")
    return took, sum(given)


def wrk(server: Server, path: str, *, connections: int, seconds: int, script: str = "") -> tuple[float, int]:
    """Ask for the same over and over; give the seconds it took and the answers that came."""
    program = tool("wrk")
    if program is None:
        raise SystemExit("wrk is missing: apt install wrk")
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s"]
    for name, value in server.headers.items():
        command += ["-H", f"{name}: {value}"]
    if script:
        command += ["-s", script]
    done = subprocess.run([*command, server.url + path], capture_output=True, text=True, check=False)
    counted = re.search(r"(\d+) requests in ([\d.]+)(m?s)", done.stdout)
    if counted is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise SystemExit(f"{server.name} did not answer {path} as it should:\n{done.stdout}{done.stderr}")
    return float(counted[2]) / (1000 if counted[3] == "ms" else 1), int(counted[1])
