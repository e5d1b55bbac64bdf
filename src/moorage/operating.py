"""The commands of the provider's people, done: operators are made, and enter by grants."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from moorage import starting
from moorage.cli.commands import say

if TYPE_CHECKING:
    from moorage.cloud.entries import Entries
    from moorage.cloud.operators import Operator
    from moorage.identity.passwords import Passwords
    from moorage.parts import Parts
    from moorage.settings import Settings


class Operated:
    """These commands; each gives the status to exit with."""

    def create_operator(self, name: str) -> int:
        """Make an operator."""
        from moorage.cloud import operators

        async def main(set_: Settings, parts: Parts) -> None:
            passwords = _passwords(set_)
            made = await operators.create(parts.platform, passwords, name)
            passwords.close()
            say(f"Operator  {made.operator.name}\nPassword  {made.password}\n")

        return _run(main)

    def list_operators(self) -> int:
        """List the operators."""
        from moorage.cloud import operators, times

        async def main(_: Settings, parts: Parts) -> None:
            for one in await operators.listed(parts.platform):
                state = "disabled" if one.disabled else "active"
                say(f"{one.name}\t{state}\t{times.written(one.created_at)}\t{one.id}\n")

        return _run(main)

    def disable_operator(self, name: str) -> int:
        """Let an operator sign in no more, and end all their grants."""
        from moorage.cloud import grants, operators
        from moorage.cloud.events import Origin

        async def main(set_: Settings, parts: Parts) -> None:
            await operators.disable(parts.platform, name)
            (found,) = [one for one in await operators.listed(parts.platform) if one.name == name]
            for one in await grants.of_operator(parts.platform, found.id):
                await _entries(set_, parts).close(one, Origin("operator", operators.PARTY))

        return _run(main)

    def ask_grant(self, registry: str, operator: str, reason: str, scope: str, hours: int) -> int:
        """Ask for entry into a registry's content."""
        from moorage.cloud import catalogue, grants

        async def work(set_: Settings, parts: Parts, who: Operator) -> None:
            known = catalogue.read(set_.ordering.catalogue)
            made = await parts.platform.change(
                lambda tx: grants.ask(tx, known, who, registry, reason=reason, scope=scope, hours=hours)
            )
            by = "another operator" if made.approver == catalogue.OPERATOR else "the customer"
            say(f"{made.id}\t{made.state}\tto be approved by {by}\n")

        return _as(operator, work)

    def approve_grant(self, grant: str, operator: str) -> int:
        """Approve another operator's grant."""
        from moorage.cloud import grants

        async def work(_: Settings, parts: Parts, who: Operator) -> None:
            made = await parts.platform.change(lambda tx: grants.approve_as_operator(tx, who, grant))
            say(f"{made.id}\t{made.state}\n")

        return _as(operator, work)

    def open_grant(self, grant: str, operator: str) -> int:
        """Enter by a grant: print what signs in to the registry."""

        async def work(set_: Settings, parts: Parts, who: Operator) -> None:
            made = await _entries(set_, parts).open(who, grant)
            say(f"User      {made.name}\nPassword  {made.secret}\n")

        return _as(operator, work)

    def end_grant(self, grant: str, operator: str) -> int:
        """End a grant."""
        from moorage.cloud import grants

        async def work(set_: Settings, parts: Parts, who: Operator) -> None:
            found = await grants.get(parts.platform, grant)
            ended = await _entries(set_, parts).close(found, who.origin)
            say(f"{ended.id}\t{ended.state}\n")

        return _as(operator, work)

    def list_grants(self) -> int:
        """List the grants."""
        from moorage.cloud import grants, times

        async def main(_: Settings, parts: Parts) -> None:
            for one in await grants.listed(parts.platform):
                until = times.written(one.until)
                say(
                    f"{one.id}\t{one.state}\t{one.operator}\t{one.registry}\t{one.scope}\t{until}\t{one.reason}\n"
                )

        return _run(main)


def _run(work: Callable[[Settings, Parts], Awaitable[None]]) -> int:
    set_, _ = starting.within()

    async def main() -> None:
        async with starting.opened(set_, platform=True) as parts:
            await work(set_, parts)

    return starting.run(main())


def _as(name: str, work: Callable[[Settings, Parts, Operator], Awaitable[None]]) -> int:
    """Do something as an operator who knows the password."""
    from moorage.cloud import operators

    password = (
        getpass.getpass(f"{name}'s password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    )

    async def main(set_: Settings, parts: Parts) -> None:
        passwords = _passwords(set_)
        try:
            who = await operators.sign_in(parts.platform, passwords, name, password)
        finally:
            passwords.close()
        await work(set_, parts, who)

    return _run(main)


def _passwords(set_: Settings) -> Passwords:
    from moorage.identity.passwords import Passwords

    return Passwords(threads=set_.entering.password_checks)


def _entries(set_: Settings, parts: Parts) -> Entries:
    from moorage import ordering
    from moorage.cloud.entries import Entries

    return Entries(parts.platform, ordering.site(set_, parts))
