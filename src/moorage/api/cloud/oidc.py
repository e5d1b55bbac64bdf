"""Calls about an account's OpenID provider, whom it has vouched for, and who is invited by it."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from msgspec import Meta, field

from moorage import cookies
from moorage.api.cloud import texts, times
from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.bodies import invalid
from moorage.api.cloud.models import Given, Model
from moorage.api.cloud.routes import Route
from moorage.cloud import cloud_projects, oidc_identities, oidc_invitations, oidc_providers, users
from moorage.cloud.oidc_identities import Identity
from moorage.cloud.oidc_invitations import Invitation, InvitationUnknown
from moorage.cloud.oidc_providers import Provider, ProviderUnknown, RoleOfGroup, Terms
from moorage.cloud.oidc_roles import STRENGTH
from moorage.db import Database, Reader, Tx
from moorage.identity.keys import MasterKey
from moorage.outbound.oidc import IssuerAway, Issuers, check_address

T = TypeVar("T")

LONGEST_NAME: Final = 64
LONGEST: Final = 255
LONGEST_SECRET: Final = 1024
MOST: Final = 100
MOST_SCOPES: Final = 20
CALLBACK: Final = "/auth/oidc/callback/"

_ALL: Final = "/me/identity/oidc"
_INVITATIONS: Final = _ALL + "/invitation"
_SCOPE = re.compile(r"[!#-\[\]-~]{1,64}")
_VISIBLE = re.compile(r"[!-~]+")


class RoleOfGroupGiven(Given):
    """A role that whoever is in a group has."""

    group: str
    cloud_project: str
    role: str


class OidcGiven(Given):
    """An OpenID provider. Without *clientSecret* the one from before is kept, if the issuer is the same."""

    name: str
    issuer: str
    client_id: str
    client_secret: str | None = None
    scopes: list[str] = field(default_factory=lambda: ["openid", "profile", "email"])
    groups_claim: str = ""
    allowed_groups: list[str] = field(default_factory=list)
    roles: list[RoleOfGroupGiven] = field(default_factory=list)
    enabled: bool = True


class InvitationGiven(Given):
    """Somebody who is invited to become a user by the provider's word."""

    login: str
    email: str
    description: str = ""


class RoleOfGroupShown(Model):
    """A role that whoever is in a group has."""

    group: str
    cloud_project: str
    role: str


class OidcShown(Model):
    """An account's OpenID provider."""

    id: str
    name: str
    issuer: str
    client_id: str
    scopes: list[str]
    groups_claim: str
    allowed_groups: list[str]
    roles: list[RoleOfGroupShown]
    enabled: bool
    redirect_uri: Annotated[str, Meta(description="What has to be registered at the provider, exactly.")]
    created_at: str
    updated_at: str


class OidcIdentity(Model):
    """Who a user is at an OpenID provider."""

    issuer: str
    subject: str
    created_at: str
    last_use: str | None


class OidcInvitation(Model):
    """Somebody who is invited."""

    id: str
    login: str
    email: str
    description: str
    created_at: str
    expires_at: str


class NewOidcInvitation(OidcInvitation):
    """Somebody who is invited, and the code that they type at /auth/login, shown this once."""

    code: str


@dataclass(frozen=True, slots=True)
class AccountOidc:
    """Calls about an account's OpenID provider."""

    db: Database
    master: MasterKey
    issuers: Issuers

    def routes(self) -> list[Route]:
        """List the calls."""
        admin, user, act = Needs.ADMINISTRATOR, Needs.USER, "identity/oidc/"
        return [
            Route("GET", _ALL, f"{act}get", self.get, "Show the account's OpenID provider", gives=OidcShown, needs=admin,
                  added=True),
            Route("PUT", _ALL, f"{act}edit", self.put, "Let users sign in by an OpenID provider", OidcGiven, OidcShown, admin,
                  added=True),
            Route("DELETE", _ALL, f"{act}delete", self.delete, "End sign-in by the OpenID provider", needs=admin, added=True),
            Route("GET", _INVITATIONS, f"{act}invitation/get", self.invitations, "List who is invited by it",
                  gives=list[OidcInvitation], needs=admin, added=True),
            Route("POST", _INVITATIONS, f"{act}invitation/create", self.invite, "Invite somebody to become a user by it",
                  InvitationGiven, NewOidcInvitation, admin, added=True),
            Route("DELETE", f"{_INVITATIONS}/{{invitationId}}", f"{act}invitation/delete", self.take_back,
                  "Take an invitation back", needs=admin, added=True),
            Route("GET", "/me/oidc", "me/oidc/get", self.own, "Tell who one is at an OpenID provider", gives=list[OidcIdentity],
                  needs=user, added=True),
            Route("DELETE", "/me/identity/user/{user}/oidc", "identity/user/oidc/delete", self.unlink,
                  "Let a user sign in with the password alone", needs=admin, added=True),
        ]  # fmt: skip

    async def get(self, ask: Ask) -> OidcShown:
        """Show it, without its secret."""
        found = await oidc_providers.of_account(self.db, self.master, ask.caller.account_id)
        return _shown(found, ask)

    async def put(self, ask: Ask) -> OidcShown:
        """Let it be this one, once it has said who it is."""
        given, account = ask.read(OidcGiven), ask.caller.account_id
        before = await self._before(account)
        terms = await self._checked(given, account, before)
        try:
            await self.issuers.metadata(terms.issuer, anew=True)
        except IssuerAway as away:
            raise invalid("issuer", f"is not answered as one is: {away}") from None
        made = await self.db.change(
            lambda tx: oidc_providers.put(tx, self.master, account, terms, ask.origin)
        )
        return _shown(made, ask)

    async def delete(self, ask: Ask) -> None:
        """End it."""
        account = ask.caller.account_id
        await self.db.change(lambda tx: oidc_providers.drop(tx, self.master, account, ask.origin))

    async def invitations(self, ask: Ask) -> builtins.list[OidcInvitation]:
        """List who is invited."""
        found = await oidc_invitations.listed(self.db, ask.caller.account_id, self.db.now())
        return [OidcInvitation(**_invitation(one)) for one in found]

    async def invite(self, ask: Ask) -> NewOidcInvitation:
        """Invite somebody."""
        given, account = ask.read(InvitationGiven), ask.caller.account_id
        description = texts.checked(given.description, "description", least=0, most=LONGEST)

        async def work(tx: Tx) -> oidc_invitations.Invited:
            await oidc_providers.of_account(tx, self.master, account)
            return await oidc_invitations.invite(
                tx, account, ask.origin, name=given.login, email=given.email, description=description
            )

        made = await self.db.change(work)
        return NewOidcInvitation(**_invitation(made.invitation), code=made.code)

    async def take_back(self, ask: Ask) -> None:
        """Take an invitation back."""
        id_, account = ask.params["invitationId"], ask.caller.account_id
        if not id_.isascii() or not id_.isprintable():
            raise InvitationUnknown
        await self.db.change(lambda tx: oidc_invitations.take_back(tx, account, id_, ask.origin))

    async def own(self, ask: Ask) -> builtins.list[OidcIdentity]:
        """Tell who one is elsewhere."""
        assert ask.caller.login_id is not None
        return [_identity(one) for one in await oidc_identities.of_user(self.db, ask.caller.login_id)]

    async def unlink(self, ask: Ask) -> None:
        """Let a user sign in with the password alone."""
        account = ask.caller.account_id
        found = await users.get(self.db, account, ask.params["user"])
        await self.db.change(lambda tx: oidc_identities.unlink(tx, account, found.id, ask.origin))

    async def _before(self, account: str) -> Provider | None:
        try:
            return await oidc_providers.of_account(self.db, self.master, account)
        except ProviderUnknown:
            return None

    async def _checked(self, given: OidcGiven, account: str, before: Provider | None) -> Terms:
        """Read what a provider is, or raise BodyInvalid, which names the field and the rule."""
        if len(given.issuer) > LONGEST or "?" in given.issuer:
            raise invalid("issuer", f"must have at most {LONGEST} characters, and no query")
        try:
            check_address(self.issuers.caller, given.issuer)
        except ValueError as error:
            raise invalid("issuer", str(error)) from None
        secret = given.client_secret
        if secret is None:
            # It is one issuer's: another is never sent it.
            secret = before.terms.secret if before is not None and before.terms.issuer == given.issuer else ""
        scopes = _list(given.scopes, "scopes", _SCOPE, most=MOST_SCOPES)
        if "openid" not in scopes:
            raise invalid("scopes", "must have openid")
        return Terms(
            name=texts.checked(given.name, "name", least=1, most=LONGEST_NAME),
            issuer=given.issuer,
            client_id=_visible(given.client_id, "clientId", least=1, most=LONGEST),
            secret=_visible(secret, "clientSecret", least=0, most=LONGEST_SECRET),
            scopes=scopes,
            groups_claim=_visible(given.groups_claim, "groupsClaim", least=0, most=LONGEST_NAME),
            allowed_groups=tuple(
                texts.checked(one, f"allowedGroups[{place}]", least=1, most=LONGEST)
                for place, one in enumerate(_few(given.allowed_groups, "allowedGroups"))
            ),
            roles=await self._roles(given, account),
            disabled=not given.enabled,
        )

    async def _roles(self, given: OidcGiven, account: str) -> tuple[RoleOfGroup, ...]:
        if (given.roles or given.allowed_groups) and not given.groups_claim:
            raise invalid("groupsClaim", "is required where anything follows from groups")
        made = []
        for place, one in enumerate(_few(given.roles, "roles")):
            where = f"roles[{place}]"
            if one.role not in STRENGTH:
                raise invalid(
                    f"{where}.role", f"must be one of {', '.join(STRENGTH)}: owners are made by owners"
                )
            if not await _is_of(self.db, account, one.cloud_project):
                raise invalid(f"{where}.cloudProject", "must be a cloud project of the account")
            group = texts.checked(one.group, f"{where}.group", least=1, most=LONGEST)
            made.append(RoleOfGroup(group, one.cloud_project, one.role))
        return tuple(made)


async def _is_of(reader: Reader, account: str, cloud_project: str) -> bool:
    found = await cloud_projects.find(reader, cloud_project, "") if cloud_project.isprintable() else None
    return found is not None and found.account_id == account


def _few(given: Sequence[T], field_: str) -> Sequence[T]:
    if len(given) > MOST:
        raise invalid(field_, f"must have at most {MOST} elements")
    return given


def _list(given: Iterable[str], field_: str, pattern: re.Pattern[str], *, most: int) -> tuple[str, ...]:
    read = tuple(dict.fromkeys(given))
    if len(read) > most:
        raise invalid(field_, f"must have at most {most} elements")
    for place, one in enumerate(read):
        if not pattern.fullmatch(one):
            raise invalid(f"{field_}[{place}]", "must have 1 to 64 visible ASCII characters, and no quotes")
    return read


def _visible(text: str, field_: str, *, least: int, most: int) -> str:
    if not least <= len(text) <= most or (text and not _VISIBLE.fullmatch(text)):
        raise invalid(field_, f"must have {least} to {most} visible ASCII characters")
    return text


def _shown(found: Provider, ask: Ask) -> OidcShown:
    terms = found.terms
    return OidcShown(
        id=found.id,
        name=terms.name,
        issuer=terms.issuer,
        client_id=terms.client_id,
        scopes=builtins.list(terms.scopes),
        groups_claim=terms.groups_claim,
        allowed_groups=builtins.list(terms.allowed_groups),
        roles=[
            RoleOfGroupShown(group=one.group, cloud_project=one.cloud_project, role=one.role)
            for one in terms.roles
        ],
        enabled=not terms.disabled,
        redirect_uri=f"{cookies.address(ask.scope)}{CALLBACK}{found.id}",
        created_at=times.written(found.created_at),
        updated_at=times.written(found.updated_at),
    )


def _identity(found: Identity) -> OidcIdentity:
    return OidcIdentity(
        issuer=found.issuer,
        subject=found.subject,
        created_at=times.written(found.created_at),
        last_use=times.written_or_none(found.last_used_at),
    )


def _invitation(found: Invitation) -> dict[str, str]:
    return {
        "id": found.id,
        "login": found.name,
        "email": found.email,
        "description": found.description,
        "created_at": times.written(found.created_at),
        "expires_at": times.written(found.expires_at),
    }
