"""Calls about the users of an account, as the original has them, and about one's own password and mail address."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from moorage.api.cloud import texts, times
from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.bodies import invalid
from moorage.api.cloud.models import ADDED, Given, Model
from moorage.api.cloud.routes import Route
from moorage.cloud import users
from moorage.db import Database
from moorage.identity.passwords import Passwords

ADMIN: Final = "ADMIN"
DEFAULT: Final = "DEFAULT"
LONGEST_DESCRIPTION: Final = 255

_ALL: Final = "/me/identity/user"
_ONE: Final = _ALL + "/{user}"


class AccountUserCreation(Given):
    """A user to be made."""

    login: str
    email: str
    password: str
    description: str = ""
    group: Annotated[str, Meta(description="ADMIN administers the account; DEFAULT does not.")] = DEFAULT


class AccountUserUpdate(Given):
    """What a user is."""

    email: str
    description: str = ""
    group: str = DEFAULT


class PasswordGiven(Given):
    """Another password."""

    password: str


class OwnPassword(Given):
    """One's own password, and another."""

    current_password: str
    password: str


class OwnEmail(Given):
    """One's own mail address, and one's password."""

    current_password: str
    email: str


class AccountUser(Model):
    """A user of an account."""

    creation: str
    description: str
    email: str
    group: str
    login: str
    password_last_update: str
    status: str
    urn: str
    id: Annotated[
        str, Meta(description="What members of cloud projects are known by.", extra_json_schema=ADDED)
    ]


@dataclass(frozen=True, slots=True)
class AccountUsers:
    """Calls about the users of an account."""

    db: Database
    passwords: Passwords

    def routes(self) -> list[Route]:
        """List the calls."""
        admin, action = Needs.ADMINISTRATOR, "identity/user/"
        return [
            Route("GET", _ALL, f"{action}get", self.list, "List the account's users", gives=list[str], needs=admin),
            Route("POST", _ALL, f"{action}create", self.create, "Make a user", AccountUserCreation, AccountUser, admin),
            Route("GET", _ONE, f"{action}get", self.get, "Show a user", gives=AccountUser, needs=admin),
            Route("PUT", _ONE, f"{action}edit", self.edit, "Change a user", AccountUserUpdate, needs=admin),
            Route("DELETE", _ONE, f"{action}delete", self.delete, "End a user, and all that is theirs", needs=admin),
            Route("POST", f"{_ONE}/disable", f"{action}disable", self.disable, "Let a user in no more", needs=admin),
            Route("POST", f"{_ONE}/enable", f"{action}enable", self.enable, "Let a user in again", needs=admin),
            Route("PUT", f"{_ONE}/password", f"{action}password/edit", self.set_password,
                  "Give a user another password, and end what was begun with the one before", PasswordGiven, needs=admin,
                  added=True),
            Route("PUT", "/me/password", "me/password/edit", self.own_password, "Change one's own password", OwnPassword,
                  needs=Needs.USER, added=True),
            Route("PUT", "/me/email", "me/email/edit", self.own_email, "Change one's own mail address", OwnEmail,
                  needs=Needs.USER, added=True),
        ]  # fmt: skip

    async def list(self, ask: Ask) -> builtins.list[str]:
        """List the users' names."""
        return [one.name for one in await users.listed(self.db, ask.caller.account_id)]

    async def create(self, ask: Ask) -> AccountUser:
        """Make a user."""
        given = ask.read(AccountUserCreation)
        made = await users.create(
            self.db, self.passwords, ask.caller.account_id, ask.origin, name=given.login, password=given.password,
            email=given.email, description=_description(given.description), admin=_admin(given.group),
        )  # fmt: skip
        return _shown(made)

    async def get(self, ask: Ask) -> AccountUser:
        """Show a user."""
        return _shown(await users.get(self.db, ask.caller.account_id, ask.params["user"]))

    async def edit(self, ask: Ask) -> None:
        """Change a user."""
        given = ask.read(AccountUserUpdate)
        description, admin = _description(given.description), _admin(given.group)
        await self.db.change(
            lambda tx: users.change(
                tx, ask.caller.account_id, ask.params["user"], ask.origin, email=given.email, description=description,
                admin=admin,
            )
        )  # fmt: skip

    async def delete(self, ask: Ask) -> None:
        """End a user."""
        who, name = ask.caller, ask.params["user"]
        await self.db.change(lambda tx: users.delete(tx, who.account_id, name, ask.origin))

    async def disable(self, ask: Ask) -> None:
        """Let a user in no more."""
        who, name = ask.caller, ask.params["user"]
        await self.db.change(lambda tx: users.disable(tx, who.account_id, name, ask.origin))

    async def enable(self, ask: Ask) -> None:
        """Let a user in again."""
        who, name = ask.caller, ask.params["user"]
        await self.db.change(lambda tx: users.enable(tx, who.account_id, name, ask.origin))

    async def set_password(self, ask: Ask) -> None:
        """Give a user another password."""
        given = ask.read(PasswordGiven)
        who, name = ask.caller, ask.params["user"]
        await users.set_password(self.db, self.passwords, who.account_id, name, given.password, ask.origin)

    async def own_password(self, ask: Ask) -> None:
        """Change one's own password."""
        given = ask.read(OwnPassword)
        await users.set_own_password(
            self.db, self.passwords, ask.caller.login_id or "", password=given.password, proof=given.current_password,
            origin=ask.origin,
        )  # fmt: skip

    async def own_email(self, ask: Ask) -> None:
        """Change one's own mail address."""
        given = ask.read(OwnEmail)
        await users.set_own_email(
            self.db, self.passwords, ask.caller.login_id or "", email=given.email, proof=given.current_password,
            origin=ask.origin,
        )  # fmt: skip


def _admin(group: str) -> bool:
    if group not in {ADMIN, DEFAULT}:
        raise invalid("group", f"must be {ADMIN} or {DEFAULT}")
    return group == ADMIN


def _description(text: str) -> str:
    return texts.checked(text, "description", least=0, most=LONGEST_DESCRIPTION)


def _shown(found: users.User) -> AccountUser:
    return AccountUser(
        creation=times.written(found.created_at),
        description=found.description,
        email=found.email,
        group=ADMIN if found.admin else DEFAULT,
        login=found.name,
        password_last_update=times.written(found.password_at),
        status="DISABLED" if found.disabled else "OK",
        urn=found.identity,
        id=found.id,
    )
