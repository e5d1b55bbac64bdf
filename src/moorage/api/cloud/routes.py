"""The table of the API's calls: method, path, action, who answers; and how a path finds its line.

A security review reads this table and those of the handlers that make it up; the authorization matrix of the tests is
generated from it, and so is the OpenAPI description.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from moorage.api.cloud.asks import Ask, Needs
from moorage.cloud import members
from moorage.errors import Problem

PREFIXES: Final = ("/1.0", "/v1")
"""Clients ask under either: those that know /v1 take /1.0 off their endpoint first."""
OF_IAM: Final = "/v2/iam/"
"""What the original has under /v2 alone stands so in the table."""
LONGEST_PATH: Final = 1024
ORDER: Final = "containerRegistry/create"

URN: Final = "resourceURN"

_PARAMETER = re.compile(r"\{(\w+)\}")
_NOTED: Final = "/v1"


class CallUnknown(Problem):
    """The API has no such path."""

    code, status, summary = "NOT_FOUND", 404, "the API has no such path"


class MethodUnknown(Problem):
    """The path is not asked with this method."""

    code, status, summary = "METHOD_NOT_ALLOWED", 405, "the path is not asked with this method"


@dataclass(frozen=True, slots=True)
class Route:
    """A call: what it is for, what it needs, what it takes and gives, and who answers it."""

    method: str
    path: str
    action: str
    """The provider's name of what is done, which roles are made of."""
    answer: Callable[[Ask], Awaitable[object]] = field(repr=False)
    summary: str
    takes: Any = None
    gives: Any = None
    needs: Needs = Needs.ROLE
    added: bool = False
    """Whether the original API lacks it."""
    of_each: bool = False
    """Whether it is done on each registry apart, so that who may on one of them is answered about that one."""
    headers: tuple[Mapping[str, object], ...] = ()
    """Headers, and parameters of the query, that it takes beside those of every call, as OpenAPI describes them."""
    media: str = "application/json"
    """What the answer is written as."""

    @property
    def parameters(self) -> list[str]:
        """List the names that stand in the path for values."""
        return _PARAMETER.findall(self.path)

    @property
    def changes(self) -> bool:
        """Say whether the call changes anything."""
        return self.method != "GET"

    @property
    def rate(self) -> str:
        """Say what a call counts as: what nobody has to sign but for a key is how one signs in."""
        if not self.changes:
            return "reads"
        if self.needs in {Needs.NOTHING, Needs.APPLICATION}:
            return "sign-ins"
        return "orders" if self.action == ORDER else "changes"

    @property
    def is_grave(self) -> bool:
        """Say whether the call changes who may do what: a user at a browser shows everything once more for it."""
        rights = self.needs is Needs.ROLE and members.owners_alone(members.PREFIX + self.action)
        return self.changes and (rights or self.needs is Needs.ADMINISTRATOR)


@dataclass(frozen=True, slots=True)
class Found:
    """A call's line in the table, the values in its path, and the path as access rules name it."""

    route: Route
    params: dict[str, str]
    path: str
    granted_as: tuple[str, ...]


class Table:
    """Every call."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Put the routes together by their paths; two of one method and path are a mistake."""
        self.routes = tuple(routes)
        self._paths: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
        for route in self.routes:
            _, methods = self._paths.setdefault(route.path, (_pattern(route.path), {}))
            if route.method in methods:
                raise ValueError(f"{route.method} {route.path} stands twice in the table")
            methods[route.method] = route

    def find(self, method: str, path: str) -> Found:
        """Find a call, or raise CallUnknown or MethodUnknown."""
        prefix = next((one for one in PREFIXES if path.startswith(f"{one}/")), None)
        if path.startswith(OF_IAM):
            prefix = ""
        if prefix is None or len(path) > LONGEST_PATH or (prefix and path.startswith(prefix + OF_IAM)):
            raise CallUnknown
        below = path.removeprefix(prefix)
        # Whoever asks under /v1 may have been granted the call by that name, too.
        granted_as = (below, path) if prefix == _NOTED else (below,)
        for pattern, methods in self._paths.values():
            if found := pattern.fullmatch(below):
                if method in methods:
                    return Found(methods[method], found.groupdict(), below, granted_as)
                allowed = ", ".join(sorted(methods))
                raise MethodUnknown(f"this path is asked with {allowed}, not {method[:20]}", allow=allowed)
        raise CallUnknown(f"the API has no path {path[:255]}")


def _pattern(path: str) -> re.Pattern[str]:
    # A URN has slashes, which clients escape and servers give back.
    return re.compile(_PARAMETER.sub(lambda one: f"(?P<{one[1]}>{'.+' if one[1] == URN else '[^/]+'})", path))
