"""IP restrictions: from which blocks of addresses a registry may be used, its clients' part and its management apart.

The platform's row says what should be. The cell's directory has what is in force; `carry_out` takes it there, in the call
that changes it and once more in the round of reconciling that the change's event begins.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, bindparam, select

from moorage.cloud import provisioning, registries
from moorage.cloud.events import Origin
from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.cell import address_rules, entry
from moorage.db.platform import cloud_restrictions
from moorage.errors import Problem
from moorage.registry.address_rules import Network, Part

MOST: Final = 200
LONGEST_DESCRIPTION: Final = 128

_BLOCK = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:/(?:0|[1-9][0-9]{0,2}))?", re.ASCII)
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")

_GET = Statement(
    select(cloud_restrictions).where(cloud_restrictions.c.cloud_registry_id == bindparam("registry"))
)
_put = insert(cloud_restrictions).values(
    cloud_registry_id=bindparam("which"),
    registry=bindparam("registry"),
    management=bindparam("management"),
    changed_at=bindparam("at"),
)
_PUT = Statement(
    _put.on_conflict_do_update(
        index_elements=[cloud_restrictions.c.cloud_registry_id],
        set_={name: _put.excluded[name] for name in ("registry", "management", "changed_at")},
    )
)
_row = insert(address_rules).from_select(
    ["entry_id", "registry", "management", "at"],
    select(
        entry.c.id,
        bindparam("registry", type_=entry.c.uuid.type),
        bindparam("management", type_=entry.c.uuid.type),
        bindparam("at", type_=BigInteger()),
    ).where(entry.c.uuid == bindparam("entry")),
)
_CARRY_OUT = Statement(
    _row.on_conflict_do_update(
        index_elements=[address_rules.c.entry_id],
        set_={name: _row.excluded[name] for name in ("registry", "management", "at")},
        where=address_rules.c.at < _row.excluded.at,
    )
)


class RestrictionInvalid(Problem):
    """A block, or the list of blocks, breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "not a list of IP restrictions"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A block as its owner writes it: CIDR, or an address alone."""

    block: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Restriction:
    """A block that a part of a registry may be used from, in CIDR; times are microseconds."""

    block: str
    description: str
    created_at: int
    updated_at: int


async def listed(reader: Reader, cloud_project: str, registry: str, part: Part) -> list[Restriction]:
    """List from where a part of a cloud project's registry may be used; nothing: from anywhere. Raises RegistryUnknown."""
    found = await registries.get(reader, cloud_project, registry)
    return _read(await reader.one(_GET, registry=found.id), part)


async def replace(
    tx: Tx, cloud_project: str, registry: str, part: Part, wanted: Sequence[Wanted], origin: Origin
) -> list[Restriction]:
    """Put a list in the place of the one that is there; the same list changes nothing.

    Raises RegistryUnknown, RestrictionInvalid, and NotReady for a registry that is deleted.
    """
    blocks = checked(wanted)
    found = await registries.get(tx, cloud_project, registry)
    if found.wanted == registries.DELETED:
        raise registries.not_ready(found, "restrict it", registries.READY)
    row = await tx.one(_GET, registry=found.id)
    lists = {one: _read(row, one) for one in Part}
    before = {one.block: one for one in lists[part]}
    after = [_changed(before.get(block), block, description, tx.at) for block, description in blocks.items()]
    if after == lists[part]:
        return after
    lists[part] = after
    written = {str(one): json.dumps([asdict(each) for each in every]) for one, every in lists.items()}
    at = tx.at if row is None else max(tx.at, row.changed_at + 1)
    await tx.run(_PUT, which=found.id, at=at, **written)
    await registries.note(
        tx, registries.RESTRICTED, found, origin, part=str(part), before=_told(before.values()), after=_told(after)
    )  # fmt: skip
    return after


async def carry_out(platform: Database, cell: Database, registry: str, entry_uuid: str) -> None:
    """Ensure in the cell's directory what the platform's row says; an older row never takes the place of a newer one."""
    row = await platform.one(_GET, registry=registry)
    if row is None:
        return
    blocks = {str(part): " ".join(one.block for one in _read(row, part)) for part in Part}
    await provisioning.note(cell, _CARRY_OUT, entry=entry_uuid, at=row.changed_at, **blocks)


def checked(wanted: Sequence[Wanted]) -> dict[str, str]:
    """Give blocks in CIDR, in their order, each with its description; raise RestrictionInvalid, which names field and rule."""
    if len(wanted) > MOST:
        raise RestrictionInvalid(f"the body: must have at most {MOST} elements, not {len(wanted)}", field="")
    found: dict[str, str] = {}
    places: dict[str, int] = {}
    for place, one in enumerate(wanted):
        block = str(_block(one.block, f"[{place}].ipBlock"))
        if block in places:
            raise _invalid(
                f"[{place}].ipBlock", f"{block} stands at [{places[block]}] already: name a block once"
            )
        _check_description(one.description, f"[{place}].description")
        places[block], found[block] = place, one.description
    return found


def _block(text: str, field: str) -> Network:
    """Read a block; what is IPv4 in the clothes of IPv6 is IPv4, since clients are seen so."""
    shown = text[:64]
    try:
        made = ipaddress.ip_network(text, strict=False) if _BLOCK.fullmatch(text) else None
    except ValueError:
        made = None
    if made is None:
        raise _invalid(
            field,
            f"must be an address or a block in CIDR, such as 192.0.2.0/24 or 2001:db8::/32, not {shown}",
        )
    address = ipaddress.ip_address(text.partition("/")[0])
    if address != made.network_address:
        told = f"has bits set past its prefix: say {made} for all of the block, or {address} for the address alone, not {shown}"
        raise _invalid(field, told)
    if isinstance(made, ipaddress.IPv6Network) and made.subnet_of(_MAPPED):
        return ipaddress.IPv4Network(
            (int(made.network_address) & 0xFFFFFFFF, made.prefixlen - _MAPPED.prefixlen)
        )
    return made


def _check_description(text: str, field: str) -> None:
    if len(text) > LONGEST_DESCRIPTION:
        raise _invalid(field, f"must have at most {LONGEST_DESCRIPTION} characters, not {len(text)}")
    if not text.isprintable():
        raise _invalid(field, "must be one line of characters that can be shown")


def _invalid(field: str, rule: str) -> RestrictionInvalid:
    return RestrictionInvalid(f"{field}: {rule}", field=field, rule=rule)


def _changed(before: Restriction | None, block: str, description: str, at: int) -> Restriction:
    """Give a block as it is now: it keeps its times unless it is new, or described otherwise."""
    if before is None:
        return Restriction(block, description, at, at)
    if before.description == description:
        return before
    return Restriction(block, description, before.created_at, at)


def _read(row: Any | None, part: Part) -> list[Restriction]:
    return [] if row is None else [Restriction(**one) for one in json.loads(getattr(row, part))]


def _told(restrictions: Iterable[Restriction]) -> Mapping[str, str]:
    return {one.block: one.description for one in restrictions}
