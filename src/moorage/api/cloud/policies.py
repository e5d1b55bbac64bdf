"""Calls about policies, whose shape is that of the provider's own, and about the actions that they are made of."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Final

from msgspec import Meta, field

from moorage.api.cloud import texts, times
from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.bodies import invalid
from moorage.api.cloud.models import Given, Model
from moorage.api.cloud.routes import Route
from moorage.cloud import accounts, logins, members, oauth2, policies, registries
from moorage.cloud.callers import CLIENT, CLIENT_NAME, USER, user_identity
from moorage.cloud.cloud_projects import CloudProject
from moorage.cloud.errors import RegistryUnknown
from moorage.cloud.oauth2 import ClientUnknown
from moorage.cloud.policies import Policy, PolicyUnknown, Terms
from moorage.db import Database, Reader, Tx

LONGEST_NAME: Final = 64
LONGEST_DESCRIPTION: Final = 255
MOST: Final = 100
"""How many identities, resources or actions one list of a policy may have."""
KIND: Final = "publicCloudProject"

_ALL: Final = "/cloud/project/{serviceName}/policy"
_ONE: Final = _ALL + "/{policyId}"
_ACTION = re.compile(re.escape(policies.PREFIX) + r"[A-Za-z0-9/*]{1,128}")

Known = Callable[[], Iterable[tuple[str, str]]]
"""Gives each action that a policy may name, and what it does."""


class ResourceGiven(Given):
    """A resource."""

    urn: str


class ActionGiven(Given):
    """An action, in whose name * is any text."""

    action: str


class PermissionsGiven(Given):
    """Actions that are allowed but for some, and actions that are denied whatever allows them."""

    allow: list[ActionGiven] = field(default_factory=list)
    except_: list[ActionGiven] = field(name="except", default_factory=list)
    deny: list[ActionGiven] = field(default_factory=list)


class PolicyGiven(Given):
    """A policy."""

    name: str
    identities: list[str]
    resources: list[ResourceGiven]
    permissions: PermissionsGiven
    description: str = ""
    expired_at: str | None = None


class Resource(Model):
    """A resource."""

    urn: str


class Action(Model):
    """An action."""

    action: str


class Permissions(Model):
    """What is allowed, but for what, and what is denied."""

    allow: list[Action]
    except_: list[Action] = field(name="except")
    deny: list[Action]


class PolicyShown(Model):
    """A policy: it lets its identities do its actions on its resources."""

    id: str
    name: str
    description: str
    identities: list[str]
    resources: list[Resource]
    permissions: Permissions
    created_at: str
    updated_at: str
    expired_at: Annotated[str | None, Meta(description="From when on it allows and denies nothing.")]


class ActionShown(Model):
    """An action that policies are made of."""

    action: str
    description: str
    resource_type: str


@dataclass(frozen=True, slots=True)
class Policies:
    """Calls about policies."""

    db: Database
    known: Known

    def routes(self) -> list[Route]:
        """List the calls."""
        return [
            Route("GET", _ALL, "policy/get", self.list, "List the policies", gives=list[PolicyShown], added=True),
            Route("POST", _ALL, "policy/create", self.create, "Make a policy", PolicyGiven, PolicyShown, added=True),
            Route("GET", _ONE, "policy/get", self.get, "Show a policy", gives=PolicyShown, added=True),
            Route("PUT", _ONE, "policy/edit", self.edit, "Let a policy say something else", PolicyGiven, PolicyShown, added=True),
            Route("DELETE", _ONE, "policy/delete", self.delete, "End a policy", added=True),
            Route("GET", "/iam/reference/action", "action/get", self.actions, "List the actions that policies are made of",
                  gives=list[ActionShown], needs=Needs.CREDENTIAL, added=True),
        ]  # fmt: skip

    async def list(self, ask: Ask) -> builtins.list[PolicyShown]:
        """List the policies."""
        return [_shown(one) for one in await policies.listed(self.db, ask.cloud_project)]

    async def create(self, ask: Ask) -> PolicyShown:
        """Make a policy."""
        given, home = ask.read(PolicyGiven), ask.allowed.cloud_project

        async def work(tx: Tx) -> Policy:
            terms = await self.checked(tx, home, given)
            return await policies.create(tx, home.id, home.account_id, terms, ask.origin)

        return _shown(await self.db.change(work))

    async def get(self, ask: Ask) -> PolicyShown:
        """Show a policy."""
        return _shown(await policies.get(self.db, ask.cloud_project, _id(ask)))

    async def edit(self, ask: Ask) -> PolicyShown:
        """Let it say something else."""
        given, home = ask.read(PolicyGiven), ask.allowed.cloud_project

        async def work(tx: Tx) -> Policy:
            await policies.get(tx, home.id, _id(ask))
            terms = await self.checked(tx, home, given)
            return await policies.change(tx, home.id, home.account_id, _id(ask), terms, ask.origin)

        return _shown(await self.db.change(work))

    async def delete(self, ask: Ask) -> None:
        """End it."""
        home = ask.allowed.cloud_project
        await self.db.change(lambda tx: policies.drop(tx, home.id, home.account_id, _id(ask), ask.origin))

    async def actions(self, _: Ask) -> builtins.list[ActionShown]:
        """List what policies are made of."""
        return [
            ActionShown(action=action, description=summary, resource_type=KIND)
            for action, summary in sorted(self.known())
        ]

    async def checked(self, tx: Tx, home: CloudProject, given: PolicyGiven) -> Terms:
        """Read a policy's terms, or raise BodyInvalid, which names the field and the rule."""
        name = texts.checked(given.name, "name", least=1, most=LONGEST_NAME)
        description = texts.checked(given.description, "description", least=0, most=LONGEST_DESCRIPTION)
        permissions = given.permissions
        lists = {
            "permissions.allow": permissions.allow,
            "permissions.except": permissions.except_,
            "permissions.deny": permissions.deny,
        }
        allow, excepted, denied = (self._actions(field, actions) for field, actions in lists.items())
        if not allow and not denied:
            raise invalid("permissions", "must allow or deny something")
        _check_count("identities", given.identities)
        for place, identity in enumerate(given.identities):
            await _check_identity(tx, home, identity, f"identities[{place}]")
        _check_count("resources", given.resources)
        for place, resource in enumerate(given.resources):
            await _check_resource(tx, home, resource.urn, f"resources[{place}].urn")
        return Terms(
            name=name,
            description=description,
            identities=tuple(dict.fromkeys(given.identities)),
            resources=tuple(dict.fromkeys(one.urn for one in given.resources)),
            allow=allow,
            excepted=excepted,
            denied=denied,
            expires_at=times.read_or_none(given.expired_at, "expiredAt"),
        )

    def _actions(self, field: str, given: Iterable[ActionGiven]) -> tuple[str, ...]:
        known = [action for action, _ in self.known()]
        read = [one.action for one in given]
        if len(read) > MOST:
            raise invalid(field, f"must have at most {MOST} elements")
        for place, pattern in enumerate(read):
            if not _ACTION.fullmatch(pattern) or not any(fnmatchcase(action, pattern) for action in known):
                rule = "must be an action, or a pattern of one with *: GET /iam/reference/action lists them"
                raise invalid(f"{field}[{place}].action", rule)
        return tuple(dict.fromkeys(read))


def _check_count(field: str, given: builtins.list[str] | builtins.list[ResourceGiven]) -> None:
    if not 0 < len(given) <= MOST:
        raise invalid(field, f"must have 1 to {MOST} elements")


async def _check_identity(reader: Reader, home: CloudProject, identity: str, field: str) -> None:
    """Raise BodyInvalid unless an identity is of the cloud project's account, or a member of the cloud project."""
    account = await accounts.get(reader, home.account_id)
    found = False
    if identity.startswith(f"{USER}{account.name}/"):
        found = await logins.named(reader, account.id, identity.rpartition("/")[2]) is not None
    elif identity.startswith(f"{CLIENT}{account.name}/{CLIENT_NAME}") and "\0" not in identity:
        try:
            await oauth2.get(reader, account.id, identity.rpartition(CLIENT_NAME)[2])
            found = True
        except ClientUnknown:
            found = False
    elif identity.startswith(USER):
        known = {user_identity(one.account_name, one.name) for one in await members.listed(reader, home.id)}
        found = identity in known
    if not found:
        rule = "must be a user or an OAuth2 client of the cloud project's account, or a member of the cloud project"
        raise invalid(field, rule)


async def _check_resource(reader: Reader, home: CloudProject, urn: str, field: str) -> None:
    """Raise BodyInvalid unless a resource is the cloud project, or a registry of it."""
    if urn == policies.PROJECT + home.id:
        return
    try:
        if not urn.startswith(policies.REGISTRY) or "\0" in urn:
            raise RegistryUnknown
        await registries.get(reader, home.id, urn.removeprefix(policies.REGISTRY))
    except RegistryUnknown:
        rule = f"must be {policies.PROJECT}{home.id}, or {policies.REGISTRY} with the id of a registry of it"
        raise invalid(field, rule) from None


def _id(ask: Ask) -> str:
    text = ask.params["policyId"]
    if not text.isascii() or not text.isprintable():
        raise PolicyUnknown
    return text


def _shown(found: Policy) -> PolicyShown:
    terms = found.terms
    return PolicyShown(
        id=found.id,
        name=terms.name,
        description=terms.description,
        identities=builtins.list(terms.identities),
        resources=[Resource(urn=one) for one in terms.resources],
        permissions=Permissions(
            allow=[Action(action=one) for one in terms.allow],
            except_=[Action(action=one) for one in terms.excepted],
            deny=[Action(action=one) for one in terms.denied],
        ),
        created_at=times.written(found.created_at),
        updated_at=times.written(found.updated_at),
        expired_at=times.written_or_none(terms.expires_at),
    )
