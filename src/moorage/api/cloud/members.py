"""Calls about members of a cloud project: who they are, whom to ask, and what one is asked oneself. All of it is ours."""

from __future__ import annotations

import builtins
import re
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from moorage.api.cloud import times
from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.bodies import invalid
from moorage.api.cloud.models import Given, Model
from moorage.api.cloud.routes import Route
from moorage.cloud import accounts, invitations, logins, members
from moorage.cloud.invitations import Invitation, InvitationUnknown
from moorage.cloud.members import Member, MemberUnknown, Role
from moorage.db import Database, Tx

_PROJECT: Final = "/cloud/project/{serviceName}"
_MEMBERS: Final = _PROJECT + "/member"
_MEMBER: Final = _MEMBERS + "/{memberId}"
_INVITATIONS: Final = _PROJECT + "/invitation"
_MINE: Final = "/me/invitation"
_USER = re.compile(r"[!-.0-~]{1,255}/[^/\0\s]{1,255}")


class MemberCreation(Given):
    """A user to be a member."""

    user: Annotated[str, Meta(description="The user's account and name: account/name.")]
    role: str


class MemberUpdate(Given):
    """Another role."""

    role: str


class MemberShown(Model):
    """A member of a cloud project."""

    id: str
    user: str
    role: str
    created_at: str


class InvitationShown(Model):
    """A user who is asked to be a member."""

    id: str
    project_id: str
    project_name: str
    user: str
    role: str
    invited_by: str
    created_at: str
    expires_at: str


class Joined(Model):
    """What has become of asking: a member at once, if the user is of the same account, else an invitation."""

    member: MemberShown | None = None
    invitation: InvitationShown | None = None


@dataclass(frozen=True, slots=True)
class Members:
    """Calls about members and invitations."""

    db: Database

    def routes(self) -> list[Route]:
        """List the calls."""
        user = Needs.USER
        return [
            Route("GET", _MEMBERS, "member/get", self.list, "List the members", gives=list[MemberShown], added=True),
            Route("POST", _MEMBERS, "member/create", self.create, "Make a user a member, or ask one of another account",
                  MemberCreation, Joined, added=True),
            Route("GET", _MEMBER, "member/get", self.get, "Show a member", gives=MemberShown, added=True),
            Route("PUT", _MEMBER, "member/edit", self.edit, "Give a member another role", MemberUpdate, added=True),
            Route("DELETE", _MEMBER, "member/delete", self.delete, "Take a member's role away", added=True),
            Route("GET", _INVITATIONS, "member/invitation/get", self.invitations, "List the open invitations",
                  gives=list[InvitationShown], added=True),
            Route("DELETE", f"{_INVITATIONS}/{{invitationId}}", "member/invitation/delete", self.take_back,
                  "Take an invitation back", added=True),
            Route("GET", _MINE, "invitation/get", self.mine, "List the invitations that the user may take up",
                  gives=list[InvitationShown], needs=user, added=True),
            Route("POST", f"{_MINE}/{{invitationId}}/accept", "invitation/accept", self.accept,
                  "Become a member, as an invitation says", gives=MemberShown, needs=user, added=True),
            Route("DELETE", f"{_MINE}/{{invitationId}}", "invitation/decline", self.decline, "Refuse an invitation",
                  needs=user, added=True),
        ]  # fmt: skip

    async def list(self, ask: Ask) -> builtins.list[MemberShown]:
        """List the members."""
        return [_member(one) for one in await members.listed(self.db, ask.cloud_project)]

    async def create(self, ask: Ask) -> Joined:
        """Make a member of a user of the same account, or ask another's."""
        given = ask.read(MemberCreation)
        role = _role(given.role)
        if not _USER.fullmatch(given.user):
            raise invalid("user", "must be a user's account and name, such as account/ada")
        account_name, _, name = given.user.partition("/")
        home = ask.allowed.cloud_project

        async def work(tx: Tx) -> Joined:
            if (await accounts.get(tx, home.account_id)).name != account_name:
                made = await invitations.invite(tx, home, (account_name, name), role, ask.origin)
                return Joined(invitation=_invitation(made))
            found = await logins.named(tx, home.account_id, name)
            if found is None:
                raise invalid("user", f"the account {account_name} has no user {name[:80]} who may sign in")
            return Joined(member=_member(await members.join(tx, home, found.id, role, ask.origin)))

        return await self.db.change(work)

    async def get(self, ask: Ask) -> MemberShown:
        """Show a member."""
        return _member(await members.get(self.db, ask.cloud_project, _id(ask)))

    async def edit(self, ask: Ask) -> None:
        """Give a member another role."""
        role = _role(ask.read(MemberUpdate).role)

        async def work(tx: Tx) -> None:
            found = await members.get(tx, ask.cloud_project, _id(ask))
            await members.join(tx, ask.allowed.cloud_project, found.id, role, ask.origin)

        await self.db.change(work)

    async def delete(self, ask: Ask) -> None:
        """Take a member's role away."""
        await self.db.change(lambda tx: members.remove(tx, ask.allowed.cloud_project, _id(ask), ask.origin))

    async def invitations(self, ask: Ask) -> builtins.list[InvitationShown]:
        """List the open invitations."""
        return [
            _invitation(one) for one in await invitations.listed(self.db, ask.cloud_project, self.db.now())
        ]

    async def take_back(self, ask: Ask) -> None:
        """Take an invitation back."""
        home = ask.allowed.cloud_project
        await self.db.change(lambda tx: invitations.take_back(tx, home, _invited(ask), ask.origin))

    async def mine(self, ask: Ask) -> builtins.list[InvitationShown]:
        """List what the user is asked."""
        who = ask.caller
        found = await invitations.of_user(self.db, who.account_name, who.login_name, self.db.now())
        return [_invitation(one) for one in found]

    async def accept(self, ask: Ask) -> MemberShown:
        """Take an invitation up."""
        who = ask.caller
        user = (who.account_name, who.login_name)
        return _member(
            await self.db.change(
                lambda tx: invitations.accept(tx, user, who.login_id or "", _invited(ask), ask.origin)
            )
        )

    async def decline(self, ask: Ask) -> None:
        """Refuse an invitation."""
        user = (ask.caller.account_name, ask.caller.login_name)
        await self.db.change(lambda tx: invitations.decline(tx, user, _invited(ask), ask.origin))


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise invalid("role", f"must be one of {', '.join(Role)}") from None


def _id(ask: Ask) -> str:
    text = ask.params["memberId"]
    if not text.isascii() or not text.isprintable():
        raise MemberUnknown
    return text


def _invited(ask: Ask) -> str:
    text = ask.params["invitationId"]
    if not text.isascii() or not text.isprintable():
        raise InvitationUnknown
    return text


def _member(found: Member) -> MemberShown:
    return MemberShown(
        id=found.id,
        user=f"{found.account_name}/{found.name}",
        role=found.role.value,
        created_at=times.written(found.created_at),
    )


def _invitation(found: Invitation) -> InvitationShown:
    return InvitationShown(
        id=found.id,
        project_id=found.cloud_project,
        project_name=found.description,
        user=found.user,
        role=found.role.value,
        invited_by=found.invited_by,
        created_at=times.written(found.created_at),
        expires_at=times.written(found.expires_at),
    )
