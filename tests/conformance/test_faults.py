"""The cases fail against a registry that is broken on purpose: an endpoint that nothing proves is a wish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.conformance import test_endpoints
from tests.conformance.site import CASES, Case, Site, endpoint_of
from tests.worlds import ADMIN, World


@dataclass(frozen=True, slots=True)
class Said:
    """What an endpoint answers."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


Fault = Callable[[Said], Said]


def status(number: int) -> Fault:
    """Answer with another status."""
    return lambda said: replace(said, status=number)


def without(name: str) -> Fault:
    """Leave a header out."""
    return lambda said: replace(said, headers={n: v for n, v in said.headers.items() if n != name.encode()})


def with_(name: str, value: str) -> Fault:
    """Say something else in a header."""
    return lambda said: replace(said, headers={**said.headers, name.encode(): value.encode()})


def cut(said: Said) -> Said:
    """Lose the last byte of the body."""
    length = {b"content-length": str(max(len(said.body) - 1, 0)).encode()}
    return replace(said, body=said.body[:-1], headers={**said.headers, **length})


def empty(said: Said) -> Said:
    """Lose the whole body."""
    return replace(said, body=b"", headers={**said.headers, b"content-length": b"0"})


LIST = ("wrong status", status(404)), ("no body", empty)
FAULTS: dict[str, tuple[tuple[str, Fault], ...]] = {
    "end-1": (("no version", without("docker-distribution-api-version")), *LIST),
    "end-2": (
        ("a byte less", cut),
        ("no digest", without("docker-content-digest")),
        ("ranges whole", status(200)),
        ("ranges everywhere", without("content-range")),
        ("another type", with_("content-type", "text/html")),
        ("no length", without("content-length")),
    ),
    "end-2-head": (
        ("no length", without("content-length")),
        ("no digest", without("docker-content-digest")),
        ("always there", status(200)),
        ("never there", status(404)),
    ),
    "end-3": (
        ("a byte less", cut),
        ("another type", with_("content-type", "application/json")),
        ("parameters", with_("content-type", "application/vnd.oci.image.manifest.v1+json; charset=utf-8")),
        ("no digest", without("docker-content-digest")),
        ("always there", status(200)),
    ),
    "end-3-head": (
        ("no length", with_("content-length", "0")),
        ("no digest", without("docker-content-digest")),
        ("never there", status(404)),
    ),
    "end-4a": (
        ("no location", without("location")),
        ("another status", status(201)),
        ("no range", without("range")),
        ("a location outside", with_("location", "/uploads/1")),
    ),
    "end-4b": (
        ("never whole", status(202)),
        ("whatever comes", status(201)),
        ("no location", without("location")),
        ("a location of nothing", with_("location", "/v2/library/app/blobs/sha256:" + "0" * 64)),
    ),
    "end-4c": (("no location", without("location")), ("any algorithm", status(202)), ("none", status(400))),
    "end-5": (
        ("no location", without("location")),
        ("no range", without("range")),
        ("a range of another length", with_("range", "0-1")),
        ("any order", status(202)),
        ("another status", status(204)),
    ),
    "end-6": (
        ("no location", without("location")),
        ("whatever comes", status(201)),
        ("another status", status(204)),
        ("no digest", without("docker-content-digest")),
    ),
    "end-7a": (
        ("no location", without("location")),
        ("another digest", with_("docker-content-digest", "sha256:" + "0" * 64)),
        ("no subject", without("oci-subject")),
        ("whatever comes", status(201)),
        ("another status", status(202)),
    ),
    "end-7b": (("no tags", without("oci-tag")), ("any number", status(201)), ("another status", status(202))),
    "end-8a": (*LIST, ("another type", with_("content-type", "text/plain")), ("never unknown", status(200))),
    "end-8b": (("no link", without("link")), ("any number", status(200)), *LIST),
    "end-9": (("another status", status(200)), ("always there", status(202))),
    "end-10": (("another status", status(200)), ("always there", status(202))),
    "end-11": (
        ("always mounted", status(201)),
        ("never mounted", status(202)),
        ("no location", without("location")),
    ),
    "end-12a": (
        ("unknown", status(404)),
        ("another type", with_("content-type", "application/json")),
        ("no link", without("link")),
        ("no body", empty),
    ),
    "end-12b": (("filters not told", without("oci-filters-applied")), ("no link", without("link"))),
    "end-13": (
        ("no range", without("range")),
        ("no location", without("location")),
        ("another status", status(200)),
        ("always there", status(204)),
    ),
    "end-14": (("another status", status(202)), ("always there", status(204))),
    "catalog": (("no link", without("link")), *LIST),
    "extensions": LIST,
}


@dataclass(frozen=True, slots=True)
class Broken:
    """An application whose answers at one endpoint are changed."""

    app: ASGIApp
    id: str
    fault: Fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; change the answer if it is that endpoint's."""
        if endpoint_of(scope) != self.id:
            await self.app(scope, receive, send)
            return
        heard: list[Message] = []

        async def hear(message: Message) -> None:
            heard.append(message)

        await self.app(scope, receive, hear)
        body = b"".join(message.get("body", b"") for message in heard[1:])
        said = self.fault(Said(heard[0]["status"], dict(heard[0]["headers"]), body))
        await send({**heard[0], "status": said.status, "headers": [*said.headers.items()]})
        await send({"type": "http.response.body", "body": said.body})


BROKEN = [
    pytest.param(id_, fault, id=f"{id_}-{name.replace(' ', '-')}")
    for id_, several in FAULTS.items()
    for name, fault in several
]


async def fails(case: Case, world: World, app: ASGIApp) -> bool:
    """Say whether a case fails in a registry of its own, where it would not if *app* were whole."""
    await world.add_registry()
    client = await world.as_(ADMIN, entry=world.entries[-1], app=app)
    try:
        await case(Site(client))
    except (AssertionError, KeyError, ValueError):
        return True
    return False


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
@pytest.mark.parametrize(("id_", "fault"), BROKEN)
async def test_a_broken_endpoint_fails_a_case_of_its_own(world: World, id_: str, fault: Fault):
    app = Broken(world.app, id_, fault)

    for case in [case for of, case in CASES if of == id_]:
        if await fails(case, world, app):
            return

    pytest.fail("no case noticed")


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_what_breaks_nothing_fails_no_case(world: World):
    app = Broken(world.app, "end-3", lambda said: said)

    failed = [case.__name__ for of, case in CASES if of == "end-3" and await fails(case, world, app)]

    assert failed == []


def test_every_endpoint_that_has_a_case_is_broken_once():
    assert set(FAULTS) == {id_ for id_, _ in CASES}
    assert test_endpoints.ALL
