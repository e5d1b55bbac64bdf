"""Immutable tags: rules of a project that keep a tag as it is."""

import re
from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import bindparam, select

from moorage.db import Reader, Statement
from moorage.db.tables import immutable_rule
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
    if not tags:
        return
    short = home.name.text.partition("/")[2]
    for rule in await reader.all(_RULES, project=home.project_id):
        if matches(rule.repositories, short) == bool(rule.excludes_repositories):
            continue
        for tag in tags:
            if matches(rule.tags, tag) != bool(rule.excludes_tags):
                message = (
                    f"tag {tag} of {home.name} is configured as immutable (rule {rule.id}: tags {rule.tags!r}); "
                    "push another tag, or change the rule"
                )
                raise TagImmutable(message, tag=tag, rule=rule.id)


def matches(pattern: str, text: str) -> bool:
    """Match a whole text: ``**`` is anything, ``*`` and ``?`` stop at a slash, ``{a,b}`` is either."""
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|"}
    inside = 0
    out = []
    for piece in re.findall(r"\*\*+|.", pattern, re.DOTALL):
        token = "**" if piece.startswith("**") else piece
        inside += (token == "{") - (token == "}" and inside > 0)
        special = token in parts and (token not in "{}," or _balanced(pattern))
        out.append(parts[token] if special and (token != "," or inside) else re.escape(token))
    return re.compile("".join(out))


def _balanced(pattern: str) -> bool:
    return re.fullmatch(r"[^{}]*(?:\{[^{}]*\}[^{}]*)*", pattern) is not None
