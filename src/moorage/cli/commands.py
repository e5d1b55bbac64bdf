"""The server's commands: what each is called, takes and says of itself.

What a command does is the composition root's, which is handed in as a Server; so asking for help
imports nothing but this.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from moorage.cli import admitting, mailing, operators, recording
from moorage.cli.admitting import Admitting
from moorage.cli.mailing import Mailing
from moorage.cli.operators import Operating
from moorage.cli.recording import Recording

ABOUT = """\
Moorage is a private registry for container images, Helm charts and every other
OCI artifact."""

EPILOG = """\
Everything is set by environment variables; `moorage settings` lists them.
Start with `moorage up`: it makes all it needs in ./data and prints what to do
next."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """The descriptors that a supervisor passed on: its leash, and sockets under their names."""

    leash: int | None
    sockets: tuple[tuple[str, int], ...]


class Server(Recording, Mailing, Operating, Admitting, Protocol):
    """What the commands do; each gives the status to exit with."""

    def up(self) -> int:
        """Run everything on this machine."""
        ...

    def stem(self, leash: int) -> int:
        """Import what the processes of a house need, and be what they are forked from."""
        ...

    def prepare(self, inherited: Inherited) -> int:
        """Make what is missing for a start, and tell what `up` says of it as JSON."""
        ...

    def serve(self, role: str, inherited: Inherited) -> int:
        """Serve the registry plane or the console in this process."""
        ...

    def work(self, inherited: Inherited) -> int:
        """Do background work in this process."""
        ...

    def collect(self, name: str | None) -> int:
        """Collect now what nothing needs any more, in one registry or in all."""
        ...

    def fsck(self, name: str | None, *, digests: bool, repair: bool) -> int:
        """Check that what is held is whole, in one registry or in all."""
        ...

    def migrate(self, *, contract: bool) -> int:
        """Make or upgrade the schema; *contract* ends the support of the release before."""
        ...

    def create_registry(self, name: str, plan: str, cloud_project: str | None) -> int:
        """Order a further registry, and make it."""
        ...

    def copy(self, folder: Path, database_url: str, platform_url: str, store_url: str) -> int:
        """Copy everything while it runs."""
        ...

    def create_application(self, name: str, *, oauth2: bool) -> int:
        """Make an application, or a client of OAuth2, that may make every call of the API."""
        ...

    def list_registries(self) -> int:
        """List the registries."""
        ...

    def suspend_registry(self, name: str, what: str, reason: str) -> int:
        """Stop a registry's pulls, or its pushes alone."""
        ...

    def resume_registry(self, name: str) -> int:
        """Let a suspended registry serve again."""
        ...

    def rotate_key(self, *, alone: bool) -> int:
        """Wrap every secret by a new master key, or end a rotation that was begun."""
        ...

    def forget_key(self) -> int:
        """Forget every master key but the one that wraps."""
        ...

    def list_certificates(self) -> int:
        """List what was destroyed, and what is being destroyed."""
        ...

    def show_certificate(self, registry: str) -> int:
        """Write a registry's certificate."""
        ...

    def show_certificate_keys(self) -> int:
        """Write the public keys that certificates are checked by."""
        ...

    def verify(self, file: Path, keys: Path | None) -> int:
        """Check a certificate, with no house and no network."""
        ...

    def settings(self, *, markdown: bool) -> int:
        """Write what can be set."""
        ...

    def version(self) -> int:
        """Write the version."""
        ...


if TYPE_CHECKING:
    # The type has no public name, and takes no parameter when it runs.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

Run = Callable[[Server, argparse.Namespace], int]


def main(server: Server, arguments: Sequence[str] | None = None) -> int:
    """Do what the *arguments* say, and give the status to exit with."""
    given = parser().parse_args(arguments)
    run: Run = given.run
    return run(server, given)


def parser() -> argparse.ArgumentParser:
    """Give the parser of the whole command line."""
    whole = argparse.ArgumentParser(
        prog="moorage",
        description=ABOUT,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_running(commands)
    _add_keeping(commands)
    _add_registries(commands)
    _add_applications(commands)
    _add_keys(commands)
    admitting.add(commands)
    operators.add(commands)
    recording.add(commands)
    _add_certificates(commands)
    mailing.add(commands)
    _add_asking(commands)
    return whole


def _command(commands: Commands, name: str, short: str, more: str, run: Run) -> argparse.ArgumentParser:
    made = commands.add_parser(
        name,
        help=short,
        description=f"{short[0].upper()}{short[1:]}. {more}".strip(),
    )
    made.set_defaults(run=run)
    return made


def _add_running(commands: Commands) -> None:
    _command(
        commands,
        "up",
        "run everything on this machine, until Ctrl-C",
        "The first start makes the data folder, a master key, a registry and its"
        " administrator, and prints the password once.",
        lambda server, _: server.up(),
    )
    serve = _command(
        commands,
        "serve",
        "serve one part in this process, as a fleet does",
        "Any number of processes may serve each part, behind any balancer.",
        lambda server, given: server.serve(given.role, _inherited(given)),
    )
    serve.add_argument(
        "role",
        choices=("registry", "console"),
        help="registry: pushes and pulls; console: the console's and the operator's pages",
    )
    work = _command(
        commands,
        "work",
        "do the background work in this process, as a fleet does",
        "Collection, expiry and everything else that was promised to happen later.",
        lambda server, given: server.work(_inherited(given)),
    )
    prepare = commands.add_parser("prepare")
    prepare.set_defaults(run=lambda server, given: server.prepare(_inherited(given)))
    for child in (serve, work, prepare):
        child.add_argument("--leash", type=int, help=argparse.SUPPRESS)
        child.add_argument("--fd", type=_socket, action="append", default=[], help=argparse.SUPPRESS)
    stem = commands.add_parser("stem")
    stem.set_defaults(run=lambda server, given: server.stem(given.leash))
    stem.add_argument("--leash", type=int, required=True)


def _add_keeping(commands: Commands) -> None:
    migrate = _command(
        commands,
        "migrate",
        "make the database's schema, or upgrade it",
        "Processes of the release before go on serving it, unless --contract is given.",
        lambda server, given: server.migrate(contract=given.contract),
    )
    migrate.add_argument(
        "--contract",
        action="store_true",
        help="also drop what only the release before needs, once none of its processes is left",
    )
    collect = _command(
        commands,
        "collect",
        "collect now what nothing needs any more, and print figures",
        "Workers do so by themselves each MOORAGE_COLLECTION_INTERVAL; pushes and pulls go on meanwhile.",
        lambda server, given: server.collect(given.name),
    )
    collect.add_argument("name", nargs="?", metavar="NAME", help="the registry; every one without it")
    fsck = _command(
        commands,
        "fsck",
        "check that what the registries hold is whole, while they run",
        "Counts are held against rows, rows against bytes and bytes against rows."
        " The status is 1 if anything is wrong and was not mended.",
        lambda server, given: server.fsck(given.name, digests=given.digests, repair=given.repair),
    )
    fsck.add_argument("name", nargs="?", metavar="NAME", help="the registry; every one without it")
    fsck.add_argument("--digests", action="store_true", help="read every byte again and check its digest")
    fsck.add_argument("--repair", action="store_true", help="mend counts, and doom bytes that no row names")
    copy = _command(
        commands,
        "copy",
        "copy everything elsewhere, while it runs: accounts, orders, the ledger, registries and bytes",
        "The copy is a house of its own, of files or, with --database-url, in PostgreSQL, whatever this one is. The platform's"
        " copy is of one moment, and each registry's. It starts with MOORAGE_DATA set to the folder, the other addresses as they"
        " are given here, and the same master key. What is there already is not written over; a copy that was cut is thrown"
        " away.",
        lambda server, given: server.copy(
            given.folder, given.database_url, given.platform_url, given.store_url
        ),
    )
    copy.add_argument(
        "--database-url", default="", metavar="URL", help="an empty PostgreSQL database for the rows"
    )
    copy.add_argument(
        "--platform-url",
        default="",
        metavar="URL",
        help="an empty one for the platform's, if they do not stand beside the cell's",
    )
    copy.add_argument(
        "--store-url", default="", metavar="URL", help="where the bytes go, if not into the folder"
    )
    copy.add_argument("folder", type=Path, metavar="DIR", help="an empty folder, or one to be made")


def _add_registries(commands: Commands) -> None:
    registry = commands.add_parser(
        "registry", help="make and list registries", description="Make and list registries."
    )
    verbs = registry.add_subparsers(title="commands", metavar="COMMAND", required=True)
    create = _command(
        verbs,
        "create",
        "make a further registry",
        "It has users, keys, rows and bytes of its own. Its address, how to log in and its administrator's password"
        " are printed, once. A house that runs answers for it at once. It is ordered as through the API, where it is seen,"
        " metered and ended as any other.",
        lambda server, given: server.create_registry(given.name, given.plan, given.project),
    )
    create.add_argument("name", metavar="NAME", help="what people call it")
    create.add_argument(
        "--plan",
        default="LOCAL",
        metavar="PLAN",
        help="what it may use: S, M, L or LOCAL (as the disk has), as the catalogue's plans are called",
    )
    create.add_argument(
        "--project",
        metavar="ID",
        help="the cloud project that it is ordered in; without it, the first account's",
    )
    _command(
        verbs,
        "list",
        "list the registries and their addresses",
        "",
        lambda server, _: server.list_registries(),
    )
    suspend = _command(
        verbs,
        "suspend",
        "stop a registry's pulls, or its pushes alone, and say why",
        "Who is refused reads the reason. Pushes are all that changes content: with --pushes pulls go on. It holds within a"
        " second on every replica, and until `moorage registry resume`; its customer may delete it, and cannot lift it.",
        lambda server, given: server.suspend_registry(given.name, given.what, given.reason),
    )
    stopped = suspend.add_mutually_exclusive_group(required=True)
    stopped.add_argument("--pulls", dest="what", action="store_const", const="pulls", help="stop everything")
    stopped.add_argument(
        "--pushes", dest="what", action="store_const", const="pushes", help="stop changes only"
    )
    suspend.add_argument(
        "--reason", required=True, metavar="TEXT", help="a short line for whoever is refused"
    )
    resume = _command(
        verbs,
        "resume",
        "let a suspended registry serve again",
        "",
        lambda server, given: server.resume_registry(given.name),
    )
    for one in (suspend, resume):
        one.add_argument(
            "name", metavar="NAME", help="its name or its id, as `moorage registry list` shows them"
        )


def _add_applications(commands: Commands) -> None:
    application = commands.add_parser(
        "application",
        help="let a program call the provider's API",
        description="Let a program call the provider's API.",
    )
    verbs = application.add_subparsers(title="commands", metavar="COMMAND", required=True)
    create = _command(
        verbs,
        "create",
        "make an application key, for every call of the first account",
        "Its secret and its consumer key are printed once: whoever has them orders and deletes registries.",
        lambda server, given: server.create_application(given.name, oauth2=given.oauth2),
    )
    create.add_argument("name", metavar="NAME", help="what it is for")
    create.add_argument(
        "--oauth2",
        action="store_true",
        help="make an OAuth2 client instead: it calls in its own name, with tokens that are good for an hour",
    )


def _add_keys(commands: Commands) -> None:
    key = commands.add_parser(
        "key",
        help="change the master key",
        description="Change the master key, which wraps every other secret.",
    )
    verbs = key.add_subparsers(title="commands", metavar="COMMAND", required=True)
    rotate = _command(
        verbs,
        "rotate",
        "wrap every secret by a new master key, while everything runs",
        "The new key is made in the key's file and comes before the old one, which stays readable; a first of several keys"
        " that stands in the file or in MOORAGE_MASTER_KEY already is taken. Run it again if it was interrupted. No key is"
        " shown.",
        lambda server, given: server.rotate_key(alone=given.alone),
    )
    rotate.add_argument(
        "--alone",
        action="store_true",
        help="no other machine serves this cell, so this one's file is the only one",
    )
    _command(
        verbs,
        "forget",
        "forget every master key but the first",
        "It refuses while a secret needs another one. Copies that were made before the rotation still need the old key.",
        lambda server, _: server.forget_key(),
    )


def _add_certificates(commands: Commands) -> None:
    certificate = commands.add_parser(
        "certificate",
        help="show what was destroyed, and what proves it",
        description="Show what was destroyed, and what proves it.",
    )
    verbs = certificate.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _command(
        verbs,
        "list",
        "list the registries that were destroyed, and those that are being destroyed",
        "What keeps one from its end stands beside it.",
        lambda server, _: server.list_certificates(),
    )
    show = _command(
        verbs,
        "show",
        "write the certificate of a registry's destruction",
        "",
        lambda server, given: server.show_certificate(given.registry),
    )
    show.add_argument("registry", metavar="ID", help="the registry's id")
    _command(
        verbs,
        "keys",
        "write the public keys that certificates are checked by, old ones too",
        "They are the same that the API publishes at /1.0/cloud/signingKey: keep them with the certificates.",
        lambda server, _: server.show_certificate_keys(),
    )
    verify = _command(
        commands,
        "verify",
        "check a certificate of destruction, with no house and no network",
        "The status is 0 if it is whole and signed by one of the keys; 1 if it was altered or the signature is wrong; 3 if"
        " the key is not among those given; 4 if the file is no certificate.",
        lambda server, given: server.verify(given.file, given.keys),
    )
    verify.add_argument("file", type=Path, metavar="FILE", help="the certificate")
    verify.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help="the provider's public keys, as /1.0/cloud/signingKey or `moorage certificate keys` gave them",
    )


def _add_asking(commands: Commands) -> None:
    settings = _command(
        commands,
        "settings",
        "list every setting, its default and what it does",
        "",
        lambda server, given: server.settings(markdown=given.markdown),
    )
    settings.add_argument("--markdown", action="store_true", help="write the reference page")
    _command(commands, "version", "print the version", "", lambda server, _: server.version())


def _inherited(given: argparse.Namespace) -> Inherited:
    return Inherited(given.leash, tuple(given.fd))


def _socket(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    return name, int(number)


def say(text: str) -> None:
    """Write *text* to the standard output, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()
