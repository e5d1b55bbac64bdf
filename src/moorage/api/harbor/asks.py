"""What a handler is given of a request: who asks, for what, and ways to ask what they may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl

from starlette.types import Scope

from moorage import logs
from moorage.api.harbor import bodies, pages
from moorage.api.harbor.pages import Page
from moorage.api.harbor.problems import Forbidden, NotFound, Unauthorized, invalid
from moorage.registry.events import BY_GRANT, Origin

if TYPE_CHECKING:
    from moorage.api.harbor.operations import Operation
    from moorage.db import Database
    from moorage.identity.access import Access
    from moorage.identity.callers import Caller
    from moorage.oci.names import RepositoryName
    from moorage.registry.opened import Registry
    from moorage.registry.projects import Project

T = TypeVar("T")
_TRUE = frozenset({"true", "1", "t", "True", "TRUE", "T"})
_FALSE = frozenset({"false", "0", "f", "False", "FALSE", "F", ""})
_LARGEST = (1 << 63) - 1
_MOST_FIELDS = 100


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that may be answered."""

    registry: Registry
    operation: Operation
    scope: Scope
    body: bytes
    params: Mapping[str, str]
    caller: Caller
    query: Mapping[str, str] = field(default_factory=dict)
    found: Project | None = None
    """The project that the path names, where the operation needs a permission in it."""

    @property
    def db(self) -> Database:
        """Give the registry's rows."""
        return self.registry.db

    @property
    def access(self) -> Access:
        """Give who answers for what callers may."""
        return self.registry.access

    @property
    def project(self) -> Project:
        """Give the project in the path, in which the caller may do this."""
        assert self.found is not None
        return self.found

    @property
    def path(self) -> str:
        """Give the path as it was sent."""
        return path_of(self.scope)

    @property
    def query_string(self) -> str:
        """Give the query as it was sent."""
        return bytes(self.scope["query_string"]).decode("latin-1")

    @property
    def page(self) -> Page:
        """Give which page of what is asked for, or raise Invalid or QueryInvalid."""
        return pages.read(self.query)

    @property
    def origin(self) -> Origin:
        """Say who makes the change that the request is."""
        name = self.caller.name or "anonymous"
        party = "provider" if name.startswith(BY_GRANT) else "customer"
        agent = self.header(b"user-agent")[:256].replace("\0", "")
        return Origin(name, party, logs.request_id.get(), self.address, agent)

    @property
    def address(self) -> str:
        """Give the client's address."""
        client = self.scope.get("client")
        return client[0] if client else ""

    def header(self, name: bytes) -> str:
        """Give a header, or nothing."""
        return next(
            (bytes(value).decode("latin-1") for known, value in self.scope["headers"] if known == name), ""
        )

    def read(self, kind: type[T]) -> T:
        """Read the body, or raise Invalid or MediaTypeUnknown."""
        return bodies.read(self.body, self.header(b"content-type"), kind)

    def text(self, name: str) -> str:
        """Give a value of the query, or nothing."""
        return self.query.get(name, "")

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Give a value of the query that is true or false, or raise Invalid."""
        return _truth("query", name, self.query[name]) if name in self.query else default

    def whole(self, name: str) -> int | None:
        """Give a value of the query that is a whole number, if it is there; or raise Invalid."""
        return pages.integer(self.query, name, 0) if self.query.get(name) else None

    def number(self, name: str) -> int:
        """Give a number in the path, or raise Invalid."""
        text = self.params[name]
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()) or int(digits) > _LARGEST:
            raise invalid("path", name, f'must be of type int64: "{text[:64]}"')
        return int(text)

    def names_location(self) -> bool:
        """Say whether the address of a new thing is to have its name in it, not its number."""
        text = self.header(b"x-resource-name-in-location")
        return _truth("header", "X-Resource-Name-In-Location", text)

    def require_signed_in(self) -> None:
        """Raise Unauthorized for nobody in particular."""
        if self.caller.is_anonymous:
            raise Unauthorized("this takes somebody who signs in")

    async def may(self, project: str, resource: str, action: str) -> bool:
        """Say whether the caller may do something in a project."""
        return await self.access.may(self.caller, project, resource, action)

    async def may_in(self, name: RepositoryName, resource: str, action: str) -> bool:
        """Say whether the caller may do something in a repository: in all of its project, or as it was granted for it."""
        held = await self.access.held(self.caller, name.project)
        return (resource, action) in held.within(name.within_project)

    async def may_in_system(self, resource: str, action: str) -> bool:
        """Say whether the caller may do something that is in no project."""
        return await self.access.may_in_system(self.caller, resource, action)

    async def require(self, project: str, resource: str, action: str) -> None:
        """Raise Unauthorized or Forbidden, unless the caller may do something in a project (there may be none of the name)."""
        if not await self.may(project, resource, action):
            raise self.refusal(f"{resource}:{action} in this project")

    async def require_in_system(self, resource: str, action: str) -> None:
        """Raise Unauthorized or Forbidden, unless the caller may do something that is in no project."""
        if not await self.may_in_system(resource, action):
            raise self.refusal(f"{resource}:{action} in the system")

    def refusal(self, wanted: str) -> Unauthorized | Forbidden:
        """Make the refusal of who lacks a permission: it is the same whether what was asked about is there or not."""
        if self.caller.is_anonymous:
            return Unauthorized(f"this takes the permission {wanted}: sign in as somebody who has it")
        return Forbidden(f"this takes the permission {wanted}, which {self.caller.name} does not have")


def path_of(scope: Scope) -> str:
    """Give a request's path as it was sent, without its query."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0].decode("latin-1")


def query_of(scope: Scope) -> dict[str, str]:
    """Read a request's query, or raise Invalid; of what stands twice the first counts."""
    try:
        pairs = parse_qsl(bytes(scope["query_string"]).decode("latin-1"), keep_blank_values=True,
                          max_num_fields=_MOST_FIELDS, errors="replace")  # fmt: skip
    except ValueError:
        raise invalid("query", "", f"must have at most {_MOST_FIELDS} fields") from None
    return {name: value.replace("\0", "") for name, value in reversed(pairs)}


def is_name(scope: Scope) -> bool:
    """Say whether what stands in the path for a project is its name, though it be digits; or raise Invalid."""
    text = next((value for name, value in scope["headers"] if name == b"x-is-resource-name"), b"")
    return _truth("header", "X-Is-Resource-Name", bytes(text).decode("latin-1"))


def project_unknown(named: str) -> NotFound:
    """Make the refusal of a project that is not there."""
    return NotFound(f"project {named} not found", project=named)


def _truth(where: str, name: str, text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise invalid(where, name, f'must be of type boolean: "{text[:64]}"')
