"""The commands of the provider's record, done: the ledger is checked and exported, and the provider is told what is due."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from moorage import starting
from moorage.cli.commands import say

if TYPE_CHECKING:
    from moorage.cloud.chains import Checked
    from moorage.cloud.signing import PublicKey
    from moorage.parts import Parts


class Recorded:
    """These commands; each gives the status to exit with."""

    def verify_ledger(self, file: Path | None, chain: str, keys: Path | None) -> int:
        """Check a file of a chain, or a chain as it is here, and tell what is wrong with it."""
        from moorage.cloud import exports

        trusted = _trusted(keys) if keys else []
        lines = _lines(file) if file else self._exported(chain)
        checked, by = exports.check(lines, trusted)
        say(_told(checked, by, trusted=bool(trusted) or file is None))
        return int(bool(checked.faults))

    def export_ledger(self, chain: str) -> int:
        """Write a chain as JSON lines."""
        for line in self._exported(chain):
            say(f"{line}\n")
        return 0

    def rotate_signing_key(self) -> int:
        """Sign with a new key from now on."""
        from moorage.cloud import operators, signing
        from moorage.cloud.events import Origin

        async def main(parts: Parts) -> None:
            made = await signing.rotate(parts.platform, parts.master, Origin("operator", operators.PARTY))
            say(f"Signs from now on  {made}\n")

        return starting.on_platform(main)

    def feed(self, after: int) -> int:
        """Write what the provider is informed of, past a number."""
        from moorage.cloud import notifications

        async def main(parts: Parts) -> None:
            last = after
            while found := await notifications.for_provider(parts.platform, after=last, most=1000):
                for one in found:
                    say(f"{json.dumps(one.told)}\n")
                last = found[-1].number

        return starting.on_platform(main)

    @staticmethod
    def _exported(chain: str) -> list[str]:
        from moorage.cloud import exports

        found: list[str] = []

        async def main(parts: Parts) -> None:
            found.extend([json.dumps(line) async for line in exports.lines(parts.platform, chain)])

        starting.on_platform(main)
        if not any('"type": "entry"' in line for line in found):
            starting.give_up(f"the ledger has no chain {chain}: name a registry's id, or provider", 1)
        return found


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        starting.give_up(f"{file}: it cannot be read: {error}", 1)


def _trusted(file: Path) -> list[PublicKey]:
    """Read the keys that the API publishes, as they were saved."""
    from moorage.cloud.signing import PublicKey

    try:
        told = json.loads("".join(_lines(file)))
        return [PublicKey.from_pem(one["publicKey"]) for one in told]
    except (ValueError, TypeError, KeyError):
        starting.give_up(f"{file}: this is not what the API answers at /1.0/cloud/signingKey", 1)


def _told(checked: Checked, keys: Sequence[PublicKey], *, trusted: bool) -> str:
    lines = [f"{chain}: {count} entries\n" for chain, count in checked.entries.items()]
    lines.append(f"{checked.heads} signed heads, who did it in {checked.personal} entries\n")
    if not trusted:
        lines += [f"compare with those that the provider publishes: the key {key.id}\n" for key in keys]
    lines += [f"{fault}\n" for fault in checked.faults]
    lines.append("NOT WHOLE\n" if checked.faults else "whole\n")
    return "".join(lines)
