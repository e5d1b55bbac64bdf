"""A real SMTP server, in this process, that keeps what it takes and refuses what it is told to."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


@dataclass
class MailBox:
    """What was taken, and what is refused: an address and the answer that it gets."""

    port: int = 0
    taken: list[EmailMessage] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    signed_in: list[str] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name.
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - as above.
        self.taken.append(BytesParser(EmailMessage, policy=policy.default).parsebytes(envelope.content))
        return "250 taken"

    def sign_in(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
        self.signed_in.append(given.login.decode())
        return AuthResult(success=given.password == b"secret", handled=False)


@contextlib.contextmanager
def mail_server(tls: ssl.SSLContext | None = None, *, asks: bool = False) -> Iterator[MailBox]:
    """Run one; with a TLS context it offers STARTTLS, and with *asks* it takes a password, within TLS or without."""
    box = MailBox()
    controller = Controller(
        box, hostname="127.0.0.1", port=0, tls_context=tls, authenticator=box.sign_in if asks else None,
        auth_require_tls=False, ready_timeout=60,
    )  # fmt: skip
    # The controller asks itself at its port once it listens: any free one is known only then.
    controller.port = _free()
    controller.start()
    box.port = controller.port
    try:
        yield box
    finally:
        controller.stop()


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port
