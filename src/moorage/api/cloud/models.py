"""What the provider's API says and takes, name for name; OpenAPI is written from the same structs.

What we add to an original shape is marked, and is never required.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, field

ADDED: Final = {"x-moorage-added": True}


class Model(msgspec.Struct, kw_only=True, rename="camel"):
    """What is answered."""


class Given(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is sent: a field that the call does not know is refused, since it is a misspelt one."""


class PlanFeatures(Model):
    """What a plan has."""

    vulnerability: bool


class RegistryLimits(Model):
    """What a plan limits."""

    image_storage: Annotated[int, Meta(description="Bytes; -1 is no limit.")]
    parallel_request: Annotated[int, Meta(description="Requests at once on /v2; 0 is no limit.")]


class Plan(Model):
    """A size that a registry may have."""

    code: str
    created_at: str
    features: PlanFeatures
    id: str
    name: str
    registry_limits: RegistryLimits
    updated_at: str


class Capability(Model):
    """A region, and the plans that it has."""

    region_name: str
    region_type: str
    plans: list[Plan]


class Registry(Model):
    """A registry that was ordered."""

    created_at: str
    delivered_at: str | None
    iam_enabled: bool
    id: str
    name: str
    project_id: str = field(name="projectID")
    region: str
    size: Annotated[int, Meta(description="Bytes stored.")]
    status: str
    updated_at: str
    url: str
    version: str
    delete_after: Annotated[
        str | None,
        Meta(description="Until when a deleted registry can be taken back.", extra_json_schema=ADDED),
    ] = None
    error: Annotated[str | None, Meta(description="Why the status is ERROR.", extra_json_schema=ADDED)] = None
    suspension: Annotated[
        str | None,
        Meta(description="What the provider has stopped: pulls, or pushes alone.", extra_json_schema=ADDED),
    ] = None
    suspended_for: Annotated[
        str | None, Meta(description="Why the provider has stopped that.", extra_json_schema=ADDED)
    ] = None


class RegistryCreation(Given):
    """An order."""

    name: str
    region: str
    plan_id: str | None = field(name="planID", default=None)


class RegistryUpdate(Given):
    """A new name."""

    name: str


class PlanUpdate(Given):
    """Another plan."""

    plan_id: str = field(name="planID")


class User(Model):
    """A user of a registry; the password is shown to who makes the user, and never again."""

    email: str
    id: str
    password: str
    user: str


class UserCreation(Given):
    """A user to be made; what is not given is generated."""

    email: str | None = None
    login: str | None = None
    password: Annotated[
        str | None,
        Meta(description="The password; without one it is generated.", extra_json_schema=ADDED),
    ] = None


class IPRestrictions(Model):
    """A block of addresses that a registry may be used from."""

    created_at: str
    description: str
    ip_block: Annotated[str, Meta(description="CIDR.")]
    updated_at: str


class IPRestrictionsUpdate(Given):
    """A block that is to be allowed; what has been read may be sent back whole."""

    ip_block: Annotated[str, Meta(description="CIDR; an address alone is a block of one.")]
    description: str | None = None
    created_at: Annotated[str | None, Meta(description="Read only: whatever is sent is ignored.")] = None
    updated_at: Annotated[str | None, Meta(description="Read only: whatever is sent is ignored.")] = None


class OIDCConfiguration(Model):
    """The OIDC provider of a registry; its secret is shown to nobody."""

    admin_group: str
    auto_onboard: bool
    client_id: str
    created_at: str
    endpoint: str
    group_filter: str
    groups_claim: str
    id: str
    name: str
    scope: Annotated[str, Meta(description="Scopes, apart by commas.")]
    status: str
    updated_at: str
    user_claim: str
    verify_cert: bool


class OIDCRead(Given):
    """What is shown and cannot be set: whatever is sent of it is ignored, so that what was read may be sent back."""

    id: str | None = None
    status: str | None = None
    created_at: str | None = None
    updated_at: str | None = None


class OIDCProvider(OIDCRead, kw_only=True):
    """An OIDC provider to be asked."""

    name: str
    endpoint: str
    client_id: str
    client_secret: str
    scope: Annotated[str, Meta(description="Scopes, apart by commas; openid is among them.")]
    admin_group: str | None = None
    auto_onboard: bool | None = None
    group_filter: str | None = None
    groups_claim: str | None = None
    user_claim: str | None = None
    verify_cert: bool | None = None


class OIDCPost(Given):
    """An OIDC provider, and whether users who are in the way may be deleted."""

    provider: OIDCProvider
    delete_users: bool | None = None


class OIDCPut(OIDCRead):
    """What is to be changed of an OIDC provider; null changes nothing."""

    admin_group: str | None = None
    auto_onboard: bool | None = None
    client_id: str | None = None
    client_secret: str | None = None
    endpoint: str | None = None
    group_filter: str | None = None
    groups_claim: str | None = None
    name: str | None = None
    scope: str | None = None
    user_claim: str | None = None
    verify_cert: bool | None = None


class OIDCPutEither(OIDCPut):
    """The same below ``provider``, as old guides have it."""

    provider: OIDCPut | None = None


class DeleteUsers(Given):
    """Whether users who are in the way may be deleted."""

    delete_users: bool | None = None


class CloudProject(Model):
    """What an account keeps registries in."""

    project_id: str = field(name="project_id")
    project_name: str = field(name="projectName")
    description: str
    plan_code: str
    creation_date: str
    status: str
    access: str
    expiration: str | None = None
    order_id: int | None = None
    manual_quota: bool = False
    unleash: bool = False


class RegionService(Model):
    """A service of a region."""

    name: str
    status: str
    endpoint: str = ""


class Region(Model):
    """A region of a cloud project."""

    name: str
    type: str
    status: str
    datacenter_location: str
    services: list[RegionService] = []


class Currency(Model):
    """What prices are in."""

    code: str
    symbol: str


class Me(Model):
    """The account, and the user who asks."""

    nichandle: str
    name: str
    firstname: str
    email: str
    state: str
    currency: Currency
    customer_code: str | None = None


class AccessRule(Given):
    """A call to be granted."""

    method: str
    path: str


class CredentialRequest(Given):
    """What an application asks for."""

    access_rules: list[AccessRule]
    redirection: str | None = None
    allowed_ips: list[str] | None = field(name="allowedIPs", default=None)


class RequestedCredential(Model):
    """A consumer key, which works once a user has validated it."""

    consumer_key: str
    state: str
    validation_url: str


class AllowedRoute(Model):
    """A call that is granted."""

    method: str
    path: str


class Details(Model):
    """Who asks, and what this credential lets them."""

    account: str
    allowed_routes: list[AllowedRoute]
    description: str | None
    identities: list[str]
    method: str
    roles: list[str]
    user: str | None


class CurrentCredential(Model):
    """The credential that a call is signed with."""

    allowed_ips: list[str] | None = field(name="allowedIPs")
    application_id: str
    creation: str
    credential_id: str
    expiration: str | None
    last_use: str | None
    ovh_support: bool
    rules: list[AllowedRoute]
    status: str


class Evidence(Model):
    """What shows that an activity was done."""

    event: str
    kind: str
    at: str
    link: Annotated[str, Meta(description="The call that shows its entry in the ledger.")]


class Responsibility(Model):
    """An activity: who has which part in it, and whether it can be shown to be done."""

    activity_id: str
    section: str
    text: str
    customer: Annotated[
        str, Meta(description="R does it, A answers for it, C is asked, I is informed; - has no part.")
    ]
    provider: str
    party: Annotated[str, Meta(description="Who does it: customer or provider.")]
    state: Annotated[str, Meta(description="EVIDENCED, NO_EVIDENCE_YET, NOT_BUILT_YET or OUTSIDE_SOFTWARE.")]
    last_evidence: Evidence | None


class LedgerEntry(Model):
    """An entry of the ledger, as docs/reference/ledger-format.md has it."""

    chain: str
    seq: int
    at: Annotated[int, Meta(description="Microseconds since 1970 UTC.")]
    event: str
    kind: str
    activities: list[str]
    party: str
    outcome: str
    cloud_project: str
    personal: str
    previous: str
    hash: str


class LedgerPage(Model):
    """Some entries; ``next`` is the ``after`` of the page that follows, null when there is nothing in this one."""

    entries: list[LedgerEntry]
    next: int | None


class LedgerHead(Model):
    """What the last entry of a chain was at a moment, signed."""

    chain: str
    seq: int
    hash: str
    at: int
    key_id: str
    signature: str


class Notifications(Model):
    """What one is informed of, as CloudEvents 1.0; ``next`` is the ``after`` of the page that follows."""

    notifications: list[dict[str, Any]]
    next: int | None


class Grant(Model):
    """An entry into the registry's content that an operator of the provider asked for."""

    id: str
    operator: str
    reason: str
    scope: Annotated[str, Meta(description="A project of the registry, or * for all.")]
    approver: Annotated[
        str, Meta(description="Who approves it, by the plan: customer, or operator (a second one).")
    ]
    state: Annotated[str, Meta(description="ASKED, APPROVED, REFUSED or ENDED.")]
    asked_at: str
    until: str
    decided_at: str | None
    decided_by: str | None
    ended_at: str | None
    ended_by: str | None
    opened: Annotated[bool, Meta(description="Whether the operator has entered by it.")]


class SigningKey(Model):
    """The public half of a key that the provider signs with."""

    key_id: str
    algorithm: str
    public_key: Annotated[str, Meta(description="PEM.")]
    created_at: str
    retired_at: Annotated[str | None, Meta(description="When another key took its place.")]


class Refusal(Model):
    """What is answered when a call is refused."""

    class_: str = field(name="class")
    message: str
    error_code: str | None = None
    http_code: str | None = None
    details: dict[str, str] | None = None
