"""A chain of the ledger as anybody can check it: each entry's bytes, its hash, and what is wrong with a file of them.

Every registry has a chain and the provider has one. An entry's hash covers the entry and the hash before it, so none can be
altered, left out or put in without all that follow it being other ones; and a signed head says what one of them was on a day.

Personal data stands outside: an entry has a *commitment* to it, the SHA-256 of a random salt and of what it says. Who is given
both can check them; once the two are erased the chain is as whole as before, and the commitment tells nothing.

docs/reference/ledger-format.md says all this so that it can be done without our code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Verify = Callable[[str, bytes, bytes], None]
"""Raises ValueError unless the key of an id has signed a payload so."""

PROVIDER: Final = "provider"
NOTHING_BEFORE: Final = "0" * 64
ENTRY, PERSONAL, HEAD = (
    b"moorage ledger entry 1\n",
    b"moorage ledger personal 1\n",
    b"moorage ledger head 1\n",
)
SALT: Final = 32
_TEXTS: Final = ("chain", "event", "kind", "party", "outcome", "cloudProject", "personal", "previous")
_NUMBERS: Final = ("seq", "at")


@dataclass(frozen=True, slots=True)
class Entry:
    """What was done: which activities it belongs to, by which party, when, and the event that is its evidence."""

    chain: str
    seq: int
    at: int
    event: str
    kind: str
    activities: tuple[str, ...]
    party: str
    outcome: str
    cloud_project: str
    personal: str
    previous: str

    @property
    def told(self) -> dict[str, object]:
        """Give what is hashed, under the names that it has in a file."""
        return {
            "chain": self.chain,
            "seq": self.seq,
            "at": self.at,
            "event": self.event,
            "kind": self.kind,
            "activities": list(self.activities),
            "party": self.party,
            "outcome": self.outcome,
            "cloudProject": self.cloud_project,
            "personal": self.personal,
            "previous": self.previous,
        }

    @property
    def hash(self) -> str:
        """Give the hash that the next entry names."""
        return hashlib.sha256(ENTRY + canonical(self.told)).hexdigest()

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Entry:
        """Read an entry as a file tells it, or raise ValueError."""
        wrong = [name for name in _TEXTS if not isinstance(told.get(name), str)]
        wrong += [name for name in _NUMBERS if type(told.get(name)) is not int]
        activities = told.get("activities")
        if not isinstance(activities, list) or not all(isinstance(one, str) for one in activities):
            wrong.append("activities")
        if wrong:
            raise ValueError(f"{wrong[0]} is missing, or is not of its type")
        return cls(
            told["chain"], told["seq"], told["at"], told["event"], told["kind"], tuple(told["activities"]), told["party"],
            told["outcome"], told["cloudProject"], told["personal"], told["previous"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """What the last entry of a chain was at a moment, signed."""

    chain: str
    seq: int
    hash: str
    at: int
    key_id: str = ""
    signature: str = ""

    @property
    def payload(self) -> bytes:
        """Give the bytes that are signed."""
        return HEAD + canonical({"chain": self.chain, "seq": self.seq, "hash": self.hash, "at": self.at})


def canonical(value: object) -> bytes:
    """Write a value so that everybody writes the same: ASCII, names in order, and no space."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()


def commitment(salt: bytes, personal: Mapping[str, str]) -> str:
    """Commit to what is personal about an entry."""
    return hashlib.sha256(PERSONAL + salt + canonical(personal)).hexdigest()


@dataclass(slots=True)
class Checked:
    """What a file of entries and heads says, and what is wrong with it."""

    entries: dict[str, int] = field(default_factory=dict)
    """How many entries of each chain stand in it."""
    heads: int = 0
    personal: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Chain:
    """How far a chain was read."""

    seq: int
    hash: str
    hashes: dict[int, str] = field(default_factory=dict)


def check(lines: Iterable[str], verify: Verify) -> Checked:
    """Check JSON lines of entries and heads; each fault says where it is and what it is.

    Lines of keys are passed over: whom to believe is the caller's to say. A file may begin in the middle of a chain. Heads may
    stand anywhere in it; those of entries that it does not have tell nothing.
    """
    found, chains, heads = Checked(), dict[str, _Chain](), list[tuple[int, Head]]()
    for number, told in _read(lines, found):
        try:
            if told.get("type") == "key":
                continue
            if told.get("type") == "head":
                heads.append((number, _head(told)))
            else:
                _entry(number, told, chains, found)
        except ValueError as error:
            found.faults.append(f"line {number}: {error}")
    for number, head in heads:
        found.faults += [f"line {number}: {fault}" for fault in _of_head(head, chains, verify)]
        found.heads += 1
    return found


def _read(lines: Iterable[str], found: Checked) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
        except ValueError:
            told = None
        if isinstance(told, dict):
            yield number, told
        else:
            found.faults.append(f"line {number}: this is no entry and no head")


def _entry(number: int, told: Mapping[str, Any], chains: dict[str, _Chain], found: Checked) -> None:
    entry = Entry.of(told)
    where = f"line {number}: entry {entry.seq} of {entry.chain}"
    found.entries[entry.chain] = found.entries.get(entry.chain, 0) + 1
    before = chains.get(entry.chain)
    if told.get("hash") != entry.hash:
        found.faults.append(f"{where} was altered: its hash is not that of what it says")
    if before is None:
        before = chains[entry.chain] = _Chain(entry.seq - 1, entry.previous)
        if entry.seq == 1 and entry.previous != NOTHING_BEFORE:
            found.faults.append(f"{where} is the first, and names an entry before it")
    if entry.seq != before.seq + 1:
        found.faults.append(f"{where}: {_gap(before.seq, entry.seq)}")
    elif entry.previous != before.hash:
        found.faults.append(f"{where} does not follow entry {before.seq}: it names another hash")
    # What is believed of an entry is what its successor named, so one that was altered is told once, and not once a line.
    before.seq, before.hash = entry.seq, str(told.get("hash"))
    before.hashes[entry.seq] = before.hash
    if "said" in told:
        found.personal += 1
        if not _keeps(entry, told):
            found.faults.append(f"{where}: who did it was altered: it is not what the entry has committed to")


def _gap(last: int, seq: int) -> str:
    if seq <= last:
        return f"it comes after entry {last}"
    missing = f"entry {last + 1} is" if seq == last + 2 else f"entries {last + 1} to {seq - 1} are"
    return f"{missing} missing before it"


def _keeps(entry: Entry, told: Mapping[str, Any]) -> bool:
    said = told["said"]
    try:
        salt = bytes.fromhex(said["salt"])
        return commitment(salt, {name: said[name] for name in said if name != "salt"}) == entry.personal
    except (TypeError, KeyError, ValueError):
        return False


def _head(told: Mapping[str, Any]) -> Head:
    given = [told.get(name) for name in ("chain", "seq", "hash", "at", "keyId", "signature")]
    kinds = (str, int, str, int, str, str)
    if not all(type(value) is kind for value, kind in zip(given, kinds, strict=True)):
        raise ValueError("a head lacks something")
    return Head(*given)  # type: ignore[arg-type] # Their types were asked above.


def _of_head(head: Head, chains: Mapping[str, _Chain], verify: Verify) -> Iterator[str]:
    where = f"the head of {head.chain} at entry {head.seq}"
    try:
        verify(head.key_id, head.payload, bytes.fromhex(head.signature))
    except ValueError as invalid:
        yield f"{where}: {invalid}"
        return
    chain = chains.get(head.chain)
    if chain is None:
        return
    known = chain.hashes.get(head.seq)
    if known is None and head.seq > chain.seq:
        yield f"{where} was signed, and the file ends at entry {chain.seq}: what follows is missing"
    elif known is not None and known != head.hash:
        yield f"{where} was signed with another hash: the chain was written anew since"
