"""Immutable tags: rules of a project that keep a tag as it is."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, select

from moorage.db import Reader, Statement
from moorage.db.tables import immutable_rule
from moorage.oci import globs
from moorage.oci.names import RepositoryName
from moorage.registry.errors import TagImmutable
from moorage.registry.repositories import Repository

_r = immutable_rule.c
_RULES = Statement(
    select(_r.id, _r.repositories, _r.excludes_repositories, _r.tags, _r.excludes_tags)
    .where(_r.project_id == bindparam("project"), _r.disabled == 0)
    .order_by(_r.id)
)


async def check(reader: Reader, home: Repository, tags: Sequence[str]) -> None:
    """Raise TagImmutable if a rule of the project keeps one of these tags as it is."""
    for tag, rule in (await kept(reader, home.project_id, home.name, tags)).items():
        message = (
            f"tag {tag} of {home.name} is configured as immutable (rule {rule.id}: tags {rule.tags!r}); "
            "push another tag, or change the rule"
        )
        raise TagImmutable(message, tag=tag, rule=rule.id)


async def kept(reader: Reader, project_id: int, name: RepositoryName, tags: Sequence[str]) -> dict[str, Any]:
    """Give those of a repository's tags that a rule of the project keeps as they are, each with the first such rule."""
    found: dict[str, Any] = {}
    if not tags:
        return found
    short = name.text.partition("/")[2]
    for rule in await reader.all(_RULES, project=project_id):
        if globs.matches(rule.repositories, short) == bool(rule.excludes_repositories):
            continue
        for tag in tags:
            if globs.matches(rule.tags, tag) != bool(rule.excludes_tags):
                found.setdefault(tag, rule)
    return found
