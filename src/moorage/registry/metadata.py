"""What is set for a project by name, as Harbor has it: texts, of which ``public`` stands in the project's own row."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import bindparam, delete, select

from moorage.db import Reader, Statement, Tx, insert, one_of
from moorage.db.tables import project_metadata
from moorage.errors import Problem

PUBLIC: Final = "public"
FLAGS: Final = frozenset(
    (
        "public", "enable_content_trust", "enable_content_trust_cosign", "prevent_vul", "auto_scan",
        "auto_sbom_generation", "reuse_sys_cve_allowlist", "proxy_cache_local_on_not_found", "proxy_referrer_api",
    )
)  # fmt: skip
SEVERITY: Final = "severity"
SEVERITIES: Final = frozenset({"none", "low", "medium", "high", "critical"})
RETENTION: Final = "retention_id"
_NUMBERS: Final = frozenset({"proxy_speed_kb", "max_upstream_conn"})
_TRUTH: Final = {
    "true": "true", "1": "true", "t": "true", "false": "false", "0": "false", "f": "false",
}  # fmt: skip
_INTEGER: Final = re.compile(r"-?\d{1,9}")

_OF = Statement(
    select(project_metadata.c.project_id, project_metadata.c.name, project_metadata.c.value).where(
        one_of(project_metadata.c.project_id, "projects")
    )
)
_put = insert(project_metadata).values(
    project_id=bindparam("project"), name=bindparam("name"), value=bindparam("value")
)
_PUT = Statement(
    _put.on_conflict_do_update(
        index_elements=[project_metadata.c.project_id, project_metadata.c.name],
        set_={"value": _put.excluded.value},
    )
)
_DROP = Statement(
    delete(project_metadata).where(
        project_metadata.c.project_id == bindparam("project"), project_metadata.c.name == bindparam("name")
    )
)


class MetadataInvalid(Problem):
    """What is to be set is none of what can be, or its value breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "not what can be set for a project"


def checked(name: str, value: str) -> str:
    """Give a value as it is kept, or raise MetadataInvalid."""
    if name in FLAGS:
        if value.lower() not in _TRUTH:
            raise MetadataInvalid(f"{name} is true or false, not {value[:64]}", name=name, value=value[:64])
        return _TRUTH[value.lower()]
    if name == SEVERITY:
        if value.lower() not in SEVERITIES:
            raise MetadataInvalid(
                f"{name} is one of {', '.join(sorted(SEVERITIES))}, not {value[:64]}",
                name=name,
                value=value[:64],
            )
        return value.lower()
    if name in _NUMBERS:
        if not _INTEGER.fullmatch(value):
            raise MetadataInvalid(f"{name} is a whole number, not {value[:64]}", name=name, value=value[:64])
        return str(int(value))
    raise MetadataInvalid(f"{name[:64]} is nothing that can be set for a project", name=name[:64])


async def of(reader: Reader, projects: Iterable[int]) -> dict[int, dict[str, str]]:
    """Give what is set for each of some projects, but for what stands in their rows."""
    found: dict[int, dict[str, str]] = {}
    for row in await reader.all(_OF, projects=list(projects)):
        found.setdefault(row.project_id, {})[row.name] = row.value
    return found


async def put(tx: Tx, project: int, values: Mapping[str, str]) -> None:
    """Set some of it; the values are checked."""
    await tx.many(
        _PUT, [{"project": project, "name": name, "value": value} for name, value in sorted(values.items())]
    )


async def drop(tx: Tx, project: int, name: str) -> bool:
    """Set something no more, and tell whether it was set."""
    return await tx.run(_DROP, project=project, name=name) > 0
