"""Policies as the original keeps them, under /v2/iam: not below a cloud project, but by the resources that they are about.

They are the policies of cloud projects, seen from elsewhere: the same rows, and the same word on who may see and make them. A
policy belongs to the cloud project of its resources, so all of them are of one.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, UnsetType, field

from moorage.api.cloud import files, times
from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.bodies import invalid
from moorage.api.cloud.models import Given, Model
from moorage.api.cloud.policies import (
    Action,
    ActionGiven,
    Permissions,
    PermissionsGiven,
    Policies,
    PolicyGiven,
    Resource,
    ResourceGiven,
)
from moorage.api.cloud.routes import Route
from moorage.cloud import accounts, cloud_projects, members, policies, registries, sessions
from moorage.cloud.cloud_projects import CloudProject
from moorage.cloud.errors import ActionDenied, CloudProjectUnknown
from moorage.cloud.policies import Policy, PolicyUnknown
from moorage.cloud.registries import Registry
from moorage.db import Database, Reader, Tx
from moorage.errors import Problem

PROJECT: Final = "publicCloudProject"
REGISTRY: Final = "publicCloudProject/managedRegistry"
_ALL: Final = "/v2/iam/policy"
_ONE: Final = _ALL + "/{policyId}"
_RESOURCES: Final = "/v2/iam/resource"
_REFERENCE: Final = "/v2/iam/reference"


def _named(name: str, told: str) -> Mapping[str, object]:
    return {"name": name, "in": "query", "required": False, "description": told, "schema": {"type": "string"}}


_OF_TYPE: Final = (_named("resourceType", "Only of this type of resource."),)
_OF_RESOURCE: Final = (*_OF_TYPE, _named("resourceURN", "Only this resource."))


class ResourceUnknown(Problem):
    """The caller sees no such resource."""

    code, status, summary = "NOT_FOUND", 404, "there is no such resource"


class IamPermissionsGiven(Given):
    """Actions that are allowed but for some, and actions that are denied whatever allows them; null is none."""

    allow: list[ActionGiven] | None = None
    except_: list[ActionGiven] | None = field(name="except", default=None)
    deny: list[ActionGiven] | None = None


class IamPolicyGiven(Given):
    """A policy. What only the server says of one is taken as it was shown, and changes nothing."""

    name: str
    identities: list[str]
    resources: list[Any]
    permissions: IamPermissionsGiven
    description: str = ""
    expired_at: str | None = None
    permissions_groups: list[Any] | None = None
    conditions: dict[str, Any] | None = None
    id: Any = None
    owner: Any = None
    read_only: Any = None
    created_at: Any = None
    updated_at: Any = None


class IamPolicy(Model):
    """A policy."""

    id: str
    name: str
    description: str
    owner: str
    read_only: bool
    identities: list[str]
    resources: list[Resource]
    permissions: Permissions
    permissions_groups: list[Resource]
    created_at: str
    updated_at: str
    expired_at: Annotated[str | UnsetType, Meta(description="Left out of one that does not end.")] = UNSET


class IamResource(Model):
    """Something that a policy may be about."""

    id: str
    urn: str
    name: str
    display_name: str
    owner: str
    type: str
    tags: dict[str, str]


class IamAction(Model):
    """An action that policies are made of."""

    action: str
    categories: list[str]
    description: str
    resource_type: str


@dataclass(frozen=True, slots=True)
class Iam:
    """Calls about policies, resources and actions."""

    policies: Policies

    def routes(self) -> list[Route]:
        """List the calls: who may do what is asked for each cloud project."""
        one = Needs.CREDENTIAL
        return [
            Route("GET", _ALL, "iam/policy/get", self.list, "List the policies that one may see", gives=list[IamPolicy], needs=one),
            Route("POST", _ALL, "iam/policy/create", self.create, "Make a policy", IamPolicyGiven, IamPolicy, one),
            Route("GET", _ONE, "iam/policy/get", self.get, "Show a policy", gives=IamPolicy, needs=one,
                  headers=(_named("details", "Answered alike with and without it."),)),
            Route("PUT", _ONE, "iam/policy/edit", self.edit, "Let a policy say something else", IamPolicyGiven, IamPolicy, one),
            Route("DELETE", _ONE, "iam/policy/delete", self.delete, "End a policy", needs=one),
            Route("GET", _RESOURCES, "iam/resource/get", self.resources, "List the resources that one may see",
                  gives=list[IamResource], needs=one, headers=_OF_RESOURCE),
            Route("GET", f"{_RESOURCES}/{{resourceURN}}", "iam/resource/get", self.resource, "Show a resource", gives=IamResource,
                  needs=one),
            Route("GET", f"{_REFERENCE}/action", "iam/reference/action/get", self.actions,
                  "List the actions that policies are made of", gives=list[IamAction], needs=one, headers=_OF_TYPE),
            Route("GET", f"{_REFERENCE}/resource/type", "iam/reference/resource/type/get", self.types,
                  "List the types of resources", gives=list[str], needs=one),
        ]  # fmt: skip

    async def list(self, ask: Ask) -> builtins.list[IamPolicy]:
        """List the policies of every cloud project whose policies the caller may see."""
        found = []
        async for home in self._homes(ask, "policy/get"):
            owner = await _owner(self._db, home)
            found += [_shown(one, owner) for one in await policies.listed(self._db, home.id)]
        return found

    async def create(self, ask: Ask) -> IamPolicy:
        """Make a policy of the cloud project that its resources are of."""
        given = _read(ask)

        async def work(tx: Tx) -> IamPolicy:
            home = await self._home(tx, ask, given.resources)
            terms = await self.policies.checked(tx, home, given)
            made = await policies.create(tx, home.id, home.account_id, terms, ask.origin)
            return _shown(made, await _owner(tx, home))

        return await self._db.change(work)

    async def get(self, ask: Ask) -> IamPolicy:
        """Show a policy."""
        files.query(ask, "details")
        home, found = await self._found(self._db, ask, "policy/get")
        return _shown(found, await _owner(self._db, home))

    async def edit(self, ask: Ask) -> IamPolicy:
        """Let a policy say something else, about the same cloud project."""
        given = _read(ask)

        async def work(tx: Tx) -> IamPolicy:
            home, found = await self._found(tx, ask, "policy/edit")
            terms = await self.policies.checked(tx, home, given)
            changed = await policies.change(tx, home.id, home.account_id, found.id, terms, ask.origin)
            return _shown(changed, await _owner(tx, home))

        return await self._db.change(work)

    async def delete(self, ask: Ask) -> None:
        """End a policy."""

        async def work(tx: Tx) -> None:
            home, found = await self._found(tx, ask, "policy/delete")
            await policies.drop(tx, home.id, home.account_id, found.id, ask.origin)

        await self._db.change(work)

    async def resources(self, ask: Ask) -> builtins.list[IamResource]:
        """List the cloud projects and registries that the caller sees."""
        asked = files.query(ask, "resourceType", "resourceURN")
        return [
            one
            async for one in self._resources(ask)
            if asked.get("resourceType", one.type) == one.type
            and asked.get("resourceURN", one.urn) == one.urn
        ]

    async def resource(self, ask: Ask) -> IamResource:
        """Show one."""
        async for one in self._resources(ask):
            if one.urn == ask.params["resourceURN"]:
                return one
        raise ResourceUnknown

    async def actions(self, ask: Ask) -> builtins.list[IamAction]:
        """List what policies are made of."""
        asked = files.query(ask, "resourceType")
        return [
            IamAction(
                action=action, categories=[_category(action)], description=summary, resource_type=PROJECT
            )
            for action, summary in sorted(self.policies.known())
            if asked.get("resourceType", PROJECT) in {PROJECT, REGISTRY}
        ]

    async def types(self, _: Ask) -> builtins.list[str]:
        """List the types of resources."""
        return [PROJECT, REGISTRY]

    @property
    def _db(self) -> Database:
        return self.policies.db

    async def _check(self, reader: Reader, ask: Ask, cloud_project: str, action: str) -> CloudProject:
        """Let the one decision on roles and policies decide; what changes rights takes a proof, too."""
        now = self._db.now()
        if not action.endswith("/get"):
            sessions.check_proof(ask.caller, now)
        name = members.PREFIX + action
        return (await members.check(reader, cloud_project, ask.caller, name, now=now)).cloud_project

    async def _home(self, tx: Tx, ask: Ask, resources: Sequence[ResourceGiven]) -> CloudProject:
        """Give the cloud project of the first resource: that the others are of it is checked with everything else."""
        try:
            home = await _home_of(tx, resources[0].urn if resources else "")
            return await self._check(tx, ask, home, "policy/create")
        except CloudProjectUnknown:
            # What is not there and what is another's are answered alike.
            known = f"{policies.PROJECT} or {policies.REGISTRY} with an id that you may see"
            raise invalid("resources[0].urn", f"must be {known}") from None

    async def _found(self, reader: Reader, ask: Ask, action: str) -> tuple[CloudProject, Policy]:
        """Find a policy that the caller may see, or raise PolicyUnknown; raise ActionDenied for more than that."""
        id_ = _plain(ask.params["policyId"])
        home_id = await policies.home_of(reader, id_)
        try:
            await self._check(reader, ask, home_id, "policy/get")
        except (CloudProjectUnknown, ActionDenied):
            raise PolicyUnknown from None
        home = await self._check(reader, ask, home_id, action)
        return home, await policies.get(reader, home_id, id_)

    async def _homes(self, ask: Ask, action: str) -> AsyncIterator[CloudProject]:
        """Give each cloud project in which the caller may do this."""
        who = ask.caller
        listed = await cloud_projects.listed(self._db, who.login_id or "", who.identity, self._db.now())
        for one in listed:
            try:
                yield await self._check(self._db, ask, one.id, action)
            except (CloudProjectUnknown, ActionDenied):
                continue

    async def _resources(self, ask: Ask) -> AsyncIterator[IamResource]:
        who, now = ask.caller, self._db.now()
        for one in await cloud_projects.listed(self._db, who.login_id or "", who.identity, now):
            try:
                granted = await members.check(self._db, one.id, who, members.SEEING, now=now, of_each=True)
            except (CloudProjectUnknown, ActionDenied):
                continue
            owner = await _owner(self._db, granted.cloud_project)
            if granted.sees_all:
                yield _project(granted.cloud_project, owner)
            for registry in await registries.listed(self._db, one.id):
                if granted.sees(registry.id):
                    yield _registry(registry, owner)


def _read(ask: Ask) -> PolicyGiven:
    """Read a policy as it is sent here; raise BodyInvalid for what is not built."""
    given = ask.read(IamPolicyGiven)
    if given.permissions_groups:
        raise invalid("permissionsGroups", "must be empty: groups of permissions are not built")
    if given.conditions:
        raise invalid("conditions", "must be left out: conditions are not built")
    urns = []
    for place, one in enumerate(given.resources):
        urn = one.get("urn") if isinstance(one, dict) else None
        if not isinstance(urn, str):
            raise invalid(f"resources[{place}].urn", "is required")
        urns.append(ResourceGiven(urn=urn))
    permissions = given.permissions
    return PolicyGiven(
        name=given.name,
        description=given.description,
        identities=given.identities,
        resources=urns,
        permissions=PermissionsGiven(
            allow=permissions.allow or [], except_=permissions.except_ or [], deny=permissions.deny or []
        ),
        # A client of the original's sends nothing or an empty text for never.
        expired_at=given.expired_at or None,
    )


async def _home_of(reader: Reader, urn: str) -> str:
    """Say which cloud project a resource would be of."""
    if urn.startswith(policies.REGISTRY):
        found = await registries.find(reader, _plain(urn.removeprefix(policies.REGISTRY)))
        return "" if found is None else found.cloud_project_id
    return _plain(urn.removeprefix(policies.PROJECT)) if urn.startswith(policies.PROJECT) else ""


def _plain(text: str) -> str:
    return text if text.isascii() and text.isprintable() else ""


async def _owner(reader: Reader, home: CloudProject) -> str:
    return (await accounts.get(reader, home.account_id)).name


def _shown(found: Policy, owner: str) -> IamPolicy:
    terms = found.terms
    return IamPolicy(
        id=found.id,
        name=terms.name,
        description=terms.description,
        owner=owner,
        read_only=False,
        identities=builtins.list(terms.identities),
        resources=[Resource(urn=one) for one in terms.resources],
        permissions=Permissions(
            allow=[Action(action=one) for one in terms.allow],
            except_=[Action(action=one) for one in terms.excepted],
            deny=[Action(action=one) for one in terms.denied],
        ),
        permissions_groups=[],
        created_at=times.written(found.created_at),
        updated_at=times.written(found.updated_at),
        expired_at=UNSET if terms.expires_at is None else times.written(terms.expires_at),
    )


def _project(found: CloudProject, owner: str) -> IamResource:
    return IamResource(
        id=found.id,
        urn=policies.PROJECT + found.id,
        name=found.id,
        display_name=found.description,
        owner=owner,
        type=PROJECT,
        tags={},
    )


def _registry(found: Registry, owner: str) -> IamResource:
    return IamResource(
        id=found.id,
        urn=policies.REGISTRY + found.id,
        name=found.id,
        display_name=found.name,
        owner=owner,
        type=REGISTRY,
        tags={},
    )


def _category(action: str) -> str:
    verb = action.rpartition("/")[2]
    known = {"get": "READ", "create": "CREATE", "delete": "DELETE", "edit": "EDIT"}
    return known.get(verb, "OPERATE")
