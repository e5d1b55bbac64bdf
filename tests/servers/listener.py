"""A real HTTP server that keeps what is posted to it, and answers as it is told."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Listener:
    """What came: path, headers and body; and the statuses that are answered next, 200 after them."""

    port: int = 0
    came: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    location: str = ""
    drips: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?a=b"


@contextlib.contextmanager
def listener() -> Iterator[Listener]:
    """Run one."""
    here, ended = Listener(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            here.came.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            if here.drips:
                with contextlib.suppress(OSError):
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                    while not ended.is_set():
                        self.wfile.write(b"x-drip: 1\r\n")
                        time.sleep(0.05)
                return
            self.send_response(here.answers.pop(0) if here.answers else 200)
            if here.location:
                self.send_header("location", here.location)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield here
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
