"""Every table of a registry, drawn once; the same on SQLite and PostgreSQL.

``registry_id`` stands first in every table. On PostgreSQL thousands of registries share the tables, and every primary
key, foreign key and index begins with it: a row can only name rows of its own registry. On SQLite a file holds one
registry and the column is the same in every row; there ``id`` alone is the key, since only so are ids never given
twice. No caller ever names it: the bound database adds it to each statement (``db.statements``).

Each table says what it is to a restore (``info["kind"]``): *content* can be brought back to a moment, *access* and
*record* never go back.

All integers are 64 bits, all times are microseconds since 1970 UTC, all digests bytes: one byte for the algorithm
(1 = sha256, 2 = sha512) and then the raw hash. Names compare as ASCII on both engines. Ids are never reused.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from moorage.db.keys import foreign_key as _foreign_key
from moorage.db.keys import index as _index
from moorage.db.keys import key as _key

metadata = MetaData()

BIG: TypeEngine[int] = BigInteger()
SMALL: TypeEngine[int] = SmallInteger()
BYTES: TypeEngine[bytes] = LargeBinary()
ASCII: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite makes a column the row's own number, and never gives it twice, only when it is called INTEGER.
NUMBER: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")


def _id() -> Column[int]:
    return Column("id", NUMBER, Identity(always=False))


def _big(name: str, *, null: bool = False, default: int | None = None) -> Column[int]:
    shown = None if default is None else text(str(default))
    return Column(name, BIG, nullable=null, server_default=shown)


def _to(table: str, name: str, *, null: bool = False) -> Column[int]:
    """Declare a column that names a row of *table*, of the same registry."""
    return Column(name, BIG, nullable=null, info={"to": table})


def _sum(name: str) -> Column[int]:
    """Declare what the database counts by itself (`db.counting`), and no statement writes."""
    return Column(name, BIG, nullable=False, server_default=text("0"), info={"counted": True})


def _told(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    """Declare what the database tells by itself of a row, from others; null: not told yet."""
    return Column(name, kind, nullable=True, info={"counted": True})


def _flag(name: str) -> Column[int]:
    return Column(name, SMALL, nullable=False, server_default=text("0"))


def _ascii(name: str, *, null: bool = False, default: str | None = None) -> Column[str]:
    return Column(name, ASCII, nullable=null, server_default=default)


def _bytes(name: str, *, null: bool = False) -> Column[bytes]:
    return Column(name, BYTES, nullable=null)


def _table(name: str, kind: str, *parts: SchemaItem) -> Table:
    """Declare a table: numbered rows when its ``id`` is given by the engine, else rows kept in their primary key."""
    columns = [part for part in parts if isinstance(part, Column)]
    numbered = any(column.identity for column in columns)
    made: Table = Table(
        name,
        metadata,
        _big("registry_id"),
        *parts,
        *([_key("id")] if numbered else []),
        *(_foreign_key((column.name,), column.info["to"], "id") for column in columns if "to" in column.info),
        info={"kind": kind, "numbered": numbered},
        sqlite_with_rowid=numbered,
    )
    return made


# A table reads best with a few columns to the line.
# fmt: off
# --- content: what is pushed, and how it hangs together -------------------------------------------------------

# One row a registry. ``clock`` is the stamp of the latest turn; ``access_version`` moves with every change of who
# may do what; the windows say how long promises, trash and unreferenced bytes are kept.
registry = _table(
    "registry", "content",
    _big("clock"), _big("access_version", default=0), _big("restored_at", null=True),
    _big("limit_bytes"), _big("used", default=0), _big("trash", default=0),
    _big("lease"), _big("trash_window"), _big("backup_window"),
    _flag("creates_projects"),
    _sum("projects"), _sum("public_projects"), _sum("repositories"), _sum("public_repositories"),
    _key(),
    CheckConstraint("used >= 0", name="registry_used"), CheckConstraint("trash >= 0", name="registry_trash"),
)

project = _table(
    "project", "content",
    _id(), _ascii("name"), _flag("public"), _big("limit_bytes", default=-1),
    _big("used", default=0), _big("trash", default=0), _big("loose_window", null=True),
    _big("owner_id", null=True), _ascii("state", default="live"),
    _big("created_at"), _big("updated_at", null=True), _big("deleted_at", null=True),
    _sum("repositories"), _sum("artifacts"),
    CheckConstraint("used >= 0", name="project_used"), CheckConstraint("trash >= 0", name="project_trash"),
)
_index("project_name", project, "name", unique=True, where="deleted_at IS NULL")
_index("project_listed", project, "name", "id", "public", where="deleted_at IS NULL AND state = 'live'")
_index("project_created", project, "created_at", "id", "public", where="deleted_at IS NULL AND state = 'live'")

project_metadata = _table(
    "project_metadata", "content",
    _to("project", "project_id"), _ascii("name"), _ascii("value"),
    _key("project_id", "name"),
)

repository = _table(
    "repository", "content",
    _id(), _to("project", "project_id"), _ascii("name"), _ascii("description", default=""),
    _ascii("state", default="live"), _big("created_at"), _big("updated_at", null=True), _big("deleted_at", null=True),
    _sum("artifacts"), _sum("pulls"),
)
_index("repository_name", repository, "name", unique=True, where="deleted_at IS NULL")
_index("repository_project", repository, "project_id", "name")
_index("repository_listed", repository, "project_id", "name", "id", where="deleted_at IS NULL AND state = 'live'")
_index("repository_all", repository, "name", "id", "project_id", where="deleted_at IS NULL AND state = 'live'")
_index("repository_created", repository, "project_id", "created_at", "id", where="deleted_at IS NULL AND state = 'live'")
_index("repository_newest", repository, "created_at", "id", "project_id", where="deleted_at IS NULL AND state = 'live'")
_index("repository_deleted", repository, "deleted_at", where="deleted_at IS NOT NULL")

# Bytes that are kept once a registry, under a key that is never used twice. ``format`` says how they are kept
# (0 = as they are) and ``data_key`` with what they are encrypted (none today).
blob = _table(
    "blob", "content",
    _id(), _bytes("digest"), _big("size"), _ascii("key"), _big("created_at"),
    _big("format", default=0), _big("data_key", null=True),
    _big("projects", default=0), _big("live_projects", default=0),
    CheckConstraint("0 <= live_projects AND live_projects <= projects", name="blob_projects"),
)
_index("blob_digest", blob, "digest", unique=True)
_index("blob_key", blob, "key", unique=True)

# How many repositories of a project have a blob, and in how many it is live: what quota counts once a project.
project_blob = _table(
    "project_blob", "content",
    _to("blob", "blob_id"), _to("project", "project_id"),
    _big("links"), _big("live_links"),
    _key("blob_id", "project_id"),
    CheckConstraint("0 <= live_links AND live_links <= links", name="project_blob_links"),
)
_index("project_blob_project", project_blob, "project_id")

# "This repository has this blob": the only thing a read or a push asks. live: refs > 0; held: promised until
# review_at; trash: only trashed manifests name it; grace: none does, and it goes at review_at.
repository_blob = _table(
    "repository_blob", "content",
    _to("repository", "repository_id"), _to("blob", "blob_id"),
    _big("refs", default=0), _flag("held"), _big("review_at", null=True),
    _key("repository_id", "blob_id"),
    CheckConstraint("refs >= 0", name="repository_blob_refs"),
    CheckConstraint("refs = 0 OR (held = 0 AND review_at IS NULL)", name="repository_blob_live"),
    CheckConstraint("held = 0 OR review_at IS NOT NULL", name="repository_blob_held"),
)
_index("repository_blob_blob", repository_blob, "blob_id", "repository_id")
_index("repository_blob_review", repository_blob, "review_at", where="review_at IS NOT NULL")

# A manifest or index of one repository, its body included. ``artifact_type`` holds what the referrers list shows,
# never null where there is a subject; ``loose_since`` says since when no tag, live index or live subject holds it.
# ``kind`` is the type of artifact, ``config_type`` its config's media type and ``facts`` (JSON) what the management
# API shows of it: null until somebody looks, so that a push writes none of them, on this schema and the one before.
# ``shown`` says whether lists show it, and ``project_id`` in which project it is: told by the database.
manifest = _table(
    "manifest", "content",
    _id(), _to("repository", "repository_id"), _bytes("digest"),
    _ascii("media_type"), _ascii("artifact_type"), _bytes("subject", null=True), _ascii("annotations", null=True),
    _big("size"), _big("content_size"), _big("pushed_at"), _big("deleted_at", null=True),
    _big("loose_since", null=True),
    _bytes("body"),
    _ascii("kind", null=True), _ascii("config_type", null=True), _ascii("facts", null=True),
    _told("shown", SMALL), _told("project_id", BIG),
)
_index("manifest_digest", manifest, "repository_id", "digest", unique=True)
_index("manifest_pushed", manifest, "repository_id", "pushed_at", "id", where="deleted_at IS NULL")
_index("manifest_trash", manifest, "repository_id", "deleted_at", "id", where="deleted_at IS NOT NULL")
_index("manifest_deleted", manifest, "deleted_at", where="deleted_at IS NOT NULL")
_index("manifest_kindless", manifest, "repository_id", "id", where="kind IS NULL AND deleted_at IS NULL")
_index("manifest_loose", manifest, "loose_since", where="loose_since IS NOT NULL")
_index("manifest_listed", manifest, "repository_id", "pushed_at", "id", "kind", "shown", where="shown = 1")
_index("manifest_of_project", manifest, "project_id", "pushed_at", "id", "kind", "shown", "repository_id",
       where="shown = 1")
_index("manifest_subject", manifest, "repository_id", "subject", "artifact_type", "id",
       where="subject IS NOT NULL AND deleted_at IS NULL")

# The last guard: collection cannot take a link, nor a blob, that any manifest still names.
manifest_blob = _table(
    "manifest_blob", "content",
    _to("manifest", "manifest_id"), _big("blob_id"), _big("repository_id"),
    _key("manifest_id", "blob_id"),
    _foreign_key(("repository_id", "blob_id"), "repository_blob", "repository_id", "blob_id"),
)
_index("manifest_blob_link", manifest_blob, "repository_id", "blob_id")

# Children are kept by digest: they may be missing, come later, or be deleted first.
manifest_child = _table(
    "manifest_child", "content",
    _to("manifest", "parent_id"), _bytes("child"), _big("repository_id"),
    _key("parent_id", "child"),
)
_index("manifest_child_child", manifest_child, "repository_id", "child")

# A tag is an interval: moving it ends one row and inserts the next. Two disjoint partial indexes, on purpose: with
# one over both, planners take the history to find the present.
tag = _table(
    "tag", "content",
    _id(), _big("repository_id"), _ascii("name"), _to("manifest", "manifest_id"),
    _big("start_at"), _big("end_at", null=True),
    CheckConstraint("end_at IS NULL OR end_at > start_at", name="tag_interval"),
)
_index("tag_current", tag, "repository_id", "name", unique=True, where="end_at IS NULL")
_index("tag_past", tag, "repository_id", "name", "start_at", where="end_at IS NOT NULL")
_index("tag_manifest", tag, "manifest_id", "end_at")
_index("tag_ended", tag, "end_at", where="end_at IS NOT NULL")

immutable_rule = _table(
    "immutable_rule", "content",
    _id(), _to("project", "project_id"), _ascii("repositories", default="**"),
    _flag("excludes_repositories"),
    _ascii("tags", default="**"), _flag("excludes_tags"), _flag("disabled"), _big("created_at"),
)
_index("immutable_rule_project", immutable_rule, "project_id")

label = _table(
    "label", "content",
    _id(), _to("project", "project_id", null=True), _ascii("name"), _ascii("description", default=""),
    _ascii("colour", default=""), _big("created_at"), _big("updated_at", null=True), _big("deleted_at", null=True),
)
_index("label_name", label, "project_id", "name", where="deleted_at IS NULL")
_index("label_listed", label, "project_id", "name", "id", where="deleted_at IS NULL")
_index("label_global", label, "name", "id", where="deleted_at IS NULL AND project_id IS NULL")

manifest_label = _table(
    "manifest_label", "content",
    _to("manifest", "manifest_id"), _to("label", "label_id"), _big("at"),
    _key("manifest_id", "label_id"),
)
_index("manifest_label_label", manifest_label, "label_id")

# Vulnerabilities that are let pass: a project's, or (project 0) the whole registry's; ``items`` is JSON.
cve_allowlist = _table(
    "cve_allowlist", "content",
    _big("project_id"), _ascii("items", default="[]"), _big("expires_at", null=True), _big("created_at"),
    _big("updated_at"),
    _key("project_id"),
)

# --- content on its way in and out ----------------------------------------------------------------------------

upload = _table(
    "upload", "content",
    _ascii("id"), _to("repository", "repository_id"), _ascii("subject"), _ascii("algorithm"),
    _big("version", default=0), _big("received", default=0), _big("reserved", default=0),
    _bytes("hash_state", null=True),
    _big("created_at"), _big("expires_at"),
    _key("id"),
)
_index("upload_expires", upload, "expires_at")
_index("upload_repository", upload, "repository_id")

# A key stands here before its first byte is written, so that no crash leaves bytes that no row knows.
upload_part = _table(
    "upload_part", "content",
    _ascii("upload_id"), _big("n"), _ascii("key"), _big("size", null=True),
    _key("upload_id", "n"),
    _foreign_key(("upload_id",), "upload", "id"),
)
_index("upload_part_key", upload_part, "key", unique=True)

# Bytes whose row is gone: destroyed after ``destroy_at``, when no restore can ask for them any more.
doomed = _table(
    "doomed", "content",
    _ascii("key"), _big("size"), _big("destroy_at"), _big("tries", default=0),
    _key("key"),
)
_index("doomed_due", doomed, "destroy_at")

# Events of committed changes, waiting for the relay. Restoring content never brings one back: workflows start
# under the random uuid, once.
outbox = _table(
    "outbox", "record",
    _id(), _ascii("uuid"), _big("at"), _ascii("kind"), _ascii("body"),
)

pull_stat = _table(
    "pull_stat", "record",
    _big("manifest_id"), _big("pulls"), _big("last_at"),
    _key("manifest_id"),
)

# --- record: what happened ------------------------------------------------------------------------------------

event = _table(
    "event", "record",
    _id(), _ascii("uuid"), _ascii("kind"), _big("at"), _ascii("actor"), _ascii("party", default=""),
    _ascii("outcome"), _ascii("rule", default=""), _ascii("request_id", default=""), _ascii("address", default=""),
    _ascii("agent", default=""), _ascii("project", default=""), _ascii("target", default=""),
    _ascii("body"), _big("count", default=1),
)
_index("event_at", event, "at", "id")
_index("event_kind", event, "kind", "at", "id")
_index("event_project", event, "project", "at", "id")
_index("event_uuid", event, "uuid", unique=True)

# --- access: who may do what ----------------------------------------------------------------------------------

# ``valid_from``: tokens and sessions made before it are void. ``password``: a hash that names its scheme.
user = _table(
    "user", "access",
    _id(), _ascii("name"), _ascii("email", null=True), _ascii("realname", default=""), _ascii("comment", default=""),
    _ascii("password", null=True), _flag("admin"), _flag("disabled"), _big("valid_from", default=0),
    _big("created_at"), _big("updated_at", null=True), _big("deleted_at", null=True),
)
_index("user_name", user, "name", unique=True, where="deleted_at IS NULL")
_index("user_listed", user, "name", "id", where="deleted_at IS NULL")
_index("user_email", user, "email", where="deleted_at IS NULL")

# An external identity is what its issuer calls it, never a mail address or a name.
user_identity = _table(
    "user_identity", "access",
    _ascii("issuer"), _ascii("subject"), _to("user", "user_id"), _big("created_at"),
    _ascii("claims", default="{}"),
    _key("issuer", "subject"),
)
_index("user_identity_user", user_identity, "user_id")

user_group = _table(
    "user_group", "access",
    _id(), _ascii("name"), _ascii("source"), _ascii("external", default=""), _big("created_at"),
    _big("deleted_at", null=True),
)
_index("user_group_name", user_group, "source", "name", where="deleted_at IS NULL")
_index("user_group_listed", user_group, "name", "id", where="deleted_at IS NULL")

user_group_member = _table(
    "user_group_member", "access",
    _to("user_group", "group_id"), _to("user", "user_id"), _big("at"),
    _key("group_id", "user_id"),
)
_index("user_group_member_user", user_group_member, "user_id")

# A member of a project is a user or a group (the other is null) in one of the roles that Harbor numbers.
member = _table(
    "member", "access",
    _id(), _to("project", "project_id"), _to("user", "user_id", null=True),
    _to("user_group", "group_id", null=True), _big("role"), _big("created_at"),
    _big("updated_at", null=True), _told("name", ASCII),
    CheckConstraint("(user_id IS NULL) <> (group_id IS NULL)", name="member_one"),
)
_index("member_user", member, "user_id", "project_id", unique=True, where="user_id IS NOT NULL")
_index("member_group", member, "group_id", "project_id", unique=True, where="group_id IS NOT NULL")
_index("member_project", member, "project_id")
_index("member_listed", member, "project_id", "name", "id", "role")

# Roles that a registry has beside Harbor's five: of the whole registry, or of one project. A member holds one under its
# ``id`` and a hundred.
project_role = _table(
    "project_role", "access",
    _id(), _to("project", "project_id", null=True), _ascii("name"), _ascii("description", default=""),
    _big("created_at"), _big("updated_at"),
)
_index("project_role_name", project_role, "name", unique=True, where="project_id IS NULL")
_index("project_role_in", project_role, "project_id", "name", unique=True, where="project_id IS NOT NULL")

project_role_permission = _table(
    "project_role_permission", "access",
    _to("project_role", "role_id"), _ascii("resource"), _ascii("action"),
    _key("role_id", "resource", "action"),
)

# What a user, a group or a robot (the others are null) may in the repositories of a project that match a pattern.
repository_grant = _table(
    "repository_grant", "access",
    _id(), _to("project", "project_id"), _to("user", "user_id", null=True), _to("user_group", "group_id", null=True),
    _to("robot", "robot_id", null=True), _ascii("pattern"), _ascii("permissions"),
    _big("created_at"), _big("updated_at"),
    CheckConstraint(
        "(user_id IS NULL AND group_id IS NULL) OR (user_id IS NULL AND robot_id IS NULL)"
        " OR (group_id IS NULL AND robot_id IS NULL)",
        name="repository_grant_one",
    ),
    CheckConstraint("user_id IS NOT NULL OR group_id IS NOT NULL OR robot_id IS NOT NULL", name="repository_grant_whose"),
)
_index("repository_grant_project", repository_grant, "project_id", "id")
_index("repository_grant_user", repository_grant, "user_id", "project_id", where="user_id IS NOT NULL")
_index("repository_grant_group", repository_grant, "group_id", "project_id", where="group_id IS NOT NULL")
_index("repository_grant_robot", repository_grant, "robot_id", "project_id", where="robot_id IS NOT NULL")

# ``secret`` is the SHA-256 of 256 random bits; while a secret is being replaced both are good until ``old_until``.
robot = _table(
    "robot", "access",
    _id(), _to("project", "project_id", null=True), _ascii("name"), _ascii("description", default=""),
    _bytes("secret"), _bytes("old_secret", null=True), _big("old_until", null=True),
    _flag("disabled"), _big("duration", default=-1), _big("expires_at", null=True), _big("valid_from", default=0),
    _ascii("creator_kind", default=""), _big("creator_id", null=True), _big("last_used_at", null=True),
    _big("created_at"), _big("updated_at", null=True), _big("deleted_at", null=True),
)
_index("robot_name", robot, "name", unique=True, where="deleted_at IS NULL")
_index("robot_project", robot, "project_id")
_index("robot_of_project", robot, "project_id", "name", "id", where="deleted_at IS NULL")
_index("robot_of_system", robot, "name", "id", where="deleted_at IS NULL AND project_id IS NULL")

# ``namespace``: "/" for the system, a project's name, or "*" for every project.
robot_permission = _table(
    "robot_permission", "access",
    _to("robot", "robot_id"), _ascii("kind"), _ascii("namespace"), _ascii("resource"),
    _ascii("action"),
    _key("robot_id", "kind", "namespace", "resource", "action"),
)

# Whose tokens sign a robot in beside its secret, and what they say (JSON). ``jwks``: the issuer's keys, if it cannot be asked.
robot_trust = _table("robot_trust", "access", _id(), _to("robot", "robot_id"), _ascii("description", default=""),
                     _ascii("issuer"), _ascii("audience"), _ascii("claims"), _ascii("jwks", default=""),
                     _big("created_at"), _big("updated_at", null=True))
_index("robot_trust_robot", robot_trust, "robot_id", "id")
_index("robot_trust_issuer", robot_trust, "issuer", "robot_id")

refresh_token = _table(
    "refresh_token", "access",
    _bytes("hash"), _ascii("caller_kind"), _big("caller_id"), _ascii("client", default=""), _big("created_at"),
    _big("expires_at"), _big("revoked_at", null=True), _big("last_used_at", null=True),
    _key("hash"),
)
_index("refresh_token_caller", refresh_token, "caller_kind", "caller_id")
_index("refresh_token_expires", refresh_token, "expires_at")
# Names that projects had and, without a project's, repositories in each: they mean these alone until they are freed.
old_project_name = _table("old_project_name", "access", _id(), _ascii("name"), _to("project", "project_id"),
                          _big("start_at"), _big("end_at"), _big("freed_at", null=True))
_index("old_project_name_name", old_project_name, "name", "end_at", where="freed_at IS NULL")
_index("old_project_name_project", old_project_name, "project_id", "end_at")
old_repository_name = _table("old_repository_name", "access", _to("project", "project_id"), _ascii("name"),
                             _to("repository", "repository_id"), _big("end_at"), _key("project_id", "name"))
_index("old_repository_name_repository", old_repository_name, "repository_id")

# Private keys, wrapped by the master key; ``retired_at``: signs no more, still verifies what it signed.
signing_key = _table(
    "signing_key", "access",
    _ascii("id"), _ascii("algorithm"), _bytes("wrapped"), _ascii("master"), _big("created_at"),
    _big("retired_at", null=True),
    _key("id"),
)

# What is set for the whole registry, by the names that Harbor gives it. A value that is a secret stands in ``secret``
# instead, wrapped by the master key that ``master`` names.
configuration = _table(
    "configuration", "access",
    _ascii("name"), _ascii("value", default=""), _bytes("secret", null=True), _ascii("master", null=True),
    _big("created_at"), _big("updated_at"),
    _key("name"),
    CheckConstraint("(secret IS NULL) = (master IS NULL)", name="configuration_secret"),
)

# People who signed in at the registry's pages: the hash of a cookie, which is shown once and kept nowhere.
session = _table(
    "session", "access",
    _bytes("hash"), _to("user", "user_id"), _big("created_at"), _big("last_at"), _ascii("address", default=""),
    _ascii("agent", default=""),
    _key("hash"),
)
# People who are at the OpenID provider, or choose their name after they were there (``vouched``: who they are, in JSON).
sign_in_flow = _table(
    "sign_in_flow", "access",
    _bytes("state"), _ascii("redirect"), _ascii("next", default=""), _ascii("address", default=""), _big("created_at"),
    _ascii("vouched", null=True),
    _key("state"),
)
_index("sign_in_flow_address", sign_in_flow, "address", "created_at")
_index("sign_in_flow_created", sign_in_flow, "created_at")
_index("session_of_user", session, "user_id")
_index("session_last", session, "last_at")
# fmt: on
