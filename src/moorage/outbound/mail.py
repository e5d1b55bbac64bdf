"""Mail: one message to one address, through the operator's SMTP server.

smtp://[user:password@]host[:25]            TLS if the server offers it; a password is sent only within TLS
smtp+starttls://[user:password@]host[:587]  TLS or nothing
smtps://[user:password@]host[:465]          TLS from the first byte
"""

from __future__ import annotations

import asyncio
import re
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final
from urllib.parse import unquote, urlsplit

TIMEOUT: Final = 30.0
PORTS: Final = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
SCHEMES: Final = tuple(PORTS)

# One address, with nothing in it that could end a header or begin another address.
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_PERMANENT: Final = 500


class NotSent(Exception):  # it is kept beside the mail, and shown to the operator
    """A mail was not taken: *for_good* says that another try would be no use."""

    def __init__(self, reason: str, *, for_good: bool) -> None:
        """Say why."""
        super().__init__(reason)
        self.for_good = for_good


@dataclass(frozen=True, slots=True)
class Mail:
    """One message to one address."""

    id: str
    to: str
    subject: str
    text: str
    html: str
    language: str


@dataclass(frozen=True, slots=True)
class MailServer:
    """The server that takes the mail."""

    scheme: str
    host: str
    port: int
    sender: str
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: str, sender: str) -> MailServer:
        """Read it from a URL; raise ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError("a mail server is smtp://, smtp+starttls:// or smtps:// and a host")
        if not is_address(sender):
            raise ValueError(f"{sender!r} is no address to send mail from")
        return cls(
            parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme], sender,
            unquote(parts.username or ""), unquote(parts.password or ""),
        )  # fmt: skip

    async def send(self, mail: Mail) -> None:
        """Hand a mail over, or raise NotSent."""
        await asyncio.to_thread(self._send, mail)

    def _send(self, mail: Mail) -> None:
        if not is_address(mail.to):
            raise NotSent(f"{mail.to[:80]!r} is no address", for_good=True)
        try:
            written = message(mail, self.sender)
            with self._connected() as server:
                server.send_message(written, self.sender, [mail.to])
        except smtplib.SMTPRecipientsRefused as refused:
            code, reason = next(iter(refused.recipients.values()))
            raise NotSent(f"{code} {_text(reason)}", for_good=code >= _PERMANENT) from None
        except smtplib.SMTPAuthenticationError as refused:
            # What the operator has to mend: every mail waits for it.
            raise NotSent(
                f"the mail server refused the password: {refused.smtp_code}", for_good=False
            ) from None
        except smtplib.SMTPResponseException as refused:
            raise NotSent(
                f"{refused.smtp_code} {_text(refused.smtp_error)}", for_good=refused.smtp_code >= _PERMANENT
            ) from None
        except (smtplib.SMTPException, OSError) as error:
            raise NotSent(f"the mail server cannot be reached: {error}", for_good=False) from None

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT, context=context)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT)
        try:
            server.ehlo()
            inside = self.scheme == "smtps"
            if not inside and (self.scheme == "smtp+starttls" or server.has_extn("starttls")):
                server.starttls(context=context)
                server.ehlo()
                inside = True
            if self.user:
                if not inside:
                    raise NotSent(
                        "the mail server offers no TLS, and a password is not sent without", for_good=False
                    )
                server.login(self.user, self.password)
        except BaseException:
            server.close()
            raise
        return server


def is_address(text: str) -> bool:
    """Say whether a text is one mail address, and nothing else."""
    return _ADDRESS.fullmatch(text) is not None


def message(mail: Mail, sender: str) -> EmailMessage:
    """Write a mail: text, and a page for those who like that better. Its id is the same at each try."""
    made = EmailMessage(policy=SMTP)
    made["From"] = sender
    made["To"] = mail.to
    made["Subject"] = " ".join(mail.subject.split())
    made["Message-ID"] = f"<{mail.id}@{sender.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    made["Content-Language"] = mail.language
    made.set_content(mail.text)
    made.add_alternative(mail.html, subtype="html")
    return made


def _text(said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return " ".join(text.split())[:300]
