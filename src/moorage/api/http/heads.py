"""The heads of requests: what is read of them, and what is refused.

What a proxy in front might read otherwise than we do is refused, so that no request can be hidden
in another: two lengths, a length and a transfer coding, codings other than chunked, no Host or two,
a target elsewhere than at the Host, two of what may be given once.
"""

from __future__ import annotations

import random
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import httptools
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from uvicorn import Config
    from uvicorn.server import ServerState

    from moorage.api.http.limits import Limits

Fault = tuple[HTTPStatus, str]

TOO_LONG: Fault = (
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "the request's headers are too long",
)
_BAD = HTTPStatus.BAD_REQUEST
# Said twice, they could be read in two ways: by a proxy in front as the one, and here as the other.
_ONCE = frozenset({b"authorization", b"content-range", b"content-type", b"range", b"if-range"})


class Heads(HttpToolsProtocol):
    """The part of a connection that the parser tells of heads."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.limits = limits
        self.in_head = False
        # A head that was read before is being read again.
        self.replaying = False
        # Whether the head began in the piece that is being read, which has `fed` bytes.
        self.begun = False
        self.fed = 0
        self.head_bytes = 0
        self.hosts = 0
        self.length: int | None = None
        self.codings: list[bytes] = []

    @override
    def on_message_begin(self) -> None:
        """Begin to read a request."""
        if self.replaying:
            return
        super().on_message_begin()
        self.in_head = self.begun = True
        self.head_bytes = self.hosts = 0
        self.length = None
        self.codings = []

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers, which come after the head, are dropped."""
        if not self.in_head or self.replaying:
            return
        name = name.lower()
        self.headers.append((name, value))
        if name == b"host":
            self.hosts += 1
        elif name == b"content-length":
            self.length = int(value)
        elif name == b"transfer-encoding":
            self.codings.append(value.strip(b" \t").lower())
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True

    def fault(self, version: str, method: bytes) -> Fault | None:
        """Tell why the head just read is refused; None if it is not."""
        return (
            self._fault_of_size()
            or self._fault_of_framing(version)
            or self._fault_of_doubles()
            or self._fault_of_target(method)
        )

    def _fault_of_size(self) -> Fault | None:
        limits = self.limits
        if len(self.headers) > limits.head_fields:
            return TOO_LONG[0], f"more than {limits.head_fields} headers"
        if self.head_bytes + self.fed > limits.head_bytes and self._head_size() > limits.head_bytes:
            return TOO_LONG
        if len(self.pipeline) >= limits.pipelined:
            return HTTPStatus.TOO_MANY_REQUESTS, "too many requests wait on this connection"
        return None

    def _fault_of_framing(self, version: str) -> Fault | None:
        if version not in {"1.1", "1.0"}:
            return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here"
        if self.hosts != 1 and (self.hosts or version == "1.1"):
            return _BAD, "a request names one Host"
        if not self.codings:
            return None
        if self.length is not None or version == "1.0":
            return _BAD, "the body's length is given in two ways"
        if self.codings != [b"chunked"]:
            return HTTPStatus.NOT_IMPLEMENTED, "chunked is the only transfer coding known"
        return None

    def _fault_of_doubles(self) -> Fault | None:
        names = [name for name, _ in self.headers]
        if len(set(names)) == len(names):
            return None
        twice = next((name for name in names if name in _ONCE and names.count(name) > 1), None)
        return None if twice is None else (_BAD, f"a request has one {twice.decode().title()} header")

    def _fault_of_target(self, method: bytes) -> Fault | None:
        if method == b"CONNECT":
            return _BAD, "this is no proxy"
        if self.url.startswith((b"/", b"*")):
            return None
        # The absolute form: it wins over Host in a proxy, and loses here, so they must agree.
        authority = self.url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
        hosts = [value for name, value in self.headers if name == b"host"]
        if [authority.lower()] != [host.lower() for host in hosts]:
            return _BAD, "the request's target and its Host differ"
        return None

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def describe(self, version: str, method: bytes) -> None:
        """Put the head's first line into the scope."""
        url = httptools.parse_url(self.url)
        raw_path = url.path
        path = raw_path.decode("ascii")
        scope = cast("dict[str, Any]", self.scope)
        scope["method"] = method.decode("ascii")
        scope["http_version"] = version
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = url.query or b""

    def without_offer(self, method: bytes) -> bytes:
        """Write the head just read, without its offer of another protocol."""
        lines = [b"%b %b HTTP/1.1\r\n" % (method, self.url)]
        for name, value in self.headers:
            if name == b"connection":
                lines.append(b"connection: close\r\n" if b"close" in value.lower() else b"")
            elif name != b"upgrade":
                lines.append(b"%b: %b\r\n" % (name, value))
        return b"".join([*lines, b"\r\n"])


def refusal(fault: Fault, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write the answer to what cannot be read, which is the connection's last."""
    status, text = fault
    content = f"{text}\n".encode()
    return b"".join(
        [
            b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()),
            *[b"%b: %b\r\n" % header for header in headers],
            b"x-request-id: %016x\r\n" % random.getrandbits(64),
            b"content-type: text/plain; charset=utf-8\r\n",
            b"content-length: %d\r\nconnection: close\r\n\r\n" % len(content),
            content,
        ]
    )
