"""The commands of the provider's people: who they are, and how they enter a registry's content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import argparse

    from moorage.cli.commands import Commands


class Operating(Protocol):
    """What these commands do; each gives the status to exit with."""

    def create_operator(self, name: str) -> int:
        """Make an operator."""
        ...

    def list_operators(self) -> int:
        """List the operators."""
        ...

    def disable_operator(self, name: str) -> int:
        """Let an operator sign in no more, and end all their grants."""
        ...

    def ask_grant(self, registry: str, operator: str, reason: str, scope: str, hours: int) -> int:
        """Ask for entry into a registry's content."""
        ...

    def approve_grant(self, grant: str, operator: str) -> int:
        """Approve another operator's grant."""
        ...

    def open_grant(self, grant: str, operator: str) -> int:
        """Enter by a grant: print what signs in to the registry."""
        ...

    def end_grant(self, grant: str, operator: str) -> int:
        """End a grant."""
        ...

    def list_grants(self) -> int:
        """List the grants."""
        ...


def add(commands: Commands) -> None:
    """Add the commands."""
    _add_operators(commands)
    grant = commands.add_parser(
        "grant",
        help="enter a registry's content, by a grant that its customer sees",
        description="Enter a registry's content, by a grant that its customer sees and that ends by itself. The operator's"
        " password is asked for, or read from the standard input.",
    )
    verbs = grant.add_subparsers(title="commands", metavar="COMMAND", required=True)
    ask = _one(verbs, "ask", "ask for entry into a registry's content", "REGISTRY", "the registry's id")
    ask.add_argument("--reason", required=True, metavar="TEXT", help="why; the customer reads it")
    ask.add_argument(
        "--scope", default="*", metavar="PROJECT", help="one project of the registry; all without it"
    )
    ask.add_argument(
        "--hours", type=int, default=1, metavar="N", help="how long, 1 to 72 hours from now; 1 without it"
    )
    ask.set_defaults(
        run=lambda server, given: server.ask_grant(
            given.what, given.operator, given.reason, given.scope, given.hours
        )
    )
    approve = _one(verbs, "approve", "approve another operator's grant", "GRANT", "the grant's id")
    approve.set_defaults(run=lambda server, given: server.approve_grant(given.what, given.operator))
    enter = _one(
        verbs, "open", "print, once, what signs in to the registry by a grant", "GRANT", "the grant's id"
    )
    enter.set_defaults(run=lambda server, given: server.open_grant(given.what, given.operator))
    end = _one(verbs, "end", "end a grant before its time", "GRANT", "the grant's id")
    end.set_defaults(run=lambda server, given: server.end_grant(given.what, given.operator))
    listed = verbs.add_parser(
        "list", help="list the grants", description="List the grants, the latest first."
    )
    listed.set_defaults(run=lambda server, _: server.list_grants())


def _add_operators(commands: Commands) -> None:
    operator = commands.add_parser(
        "operator",
        help="make and list the provider's people",
        description="Make and list the provider's people. They are no users: they enter a registry by a grant alone.",
    )
    verbs = operator.add_subparsers(title="commands", metavar="COMMAND", required=True)
    create = verbs.add_parser(
        "create", help="make an operator", description="Make an operator. The password is printed once."
    )
    create.add_argument("name", metavar="NAME", help="what the operator is called, also to customers")
    create.set_defaults(run=lambda server, given: server.create_operator(given.name))
    disable = verbs.add_parser(
        "disable",
        help="let an operator sign in no more",
        description="Let an operator sign in no more, and end all their grants at once.",
    )
    disable.add_argument("name", metavar="NAME", help="the operator")
    disable.set_defaults(run=lambda server, given: server.disable_operator(given.name))
    listed = verbs.add_parser("list", help="list the operators", description="List the operators.")
    listed.set_defaults(run=lambda server, _: server.list_operators())


def _one(verbs: Commands, name: str, short: str, what: str, help_: str) -> argparse.ArgumentParser:
    made = verbs.add_parser(name, help=short, description=f"{short[0].upper()}{short[1:]}.")
    made.add_argument("what", metavar=what, help=help_)
    made.add_argument("--as", dest="operator", required=True, metavar="NAME", help="which operator you are")
    return made
