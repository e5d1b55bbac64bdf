"""Problems, written the way each caller expects: OCI, Harbor, cloud, or a page.

Each writer takes any exception. What is not a Problem is ours, and a 5xx says no more than its
summary and the request id, by which operators find the rest in the log.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Receive, Scope, Send

from moorage.errors import Problem

LOG = logging.getLogger(__name__)

Header = tuple[bytes, bytes]

TEXT_LIMIT = 2000
WARNING_LIMIT = 4096
SERVER_ERROR = 500
INTERNAL = "internal error: please tell the registry's operator the request id"

# What docker prints to a terminal must not move its cursor, and what a browser shows must not
# change its direction; half a surrogate pair cannot be written at all.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NOT_IN_HEADERS = re.compile(r"[^\x20-\x7e]")
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9._:/+=-]")
_TOKEN = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response. It is an ASGI application, so Starlette can return it as it is."""

    status: int
    headers: list[Header]
    body: bytes

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Send the response; to HEAD, without its body but with its length."""
        body = b"" if scope.get("method") == "HEAD" else self.body
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": body})


def oci(problem: Exception, request_id: str, *, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Write a problem as the distribution spec has it (spec.md#error-codes)."""
    status, code, message = _seen(problem)
    detail = problem.detail if isinstance(problem, Problem) and status < SERVER_ERROR else {}
    error = {
        "code": code,
        # docker prints nothing but the message, so the request id has to be in it.
        "message": f"{message} (request {_id(request_id)})",
        "detail": _plain(detail),
    }
    version = ("docker-distribution-api-version", "registry/2.0")
    return _json({"errors": [error]}, problem, request_id, [version, *headers])


def harbor(problem: Exception, request_id: str, *, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Write a problem as Harbor's API does: compact, and with a line end."""
    status, code, message = _seen(problem)
    code = _HARBOR_BY_STATUS.get(status) or _HARBOR_CODES.get(code, code)
    code = "UNKNOWN" if status >= SERVER_ERROR else code
    error = {"code": code, "message": f"{message} (request {_id(request_id)})"}
    return _json({"errors": [error]}, problem, request_id, headers, end=b"\n")


def cloud(problem: Exception, request_id: str, *, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Write a problem as the provider's API does: a class by the status, the query id, and facts that are all text.

    SDKs tell by ``errorCode`` what is wrong with the credential that a call was signed with.
    """
    status, code, message = _seen(problem)
    side = "Server" if status >= SERVER_ERROR else "Client"
    error: dict[str, object] = {"class": f"{side}::{_class(status)}", "message": message}
    if code in _SIGNING:
        error |= {"errorCode": code, "httpCode": f"{status} {HTTPStatus(status).phrase}"}
    if isinstance(problem, Problem) and problem.detail and status < SERVER_ERROR:
        error["details"] = {_text(name): _fact(value) for name, value in problem.detail.items()}
    query = ("x-ovh-queryid", _id(request_id))
    return _json(error, problem, request_id, [query, *headers])


def page(problem: Exception, request_id: str, *, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Write a problem as plain text, for a person at a browser."""
    status, _, message = _seen(problem)
    text = f"{status} {HTTPStatus(status).phrase}\n\n{message}\n\nRequest {_id(request_id)}\n"
    return _answer(text.encode(), "text/plain; charset=utf-8", problem, request_id, headers)


def header(name: str, value: str) -> Header:
    """Make one header; whatever could end it or begin another becomes a question mark."""
    if _TOKEN.fullmatch(name) is None:
        message = f"not a lower-case header name: {name!r}"
        raise ValueError(message)
    return name.encode(), _NOT_IN_HEADERS.sub("?", value).encode()


def warnings(texts: Iterable[str]) -> list[Header]:
    """Make ``Warning: 299 - "…"`` headers (spec.md#warnings), at most 4096 bytes in all.

    The text that does not fit is cut, and those after it are dropped.
    """
    made: list[Header] = []
    room = WARNING_LIMIT
    for text in texts:
        pieces = [f"\\{one}" if one in '"\\' else one for one in _NOT_IN_HEADERS.sub("?", text)]
        room -= len('299 - ""')
        kept: list[str] = []
        for piece in pieces:
            room -= len(piece)
            if room < 0:
                break
            kept.append(piece)
        if kept:
            made.append(header("warning", f'299 - "{"".join(kept)}"'))
        if room <= 0:
            break
    return made


_HARBOR_CODES = {
    "NAME_INVALID": "BAD_REQUEST",
    "TAG_INVALID": "BAD_REQUEST",
    "RANGE_INVALID": "BAD_REQUEST",
    "PAGINATION_NUMBER_INVALID": "BAD_REQUEST",
    "BLOB_UPLOAD_INVALID": "BAD_REQUEST",
    "MANIFEST_BLOB_UNKNOWN": "BAD_REQUEST",
    "SIZE_INVALID": "BAD_REQUEST",
    "BLOB_UNKNOWN": "NOT_FOUND",
    "BLOB_UPLOAD_UNKNOWN": "NOT_FOUND",
    "MANIFEST_UNKNOWN": "NOT_FOUND",
    "NAME_UNKNOWN": "NOT_FOUND",
    "DENIED": "FORBIDDEN",
    "TOOMANYREQUESTS": "TOO_MANY_REQUEST",
}
_SIGNING = frozenset(
    {
        "FORBIDDEN",
        "INVALID_CREDENTIAL",
        "INVALID_KEY",
        "INVALID_SIGNATURE",
        "NOT_CREDENTIAL",
        "NOT_GRANTED_CALL",
        "QUERY_REPLAYED",
        "QUERY_TIME_OUT",
    }
)
_HARBOR_BY_STATUS = {405: "METHOD_NOT_ALLOWED", 409: "CONFLICT", 413: "REQUEST_ENTITY_TOO_LARGE"}


def _seen(problem: Exception) -> tuple[int, str, str]:
    """Give the status, code and text that a caller may see."""
    if not isinstance(problem, Problem):
        return SERVER_ERROR, "UNKNOWN", INTERNAL
    text = problem.summary if problem.status >= SERVER_ERROR else str(problem)
    return problem.status, problem.code, _text(text)


def _class(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")


def _json(
    content: object,
    problem: Exception,
    request_id: str,
    headers: Iterable[tuple[str, str]],
    *,
    end: bytes = b"",
) -> Answer:
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + end
    return _answer(body, "application/json", problem, request_id, headers)


def _answer(
    body: bytes,
    content_type: str,
    problem: Exception,
    request_id: str,
    headers: Iterable[tuple[str, str]],
) -> Answer:
    own = problem.headers() if isinstance(problem, Problem) else []
    every = [
        ("content-type", content_type),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-request-id", _id(request_id)),
        *own,
        *headers,
    ]
    status = problem.status if isinstance(problem, Problem) else SERVER_ERROR
    if status >= SERVER_ERROR and isinstance(problem, Problem):
        # The caller is told no more than the summary; what is no Problem is logged where it is caught.
        LOG.warning("answered %d: %s", status, problem)
    return Answer(status, [header(name, value) for name, value in every], body)


def _id(request_id: str) -> str:
    return _NOT_IN_IDS.sub("", request_id)[:128] or "-"


def _text(text: str) -> str:
    cut = text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]}…"
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", cut)


def _fact(value: object) -> str:
    """Write a fact as text: an SDK reads these as a map of texts, and any other makes it lose the message."""
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _plain(value: object, depth: int = 4) -> object:
    """Make a value JSON, short enough to answer, with nothing unprintable in it."""
    if value is None or isinstance(value, bool | int):
        return value
    if depth and isinstance(value, Mapping):
        return {_text(str(name)): _plain(one, depth - 1) for name, one in value.items()}
    if depth and isinstance(value, list | tuple):
        return [_plain(one, depth - 1) for one in value[:100]]
    return _text(str(value))
