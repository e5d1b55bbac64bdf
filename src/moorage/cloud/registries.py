"""Registries, as a customer orders them: a row says what should be, and an event beside it promises the job that makes it so.

    order        INSTALLING  ──▶ READY          rename changes the row alone
    change_plan  SCALING_UP  ──▶ READY          with the new plan, or the old one if what is stored no longer fits
    delete       DELETING    ──▶ DELETED        serves nobody; ``delete_after`` says how long it can be taken back, and then
                                                it is destroyed, which `cloud.destroying` does and a certificate tells of
    undelete     RESTORING   ──▶ READY
    suspend      SUSPENDING  ──▶ SUSPENDED      pulls or only pushes stop, as the provider says
    resume       RESTORING   ──▶ READY

`cloud.reconciling` does what stands right of the arrows.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, func, select, update

from moorage import __version__
from moorage.cloud import cloud_projects, events, provisioning, spans
from moorage.cloud.catalogue import Catalogue, Plan, Region
from moorage.cloud.errors import (
    DowngradeRefused,
    NotReady,
    OrdersExceeded,
    RegistryNameInvalid,
    RegistryUnknown,
    UndeleteRefused,
)
from moorage.cloud.events import Origin
from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.platform import cloud_project, cloud_registry
from moorage.oci.errors import NameInvalid
from moorage.registry.errors import NameTaken

READY, SUSPENDED, DELETED = "READY", "SUSPENDED", "DELETED"
INSTALLING, SCALING_UP, DELETING, RESTORING, SUSPENDING, ERROR = (
    "INSTALLING",
    "SCALING_UP",
    "DELETING",
    "RESTORING",
    "SUSPENDING",
    "ERROR",
)
ON_THE_WAY: Final = (INSTALLING, SCALING_UP, DELETING, RESTORING, SUSPENDING)
DELETABLE: Final = frozenset({READY, SUSPENDED, ERROR})
LONGEST_LIST: Final = 10_000

ORDERED, PLAN_ASKED, DELETE_ASKED, UNDELETE_ASKED, RESTRICTED, SUSPEND_ASKED, RESUME_ASKED = (
    "registry.ordered",
    "registry.plan-change-asked",
    "registry.delete-asked",
    "registry.undelete-asked",
    "registry.restrictions-changed",
    "registry.suspend-asked",
    "registry.resume-asked",
)
BEGIN: Final = (
    ORDERED, PLAN_ASKED, DELETE_ASKED, UNDELETE_ASKED, RESTRICTED, SUSPEND_ASKED, RESUME_ASKED,
)  # fmt: skip
"""The kinds of event that a reconciling begins with."""

_columns = select(*cloud_registry.c, cloud_project.c.account_id).join_from(
    cloud_registry, cloud_project, cloud_registry.c.cloud_project_id == cloud_project.c.id
)
_GET = Statement(_columns.where(cloud_registry.c.id == bindparam("id")))
_LISTED = Statement(
    _columns.where(
        cloud_registry.c.cloud_project_id == bindparam("cloud_project"),
        cloud_registry.c.status != DELETED,
        cloud_registry.c.deleted_at.is_(None),
    )
    .order_by(cloud_registry.c.created_at, cloud_registry.c.id)
    .limit(LONGEST_LIST)
)
_ADD = Statement(
    insert(cloud_registry).values(
        id=bindparam("id"),
        cloud_project_id=bindparam("cloud_project"),
        name=bindparam("name"),
        region=bindparam("region"),
        plan=bindparam("plan"),
        wanted=READY,
        status=INSTALLING,
        version=__version__,
        iam_enabled=0,
        url="",
        size=0,
        created_at=bindparam("at"),
        updated_at=bindparam("at"),
        error="",
        called=bindparam("called"),
    )
)
_CALLED = Statement(select(cloud_registry.c.id).where(cloud_registry.c.called == bindparam("called")))
_COUNT = Statement(
    select(func.count().label("count"))
    .select_from(cloud_registry)
    .join(cloud_project, cloud_registry.c.cloud_project_id == cloud_project.c.id)
    .where(
        cloud_project.c.account_id
        == select(cloud_project.c.account_id)
        .where(cloud_project.c.id == bindparam("cloud_project"))
        .scalar_subquery(),
        cloud_registry.c.status != DELETED,
        cloud_registry.c.deleted_at.is_(None),
    )
)
_ACCOUNT = Statement(
    select(cloud_project.c.account_id).where(cloud_project.c.id == bindparam("cloud_project"))
)
_here = (cloud_registry.c.id == bindparam("which"),)
_RENAME = Statement(
    update(cloud_registry).where(*_here).values(name=bindparam("name"), updated_at=bindparam("at"))
)
_WANT = Statement(
    update(cloud_registry)
    .where(*_here)
    .values(
        wanted=bindparam("wanted"),
        status=bindparam("status"),
        plan=bindparam("plan"),
        delete_after=bindparam("delete_after"),
        delete_asked_at=bindparam("asked_at"),
        closed_at=None,
        error="",
        updated_at=bindparam("at"),
    )
)


_IAM = Statement(update(cloud_registry).where(*_here).values(iam_enabled=bindparam("enabled")))
_ADDRESSES = Statement(
    select(cloud_registry.c.entry_uuid, cloud_registry.c.url).where(
        cloud_registry.c.entry_uuid.is_not(None), cloud_registry.c.deleted_at.is_(None)
    )
)
_ADDRESS = Statement(
    update(cloud_registry)
    .where(cloud_registry.c.entry_uuid == bindparam("entry"), cloud_registry.c.url != bindparam("new"))
    .values(url=bindparam("new"))
)


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that was ordered; times are microseconds. ``account_id`` is its cloud project's."""

    id: str
    cloud_project_id: str
    name: str
    region: str
    plan: str
    wanted: str
    status: str
    version: str
    iam_enabled: int
    entry_uuid: str | None
    url: str
    size: int
    created_at: int
    delivered_at: int | None
    updated_at: int
    delete_after: int | None
    deleted_at: int | None
    error: str
    delete_asked_at: int | None
    closed_at: int | None
    destroyed_at: int | None
    suspension: str
    suspended_for: str
    called: str | None
    """Its name in the cell's directory where it has another there than its id, as whoever runs the house wanted it."""
    account_id: str

    @property
    def place_name(self) -> str:
        """Give the name by which its place in the cell's directory is found until that is known."""
        return self.called or self.id


def check_name(name: str) -> None:
    """Raise RegistryNameInvalid for what no registry may be called."""
    try:
        provisioning.check_name(name)
    except NameInvalid as problem:
        raise RegistryNameInvalid(f"name: {problem}", field="name") from None


async def find(reader: Reader, registry: str) -> Registry | None:
    """Find a registry by its id alone: for the provider's own work, never for a customer's question."""
    row = await reader.one(_GET, id=registry)
    return None if row is None else Registry(*row)


async def get(reader: Reader, cloud_project_id: str, registry: str) -> Registry:
    """Find a cloud project's registry, or raise RegistryUnknown: another's is not there, nor one whose grace is over."""
    found = await find(reader, registry)
    if found is None or found.cloud_project_id != cloud_project_id or found.deleted_at is not None:
        raise RegistryUnknown(registry=registry[:80])
    return found


async def get_ever(reader: Reader, cloud_project_id: str, registry: str) -> Registry:
    """Find a cloud project's registry, though nothing may be left of it; or raise RegistryUnknown."""
    found = await find(reader, registry)
    if found is None or found.cloud_project_id != cloud_project_id:
        raise RegistryUnknown(registry=registry[:80])
    return found


async def listed(reader: Reader, cloud_project_id: str) -> list[Registry]:
    """List a cloud project's registries in the order they came, without those that are deleted."""
    return [Registry(*row) for row in await reader.all(_LISTED, cloud_project=cloud_project_id)]


async def order(
    tx: Tx,
    catalogue: Catalogue,
    cloud_project_id: str,
    *,
    name: str,
    region: str,
    plan: str | None,
    most: int,
    origin: Origin,
) -> Registry:
    """Take an order of a registry, of the smallest plan if none is named.

    Raises RegistryNameInvalid, RegionUnknown, PlanUnknown, and OrdersExceeded past *most* registries of the account.
    """
    check_name(name)
    home = catalogue.region(region)
    return await _take(tx, cloud_project_id, name, home, catalogue.ordered(plan), most=most, origin=origin)


async def order_called(
    tx: Tx, catalogue: Catalogue, cloud_project_id: str, *, name: str, grants: str, most: int, origin: Origin
) -> Registry:
    """Take the order of whoever runs the house: of any plan, by what it grants, and known in the cell by its name.

    Raises RegistryNameInvalid, PlanUnknown, CloudProjectUnknown, OrdersExceeded, and NameTaken.
    """
    check_name(name)
    chosen = catalogue.granting(grants)
    await cloud_projects.ensure_there(tx, cloud_project_id)
    if await tx.one(_CALLED, called=name) is not None:
        raise name_taken(name)
    home = catalogue.regions[0]
    return await _take(tx, cloud_project_id, name, home, chosen, most=most, origin=origin, called=name)


def name_taken(name: str) -> NameTaken:
    """Make the refusal of a name that another registry has in the cell."""
    return NameTaken(f"there is a registry {name} already, or one that is not destroyed yet", name=name)


async def _take(
    tx: Tx, cloud_project_id: str, name: str, home: Region, chosen: Plan, *,
    most: int, origin: Origin, called: str | None = None,
) -> Registry:  # fmt: skip
    there = await count(tx, cloud_project_id)
    if there >= most:
        raise OrdersExceeded(
            f"the account has {there} registries and may have {most}: delete one, or ask the provider for more"
        )
    id_ = str(uuid.uuid4())
    await tx.run(
        _ADD, id=id_, cloud_project=cloud_project_id, name=name, region=home.name, plan=chosen.id, called=called,
        at=tx.at,
    )  # fmt: skip
    made = await get(tx, cloud_project_id, id_)
    await note(tx, ORDERED, made, origin, name=name, region=home.name, plan=chosen.id)
    return made


async def rename(tx: Tx, cloud_project_id: str, registry: str, name: str, origin: Origin) -> Registry:
    """Call a registry otherwise; raise RegistryUnknown or RegistryNameInvalid. Its address stays what it was."""
    check_name(name)
    found = await get(tx, cloud_project_id, registry)
    if found.wanted == DELETED:
        raise not_ready(found, "rename it", "READY")
    if found.name != name:
        await tx.run(_RENAME, which=found.id, name=name, at=_after(tx, found))
        await note(tx, "registry.renamed", found, origin, before=found.name, after=name)
    return await get(tx, cloud_project_id, registry)


@dataclass(frozen=True, slots=True)
class Use:
    """What a registry stores and uses; ``parallel`` is None where that cannot be told."""

    stored: int
    parallel: int | None = None
    trash: int = 0


async def count(reader: Reader, cloud_project_id: str) -> int:
    """Count the registries of the account that a cloud project is of."""
    return int((await reader.one(_COUNT, cloud_project=cloud_project_id)).count)


def misfits(use: Use, plan: Plan) -> list[dict[str, object]]:
    """List what does not fit into a plan: what it is, how much of it is used, what the plan grants, and what to do."""
    found: list[dict[str, object]] = []
    if 0 <= plan.grants.limit_bytes < use.stored:
        found.append(
            {
                "limit": "imageStorage",
                "used": use.stored,
                "granted": plan.grants.limit_bytes,
                "remedy": f"delete {use.stored - plan.grants.limit_bytes} bytes; trash does not count",
            }
        )
    if use.parallel is not None and 0 < plan.grants.parallel < use.parallel:
        found.append(
            {
                "limit": "parallelRequest",
                "used": use.parallel,
                "granted": plan.grants.parallel,
                "remedy": "ask again when fewer requests are under way, or let clients ask for less at once",
            }
        )
    return found


def reachable_plans(catalogue: Catalogue, found: Registry, use: Use) -> list[Plan]:
    """List the plans that a registry may change to now: larger ones, and smaller ones that its content fits into."""
    now = catalogue.plan(found.plan)
    return [
        plan
        for plan in catalogue.orderable
        if plan.id != now.id and (is_larger(plan, now) or not misfits(use, plan))
    ]


async def change_plan(
    tx: Tx, catalogue: Catalogue, cloud_project_id: str, registry: str, plan: str, *, use: Use, origin: Origin
) -> Registry:
    """Ask for another plan. A larger one is always granted; a smaller one if what *use* tells of fits into it.

    Raises RegistryUnknown, PlanUnknown, NotReady and DowngradeRefused. The plan that it has changes nothing.
    """
    found = await get(tx, cloud_project_id, registry)
    chosen = catalogue.ordered(plan)
    if found.status == SCALING_UP and found.plan == chosen.id:
        return found
    again = found.status == ERROR and found.wanted == READY
    if found.status != READY and not again:
        raise not_ready(found, "change its plan", READY)
    before = catalogue.plan(found.plan)
    if chosen.id == before.id and not again:
        return found
    check_fit(before, chosen, use)
    await _want(tx, found, wanted=READY, status=SCALING_UP, plan=chosen.id)
    await note(tx, PLAN_ASKED, found, origin, before=before.id, after=chosen.id)
    return await get(tx, cloud_project_id, registry)


def is_larger(plan: Plan, than: Plan) -> bool:
    """Say whether a plan is a larger one. What nobody orders has no limits, so whatever is ordered is smaller."""
    return than.orderable and plan.place > than.place


def check_fit(before: Plan, chosen: Plan, use: Use) -> None:
    """Raise DowngradeRefused, with the list of what does not fit, unless the plan is a larger one."""
    if is_larger(chosen, before):
        return
    left = misfits(use, chosen)
    if left:
        told = "; ".join(
            f"{one['limit']}: {one['used']} used, {one['granted']} granted: {one['remedy']}" for one in left
        )
        raise DowngradeRefused(
            f"planID: what this registry holds does not fit into {chosen.name}: {told}",
            field="planID",
            details=left,
        )


async def delete(tx: Tx, cloud_project_id: str, registry: str, *, grace: int, origin: Origin) -> Registry:
    """Ask for a registry's end: it stops serving now, and can be taken back for *grace* microseconds.

    Raises RegistryUnknown, and NotReady. One that is being deleted stays so.
    """
    found = await get(tx, cloud_project_id, registry)
    if found.wanted == DELETED:
        return found
    if found.status not in DELETABLE:
        raise not_ready(found, "delete it", *sorted(DELETABLE))
    await _want(tx, found, wanted=DELETED, status=DELETING, plan=found.plan, delete_after=tx.at + grace)
    await note(tx, DELETE_ASKED, found, origin, delete_after=tx.at + grace)
    return await get(tx, cloud_project_id, registry)


async def undelete(tx: Tx, cloud_project_id: str, registry: str, *, origin: Origin) -> Registry:
    """Take a deletion back while its grace lasts; raise RegistryUnknown or UndeleteRefused."""
    found = await get(tx, cloud_project_id, registry)
    if found.wanted != DELETED:
        if found.status == RESTORING:
            return found
        raise UndeleteRefused(f"the registry is {found.status}: only one that was deleted can be taken back")
    if found.delete_after is None or found.delete_after <= tx.at:
        raise UndeleteRefused("the time in which this registry could be taken back is over")
    # What the provider has suspended is not let go by deleting it for a moment.
    wanted = SUSPENDED if found.suspension else READY
    await _want(tx, found, wanted=wanted, status=RESTORING, plan=found.plan)
    await note(tx, UNDELETE_ASKED, found, origin)
    return await get(tx, cloud_project_id, registry)


async def note_iam(tx: Tx, cloud_project_id: str, registry: str, origin: Origin, *, enabled: bool) -> None:
    """Tell whether people sign in to a registry by IAM."""
    found = await get(tx, cloud_project_id, registry)
    if bool(found.iam_enabled) != enabled:
        await tx.run(_IAM, which=found.id, enabled=int(enabled))
        await note(tx, "registry.iam-enabled" if enabled else "registry.iam-disabled", found, origin)


async def note_addresses(db: Database, now: Mapping[str, str]) -> None:
    """Tell the addresses of registries (by their entries) as they are now: settings may have changed them."""
    for row in await db.all(_ADDRESSES):
        url = now.get(row.entry_uuid, row.url)
        if url != row.url:
            await db.write(_ADDRESS, entry=row.entry_uuid, new=url)


async def account_of(reader: Reader, cloud_project_id: str) -> str:
    """Give the account of a cloud project."""
    return str((await reader.one(_ACCOUNT, cloud_project=cloud_project_id)).account_id)


async def note(tx: Tx, kind: str, about: Registry, origin: Origin, /, **body: Any) -> None:
    """Write an event about a registry, and keep since when it has which plan."""
    await spans.follow(tx, kind, about.id, body)
    more: Mapping[str, Any] = body
    await events.record(
        tx,
        kind,
        origin,
        target=about.id,
        account=about.account_id,
        cloud_project=about.cloud_project_id,
        **more,
    )


async def _want(
    tx: Tx, found: Registry, *, wanted: str, status: str, plan: str, delete_after: int | None = None
) -> None:
    await tx.run(
        _WANT,
        which=found.id,
        wanted=wanted,
        status=status,
        plan=plan,
        delete_after=delete_after,
        asked_at=None if delete_after is None else tx.at,
        at=_after(tx, found),
    )


def _after(tx: Tx, found: Registry) -> int:
    """Give a stamp that differs from the row's, whatever clocks do: reconciling tells by it that the row moved."""
    return max(tx.at, found.updated_at + 1)


def not_ready(found: Registry, what: str, *allowed: str) -> NotReady:
    """Make the refusal of what a registry's status does not allow."""
    why = (
        f", since the provider has suspended its {found.suspension} ({found.suspended_for})"
        if found.suspension
        else ""
    )
    return NotReady(
        f"the registry is {found.status}{why}: you can {what} when it is {' or '.join(allowed)}",
        status=found.status,
    )
