"""The distribution API of one registry: every endpoint in one table, with what it needs and who answers it."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from moorage import logs
from moorage.api import dialects, token
from moorage.api.distribution import paths, pulls, pushes
from moorage.api.distribution.asks import Ask, identity, read_query
from moorage.api.distribution.at_once import AtOnce
from moorage.api.distribution.paths import Place
from moorage.api.distribution.watches import Pace, Watches
from moorage.api.http.responses import PACE
from moorage.errors import Problem
from moorage.identity import scopes
from moorage.identity.access import NOBODY, Identified, Verdict
from moorage.identity.roles import OciAction
from moorage.identity.scopes import Scope as TokenScope
from moorage.oci.errors import (
    BlobUnknown,
    BlobUploadUnknown,
    Denied,
    NameUnknown,
    OCIError,
    Unauthorized,
    Unsupported,
)
from moorage.oci.names import RepositoryName
from moorage.registry import denials
from moorage.registry.errors import ProjectUnknown, QuotaExceeded
from moorage.registry.opened import Registry
from moorage.storage import Disconnected

CATALOG = TokenScope("registry", "catalog", frozenset({"*"}))


class EndpointUnknown(OCIError):
    """The spec has no endpoint at this path."""

    code, status, summary = "UNSUPPORTED", 404, "the distribution API has nothing at this path"


@dataclass(frozen=True, slots=True)
class Route:
    """The spec's id of an endpoint, what it needs of the caller, and what answers it.

    ``needs`` is None where signing in is enough, and empty where the whole catalog is asked for. ``rate`` is what it counts as.
    """

    id: str
    method: str
    kind: str
    needs: tuple[OciAction, ...] | None
    answer: Callable[[Ask], Awaitable[None]]
    rate: str


ROUTES = (
    Route("end-1", "GET", "base", None, pulls.base, "manifests"),
    Route("end-2", "GET", "blobs", ("pull",), pulls.pull_blob, "blobs"),
    Route("end-2", "HEAD", "blobs", ("pull",), pulls.pull_blob, "blobs"),
    Route("end-3", "GET", "manifests", ("pull",), pulls.pull_manifest, "manifests"),
    Route("end-3", "HEAD", "manifests", ("pull",), pulls.pull_manifest, "manifests"),
    Route("end-4", "POST", "uploads", ("pull", "push"), pushes.begin_upload, "pushes"),
    Route("end-5", "PATCH", "upload", ("pull", "push"), pushes.append_chunk, "pushes"),
    Route("end-6", "PUT", "upload", ("pull", "push"), pushes.finish_upload, "pushes"),
    Route("end-7", "PUT", "manifests", ("pull", "push"), pushes.push_manifest, "pushes"),
    Route("end-8", "GET", "tags", ("pull",), pulls.list_tags, "lists"),
    Route("end-9", "DELETE", "manifests", ("delete",), pushes.delete_manifest, "pushes"),
    Route("end-10", "DELETE", "blobs", ("delete",), pushes.delete_blob, "pushes"),
    Route("end-12", "GET", "referrers", ("pull",), pulls.list_referrers, "lists"),
    Route("end-13", "GET", "upload", ("pull", "push"), pushes.upload_status, "pushes"),
    Route("end-14", "DELETE", "upload", ("pull", "push"), pushes.cancel_upload, "pushes"),
    Route("catalog", "GET", "catalog", (), pulls.catalog, "lists"),
    Route("extensions", "GET", "discover", None, pulls.discover, "lists"),
)
NOT_HERE = (NameUnknown, ProjectUnknown, BlobUnknown, BlobUploadUnknown, Denied, Unauthorized)
"""What may be said of a name because something else has it by now."""
_TABLE = {(route.kind, route.method): route for route in ROUTES}
_METHODS: dict[str, list[str]] = {}
for _route in ROUTES:
    _METHODS.setdefault(_route.kind, []).append(_route.method)


@dataclass(frozen=True, slots=True)
class Distribution:
    """What answers under /v2/ for one registry."""

    registry: Registry
    hot: AtOnce
    watches: Watches

    @classmethod
    def of(cls, registry: Registry) -> "Distribution":
        """Answer for *registry*."""
        return cls(registry, AtOnce(registry), Watches(registry.limits.slowest_transfer))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it in the spec's dialect."""
        place: Place | None = None
        route: Route | None = None
        who = NOBODY
        headers = dict(scope["headers"])
        try:
            place, route = _find(scope)
            who = await self._caller(headers, scope)
            await self.registry.rates.take(self.registry.entry.uuid, route.rate, identity(who.caller, scope))
            await self._answer(Ask(self.registry, place, who, headers, scope, receive, send), route)
        except Disconnected:
            return
        except Problem as problem:
            if place is not None:
                _note(Ask(self.registry, place, who, headers, scope, receive, send), problem)
            answer = dialects.oci(
                problem, logs.request_id.get(), headers=_challenge(scope, problem, place, route)
            )
            await answer(scope, receive, send)

    async def _answer(self, ask: Ask, route: Route) -> None:
        """Answer who may ask; where there is nothing of that name, as the old name of what has another now."""
        while True:
            try:
                if ask.current is None:
                    await self._check(ask.who, ask.place, route)
                    if route.answer is pulls.pull_manifest:
                        self.hot.allow(ask.who, ask.headers.get(b"authorization"), ask.place)
                await self._give(ask, route)
            except NOT_HERE:
                # It may be renamed once more while it is answered by the name that it had a moment ago.
                if not await ask.go_on_elsewhere(*route.needs or ()):
                    raise
            else:
                return

    async def _give(self, ask: Ask, route: Route) -> None:
        if self.registry.slots.most:
            await self._in_turn(ask, route)
        else:
            await route.answer(ask)

    async def _in_turn(self, ask: Ask, route: Route) -> None:
        """Answer within the plan's requests at once; a transfer that hardly moves gives its place to another."""
        caller = ask.caller.subject or ask.origin().address
        async with self.registry.slots.one(caller, anonymous=ask.caller.is_anonymous) as slot:
            pace: Pace | None = (ask.scope.get("extensions") or {}).get(PACE)
            with self.watches.on(slot, pace):
                await route.answer(ask)

    async def _caller(self, headers: dict[bytes, bytes], scope: Scope) -> Identified:
        shown = headers.get(b"authorization")
        if shown is None:
            return NOBODY
        client = scope.get("client")
        return await self.registry.access.identify(
            shown.decode("latin-1"), address=client[0] if client else ""
        )

    async def _check(self, who: Identified, place: Place, route: Route) -> None:
        """Raise Unauthorized or Denied unless the caller may do what the route needs."""
        if route.needs is None:
            if who is NOBODY:
                raise Unauthorized
            return
        if place.name is None:
            verdict = await self.registry.access.catalog_verdict(who)
            wanted = "list every repository of this registry"
        else:
            verdict = await self.registry.access.verdict(who, place.name, *route.needs)
            wanted = f"{' and '.join(route.needs)} in project {place.name.project}"
        if verdict is Verdict.ALLOWED:
            return
        if verdict is Verdict.DENIED:
            message = f"{who.caller.name} may not {wanted}; ask one of its administrators for a role that may"
            raise Denied(message, needs=list(route.needs))
        reason = "insufficient_scope" if verdict is Verdict.INSUFFICIENT_SCOPE else ""
        raise Unauthorized(f"sign in to {wanted}", reason=reason)


def _note(ask: Ask, problem: Problem) -> None:
    """Note a denial; any other refusal is no event."""
    rule = denials.rule(problem, credentials=b"authorization" in ask.headers)
    if rule:
        asked = f"{ask.scope['method'][:20]} {ask.place.kind}"
        ask.note(denials.KIND, target=str(ask.place.name or ""), asked=asked, rule=rule)
    if isinstance(problem, QuotaExceeded) and ask.place.name is not None:
        ask.registry.refusals.note(ask.place.name.project, problem)


def _find(scope: Scope) -> tuple[Place, Route]:
    place = paths.read(scope["path"])
    if place is None:
        raise EndpointUnknown(path=scope["path"][:512])
    method = (
        "GET" if scope["method"] == "HEAD" and place.kind not in ("blobs", "manifests") else scope["method"]
    )
    route = _TABLE.get((place.kind, method))
    if route is None:
        allowed = ", ".join(_METHODS[place.kind])
        message = f"{scope['method'][:20]} is not for this path; it takes {allowed}"
        raise Unsupported(message, allow=allowed)
    return place, route


def _challenge(
    scope: Scope, problem: Problem, place: Place | None, route: Route | None
) -> list[tuple[str, str]]:
    """Say where to get a token for what was asked, with a refusal that a token may turn."""
    if isinstance(problem, Unsupported) and "allow" in problem.detail:
        return [("allow", str(problem.detail["allow"]))]
    if not isinstance(problem, Unauthorized):
        return []
    wanted: list[TokenScope] = []
    if route is not None and place is not None and route.needs is not None:
        wanted = [CATALOG] if place.name is None else [scopes.repository(place.name, *route.needs)]
        if route.kind == "uploads":
            wanted += _mounted_from(scope)
    shown = any(name == b"authorization" for name, _ in scope["headers"])
    error = str(problem.detail.get("reason") or ("invalid_token" if shown else ""))
    return [("www-authenticate", token.challenge(scope, *wanted, error=error))]


def _mounted_from(scope: Scope) -> list[TokenScope]:
    """Give the scope of the repository that a mount is from: the token has to say that it may be pulled."""
    with contextlib.suppress(Problem):
        asked = dict(read_query(scope))
        if "mount" in asked and "from" in asked:
            return [scopes.repository(RepositoryName.parse(asked["from"]), "pull")]
    return []
