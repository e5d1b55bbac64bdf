"""Labels: of the whole registry, or of one project; what is marked with one that is deleted is so no more."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update

from moorage.db import Reader, Statement, Tx, insert
from moorage.db import pages as db_pages
from moorage.db.pages import Asked, Listing
from moorage.db.tables import label, manifest_label
from moorage.errors import Problem

LONGEST_NAME: Final = 128
LONGEST_DESCRIPTION: Final = 1024

_COLUMNS = (
    label.c.id, label.c.project_id, label.c.name, label.c.description, label.c.colour, label.c.created_at,
    label.c.updated_at,
)  # fmt: skip
_HERE = (label.c.id == bindparam("number"), label.c.deleted_at.is_(None))
_GET = Statement(select(*_COLUMNS).where(*_HERE))
_named = (label.c.name == bindparam("name"), label.c.deleted_at.is_(None))
_FIND = Statement(select(label.c.id).where(label.c.project_id == bindparam("project"), *_named))
_FIND_GLOBAL = Statement(select(label.c.id).where(label.c.project_id.is_(None), *_named))
_ADD = Statement(
    insert(label)
    .values(
        project_id=bindparam("project"), name=bindparam("name"), description=bindparam("description"),
        colour=bindparam("colour"), created_at=bindparam("at"),
    )
    .returning(label.c.id)
)  # fmt: skip
_CHANGE = Statement(
    update(label)
    .where(*_HERE)
    .values(
        name=bindparam("new_name"), description=bindparam("new_description"), colour=bindparam("new_colour"),
        updated_at=bindparam("at"),
    )
)  # fmt: skip
_DELETE = Statement(update(label).where(*_HERE).values(deleted_at=bindparam("at")))
_TAKE_OFF = Statement(delete(manifest_label).where(manifest_label.c.label_id == bindparam("number")))


def _listing(of: Any) -> Listing:
    return Listing(
        shown=_COLUMNS,
        source=label,
        id=label.c.id,
        where=(of, label.c.deleted_at.is_(None)),
        keys={
            "id": db_pages.number(label.c.id),
            "name": db_pages.text(label.c.name),
            "description": db_pages.text(label.c.description),
            "color": db_pages.text(label.c.colour),
            "creation_time": db_pages.time(label.c.created_at),
            "update_time": db_pages.time(label.c.updated_at),
        },
        order=(("name", False),),
    )


_LISTED = _listing(label.c.project_id == bindparam("project"))
_LISTED_GLOBAL = _listing(label.c.project_id.is_(None))


class LabelUnknown(Problem):
    """There is no such label."""

    code, status, summary = "NOT_FOUND", 404, "there is no such label"


class LabelTaken(Problem):
    """There is a label of this name."""

    code, status, summary = "CONFLICT", 409, "there is a label of this name"


class LabelInvalid(Problem):
    """The label breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "not a label"


@dataclass(frozen=True, slots=True)
class Label:
    """A label; without a project it is the whole registry's."""

    id: int
    project_id: int | None
    name: str
    description: str
    colour: str
    created_at: int
    updated_at: int


async def get(reader: Reader, number: int) -> Label:
    """Give a label, or raise LabelUnknown."""
    row = await reader.one(_GET, number=number)
    if row is None:
        raise LabelUnknown(f"label {number} not found", label=number)
    return _label(row)


async def page(reader: Reader, project: int | None, asked: Asked) -> tuple[list[Label], int]:
    """Give a page of the labels of a project, or of the whole registry; and how many there are."""
    of = {} if project is None else {"project": project}
    listing = _LISTED_GLOBAL if project is None else _LISTED
    rows, total = await listing.listed(reader, asked, **of)
    return [_label(row) for row in rows], total


async def create(tx: Tx, project: int | None, name: str, description: str, colour: str) -> int:
    """Make a label and give its number, or raise LabelInvalid or LabelTaken."""
    _check(name, description, colour)
    await _check_free(tx, project, name)
    row = await tx.one(_ADD, project=project, name=name, description=description, colour=colour, at=tx.at)
    return int(row.id)


async def change(tx: Tx, found: Label, name: str, description: str, colour: str) -> None:
    """Change a label, or raise LabelInvalid or LabelTaken."""
    _check(name, description, colour)
    if name != found.name:
        await _check_free(tx, found.project_id, name)
    await tx.run(
        _CHANGE, number=found.id, new_name=name, new_description=description, new_colour=colour, at=tx.at
    )


async def remove(tx: Tx, number: int) -> None:
    """Delete a label, and take it off everything."""
    await tx.run(_TAKE_OFF, number=number)
    await tx.run(_DELETE, number=number, at=tx.at)


async def _check_free(tx: Tx, project: int | None, name: str) -> None:
    taken = await (
        tx.one(_FIND_GLOBAL, name=name) if project is None else tx.one(_FIND, project=project, name=name)
    )
    if taken is not None:
        raise LabelTaken(f"there is a label {name} already", name=name)


def _check(name: str, description: str, colour: str) -> None:
    if not 0 < len(name.strip()) <= LONGEST_NAME:
        raise LabelInvalid(f"a label's name has 1 to {LONGEST_NAME} characters", name=name[:LONGEST_NAME])
    if len(description) > LONGEST_DESCRIPTION or len(colour) > LONGEST_NAME:
        raise LabelInvalid(f"a label's description has at most {LONGEST_DESCRIPTION} characters")
    if "\0" in name + description + colour:
        raise LabelInvalid("a label has no null character")


def _label(row: Any) -> Label:
    return Label(
        row.id,
        row.project_id,
        row.name,
        row.description,
        row.colour,
        row.created_at,
        row.updated_at or row.created_at,
    )
