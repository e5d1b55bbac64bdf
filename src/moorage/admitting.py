"""The commands that let an account's people in again, done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage import starting
from moorage.cli.commands import say

if TYPE_CHECKING:
    from moorage.parts import Parts


class Admitted:
    """These commands; each gives the status to exit with."""

    def remove_factor(self, user: str, reason: str) -> int:
        """Ask a user for codes no more."""
        from moorage.cloud import lost_factors, operators
        from moorage.cloud.events import Origin

        set_, _ = starting.within()
        language, origin = set_.telling.language, Origin("operator", operators.PARTY)

        async def main() -> None:
            async with starting.opened(set_, platform=True) as parts:
                done = await _removed(parts)
                say(f"{done.user} is asked for no code any more. Mails to the account: {done.told}\n")

        async def _removed(parts: Parts) -> lost_factors.Helped:
            return await parts.platform.change(
                lambda tx: lost_factors.remove(tx, user, reason, language, origin)
            )

        return starting.run(main())
