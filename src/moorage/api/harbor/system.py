"""About the registry itself: that it lives, what it is, what is in it, and what can be granted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from moorage import __version__
from moorage.api.harbor import answers as write
from moorage.api.harbor import seeing
from moorage.api.harbor.problems import Forbidden, NotFound
from moorage.db.pages import Asked, Condition, How
from moorage.errors import Unavailable
from moorage.identity import configurable, configuration, members, roles
from moorage.identity.roles import CUSTOM, Role
from moorage.registry import project_pages, quotas, repository_pages
from moorage.registry.project_pages import Audience

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.identity.roles import Permissions

SPOKEN: Final = "v2.15.2"
"""The release of Harbor whose API this is: clients choose by it what they ask for."""
MOST_FOUND: Final = 100


@dataclass(frozen=True, slots=True)
class System:
    """Who answers for the registry itself."""

    def answers(self) -> Answers:
        """Say who answers each."""
        return {
            "getHealth": self.health,
            "getPing": self.ping,
            "getSystemInfo": self.info,
            "getVolumes": self.volumes,
            "getCert": self.certificate,
            "getStatistic": self.statistics,
            "search": self.search,
            "getPermissions": self.permissions,
        }

    async def health(self, ask: Ask) -> Answer:
        """Say how each part is: this process, the rows, the bytes."""
        parts: list[dict[str, str]] = [{"name": "core", "status": "healthy"}]
        checks = {"database": quotas.stored(ask.db), "registry": ask.registry.store.room()}
        for name, check in checks.items():
            try:
                await check
            except Unavailable as problem:
                parts.append({"name": name, "status": "unhealthy", "error": problem.summary})
            else:
                parts.append({"name": name, "status": "healthy"})
        well = all(one["status"] == "healthy" for one in parts)
        return write.given({"status": "healthy" if well else "unhealthy", "components": parts})

    async def ping(self, _: Ask) -> Answer:
        """Answer."""
        return write.raw(b"Pong", media="text/plain; charset=utf-8")

    async def info(self, ask: Ask) -> Answer:
        """Say what the registry is: to anybody how to sign in, to whoever has signed in more."""
        found = await configurable.values(ask.db)
        names = ("auth_mode", "primary_auth_mode", configurable.SELF_REGISTRATION, configurable.BANNER)
        told: dict[str, object] = {name: found[name] for name in names}
        if found["auth_mode"] == configuration.OIDC:
            told["oidc_provider_name"] = found["oidc_name"]
        if not ask.caller.is_anonymous:
            host = ask.header(b"host")
            told |= {
                "external_url": f"{ask.scope['scheme']}://{host}",
                "registry_url": host,
                "project_creation_restriction": found[configurable.PROJECT_CREATION],
                "harbor_version": f"{SPOKEN}-moorage.{__version__}",
                "has_ca_root": False,
                "read_only": found["read_only"],
                "notification_enable": found["notification_enable"],
                "current_time": write.moment(ask.db.now()),
            }
        return write.given(told)

    async def volumes(self, ask: Ask) -> Answer:
        """Say how much can be stored and how much of it is free; without a limit there is nothing to say."""
        used, limit = await quotas.stored(ask.db)
        told = [] if limit < 0 else [{"total": limit, "free": max(limit - used, 0)}]
        return write.given({"storage": told})

    async def certificate(self, _: Ask) -> Answer:
        """Give the certificate of a private authority: there is none here."""
        raise NotFound("this registry has no certificate authority of its own")

    async def statistics(self, ask: Ask) -> Answer:
        """Count projects and repositories: the public ones, the caller's, and to administrators all."""
        every, within = await project_pages.all_counts(ask.db)
        told = {"public_project_count": every[True], "public_repo_count": within[True]}
        if ask.caller.admin:
            used, _ = await quotas.stored(ask.db)
            told |= {
                "total_project_count": sum(every.values()),
                "total_repo_count": sum(within.values()),
                "total_storage_consumption": used,
            }
        else:
            every, within = await project_pages.own_counts(ask.db, await _own(ask))
        told |= {"private_project_count": every.get(False, 0), "private_repo_count": within.get(False, 0)}
        return write.given(told)

    async def search(self, ask: Ask) -> Answer:
        """Find projects and repositories that the caller sees by a part of their names."""
        part, seen = ask.text("q"), await seeing.audience(ask)
        wanted = (Condition("name", How.FUZZY, (part,)),) if part else ()
        found = await project_pages.page(ask.db, seen, Asked(1, MOST_FOUND, wanted))
        # A robot that may something in a project need not see its repositories.
        within = await seeing.audience_of_repositories(ask)
        rows = await project_pages.search_repositories(ask.db, within, part, MOST_FOUND) if part else []
        counts = await repository_pages.counts(ask.db, [row.id for row in rows])
        # What has been destroyed a moment ago counts nothing.
        counted = [counts.get(row.id, (0, 0)) for row in rows]
        repositories = [
            {
                "repository_name": row.name,
                "project_id": row.project_id,
                "project_name": row.project,
                "project_public": bool(row.public),
                "artifact_count": artifacts,
                "pull_count": pulls,
            }
            for row, (artifacts, pulls) in zip(rows, counted, strict=True)
        ]
        return write.given({"project": await seeing.shown(ask, found), "repository": repositories})

    async def permissions(self, ask: Ask) -> Answer:
        """Say what robots can be granted: to administrators all, to those of projects what is in projects."""
        held = await members.roles_of(ask.db, ask.caller.id) if ask.caller.kind == "user" else []
        admin = ask.caller.admin or any(role == Role.PROJECT_ADMIN for _, role in held)
        if not admin and not [name for name, role in held if role > CUSTOM and await _gives(ask, name)]:
            raise Forbidden("only admins(system and project) can access permissions")
        system = _listed(roles.ROBOT_SYSTEM) if ask.caller.admin else []
        return write.given({"system": system, "project": _listed(roles.ROBOT_PROJECT)})


async def _gives(ask: Ask, project: str) -> bool:
    """Say whether the caller may give others something in a project."""
    return await ask.may(project, "robot", "create") or await ask.may(project, "member", "create")


async def _own(ask: Ask) -> Audience:
    """Give the projects that are the caller's own."""
    if ask.caller.kind == "user":
        return Audience("mine", {"user": ask.caller.id})
    return project_pages.of_names(await seeing.robots_projects(ask))


def _listed(permissions: Permissions) -> list[dict[str, str]]:
    return [{"resource": one.resource, "action": one.action} for one in sorted(permissions)]
