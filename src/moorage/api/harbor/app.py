"""Harbor's API as one application: find the operation, see who asks and that they may, and answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from moorage import logs
from moorage.api import dialects
from moorage.api.harbor import answers, bodies, checking, csrf, description, finding, off
from moorage.api.harbor.additions import Additions
from moorage.api.harbor.artifacts import Artifacts
from moorage.api.harbor.asks import Ask, is_name, path_of, project_unknown, query_of
from moorage.api.harbor.callers import Callers, covers
from moorage.api.harbor.configurations import Configurations
from moorage.api.harbor.custom_roles import Roles
from moorage.api.harbor.groups import Groups
from moorage.api.harbor.labels import Labels
from moorage.api.harbor.ldap import LdapDirectory
from moorage.api.harbor.logs import Logs
from moorage.api.harbor.members import Members
from moorage.api.harbor.metadata import Metadata
from moorage.api.harbor.names import Names
from moorage.api.harbor.operations import CUT, OPERATIONS, PREFIX, Needs
from moorage.api.harbor.people import People
from moorage.api.harbor.permissions import OwnPermissions
from moorage.api.harbor.problems import Forbidden, MethodNotAllowed, NotFound, Unauthorized
from moorage.api.harbor.projects import Projects
from moorage.api.harbor.quotas import Quotas
from moorage.api.harbor.repositories import Repositories
from moorage.api.harbor.repository_grants import RepositoryGrants
from moorage.api.harbor.robots import Robots
from moorage.api.harbor.routes import Table
from moorage.api.harbor.signing_in import PREFIX as SIGNING_IN
from moorage.api.harbor.signing_in import SigningIn
from moorage.api.harbor.system import System
from moorage.api.harbor.tags import Tags
from moorage.api.harbor.trusts import Trusts
from moorage.api.http.bodies import Body
from moorage.errors import Problem
from moorage.identity.callers import ANONYMOUS
from moorage.registry import projects
from moorage.registry.errors import QuotaExceeded
from moorage.storage import Disconnected

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from moorage.api.dialects import Answer
    from moorage.api.harbor.routes import Found
    from moorage.identity.access import Identified
    from moorage.identity.callers import Caller
    from moorage.identity.roles import Permission
    from moorage.registry.opened import Registry
    from moorage.registry.projects import Project

VERSION: Final = "/api/version"
_SAFE: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class HarborApi:
    """Every operation of the table, and what is beside it, for one registry."""

    registry: Registry
    table: Table
    callers: Callers
    signing_in: SigningIn

    @classmethod
    def of(cls, registry: Registry) -> HarborApi:
        """Answer for *registry*."""
        callers = Callers(registry)
        return cls(registry, table(), callers, SigningIn(callers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it in Harbor's dialect."""
        guarded = csrf.Guarded.of(scope)
        try:
            answer = await self._answer(scope, Body(scope, receive), guarded)
        except Disconnected:
            return
        except Problem as problem:
            answer = dialects.harbor(problem, logs.request_id.get(), headers=_headers(problem))
        if _shows_guard(scope):
            answer = replace(
                answer, headers=[*answer.headers, *(dialects.header(*one) for one in guarded.headers())]
            )
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, body: Body, guarded: csrf.Guarded) -> Answer:
        path = path_of(scope)
        if path.startswith(SIGNING_IN):
            return await self.signing_in.answer(scope, body, guarded)
        if csrf.cookie(scope, csrf.SESSION):
            guarded.check(scope)
        if path == VERSION:
            return answers.given({"version": PREFIX.rpartition("/")[2]})
        if path == description.PATH:
            return _described(scope["method"])
        found = self.table.find(scope["method"], path)
        ask = await self._check(found, scope)
        checking.check(ask)
        ask = replace(ask, body=await bodies.receive(body))
        try:
            return await self._give(found, ask)
        except Forbidden:
            self._note(ask.caller.name, scope, "" if ask.found is None else ask.found.name)
            raise
        except QuotaExceeded as problem:
            if ask.found is not None:
                self.registry.refusals.note(ask.found.name, problem)
            raise

    async def _give(self, found: Found, ask: Ask) -> Answer:
        """Answer; where there is no repository of that name, as the old name of one that has another now."""
        try:
            return await found.answer(ask)
        except Problem as problem:
            elsewhere = await self._elsewhere(ask) if problem.status == NotFound.status else None
            if elsewhere is None:
                raise
            return await found.answer(elsewhere)

    async def _elsewhere(self, ask: Ask) -> Ask | None:
        """Ask about the repository whose old name the path has, if the caller may do there what they ask for."""
        rest, permission = ask.params.get("repository_name"), ask.operation.permission
        named = ask.params.get("project_name", "") if ask.found is None else ask.found.name
        if rest is None or permission is None:
            return None
        current = await finding.elsewhere(ask, f"{named}/{rest}", *permission)
        if current is None:
            return None
        project = await projects.find(ask.db, current.project)
        params = {**ask.params, "repository_name": current.text.partition("/")[2]}
        return None if project is None else replace(ask, found=project, params=params)

    async def _check(self, found: Found, scope: Scope) -> Ask:
        """Refuse what the caller may not; where that hangs on a project, find it."""
        operation = found.operation
        who = await self.callers.identify(scope)
        needs, permission = operation.needs, operation.permission
        ask = Ask(self.registry, operation, scope, b"", found.params, _limited(who, found), query_of(scope))
        if needs is Needs.INTERNAL:
            raise Unauthorized("only internal service is allowed to call this API")
        if needs in {Needs.SIGNED_IN, Needs.OWN, Needs.SYSTEM, Needs.NAMED}:
            ask.require_signed_in()
        if permission is None:
            return ask
        if needs is Needs.SYSTEM:
            allowed, project, name = await ask.may_in_system(*permission), None, ""
        else:
            project, name = await self._project(ask)
            allowed = await _may_there(ask, name, permission)
        if not allowed and (elsewhere := await self._elsewhere(ask)) is not None:
            return elsewhere
        if not allowed:
            self._note(ask.caller.name, scope, name)
            raise ask.refusal(str(permission))
        if project is None and needs is not Needs.SYSTEM:
            # Only administrators come so far.
            raise project_unknown(ask.params.get("project_name") or ask.params["project_name_or_id"])
        return replace(ask, found=project)

    async def _project(self, ask: Ask) -> tuple[Project | None, str]:
        """Find the project in the path, and give its name: one that nothing has where there is no such project."""
        name = ask.params.get("project_name")
        if name is None:
            text = ask.params["project_name_or_id"]
            if text.isascii() and text.isdigit() and not is_name(ask.scope):
                found = await projects.numbered(ask.db, ask.number("project_name_or_id"))
                return found, "" if found is None else found.name
            name = text
        found = await finding.project(ask, name)
        return found, "" if found is None else found.name

    def _note(self, actor: str, scope: Scope, project: str) -> None:
        self.callers.note(scope, "access", actor or "anonymous", project)


def table() -> Table:
    """Put the operations together with who answers each."""
    return Table(
        OPERATIONS,
        off.answers(),
        People().answers(),
        OwnPermissions().answers(),
        Repositories().answers(),
        System().answers(),
        Configurations().answers(),
        Projects().answers(),
        Names().answers(),
        Metadata().answers(),
        Quotas().answers(),
        Labels().answers(),
        Logs().answers(),
        Members().answers(),
        Groups().answers(),
        LdapDirectory().answers(),
        Artifacts().answers(),
        Tags().answers(),
        Robots().answers(),
        Roles().answers(),
        Trusts().answers(),
        RepositoryGrants().answers(),
        Additions().answers(),
    )


def _described(method: str) -> Answer:
    if method not in _SAFE:
        raise MethodNotAllowed(f"the description is asked for with GET, not {method[:20]}", allow="GET, HEAD")
    return answers.raw(description.described(), media=answers.JSON)


async def _may_there(ask: Ask, project: str, permission: Permission) -> bool:
    """Say whether the caller may do what is asked: in the project, in the repository of the path, or in some of a list."""
    held = await ask.access.held(ask.caller, project)
    if permission in held.everywhere or not held.granted:
        return permission in held.everywhere
    repository = ask.params.get("repository_name")
    if repository is not None:
        return permission in held.within(repository)
    return ask.operation.id in CUT and held.somewhere(permission)


def _limited(who: Identified, found: Found) -> Caller:
    """Give the caller, or nobody, where the token that was shown does not reach as far as the operation."""
    params = found.params
    repository = f"{params.get('project_name', '')}/{params.get('repository_name', '')}"
    if covers(who, found.operation.permission, repository):
        return who.caller
    return ANONYMOUS


def _shows_guard(scope: Scope) -> bool:
    """Say whether an answer tells a browser what its next change has to show."""
    if csrf.cookie(scope, csrf.SESSION) or scope["path"].startswith(SIGNING_IN):
        return True
    return scope["method"] in _SAFE and not any(name == b"authorization" for name, _ in scope["headers"])


def _headers(problem: Problem) -> list[tuple[str, str]]:
    return [("allow", str(problem.detail["allow"]))] if isinstance(problem, MethodNotAllowed) else []
