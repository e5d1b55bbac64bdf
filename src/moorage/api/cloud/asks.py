"""What a handler is given of a call, and the table's line that led to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from starlette.types import Scope

from moorage import logs
from moorage.api.cloud import bodies
from moorage.api.dialects import Answer, header
from moorage.registry.events import Origin

if TYPE_CHECKING:
    from moorage.cloud.callers import Caller
    from moorage.cloud.members import Granted

T = TypeVar("T")


class Needs(Enum):
    """What a caller must show before a call is answered."""

    NOTHING = "nothing"
    APPLICATION = "an application key"
    CREDENTIAL = "a credential"
    USER = "a credential of a user"
    ADMINISTRATOR = "a credential of a user who administers the account"
    ROLE = (
        "a credential whose user has a role with the action in the cloud project, or whom a policy allows it"
    )


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that may be answered: *who* makes it, and what they are *granted* where it needs a role."""

    scope: Scope
    body: bytes
    params: Mapping[str, str]
    who: Caller | None = None
    granted: Granted | None = None

    @property
    def caller(self) -> Caller:
        """Give who makes the call; only calls that need a credential have one."""
        assert self.who is not None
        return self.who

    @property
    def cloud_project(self) -> str:
        """Give the id of the cloud project in the path, in which the caller may do this."""
        return self.params["serviceName"]

    @property
    def allowed(self) -> Granted:
        """Give what the caller is granted in the cloud project."""
        assert self.granted is not None
        return self.granted

    @property
    def address(self) -> str:
        """Give the client's address."""
        client = self.scope.get("client")
        return client[0] if client else ""

    @property
    def origin(self) -> Origin:
        """Say who makes the change that the call is."""
        who = self.caller
        agent = self.header(b"user-agent")[:256].replace("\0", "")
        return Origin(who.actor, "customer", logs.request_id.get(), self.address, agent)

    def header(self, name: bytes) -> str:
        """Give a header, or nothing."""
        found = (value for known, value in self.scope["headers"] if known == name)
        return next(found, b"").decode("latin-1")

    def read(self, kind: type[T]) -> T:
        """Read the body, or raise BodyInvalid."""
        return bodies.read(self.body, self.header(b"content-type"), kind)


def answered(body: bytes, media: str = "application/json; charset=utf-8") -> Answer:
    """Answer with JSON; what says nothing is ``null``, since an SDK takes no empty body for JSON."""
    return Answer(
        200,
        [
            header("content-type", media),
            header("content-length", str(len(body))),
            header("cache-control", "no-store"),
            header("x-content-type-options", "nosniff"),
            header("x-ovh-queryid", logs.request_id.get()),
        ],
        body,
    )
