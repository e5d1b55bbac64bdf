"""Writes the reference pages that come from the code; tests/house holds that they are up to date."""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import moorage
from moorage import settings
from moorage.cli import commands, reference
from moorage.errors import Problem
from moorage.identity import roles
from moorage.identity.roles import Role

_HIGHEST_FIRST = (Role.PROJECT_ADMIN, Role.MAINTAINER, Role.DEVELOPER, Role.GUEST, Role.LIMITED_GUEST)
FOLDER = Path(__file__).parent / "reference"
WIDTH = 100
WRITTEN = "<!-- Written by `make docs`; a test holds the page equal to the code. -->"

ERRORS = f"""\
# Errors

{WRITTEN}

What a caller is answered when a request is refused. On the distribution API the body is
`{{"errors": [{{"code", "message", "detail"}}]}}`; the message tells the rule, the value and the remedy. A 5xx shows
its summary only, and the log of the same request id tells the rest. Anything that is not listed here is a fault of
ours: 500, code `UNKNOWN`, logged with its traceback.

| Code | Status | Summary | When | Class |
|---|---|---|---|---|
"""

COMMANDS = f"""\
# Commands

{WRITTEN}

`moorage COMMAND --help` prints the same. Every setting comes from the environment: [settings](settings.md). A command that
is run beside a house finds the house's settings in the data folder, so it needs none but `MOORAGE_DATA`, and not even that
in the folder where `moorage up` was started; what is set for the command comes first.
"""

ROLES = f"""\
# Roles and permissions

{WRITTEN}

What somebody may in a project. A member holds a role: one of Harbor's five, which stay as they are, or one of the registry's
own, which is made of any permissions of this table and numbered from {roles.CUSTOM} on. Several (one's own, one's groups')
add up, and so does what is granted for single repositories: [how](../explanation/permissions.md). A system administrator may
everything.

*Public*: anybody may it in a public project. *Robot*: a robot can have it. *Repository*: it can be
[granted](../how-to/grant-for-repositories.md) for the repositories of a project that match a pattern.

## In a project

| Permission | projectAdmin | maintainer | developer | guest | limitedGuest | Public | Robot | Repository |
|---|---|---|---|---|---|---|---|---|
"""

ROBOTS = """
## In the system

An administrator has all of these, and a robot of the registry those that it was given.

"""


def pages() -> dict[Path, str]:
    """Give every page's path, and what it has to say."""
    return {
        FOLDER / "commands.md": _commands(),
        FOLDER / "errors.md": _errors(),
        FOLDER / "roles.md": _roles(),
        FOLDER / "settings.md": reference.markdown(settings.groups()),
    }


def problems() -> list[type[Problem]]:
    """List every class of problem that any module declares."""
    for module in pkgutil.walk_packages(moorage.__path__, "moorage."):
        # Importing the entry point is harmless, but Alembic's revisions want a migration under way.
        if ".migrations." not in module.name:
            importlib.import_module(module.name)
    return sorted(
        set(_under(Problem)),
        key=lambda problem: (problem.code, problem.status, problem.__name__, problem.__module__),
    )


def subcommands() -> dict[str, argparse.ArgumentParser]:
    """Give every command of the command line that its help shows, and its parser."""
    return dict(_subcommands(commands.parser(), ""))


def markdown_files(root: Path) -> list[Path]:
    """List every page of the tree."""
    return [*sorted(root.glob("*.md")), *sorted(root.glob("docs/**/*.md")), *sorted(root.glob("bench/*.md"))]


def links(page: Path) -> list[str]:
    """List the files that a page points at, without what stands after their names."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    return [
        target.partition("#")[0] for target in targets if ":" not in target and not target.startswith("#")
    ]


def _under(parent: type[Problem]) -> Iterator[type[Problem]]:
    for child in parent.__subclasses__():
        if child.__module__.startswith("moorage."):
            yield child
            yield from _under(child)


def _errors() -> str:
    rows = (
        f"| `{problem.code}` | {problem.status} | {problem.summary} | {_first(problem)} "
        f"| `{problem.__module__.removeprefix('moorage.')}.{problem.__name__}` |"
        for problem in problems()
    )
    return ERRORS + "\n".join(rows) + "\n"


def _roles() -> str:
    columns = [roles.OF_ROLE[role] for role in _HIGHEST_FIRST]
    columns += [roles.PUBLIC, roles.ROBOT_PROJECT, roles.IN_REPOSITORIES]
    rows = [
        f"| `{one}` | {' | '.join('yes' if one in column else '' for column in columns)} |"
        for one in sorted(roles.EVERYTHING)
    ]
    lines = [f"- `{one}`" for one in sorted(roles.ROBOT_SYSTEM)]
    return ROLES + "\n".join(rows) + "\n" + ROBOTS + "\n".join(lines) + "\n"


def _first(problem: type[Problem]) -> str:
    return " ".join((inspect.getdoc(problem) or "").partition("\n\n")[0].split())


def _subcommands(
    parser: argparse.ArgumentParser, before: str
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list its commands.
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above.
            shown = {choice.dest for choice in action._choices_actions}  # noqa: SLF001 - as above.
            for name, child in action.choices.items():
                if name in shown:
                    yield f"{before}{name}", child
                    yield from _subcommands(child, f"{before}{name} ")


def _commands() -> str:
    parts = [COMMANDS]
    for name, parser in subcommands().items():
        parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=WIDTH)
        parts.append(f"\n## moorage {name}\n\n```text\n{parser.format_help().rstrip()}\n```\n")
    return "".join(parts)


def main() -> None:
    """Write every page."""
    for path, text in pages().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
