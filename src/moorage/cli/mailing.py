"""The commands of the outbox of mails: what waits there, what was given up and why, and another try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from moorage.cli.commands import Commands


class Mailing(Protocol):
    """What these commands do; each gives the status to exit with."""

    def list_mails(self) -> int:
        """List the latest mails, and what became of each."""
        ...

    def show_mail(self, mail: str) -> int:
        """Write a mail."""
        ...

    def retry_mail(self, mail: str) -> int:
        """Have a mail tried anew."""
        ...


def add(commands: Commands) -> None:
    """Add the commands."""
    mail = commands.add_parser(
        "mail",
        help="see the mails that wait, and those that nobody took",
        description="See the outbox of mails. Without MOORAGE_SMTP_URL they wait in it.",
    )
    verbs = mail.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listed = verbs.add_parser(
        "list",
        help="list the latest mails",
        description="List the latest hundred mails: id, state, tries, address, subject, and why one was not taken.",
    )
    listed.set_defaults(run=lambda server, _: server.list_mails())
    show = verbs.add_parser("show", help="write a mail", description="Write a mail as text.")
    retry = verbs.add_parser(
        "retry",
        help="have a mail tried anew",
        description="Have a mail that waits, or was given up, tried anew at once.",
    )
    for one in (show, retry):
        one.add_argument("mail", metavar="ID", help="the mail's id")
    show.set_defaults(run=lambda server, given: server.show_mail(given.mail))
    retry.set_defaults(run=lambda server, given: server.retry_mail(given.mail))
