"""The commands that let an account's people in again, where what they sign in with is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from moorage.cli.commands import Commands


class Admitting(Protocol):
    """What these commands do; each gives the status to exit with."""

    def remove_factor(self, user: str, reason: str) -> int:
        """Ask a user for codes no more."""
        ...


def add(commands: Commands) -> None:
    """Add the commands."""
    user = commands.add_parser(
        "user",
        help="let a user of an account in again",
        description="Let a user of an account in again.",
    )
    verbs = user.add_subparsers(title="commands", metavar="COMMAND", required=True)
    remove = verbs.add_parser(
        "remove-second-factor",
        help="ask a user who has lost authenticator and recovery codes for codes no more",
        description="Ask a user who has lost authenticator and recovery codes for codes no more; the password is asked for as"
        " before. It is for the last who administers an account: any other is helped by one who does. It stands in the record"
        " and in the ledger, and the user and all who administer the account are told by mail.",
    )
    remove.add_argument("user", metavar="USER", help="the user, as account/user")
    remove.add_argument("--reason", required=True, metavar="TEXT", help="why; the customer reads it")
    remove.set_defaults(run=lambda server, given: server.remove_factor(given.user, given.reason))
