"""Vulnerabilities that are let pass: a list of the whole registry's, and one of each project that has its own."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select

from moorage.db import Reader, Statement, Tx, insert, one_of
from moorage.db.tables import cve_allowlist

SYSTEM: Final = 0
"""Stands where a project's number does, for the list of the whole registry."""
MOST: Final = 10_000
LONGEST: Final = 128

_OF = Statement(
    select(
        cve_allowlist.c.project_id, cve_allowlist.c["items"], cve_allowlist.c.expires_at,
        cve_allowlist.c.created_at, cve_allowlist.c.updated_at,
    ).where(one_of(cve_allowlist.c.project_id, "projects"))
)  # fmt: skip
_put = insert(cve_allowlist).values(
    project_id=bindparam("project"), items=bindparam("items"), expires_at=bindparam("expires"),
    created_at=bindparam("at"), updated_at=bindparam("at"),
)  # fmt: skip
_PUT = Statement(
    _put.on_conflict_do_update(
        index_elements=[cve_allowlist.c.project_id],
        set_={name: _put.excluded[name] for name in ("items", "expires_at", "updated_at")},
    )
)


@dataclass(frozen=True, slots=True)
class Allowlist:
    """A list, and until when it holds (seconds since 1970; None for ever); times of its change are microseconds."""

    project: int
    items: tuple[str, ...] = ()
    expires_at: int | None = None
    created_at: int = 0
    updated_at: int = 0


async def of(reader: Reader, projects: Iterable[int]) -> dict[int, Allowlist]:
    """Give the lists of some projects, empty where none was made."""
    wanted = list(projects)
    made = {one: Allowlist(one) for one in wanted}
    for row in await reader.all(_OF, projects=wanted):
        made[row.project_id] = Allowlist(
            row.project_id, tuple(json.loads(row.items)), row.expires_at, row.created_at, row.updated_at
        )
    return made


async def put(tx: Tx, project: int, items: Sequence[str], expires_at: int | None) -> None:
    """Make a list anew, each entry once."""
    text = json.dumps(list(dict.fromkeys(items)), ensure_ascii=True, separators=(",", ":"))
    await tx.run(_PUT, project=project, items=text, expires=expires_at, at=tx.at)
