"""Artifacts as Harbor shows them, and all that may be asked to stand beside them: a query each, for a page at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from moorage.api.harbor import answers as write
from moorage.api.harbor.operations import PREFIX
from moorage.oci.digests import Digest
from moorage.oci.names import RepositoryName
from moorage.registry import accessories, artifact_pages, facts, immutability, kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.api.harbor.asks import Ask
    from moorage.registry.accessories import Accessory
    from moorage.registry.facts import Facts

NEVER: Final = "0001-01-01T00:00:00.000Z"
ADDITIONS: Final = {
    kinds.IMAGE: ("build_history",),
    kinds.CHART: ("values.yaml", "readme.md", "dependencies"),
    kinds.MODEL: ("readme.md", "license", "files"),
}
"""What can be asked of an artifact besides, by its type."""


class ShownTag(msgspec.Struct):
    """A tag as Harbor shows it."""

    id: int
    repository_id: int
    artifact_id: int
    name: str
    push_time: str
    pull_time: str
    immutable: bool


class ShownLabel(msgspec.Struct):
    """A label as Harbor shows it."""

    id: int
    name: str
    description: str
    color: str
    scope: str
    project_id: int
    creation_time: str
    update_time: str


class ShownAccessory(msgspec.Struct):
    """What hangs on an artifact, as Harbor shows it."""

    id: int
    artifact_id: int
    subject_artifact_id: int
    subject_artifact_digest: str
    subject_artifact_repo: str
    size: int
    digest: str
    type: str
    icon: str
    creation_time: str


class Link(msgspec.Struct):
    """Where something else about an artifact is."""

    href: str
    absolute: bool = False


class ShownArtifact(msgspec.Struct):
    """An artifact as Harbor shows it; lists that nobody asked for are null."""

    id: int
    type: str
    media_type: str
    manifest_media_type: str
    artifact_type: str
    project_id: int
    repository_id: int
    repository_name: str
    digest: str
    size: int
    icon: str
    push_time: str
    pull_time: str
    extra_attrs: dict[str, Any]
    annotations: dict[str, str] | None
    references: list[dict[str, Any]] | None
    tags: list[ShownTag] | None
    addition_links: dict[str, Link]
    labels: list[ShownLabel] | None
    accessories: list[ShownAccessory] | None


async def shown(ask: Ask, rows: Sequence[Any]) -> list[ShownArtifact]:
    """Show a page of artifacts with what the request asks to stand beside each."""
    if not rows:
        return []
    numbers = [row.id for row in rows]
    known = {row.id: await _facts(ask, row) for row in rows}
    indexes = [one for one in numbers if known[one].references]
    children = await artifact_pages.children(ask.db, indexes) if indexes else {}
    labels = await artifact_pages.labels(ask.db, numbers) if ask.flag("with_label") else {}
    tags = await _tags(ask, rows) if ask.flag("with_tag", default=True) else {}
    hanging = await _accessories(ask, rows) if ask.flag("with_accessory") else {}
    return [
        _artifact(
            row,
            known[row.id],
            children.get(row.id, []),
            tags=tags.get(row.id),
            labels=[label(one) for one in labels.get(row.id, [])] or None,
            hanging=hanging.get(row.id),
        )
        for row in rows
    ]


async def _facts(ask: Ask, row: Any) -> Facts:
    if row.facts is not None and row.kind is not None:
        return facts.kept(row.kind, row.config_type, row.facts)
    return await facts.learn(ask.db, ask.registry.store, RepositoryName.parse(row.name), row.id)


async def _tags(ask: Ask, rows: Sequence[Any]) -> dict[int, list[ShownTag]]:
    """Give the tags of a page, with whether a rule keeps them if that is asked for."""
    found = await artifact_pages.tags(ask.db, [row.id for row in rows])
    made: dict[int, list[ShownTag]] = {}
    homes: dict[str, list[Any]] = {}
    for row in rows:
        homes.setdefault(row.name, []).append(row)
    for name, of_home in homes.items():
        names = [one.name for row in of_home for one in found.get(row.id, [])]
        kept = await kept_tags(ask, name, names)
        for row in of_home:
            if mine := found.get(row.id):
                made[row.id] = [tag(one, row.pulled_at, immutable=one.name in kept) for one in mine]
    return made


async def kept_tags(ask: Ask, name: str, tags: Sequence[str]) -> frozenset[str]:
    """Give which of a repository's tags a rule keeps as they are, if that is asked for."""
    if not ask.flag("with_immutable_status"):
        return frozenset()
    home = RepositoryName.parse(name)
    return frozenset(await immutability.kept(ask.db, ask.project.id, home, tags))


async def _accessories(ask: Ask, rows: Sequence[Any]) -> dict[int, list[ShownAccessory]]:
    made: dict[int, list[ShownAccessory]] = {}
    homes: dict[int, list[Any]] = {}
    for row in rows:
        homes.setdefault(row.repository_id, []).append(row)
    for repository, of_home in homes.items():
        subjects = {Digest.from_raw(row.digest): row for row in of_home}
        for subject, found in (await accessories.of(ask.db, repository, list(subjects))).items():
            row = subjects[subject]
            made[row.id] = [accessory(one, row.id, str(subject), row.name) for one in found]
    return made


def _artifact(
    row: Any,
    known: Facts,
    children: Sequence[Any],
    *,
    tags: list[ShownTag] | None,
    labels: list[ShownLabel] | None,
    hanging: list[ShownAccessory] | None,
) -> ShownArtifact:
    digest = str(Digest.from_raw(row.digest))
    there = {str(Digest.from_raw(one.child)): one for one in children}
    references = [_reference(row.id, one, there.get(one["digest"])) for one in known.references]
    return ShownArtifact(
        id=row.id,
        type=known.kind,
        media_type=known.config_type,
        manifest_media_type=row.media_type,
        artifact_type=row.artifact_type or known.config_type,
        project_id=row.project_id,
        repository_id=row.repository_id,
        repository_name=row.name,
        digest=digest,
        size=row.size + sum(one.size for one in there.values()),
        icon=known.icon,
        push_time=write.moment(row.pushed_at),
        pull_time=NEVER if row.pulled_at is None else write.moment(row.pulled_at),
        extra_attrs=dict(known.attributes),
        annotations=dict(known.annotations) or None,
        references=references or None,
        tags=tags,
        addition_links=_links(row.name, digest, known),
        labels=labels,
        accessories=hanging,
    )


def _reference(parent: int, one: dict[str, Any], child: Any | None) -> dict[str, Any]:
    return {
        "parent_id": parent,
        "child_id": 0 if child is None else child.id,
        "child_digest": one["digest"],
        "platform": one.get("platform"),
        "annotations": one.get("annotations"),
        "urls": one.get("urls"),
    }


def _links(name: str, digest: str, known: Facts) -> dict[str, Link]:
    """Say where what may be asked besides is; an index has no history of its own."""
    if known.references:
        return {}
    project, _, rest = name.partition("/")
    encoded = quote(quote(rest, safe=""), safe="")
    start = f"{PREFIX}/projects/{project}/repositories/{encoded}/artifacts/{digest}/additions"
    return {one: Link(f"{start}/{one}") for one in ADDITIONS.get(known.kind, ())}


def tag(row: Any, pulled_at: int | None, *, immutable: bool) -> ShownTag:
    """Show a tag; when it was pulled is told of its artifact."""
    pulled = NEVER if pulled_at is None else write.moment(pulled_at)
    return ShownTag(
        row.id,
        row.repository_id,
        row.manifest_id,
        row.name,
        write.moment(row.start_at),
        pulled,
        immutable=immutable,
    )


def label(row: Any) -> ShownLabel:
    """Show a label."""
    return ShownLabel(
        row.id,
        row.name,
        row.description,
        row.colour,
        "g" if row.project_id is None else "p",
        row.project_id or 0,
        write.moment(row.created_at),
        write.moment(row.updated_at or row.created_at),
    )


def accessory(one: Accessory, subject: int, digest: str, repository: str) -> ShownAccessory:
    """Show what hangs on an artifact."""
    return ShownAccessory(
        id=one.id,
        artifact_id=one.id,
        subject_artifact_id=subject,
        subject_artifact_digest=digest,
        subject_artifact_repo=repository,
        size=one.size,
        digest=one.digest,
        type=one.type,
        icon="",
        creation_time=write.moment(one.pushed_at),
    )
