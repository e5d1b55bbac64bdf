"""The signature of a request, computed as the provider's SDKs compute it.

``$1$`` and the SHA-1 of application secret, consumer key, method, URL, body and time, with ``+`` between them. The URL is
the one that the client's caller typed, scheme and host included, so it is rebuilt here: a proxy that the operator trusts
has been heard already (``api.forwarded``), and what an HTTP client changes on its way to the wire is tried both ways.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Self

from starlette.types import Scope

from moorage.errors import Problem

SKEW: Final = 300
"""Seconds that a request's time may be away from ours. The SDKs ask for our time first, so theirs is no more than late."""

_VERSION: Final = "$1$"
_SIGNATURE = re.compile(r"\$1\$[0-9a-f]{40}")
_TIME = re.compile(r"[0-9]{1,12}")
_NAMES = (b"x-ovh-application", b"x-ovh-consumer", b"x-ovh-timestamp", b"x-ovh-signature")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_ESCAPED = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
# What divides a URL stays escaped: unescaped, it would be another URL. So does a percent sign, which is an escape's own.
_DIVIDERS = frozenset(b"%/?#[]@!$&'()*+,;=:")


class SignatureMissing(Problem):
    """A call that must be signed is not, or not wholly."""

    code, status, summary = "NOT_CREDENTIAL", 403, "this call has to be signed"


class SignatureInvalid(Problem):
    """The signature is not that of this request."""

    code, status, summary = "INVALID_SIGNATURE", 400, "the signature is not this request's"


class SignatureLate(Problem):
    """The request was signed too long ago, or for a time that has not come."""

    code, status, summary = "QUERY_TIME_OUT", 400, "the request's time is too far from the server's"


@dataclass(frozen=True, slots=True)
class Signed:
    """What a client says of a request that it has signed."""

    application: str
    consumer: str = field(repr=False)
    time: int
    signature: str = field(repr=False)

    @classmethod
    def read(cls, scope: Scope) -> Self:
        """Read it from the headers, or raise SignatureMissing or SignatureInvalid."""
        given = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _NAMES}
        missing = [name.decode().title() for name in _NAMES if not given.get(name)]
        if missing:
            raise SignatureMissing(f"this call has to be signed: {', '.join(missing)} missing")
        application, consumer, time, signature = (given[name] for name in _NAMES)
        if not _TIME.fullmatch(time):
            raise SignatureInvalid("X-Ovh-Timestamp is a time in seconds since 1970")
        if not _SIGNATURE.fullmatch(signature):
            raise SignatureInvalid("X-Ovh-Signature is $1$ and 40 lower-case hexadecimal digits")
        return cls(application, consumer, int(time), signature)

    @property
    def hash(self) -> bytes:
        """Give what the signature is remembered by."""
        return hashlib.sha256(self.signature.encode()).digest()

    def check(self, secret: str, scope: Scope, body: bytes) -> None:
        """Raise SignatureInvalid, which tells the URL that was looked for, unless it is this request's."""
        right = False
        for url in urls(scope):
            wanted = sign(secret, self.consumer, scope["method"], url, body, self.time)
            right |= hmac.compare_digest(wanted.encode(), self.signature.encode())
        if not right:
            seen = next(urls(scope))
            raise SignatureInvalid(
                f"the signature is not that of {scope['method']} {seen} with this body and time:"
                " check the application secret, the consumer key, and that the endpoint is the address that is called"
            )

    def check_time(self, now: int) -> None:
        """Raise SignatureLate unless the request was signed about *now* (microseconds)."""
        away = now // 1_000_000 - self.time
        if abs(away) > SKEW:
            told = f"{abs(away)} seconds {'behind' if away > 0 else 'ahead of'} the server's time"
            raise SignatureLate(
                f"X-Ovh-Timestamp is {told}, and {SKEW} are allowed: ask GET /auth/time for it"
            )


def sign(secret: str, consumer: str, method: str, url: str, body: bytes, time: int) -> str:
    """Compute a request's signature."""
    parts = (secret, consumer, method, url)
    text = b"+".join([*(part.encode("utf-8", "surrogateescape") for part in parts), body, str(time).encode()])
    # SHA-1 is what every SDK computes. It stands between two secrets, where its collisions help nobody.
    return _VERSION + hashlib.sha1(text, usedforsecurity=False).hexdigest()


def urls(scope: Scope) -> Iterator[str]:
    """Give the URLs that a client may have been told to call; the first is the one on the wire.

    HTTP clients drop the default port, and escape what must not stand in a request: a caller may have typed either.
    """
    origin = scope["scheme"] + "://" + _host(scope)
    port = _DEFAULT_PORTS.get(scope["scheme"], "")
    target: bytes = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    typed = _ESCAPED.sub(_unescaped, target)
    for each in [target] if typed == target else [target, typed]:
        text = each.decode("utf-8", "surrogateescape")
        yield origin + text
        if not re.search(r":\d+$", origin.partition("://")[2]):
            yield origin + port + text


def _host(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")


def _unescaped(found: re.Match[bytes]) -> bytes:
    """Unescape a run of escapes, but for what divides a URL."""
    escapes = [found[0][place : place + 3] for place in range(0, len(found[0]), 3)]
    octets = [int(escape[1:], 16) for escape in escapes]
    return b"".join(
        escape if octet in _DIVIDERS else bytes([octet])
        for escape, octet in zip(escapes, octets, strict=True)
    )
