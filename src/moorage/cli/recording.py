"""The commands of the provider's record: the ledger, and the notifications that the provider is sent."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from moorage.cli.commands import Commands


class Recording(Protocol):
    """What these commands do; each gives the status to exit with."""

    def verify_ledger(self, file: Path | None, chain: str, keys: Path | None) -> int:
        """Check a file of a chain, or a chain as it is here, and tell what is wrong with it."""
        ...

    def export_ledger(self, chain: str) -> int:
        """Write a chain as JSON lines."""
        ...

    def rotate_signing_key(self) -> int:
        """Sign with a new key from now on."""
        ...

    def feed(self, after: int) -> int:
        """Write what the provider is informed of, past a number."""
        ...


def add(commands: Commands) -> None:
    """Add the commands."""
    ledger = commands.add_parser(
        "ledger",
        help="check and export the responsibility ledger",
        description="Check and export the responsibility ledger: one chain per registry, and the provider's.",
    )
    verbs = ledger.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_verify(verbs)
    export = verbs.add_parser(
        "export",
        help="write a chain as JSON lines",
        description="Write a chain as JSON lines: the keys that sign, the entries and the signed heads.",
    )
    export.add_argument(
        "chain", metavar="CHAIN", help="a registry's id, or the word provider for the provider's own"
    )
    export.set_defaults(run=lambda server, given: server.export_ledger(given.chain))
    feed = verbs.add_parser(
        "feed",
        help="write what the provider is informed of",
        description="Write what the provider is informed of, as CloudEvents, one a line. Each has its number: `moorageseq`.",
    )
    feed.add_argument(
        "--after", type=int, default=0, metavar="NUMBER", help="only what comes past this number"
    )
    feed.set_defaults(run=lambda server, given: server.feed(given.after))
    _add_signing_key(commands)


def _add_signing_key(commands: Commands) -> None:
    key = commands.add_parser(
        "signing-key",
        help="change the key that certificates and heads of the ledger are signed with",
        description="Change the key that certificates and heads of the ledger are signed with.",
    )
    verbs = key.add_subparsers(title="commands", metavar="COMMAND", required=True)
    rotate = verbs.add_parser(
        "rotate",
        help="sign with a new key from now on, while everything runs",
        description="Sign with a new key from now on, while everything runs. What older keys signed stays good, and their public"
        " halves stay published at /1.0/cloud/signingKey. The new key's id is printed.",
    )
    rotate.set_defaults(run=lambda server, _: server.rotate_signing_key())


def _add_verify(verbs: Commands) -> None:
    verify = verbs.add_parser(
        "verify",
        help="check that a chain is whole and as it was signed",
        description="Check that a chain is whole and as it was signed. A file is checked without a house and without a network."
        " The status is 1 if anything is wrong, and each fault is told with its place.",
    )
    what = verify.add_mutually_exclusive_group(required=True)
    what.add_argument("file", nargs="?", type=Path, metavar="FILE", help="JSON lines, as they were exported")
    what.add_argument(
        "--registry", default="", metavar="ID", help="check this registry's chain as it is here"
    )
    what.add_argument("--provider", action="store_true", help="check the provider's chain as it is here")
    verify.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help="believe these keys: what the API answers at /1.0/cloud/signingKey. Without it a file's own are taken, and named",
    )
    verify.set_defaults(run=_verify)


def _verify(server: Recording, given: argparse.Namespace) -> int:
    return server.verify_ledger(given.file, "provider" if given.provider else given.registry, given.keys)
