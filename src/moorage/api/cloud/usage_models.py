"""What calls about usage, limits, bills and the inventory say. Prices are texts, since they are exact."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from moorage.api.cloud.models import Model

Price = Annotated[str, Meta(description="An exact amount, such as 0.02.")]


class UsageHour(Model):
    """An hour of a registry. What nobody measured is null."""

    hour: Annotated[str, Meta(description="When it begins.")]
    plan_id: str = field(name="planID")
    logical_bytes: Annotated[int | None, Meta(description="Each digest once a project.")]
    unique_bytes: Annotated[int | None, Meta(description="Each digest once: what the plan's storage limits.")]
    trash_bytes: int | None
    bytes_in: Annotated[int, Meta(description="Bytes of requests' bodies.")]
    bytes_out: Annotated[int, Meta(description="Bytes of answers' bodies.")]
    manifest_pulls: int
    blob_pulls: int
    pushes: Annotated[int, Meta(description="Requests that push.")]
    others: int
    refusals: Annotated[int, Meta(description="Requests that were answered with an error.")]
    measured_at: str | None


class Usage(Model):
    """What a registry used in a time."""

    registry_id: str = field(name="registryID")
    since: str = field(name="from")
    until: str = field(name="to")
    hours: list[UsageHour]


class Limit(Model):
    """A limit of a registry, and how much of it is used."""

    name: str
    unit: str
    per: Annotated[
        str, Meta(description="Whose limit it is: the registry's, the account's, or that of each identity.")
    ]
    granted: Annotated[int, Meta(description="-1 is no limit.")]
    used: Annotated[
        int | None,
        Meta(
            description="Where it is each identity's: by the busiest of the registry, or by you. Null where nobody can tell."
        ),
    ]
    percent: float | None
    trend: Annotated[str, Meta(description="grows, stays, shrinks, no limit or not enough data.")]
    full_at: Annotated[str | None, Meta(description="When it is reached, if it goes on growing as it did.")]
    days_to_full: int | None
    remedy: Annotated[str, Meta(description="What to do when it is reached.")]


class Forecast(Model):
    """How a registry grows, and the plan that would suit it."""

    registry_id: str = field(name="registryID")
    used_bytes: int
    bytes_per_day: Annotated[int | None, Meta(description="The median of daily growth; null: too few days.")]
    days_known: int
    full_at: str | None
    plan_id: str = field(name="planID")
    recommended_plan_id: str = field(name="recommendedPlanID")
    recommended_plan: str
    reason: str
    price_difference_hour: Price
    currency: str


class BillLine(Model):
    """Hours of one registry with one plan at one price."""

    registry_id: str = field(name="registryID")
    registry_name: str
    region: str
    plan_id: str = field(name="planID")
    plan_name: str | None
    since: str = field(name="from")
    until: str = field(name="to")
    hours: int
    price_hour: Price | None
    price: Price | None
    currency: str | None


class Total(Model):
    """What comes together in one currency: exact, and rounded once."""

    currency: str
    exact: Price
    price: Price


class Bill(Model):
    """A month's bill, a preview while the month goes on."""

    project_id: str = field(name="projectID")
    since: str = field(name="from")
    until: str = field(name="to")
    metered_until: str
    preview: bool
    lines: list[BillLine]
    totals: list[Total]
    expected: Annotated[list[Total], Meta(description="What the month will cost if nothing changes.")]


class Certificate(Model):
    """The TLS certificate that registries are reached with, where this process speaks TLS."""

    subject: str
    issuer: str
    serial: str
    sha256: str
    not_before: str
    not_after: str


class InventoryItem(Model):
    """A registry, with all that is known of it."""

    id: str
    name: str
    status: str
    region: str
    region_type: str | None
    plan_id: str = field(name="planID")
    plan_name: str | None
    version: str
    url: str
    iam_enabled: bool
    created_at: str
    delivered_at: str | None
    updated_at: str
    size: int
    image_storage: int | None
    parallel_request: int | None
    trash_days: int | None
    vulnerability: bool | None
    certificate: Certificate | None
