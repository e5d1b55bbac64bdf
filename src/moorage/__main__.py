"""`moorage` and `python -m moorage`."""

from __future__ import annotations

import sys

from moorage.app import Moorage
from moorage.cli import commands

# What shells make of a program that Ctrl-C ended.
INTERRUPTED = 130


def main() -> int:
    """Run the command that was asked for."""
    try:
        return commands.main(Moorage())
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
