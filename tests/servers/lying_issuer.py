"""An OpenID provider that does as the standard says, but for what it is told to do otherwise."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from typing_extensions import override

CLIENT, SECRET = "moorage", "issuers-secret"
WELL_KNOWN = "/.well-known/openid-configuration"
BIG = b'{"a": "' + b"a" * (1 << 20) + b'"}'


def _encoded(given: bytes) -> bytes:
    return base64.urlsafe_b64encode(given).rstrip(b"=")


@dataclass
class LyingIssuer:
    """What it is asked, and what it is told to say otherwise; ``None`` in *claims* leaves one out."""

    _rsa: ClassVar[RSAKey] = RSAKey.generate_key(2048, {"kid": "one"})

    port: int = 0
    scheme: str = "http"
    keys: list[Any] = field(default_factory=lambda: [LyingIssuer._rsa])
    published: list[Any] | None = None
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    token: str = ""
    raw: dict[str, bytes] = field(default_factory=dict)
    """What a path is answered whatever is asked."""
    gate: threading.Event | None = None
    """What it waits for before it answers."""
    drips: str = ""
    redirects: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    now: int = 0

    @property
    def issuer(self) -> str:
        """Give its name."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def sign_in(self, url: str, subject: str = "ada", **back: str) -> str:
        """Sign somebody in who was led here, and give where they are led then."""
        asked = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
        code = secrets.token_urlsafe(16)
        self.codes[code] = {**asked, "sub": subject}
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']} | back)}"

    def said(self) -> dict[str, Any]:
        """Give what it says of itself."""
        here = self.issuer
        return {
            "issuer": here, "authorization_endpoint": f"{here}/authorize", "token_endpoint": f"{here}/token",
            "jwks_uri": f"{here}/keys", "userinfo_endpoint": f"{here}/userinfo", **self.metadata,
        }  # fmt: skip

    def redeemed(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Give what a code is redeemed for, once, by who can say the verifier."""
        asked = self.codes.pop(form.get("code", ""), None)
        if (
            asked is None
            or authorization != "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        ):
            return 400, {"error": "invalid_grant", "error_description": "no such code"}
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if challenge != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant", "error_description": "wrong verifier"}
        claims = {
            "iss": self.issuer, "sub": asked["sub"], "aud": CLIENT, "exp": self.now + 300, "iat": self.now,
            "nonce": asked["nonce"], "auth_time": self.now, **self.claims,
        }  # fmt: skip
        told = {name: value for name, value in claims.items() if value is not None}
        token = self.token or self.signed(told)
        return 200, {"access_token": "access", "token_type": "Bearer", "id_token": token, **self.answer}

    def signed(self, claims: dict[str, Any]) -> str:
        """Sign claims with the key of the time."""
        key = self.keys[0]
        header = {"alg": "ES256" if isinstance(key, ECKey) else "RS256", "kid": key.kid} | self.header
        given = {name: value for name, value in header.items() if value is not None}
        if given["alg"] in {"none", "nOnE", "HS256"}:
            told = b".".join(_encoded(json.dumps(one).encode()) for one in (given, claims))
            # The oldest trick: the public key, taken for a shared secret.
            public = LyingIssuer._rsa.as_pem(private=False)
            by = hmac.digest(public, told, "sha256") if given["alg"] == "HS256" else b""
            return b".".join((told, _encoded(by))).decode()
        return jws.serialize_compact(given, json.dumps(claims), key, algorithms=[given["alg"]])

    def keyset(self) -> dict[str, Any]:
        """Publish the keys."""
        if self.published is not None:
            return {"keys": self.published}
        return {"keys": [key.as_dict(private=False) for key in self.keys]}


class _Server(ThreadingHTTPServer):
    here: LyingIssuer
    ended: threading.Event


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self._answer({name: value for name, (value,) in parse_qs(body).items()})

    def _answer(self, form: dict[str, str]) -> None:
        here, path = self.server.here, urlsplit(self.path).path
        here.asked.append((path, form))
        if here.gate is not None:
            here.gate.wait(60)
        if here.drips == path:
            self._drip()
            return
        status, told = (302, {}) if here.redirects else self._told(path, form)
        body = here.raw.get(path) or json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        if here.redirects:
            self.send_header("location", here.redirects)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def _drip(self) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.server.ended.is_set():
                self.wfile.write(b"x-drip: 1\r\n")
                time.sleep(0.05)

    def _told(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        here = self.server.here
        if path == WELL_KNOWN:
            return 200, here.said()
        if path == "/keys":
            return 200, here.keyset()
        if path == "/userinfo":
            return 200, here.userinfo
        return here.redeemed(form, self.headers.get("authorization", ""))

    @override
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def lying_issuer(certificate: Path | None = None) -> Iterator[LyingIssuer]:
    """Run one, within TLS if it has a certificate (with its key)."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.here, server.ended = LyingIssuer(server.server_address[1]), threading.Event()
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.here.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.here
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
