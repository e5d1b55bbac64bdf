"""The responsibility matrix: its activities, who has which part in each, and which kinds of event are evidence of it."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

PACKAGED: Final = Path(__file__).with_name("activities.toml")
CUSTOMER, PROVIDER = "customer", "provider"
PARTIES: Final = (CUSTOMER, PROVIDER)
INFORMED, DOES = "I", "R"


class Software(StrEnum):
    """What Moorage has to do with an activity."""

    YES = "yes"
    NO = "no"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Activity:
    """A line of the matrix; letters are R (does it), A (answers for it), C (is asked), I (is informed)."""

    id: str
    section: str
    text: str
    customer: str
    provider: str
    software: Software

    @property
    def party(self) -> str:
        """Say who does it."""
        return CUSTOMER if DOES in self.customer else PROVIDER

    def informs(self, party: str) -> bool:
        """Say whether a party is informed of it."""
        return INFORMED in (self.customer if party == CUSTOMER else self.provider)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of event is evidence of, and who is told of it beside those whom the matrix says."""

    evidence_of: tuple[str, ...]
    tells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Matrix:
    """The activities in their order, and the kinds of event that are evidence."""

    activities: tuple[Activity, ...]
    kinds: Mapping[str, Kind]
    of_no_activity: frozenset[str]
    """Kinds that somebody has thought about, and that are evidence of nothing."""
    _known: Mapping[str, Activity] = field(repr=False)

    def get(self, id_: str) -> Activity | None:
        """Find an activity by its id."""
        return self._known.get(id_)

    def evidence_of(self, kind: str) -> tuple[str, ...]:
        """Name the activities that a kind of event is evidence of; none, and it is in the record alone."""
        found = self.kinds.get(kind)
        return found.evidence_of if found else ()

    def tells(self, kind: str, party: str) -> bool:
        """Say whether a party is informed when an event of this kind happens."""
        found = self.kinds.get(kind)
        if found is None:
            return False
        return party in found.tells or any(self._known[one].informs(party) for one in found.evidence_of)

    @property
    def evidenced(self) -> frozenset[str]:
        """Name the activities that any kind of event is evidence of."""
        return frozenset(one for kind in self.kinds.values() for one in kind.evidence_of)


@functools.cache
def matrix() -> Matrix:
    """Give the matrix that Moorage comes with."""
    return read(PACKAGED.read_text(encoding="utf-8"))


def read(text: str) -> Matrix:
    """Read a matrix, or raise ValueError, which names the entry that breaks a rule."""
    given: Mapping[str, Any] = tomllib.loads(text)
    made = [Activity(**{**one, "software": Software(one["software"])}) for one in given["activity"]]
    known = {one.id: one for one in made}
    if len(known) != len(made):
        raise ValueError("two activities have one id")
    kinds = {
        name: Kind(**{key: tuple(words) for key, words in one.items()})
        for name, one in given["kinds"].items()
    }
    for name, kind in kinds.items():
        if strange := [one for one in kind.evidence_of if one not in known]:
            raise ValueError(f"{name}: there is no activity {strange[0]}")
        if strange := [one for one in kind.tells if one not in PARTIES]:
            raise ValueError(f"{name}: {strange[0]} is none of the parties {', '.join(PARTIES)}")
    return Matrix(tuple(made), kinds, frozenset(given["of_no_activity"]), known)
