"""The catalogue: which regions there are, which plans, what they grant and cost. It is data, read from a file."""

from __future__ import annotations

import re
import tomllib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from moorage.cloud import provisioning
from moorage.cloud.errors import PlanUnknown, RegionUnknown

PACKAGED: Final = Path(__file__).with_name("catalogue.toml")
REGION_TYPES: Final = ("REGION-1-AZ", "REGION-3-AZ")
CELLS: Final = ("local",)
MOST_BYTES: Final = 1 << 62
MOST_PARALLEL: Final = 4096
LARGEST: Final = 1 << 20
CUSTOMER, OPERATOR = "customer", "operator"
APPROVERS: Final = (CUSTOMER, OPERATOR)

_NAME = re.compile(r"[A-Z0-9][A-Z0-9-]{0,62}")
_TEXT = re.compile(r"[\w.:-]{1,128}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z")
_CURRENCY = re.compile(r"[A-Z]{3}")


class CatalogueInvalid(ValueError):
    """The catalogue's file breaks a rule: the message names the entry, the field and the rule."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A size that a registry may have: its place in the catalogue says how large it is, the first being the smallest."""

    place: int
    id: str
    name: str
    grants: provisioning.Plan
    code: str
    vulnerability: bool
    orderable: bool
    created_at: str
    updated_at: str
    currency: str
    price_hour: Mapping[str, Decimal]
    approves_grants: str = CUSTOMER
    """Who lets an operator of the provider's into a registry's content: its customer, or a second operator."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where a registry may be, and the cell that makes it there."""

    name: str
    type: str
    cell: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every region and plan, in the file's order."""

    regions: tuple[Region, ...]
    plans: tuple[Plan, ...]

    @property
    def orderable(self) -> tuple[Plan, ...]:
        """List the plans that can be ordered, smallest first."""
        return tuple(plan for plan in self.plans if plan.orderable)

    @property
    def local(self) -> Plan:
        """Give the plan of a registry that was not ordered."""
        return next((plan for plan in self.plans if not plan.orderable), self.plans[-1])

    def plan(self, id_: str) -> Plan:
        """Give a plan that a registry has, or raise PlanUnknown."""
        found = next((plan for plan in self.plans if plan.id == id_), None)
        if found is None:
            raise PlanUnknown(f"planID: {id_[:80]!r} is no plan of the catalogue", field="planID")
        return found

    def granting(self, name: str) -> Plan:
        """Give the plan that grants what a cell's entry names, or raise PlanUnknown."""
        found = next((plan for plan in self.plans if plan.grants.name == name), None)
        if found is None:
            known = ", ".join(plan.grants.name for plan in self.plans)
            raise PlanUnknown(
                f"the catalogue has no plan that grants {name[:80]!r}; its plans grant: {known}",
                field="planID",
            )
        return found

    def ordered(self, id_: str | None) -> Plan:
        """Give a plan that can be ordered, the smallest without an id; raise PlanUnknown."""
        if id_ is None:
            return self.orderable[0]
        plan = next((plan for plan in self.orderable if plan.id == id_), None)
        if plan is None:
            known = ", ".join(f"{one.id} ({one.name})" for one in self.orderable)
            raise PlanUnknown(
                f"planID: {id_[:80]!r} is no plan that can be ordered; these can: {known}", field="planID"
            )
        return plan

    def region(self, name: str) -> Region:
        """Give a region, or raise RegionUnknown."""
        found = next((region for region in self.regions if region.name == name), None)
        if found is None:
            known = ", ".join(region.name for region in self.regions)
            raise RegionUnknown(f"region: {name[:80]!r} is none; there are: {known}", field="region")
        return found


def read(path: Path | None = None) -> Catalogue:
    """Read a catalogue's file, the packaged one without a path; raise CatalogueInvalid."""
    path = path or PACKAGED
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise CatalogueInvalid(f"{path}: a catalogue has at most {LARGEST} bytes")
        whole = tomllib.loads(text.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CatalogueInvalid(f"{path}: {error}") from error
    regions = tuple(_region(_Entry(f"regions[{n}]", one)) for n, one in enumerate(_list(whole, "regions")))
    plans = tuple(_plan(_Entry(f"plans[{n}]", one), n) for n, one in enumerate(_list(whole, "plans")))
    if strange := sorted(whole.keys() - {"regions", "plans"}):
        raise CatalogueInvalid(f"{strange[0]}: a catalogue has regions and plans, nothing else")
    _distinct("regions", "name", [one.name for one in regions])
    for field in ("id", "name"):
        _distinct("plans", field, [getattr(one, field) for one in plans])
    _distinct("plans", "grants", [one.grants.name for one in plans])
    if not any(plan.orderable for plan in plans):
        raise CatalogueInvalid("plans: none is orderable")
    return Catalogue(regions, plans)


@dataclass(frozen=True, slots=True)
class _Entry:
    where: str
    fields: Mapping[str, Any]

    def known(self, *names: str) -> None:
        for name in self.fields:
            if name not in names:
                raise CatalogueInvalid(f"{self.where}.{name}: no such field; there are: {', '.join(names)}")

    def get(self, name: str, kind: type, rule: str, is_so: Callable[[Any], object]) -> Any:
        value = self.fields.get(name)
        if type(value) is not kind or not is_so(value):
            raise CatalogueInvalid(f"{self.where}.{name}: {value!r} is not {rule}")
        return value

    def text(self, name: str, rule: str, pattern: re.Pattern[str]) -> str:
        found: str = self.get(name, str, rule, pattern.fullmatch)
        return found

    def number(self, name: str, least: int, most: int) -> int:
        found: int = self.get(
            name, int, f"a whole number from {least} to {most}", lambda n: least <= n <= most
        )
        return found


def _list(whole: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = whole.get(name)
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise CatalogueInvalid(f"{name}: a catalogue has one [[{name}]] at least")
    return found


def _distinct(kind: str, field: str, values: list[str]) -> None:
    for n, value in enumerate(values):
        if value in values[:n]:
            raise CatalogueInvalid(f"{kind}[{n}].{field}: {value!r} is there twice")


def _region(given: _Entry) -> Region:
    given.known("name", "type", "cell")
    return Region(
        given.text("name", "1 to 63 capital letters, digits and dashes", _NAME),
        given.get("type", str, f"one of {', '.join(REGION_TYPES)}", REGION_TYPES.__contains__),
        given.get("cell", str, f"a cell of this release: {', '.join(CELLS)}", CELLS.__contains__),
    )


def _plan(given: _Entry, place: int) -> Plan:
    given.known(
        "id", "name", "grants", "code", "image_storage", "parallel_requests", "vulnerability", "trash_days",
        "orderable", "created_at", "updated_at", "currency", "price_hour", "approves_grants",
    )  # fmt: skip
    grants = provisioning.Plan(
        given.text("grants", "a short name of capital letters and digits", _NAME),
        given.number("image_storage", -1, MOST_BYTES),
        given.number("parallel_requests", 0, MOST_PARALLEL),
        given.number("trash_days", 1, 365),
    )
    return Plan(
        place=place,
        id=given.get("id", str, "a UUID, in lower case", _is_uuid),
        name=given.text("name", "1 to 63 capital letters, digits and dashes", _NAME),
        grants=grants,
        code=given.text("code", "1 to 128 letters, digits, dots, colons and dashes", _TEXT),
        vulnerability=given.get("vulnerability", bool, "true or false", _any),
        orderable=given.get("orderable", bool, "true or false", _any),
        created_at=given.text("created_at", "a time such as 2026-01-31T00:00:00Z", _TIME),
        updated_at=given.text("updated_at", "a time such as 2026-01-31T00:00:00Z", _TIME),
        currency=given.text("currency", "a currency such as EUR", _CURRENCY),
        price_hour=_prices(given),
        approves_grants=CUSTOMER
        if "approves_grants" not in given.fields
        else given.get("approves_grants", str, f"one of {', '.join(APPROVERS)}", APPROVERS.__contains__),
    )


def _prices(given: _Entry) -> dict[str, Decimal]:
    prices = given.get(
        "price_hour", dict, "a price for each type of region", lambda it: {*it} == {*REGION_TYPES}
    )
    try:
        read_ = {name: Decimal(price) for name, price in prices.items() if isinstance(price, str)}
    except InvalidOperation:
        read_ = {}
    if len(read_) != len(prices) or not all(price.is_finite() and price >= 0 for price in read_.values()):
        raise CatalogueInvalid(f'{given.where}.price_hour: a price is a text such as "0.02"')
    return read_


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _any(_: object) -> bool:
    return True
