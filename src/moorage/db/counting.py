"""What a registry's lists are as long as, kept by the database itself: triggers, the same on both engines.

Whoever changes a row has it counted, a process of the release before included, in the change's own transaction; a push
sends no statement more. What is kept so (``info["counted"]``) follows from other rows and is copied nowhere: the rows that
are copied are counted where they arrive. ``registry.recount`` counts it all anew by rules of its own, and must find the same.

- ``manifest.shown`` says whether lists of artifacts show a manifest (`registry.shown`), ``manifest.project_id`` where;
- ``repository.artifacts`` and ``pulls``, ``project.artifacts`` and ``repositories`` and four columns of ``registry`` are
  sums of what stands below them: of live rows alone, but a repository's own, which are its whatever becomes of it;
- ``member.name`` is what a project's members are listed by.
"""

# ruff: noqa: S608 - its SQL is made of constants alone.

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import DDL, event

from moorage.db import tables

_SIGNATURE: Final = (
    "{name} >= 'sha256-' AND {name} < 'sha256.' AND length({name}) = 75 AND substr({name}, 72) = '.sig'"
)
_TAGS: Final = (
    "tag WHERE tag.registry_id = {row}.registry_id AND tag.manifest_id = {row}.id AND tag.end_at IS NULL"
)
_SHOWN: Final = (
    "{row}.deleted_at IS NULL AND {row}.subject IS NULL"
    f" AND NOT EXISTS (SELECT 1 FROM {_TAGS} AND {_SIGNATURE.format(name='tag.name')})"
    f" AND (EXISTS (SELECT 1 FROM {_TAGS}) OR NOT EXISTS"
    " (SELECT 1 FROM manifest_child JOIN manifest parent"
    " ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id"
    " WHERE manifest_child.registry_id = {row}.registry_id AND manifest_child.repository_id = {row}.repository_id"
    " AND manifest_child.child = {row}.digest AND parent.deleted_at IS NULL))"
)


def shown(row: str) -> str:
    """Give 1 in SQL for a manifest that lists of artifacts show, and 0 for another."""
    return f"CASE WHEN {_SHOWN.format(row=row)} THEN 1 ELSE 0 END"


def _live(row: str) -> str:
    return f"CASE WHEN {row}.deleted_at IS NULL AND {row}.state = 'live' THEN 1 ELSE 0 END"


def _is_signature(row: str) -> str:
    return _SIGNATURE.format(name=f"{row}.name")


_REPOSITORY: Final = "WHERE registry_id = {0}.registry_id AND id = {0}.repository_id"
_PROJECT: Final = "WHERE registry_id = {0}.registry_id AND id = {0}.project_id"
_MANIFEST: Final = "WHERE registry_id = {0}.registry_id AND id = {0}.manifest_id"
_CHILDREN: Final = (
    "WHERE registry_id = NEW.registry_id AND repository_id = NEW.repository_id AND digest IN"
    " (SELECT child FROM manifest_child WHERE registry_id = NEW.registry_id AND parent_id = NEW.id)"
)
_CHILD: Final = (
    "WHERE registry_id = NEW.registry_id AND repository_id = NEW.repository_id AND digest = NEW.child"
)
_HOME: Final = "(SELECT r.project_id FROM repository r WHERE r.registry_id = NEW.registry_id AND r.id = NEW.repository_id)"
_MEMBER: Final = (
    'coalesce((SELECT u.name FROM "user" u WHERE u.registry_id = NEW.registry_id AND u.id = NEW.user_id),'
    " (SELECT g.name FROM user_group g WHERE g.registry_id = NEW.registry_id AND g.id = NEW.group_id))"
)
_PULLED: Final = (
    "WHERE registry_id = {0}.registry_id AND id = (SELECT m.repository_id FROM manifest m"
    " WHERE m.registry_id = {0}.registry_id AND m.id = {0}.manifest_id)"
)


def _of_repository(row: str, sign: str) -> str:
    """Count a repository in its project, or no more: itself, and the artifacts it has."""
    return (
        f"UPDATE project SET repositories = repositories {sign} {_live(row)},"
        f" artifacts = artifacts {sign} {_live(row)} * {row}.artifacts {_PROJECT.format(row)}"
    )


def _of_project(row: str, sign: str) -> str:
    """Count a project in its registry, or no more: itself, and the repositories it has."""
    live = _live(row)
    return (
        f"UPDATE registry SET projects = projects {sign} {live},"
        f" public_projects = public_projects {sign} {live} * {row}.public,"
        f" repositories = repositories {sign} {live} * {row}.repositories,"
        f" public_repositories = public_repositories {sign} {live} * {row}.public * {row}.repositories"
        f" WHERE registry_id = {row}.registry_id"
    )


_MORE_ARTIFACTS: Final = "coalesce(NEW.shown, 0) - coalesce(OLD.shown, 0)"
_MORE_REPOSITORIES: Final = (
    "UPDATE registry SET repositories = repositories + NEW.repositories - OLD.repositories,"
    " public_repositories = public_repositories + NEW.public * (NEW.repositories - OLD.repositories)"
    " WHERE registry_id = NEW.registry_id"
)
_MOVED: Final = f"{_live('OLD')} <> {_live('NEW')} OR OLD.project_id <> NEW.project_id"  # fmt: skip
_MOVES: Final = "UPDATE manifest SET project_id = NEW.project_id WHERE registry_id = NEW.registry_id AND repository_id = NEW.id"
_TURNED: Final = f"{_live('OLD')} <> {_live('NEW')} OR OLD.public <> NEW.public"
_NAMED: Final = "UPDATE member SET name = NEW.name WHERE registry_id = NEW.registry_id AND {0} = NEW.id"
_FLIPPED: Final = "(OLD.{0} IS NULL) <> (NEW.{0} IS NULL)"

# Of each trigger: its name, when it is run, on which condition, and what it does.
_SQLITE: Final = (
    (
        "manifest_counted", "AFTER INSERT ON manifest", "",
        (f"UPDATE manifest SET shown = {shown('NEW')}, project_id = {_HOME} WHERE id = NEW.id",),
    ),
    (
        "manifest_turned", "AFTER UPDATE OF deleted_at ON manifest", _FLIPPED.format("deleted_at"),
        (
            f"UPDATE manifest SET shown = {shown('NEW')} WHERE id = NEW.id",
            f"UPDATE manifest SET shown = {shown('manifest')} {_CHILDREN}",
        ),
    ),
    (
        "manifest_shown", "AFTER UPDATE OF shown ON manifest", f"{_MORE_ARTIFACTS} <> 0",
        (f"UPDATE repository SET artifacts = artifacts + {_MORE_ARTIFACTS} {_REPOSITORY.format('NEW')}",),
    ),
    (
        "manifest_uncounted", "AFTER DELETE ON manifest", "OLD.shown = 1",
        (f"UPDATE repository SET artifacts = artifacts - 1 {_REPOSITORY.format('OLD')}",),
    ),
    (
        "tag_counted", "AFTER INSERT ON tag", "NEW.end_at IS NULL",
        (
            (f"UPDATE manifest SET shown = {shown('manifest')} {_MANIFEST.format('NEW')}"
            f" AND (shown IS NOT 1 OR {_is_signature('NEW')})"),
        ),
    ),
    (
        "tag_turned", "AFTER UPDATE OF end_at ON tag", _FLIPPED.format("end_at"),
        (
            (f"UPDATE manifest SET shown = {shown('manifest')} {_MANIFEST.format('NEW')}"
            f" AND shown IS NOT {shown('manifest')}"),
        ),
    ),
    (
        "tag_uncounted", "AFTER DELETE ON tag", "OLD.end_at IS NULL",
        (
            (f"UPDATE manifest SET shown = {shown('manifest')} {_MANIFEST.format('OLD')}"
            f" AND shown IS NOT {shown('manifest')}"),
        ),
    ),
    (
        "manifest_child_counted", "AFTER INSERT ON manifest_child", "",
        (f"UPDATE manifest SET shown = {shown('manifest')} {_CHILD} AND shown IS NOT 0",),
    ),
    (
        "pull_stat_counted", "AFTER INSERT ON pull_stat", "",
        (f"UPDATE repository SET pulls = pulls + NEW.pulls {_PULLED.format('NEW')}",),
    ),
    (
        "pull_stat_more", "AFTER UPDATE OF pulls ON pull_stat", "",
        (f"UPDATE repository SET pulls = pulls + NEW.pulls - OLD.pulls {_PULLED.format('NEW')}",),
    ),
    (
        "pull_stat_uncounted", "AFTER DELETE ON pull_stat", "",
        (f"UPDATE repository SET pulls = pulls - OLD.pulls {_PULLED.format('OLD')}",),
    ),
    ("repository_counted", "AFTER INSERT ON repository", "", (_of_repository("NEW", "+"),)),
    (
        "repository_more", "AFTER UPDATE OF artifacts ON repository",
        f"OLD.artifacts <> NEW.artifacts AND {_live('NEW')}",
        (f"UPDATE project SET artifacts = artifacts + NEW.artifacts - OLD.artifacts {_PROJECT.format('NEW')}",),
    ),
    (
        "repository_moved", "AFTER UPDATE OF state, deleted_at, project_id ON repository", _MOVED,
        (_of_repository("OLD", "-"), _of_repository("NEW", "+"), f"{_MOVES} AND OLD.project_id <> NEW.project_id"),
    ),
    ("repository_uncounted", "AFTER DELETE ON repository", "", (_of_repository("OLD", "-"),)),
    ("project_counted", "AFTER INSERT ON project", "", (_of_project("NEW", "+"),)),
    (
        "project_more", "AFTER UPDATE OF repositories ON project",
        f"OLD.repositories <> NEW.repositories AND {_live('NEW')}", (_MORE_REPOSITORIES,),
    ),
    (
        "project_turned", "AFTER UPDATE OF state, deleted_at, public ON project", _TURNED,
        (_of_project("OLD", "-"), _of_project("NEW", "+")),
    ),
    ("project_uncounted", "AFTER DELETE ON project", "", (_of_project("OLD", "-"),)),
    ("member_named", "AFTER INSERT ON member", "", (f"UPDATE member SET name = {_MEMBER} WHERE id = NEW.id",)),
    ("user_renamed", "AFTER UPDATE OF name ON user", "", (_NAMED.format("user_id"),)),
    ("user_group_renamed", "AFTER UPDATE OF name ON user_group", "", (_NAMED.format("group_id"),)),
)  # fmt: skip

_EITHER: Final = "coalesce(NEW.{0}, OLD.{0})"
_THIS: Final = (
    "UPDATE {0} SET {1} WHERE registry_id = coalesce(NEW.registry_id, OLD.registry_id) AND id = {2}"
)
_STEP: Final = "coalesce(NEW.shown, 0) - coalesce(OLD.shown, 0)"

# PostgreSQL's triggers call functions: of each its name, what it declares, and what it does.
_FUNCTIONS: Final = (
    (
        "manifest_shows", "",
        (
            f"IF TG_OP = 'INSERT' THEN NEW.project_id := {_HOME}; END IF",
            f"NEW.shown := {shown('NEW')}",
            "RETURN NEW",
        ),
    ),
    (
        "manifest_counts", "step BIGINT := coalesce(NEW.shown, 0) - coalesce(OLD.shown, 0);",
        (
            "IF step <> 0 THEN "
            + _THIS.format("repository", "artifacts = artifacts + step", _EITHER.format("repository_id"))
            + "; END IF",
            (f"IF TG_OP = 'UPDATE' AND {_FLIPPED.format('deleted_at')} THEN"
            f" UPDATE manifest SET shown = {shown('manifest')} {_CHILDREN}; END IF"),
            "RETURN NULL",
        ),
    ),
    (
        "tag_counts", "",
        (
            _THIS.format("manifest", f"shown = {shown('manifest')}", _EITHER.format("manifest_id"))
            + f" AND (TG_OP <> 'INSERT' OR shown IS DISTINCT FROM 1 OR ({_is_signature('NEW')}))"
            f" AND shown IS DISTINCT FROM {shown('manifest')}",
            "RETURN NULL",
        ),
    ),
    (
        "manifest_child_counts", "",
        (
            f"UPDATE manifest SET shown = {shown('manifest')} {_CHILD} AND shown IS DISTINCT FROM 0",
            "RETURN NULL",
        ),
    ),
    (
        "pull_stat_counts", "step BIGINT := coalesce(NEW.pulls, 0) - coalesce(OLD.pulls, 0);",
        (
            _THIS.format(
                "repository", "pulls = pulls + step",
                "(SELECT m.repository_id FROM manifest m WHERE m.registry_id ="
                f" {_EITHER.format('registry_id')} AND m.id = {_EITHER.format('manifest_id')})",
            ),
            "RETURN NULL",
        ),
    ),
    (
        "repository_counts", "",
        (
            ("IF TG_OP = 'UPDATE' AND NOT ("
            f"{_MOVED}) THEN UPDATE project SET artifacts = artifacts + NEW.artifacts - OLD.artifacts"
            f" {_PROJECT.format('NEW')} AND 1 = {_live('NEW')}; RETURN NULL; END IF"),
            f"IF TG_OP <> 'INSERT' THEN {_of_repository('OLD', '-')}; END IF",
            f"IF TG_OP <> 'DELETE' THEN {_of_repository('NEW', '+')}; END IF",
            f"IF TG_OP = 'UPDATE' AND OLD.project_id <> NEW.project_id THEN {_MOVES}; END IF",
            "RETURN NULL",
        ),
    ),
    (
        "project_counts", "",
        (
            f"IF TG_OP <> 'INSERT' THEN {_of_project('OLD', '-')}; END IF",
            f"IF TG_OP <> 'DELETE' THEN {_of_project('NEW', '+')}; END IF",
            "RETURN NULL",
        ),
    ),
    ("member_names", "", (f"NEW.name := {_MEMBER}", "RETURN NEW")),
    ("user_names", "", (_NAMED.format("user_id"), "RETURN NULL")),
    ("user_group_names", "", (_NAMED.format("group_id"), "RETURN NULL")),
)  # fmt: skip
_PROJECT_CHANGED: Final = f"{_TURNED} OR OLD.repositories <> NEW.repositories"
_POSTGRESQL: Final = (
    ("manifest_shown", "BEFORE INSERT OR UPDATE OF deleted_at ON manifest", "", "manifest_shows"),
    ("manifest_counted", "AFTER INSERT ON manifest", "NEW.shown = 1", "manifest_counts"),
    (
        "manifest_turned", "AFTER UPDATE OF deleted_at, shown ON manifest",
        f"NEW.shown IS DISTINCT FROM OLD.shown OR {_FLIPPED.format('deleted_at')}", "manifest_counts",
    ),
    ("manifest_uncounted", "AFTER DELETE ON manifest", "OLD.shown = 1", "manifest_counts"),
    ("tag_counted", "AFTER INSERT ON tag", "NEW.end_at IS NULL", "tag_counts"),
    ("tag_turned", "AFTER UPDATE OF end_at ON tag", _FLIPPED.format("end_at"), "tag_counts"),
    ("tag_uncounted", "AFTER DELETE ON tag", "OLD.end_at IS NULL", "tag_counts"),
    ("manifest_child_counted", "AFTER INSERT ON manifest_child", "", "manifest_child_counts"),
    ("pull_stat_counted", "AFTER INSERT OR DELETE OR UPDATE OF pulls ON pull_stat", "", "pull_stat_counts"),
    ("repository_counted", "AFTER INSERT OR DELETE ON repository", "", "repository_counts"),
    (
        "repository_moved", "AFTER UPDATE OF state, deleted_at, project_id, artifacts ON repository",
        f"OLD.artifacts <> NEW.artifacts OR {_MOVED}", "repository_counts",
    ),
    ("project_counted", "AFTER INSERT OR DELETE ON project", "", "project_counts"),
    (
        "project_turned", "AFTER UPDATE OF state, deleted_at, public, repositories ON project",
        _PROJECT_CHANGED, "project_counts",
    ),
    ("member_named", "BEFORE INSERT ON member", "", "member_names"),
    ("user_renamed", 'AFTER UPDATE OF name ON "user"', "", "user_names"),
    ("user_group_renamed", "AFTER UPDATE OF name ON user_group", "", "user_group_names"),
)  # fmt: skip


def functions() -> list[str]:
    """Write what PostgreSQL's triggers call."""
    return [
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$\n"
        + (f"DECLARE {declared}\n" if declared else "")
        + "BEGIN\n"
        + "".join(f"{step};\n" for step in steps)
        + "END\n$$"
        for name, declared, steps in _FUNCTIONS
    ]


def triggers(engine: str) -> list[str]:
    """Write the triggers, for one of both engines by its name."""
    if engine == "postgresql":
        return [
            f"CREATE OR REPLACE TRIGGER {name} {when} FOR EACH ROW"
            + (f" WHEN ({condition})" if condition else "")
            + f" EXECUTE FUNCTION {function}()"
            for name, when, condition, function in _POSTGRESQL
        ]
    return [
        f"CREATE TRIGGER {name} {when}"
        + (f" WHEN {condition}" if condition else "")
        + " BEGIN\n"
        + "".join(f"{step};\n" for step in steps)
        + "END"
        for name, when, condition, steps in _SQLITE
    ]


def ddl(engine: str) -> list[str]:
    """Write all that counts, in the order in which it is made."""
    return [*(functions() if engine == "postgresql" else []), *triggers(engine)]


# Whoever makes the tables as the code has them makes these with them.
COUNTED: Final = tables.metadata
_ddl: Any = DDL
for _statement in ddl("postgresql"):
    event.listen(COUNTED, "after_create", _ddl(_statement).execute_if(dialect="postgresql"))
