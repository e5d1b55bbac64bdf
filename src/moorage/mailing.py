"""The commands of the outbox of mails, done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage import starting
from moorage.cli.commands import say

if TYPE_CHECKING:
    from moorage.parts import Parts


class Mailed:
    """These commands; each gives the status to exit with."""

    def list_mails(self) -> int:
        """List the latest mails, and what became of each."""
        from moorage.cloud import mails

        async def main(parts: Parts) -> None:
            for one in await mails.listed(parts.platform):
                say(f"{one.id}\t{one.state}\t{one.tries}\t{one.address}\t{one.subject}\t{one.error}\n")

        return starting.on_platform(main)

    def show_mail(self, mail: str) -> int:
        """Write a mail."""
        from moorage.cloud import mails

        async def main(parts: Parts) -> None:
            found = await mails.find(parts.platform, mail)
            if found is None:
                _unknown(mail)
            else:
                say(f"To: {found.address}\nSubject: {found.subject}\n\n{found.text}")

        return starting.on_platform(main)

    def retry_mail(self, mail: str) -> int:
        """Have a mail tried anew."""
        from moorage.cloud import mails

        async def main(parts: Parts) -> None:
            if not await mails.retry(parts.platform, mail):
                _unknown(mail)

        return starting.on_platform(main)


def _unknown(mail: str) -> None:
    starting.give_up(f"no mail {mail} waits or was given up: moorage mail list shows them", 1)
