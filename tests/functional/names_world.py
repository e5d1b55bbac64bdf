"""Hands for tests of projects that are renamed, and of repositories that are moved."""

from __future__ import annotations

from typing import Any

import httpx

from moorage.api.harbor.operations import PREFIX
from moorage.registry import recount
from tests.functional.harbor_artifacts import path_of
from tests.worlds import World

PULL = {"resource": "repository", "action": "pull"}
PUSH = {"resource": "repository", "action": "push"}


async def rename(client: httpx.AsyncClient, project: str, name: str) -> httpx.Response:
    """Ask for another name of a project."""
    return await client.post(f"{PREFIX}/projects/{project}/rename", json={"name": name})


async def move(client: httpx.AsyncClient, repository: str, **to: str) -> httpx.Response:
    """Ask for another name or project of a repository."""
    return await client.post(f"{path_of(repository)}/move", json=to)


async def made_as(client: httpx.AsyncClient, name: str, **more: Any) -> int:
    """Make a project through the API, and give the status."""
    answer = await client.post(f"{PREFIX}/projects", json={"project_name": name, **more})
    return answer.status_code


async def pulls(client: httpx.AsyncClient, name: str, reference: str = "1") -> int:
    """Pull a manifest, and give the status."""
    return (await client.get(f"/v2/{name}/manifests/{reference}")).status_code


async def token(client: httpx.AsyncClient, *scopes: str) -> str:
    """Get a token for what of these scopes the client may."""
    answer = await client.get("/service/token", params={"service": "harbor-registry", "scope": list(scopes)})
    return str(answer.json()["token"])


def said(answer: httpx.Response, *names: str) -> tuple[int, str]:
    """Give what an answer says, but for the names that were asked about and the request's own id."""
    text = answer.text + answer.headers.get("www-authenticate", "")
    for name in (answer.headers.get("x-request-id", "-"), *names):
        text = text.replace(name, "…")
    return answer.status_code, text


async def with_token(world: World, text: str) -> httpx.AsyncClient:
    """Give a client that shows a token."""
    client = await world.as_(None)
    client.headers["authorization"] = f"Bearer {text}"
    return client


async def counted_right(world: World) -> bool:
    """Say whether everything that is counted is what a recount gives."""
    return not await recount.recount((await world.registry()).db)
