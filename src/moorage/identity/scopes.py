"""The scopes of the token protocol: which actions on which resources a token is asked for.

``repository:team/app:pull,push``, several apart by spaces. A name may hold one colon, a host's port,
so a scope is split at its first and its last colon.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from moorage.oci.errors import NameInvalid
from moorage.oci.names import RepositoryName

REPOSITORY: Final = "repository"
REGISTRY: Final = "registry"
CATALOG: Final = "catalog"
EVERY: Final = "*"

_TYPE = re.compile(r"([a-z0-9]+)(?:\([a-z0-9]+\))?")
_ACTION = re.compile(r"[a-z*]{1,32}")
_CATALOG_NAMES = frozenset({CATALOG})


@dataclass(frozen=True, slots=True)
class Scope:
    """Some actions on one resource."""

    type: str
    name: str
    actions: frozenset[str]

    def __str__(self) -> str:
        """Write the scope as clients do, the actions in a lasting order."""
        return f"{self.type}:{self.name}:{','.join(sorted(self.actions))}"


def parse(texts: Iterable[str]) -> tuple[Scope, ...]:
    """Read scopes out of *texts*, each of which may hold several.

    What is not a scope of ours (another type, a name or action that cannot exist) is left out: a
    token is granted for the rest. Two scopes of one resource become one.
    """
    found: dict[tuple[str, str], frozenset[str]] = {}
    for text in texts:
        for type_, name, actions in _split(text):
            found[type_, name] = found.get((type_, name), frozenset()) | actions
    return tuple(Scope(type_, name, actions) for (type_, name), actions in found.items())


def repository(name: RepositoryName, *actions: str) -> Scope:
    """Make the scope of *actions* on a repository."""
    return Scope(REPOSITORY, str(name), frozenset(actions))


def granted(asked: Scope, allowed: frozenset[str]) -> Scope | None:
    """Cut *asked* down to what is *allowed*, where ``*`` asks for all of it; None if nothing is left."""
    actions = allowed if EVERY in asked.actions else asked.actions & allowed
    return Scope(asked.type, asked.name, actions) if actions else None


def by_repository(scopes: Iterable[Scope]) -> Mapping[str, frozenset[str]]:
    """Give each repository's actions in *scopes*."""
    return {scope.name: scope.actions for scope in scopes if scope.type == REPOSITORY}


def _split(text: str) -> Iterator[tuple[str, str, frozenset[str]]]:
    for word in text.split():
        head, _, rest = word.partition(":")
        name, colon, actions = rest.rpartition(":")
        type_ = _TYPE.fullmatch(head)
        known = _name(type_[1], name) if type_ and colon else None
        wanted = frozenset(action for action in actions.split(",") if _ACTION.fullmatch(action))
        if type_ and known and wanted:
            yield type_[1], known, wanted


def _name(type_: str, text: str) -> str | None:
    """Give the name that *text* means for a resource of this type, if it can be one."""
    if type_ == REGISTRY:
        return text if text in _CATALOG_NAMES else None
    if type_ != REPOSITORY:
        return None
    _, colon, path = text.partition(":")
    if colon:
        # A client that puts the registry's host and port into the name means the part after it.
        _, _, text = path.partition("/")
    try:
        return str(RepositoryName.parse(text))
    except NameInvalid:
        return None
