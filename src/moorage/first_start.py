"""A first start: the data folder is made, and a first push is shown."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from moorage import __version__

# Says that a start of this release made all there is to make, so the next need not look. The second number rises with
# what there is to make within a release. The release before has a file of its own, "prepared", and goes by that.
PREPARED = "prepared.json"
MADE = f"{__version__}+3"


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and what it does."""

    command: str
    purpose: str


def first_push(address: str) -> tuple[Step, ...]:
    """Give the three commands to a first push to the registry at *address*."""
    return (
        Step(f"docker login --username admin {address}", "Sign in"),
        Step(f"docker tag alpine {address}/library/alpine", "Name an image you have for the registry"),
        Step(f"docker push {address}/library/alpine", "Push it"),
    )


def make_folder(data: Path) -> None:
    """Make the data folder, for nobody else to look into."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)


def prepared(data: Path, zone: str) -> str | None:
    """Give the first registry's host name in a zone ("" without one) if this release has prepared the folder for it."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        noted = json.loads((data / PREPARED).read_text())
        if (noted["version"], noted["zone"]) == (MADE, zone):
            return str(noted["host"])
    return None


def note_prepared(data: Path, zone: str, host: str) -> None:
    """Note that everything is made: what is asked for again is found there."""
    noted = {"version": MADE, "zone": zone, "host": host}
    (data / PREPARED).write_text(json.dumps(noted))
