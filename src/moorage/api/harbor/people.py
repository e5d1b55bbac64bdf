"""Users, as administrators see them, and as each sees themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from moorage.api.harbor import answers, csrf
from moorage.api.harbor.problems import BadRequest, Forbidden, Precondition, invalid
from moorage.db.pages import Asked, Condition, How
from moorage.identity import cli_secrets, configuration, outsiders, profiles, users
from moorage.identity.profiles import Details, Profile
from moorage.oci import errors as oci
from moorage.registry.events import record

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx

SELF_REGISTRATION: Final = "self_registration"
_SEARCHED: Final = ("username", "email")


class NewUser(msgspec.Struct):
    """A user to be made."""

    username: str | None = None
    password: str | None = None
    email: str | None = None
    realname: str | None = None
    comment: str | None = None


class NewProfile(msgspec.Struct):
    """What a user says of themselves."""

    email: str | None = None
    realname: str | None = None
    comment: str | None = None


class Flag(msgspec.Struct):
    """Whether a user is an administrator."""

    sysadmin_flag: bool | None = None


class NewSecret(msgspec.Struct):
    """A CLI secret; one that is empty is made up."""

    secret: str | None = None


class NewPassword(msgspec.Struct):
    """A password, and the one before it where it is the caller's own."""

    old_password: str | None = None
    new_password: str | None = None


@dataclass(frozen=True, slots=True)
class People:
    """Answers what is asked about users."""

    def answers(self) -> Answers:
        """Say who answers each operation."""
        return {
            "listUsers": self.list,
            "createUser": self.create,
            "searchUsers": self.search,
            "getCurrentUserInfo": self.current,
            "getUser": self.get,
            "updateUserProfile": self.update,
            "deleteUser": self.delete,
            "setUserSysAdmin": self.set_admin,
            "updateUserPassword": self.set_password,
            "setCliSecret": self.set_cli_secret,
        }

    async def list(self, ask: Ask) -> Answer:
        """Give a page of the users."""
        asked = ask.page.asked
        more = tuple(Condition(name, How.FUZZY, (ask.text(name),)) for name in _SEARCHED if ask.text(name))
        asked = replace(asked, conditions=(*asked.conditions, *more))
        rows, total = await profiles.LISTED.listed(ask.db, asked)
        return answers.listed(ask, [_shown(profiles.profile(row)) for row in rows], total)

    async def search(self, ask: Ask) -> Answer:
        """Give a page of the users whose names have something in them: a number and a name, no more."""
        wanted = ask.text("username")
        if not wanted:
            raise invalid("query", "username", "is required")
        page = ask.page.asked
        asked = Asked(page.number, page.size, (Condition("username", How.FUZZY, (wanted,)),))
        rows, total = await profiles.LISTED.listed(ask.db, asked)
        return answers.listed(ask, [{"user_id": row.id, "username": row.name} for row in rows], total)

    async def create(self, ask: Ask) -> Answer:
        """Make a user: an administrator does, or at a browser anybody where people may register themselves."""
        await _require_creatable(ask)
        given = ask.read(NewUser)
        name, details = given.username or "", _details(given)
        users.check_password(given.password or "")
        details.check()
        users.check_name(name)
        hashed = await ask.access.hash(given.password or "")

        async def work(tx: Tx) -> int:
            await profiles.keep_email_apart(tx, details.email)
            number = await users.create(
                tx, name=name, password=hashed, email=details.email, realname=details.realname,
                comment=details.comment,
            )  # fmt: skip
            await record(tx, "user.create", ask.origin, user=number, name=name, target=name)
            return number

        return answers.created(ask, await ask.db.change(work))

    async def current(self, ask: Ask) -> Answer:
        """Give the profile of who asks; robots have none."""
        if ask.caller.kind != "user":
            raise Precondition("get current user not available for security context: robot")
        return answers.given(await _own(ask, ask.caller.id))

    async def get(self, ask: Ask) -> Answer:
        """Give a user's profile."""
        number = await _require(ask, "read")
        return answers.given(await _own(ask, number))

    async def update(self, ask: Ask) -> Answer:
        """Change a user's profile: mail address, real name and comment, all three."""
        number = await _require(ask, "update")
        details = _details(ask.read(NewProfile))
        details.check()

        async def work(tx: Tx) -> None:
            before = await _changeable(ask, tx, number)
            await profiles.change(tx, number, details)
            told = {"before": _said(before), "after": msgspec.to_builtins(details)}
            await record(tx, "user.update", ask.origin, user=number, target=before.name, **told)

        await ask.db.change(work)
        return answers.done()

    async def delete(self, ask: Ask) -> Answer:
        """Delete a user: their name and mail address can be had again, their number never."""
        await ask.require_in_system("user", "delete")
        number = ask.number("user_id")
        if _is_self(ask, number):
            raise Forbidden(f"User with ID {number} cannot be deleted: nobody deletes themselves")

        async def work(tx: Tx) -> None:
            found = await _changeable(ask, tx, number)
            await users.remove(tx, number)
            await record(tx, "user.delete", ask.origin, user=number, name=found.name, target=found.name)

        await ask.db.change(work)
        return answers.done()

    async def set_admin(self, ask: Ask) -> Answer:
        """Make a user an administrator, or an ordinary one; the last administrator stays one."""
        number, admin = ask.number("user_id"), bool(ask.read(Flag).sysadmin_flag)
        if ask.caller.kind == "robot":
            raise Forbidden("a robot makes nobody an administrator, nor an administrator anybody else")

        async def work(tx: Tx) -> None:
            found = await profiles.get(tx, number)
            # Whom a person has made an administrator, no group makes an ordinary user.
            await outsiders.made_by_hand(tx, number)
            if found.admin == admin:
                return
            await users.set_admin(tx, number, admin=admin)
            told = {"before": {"admin": found.admin}, "after": {"admin": admin}}
            await record(
                tx, "user.admin", ask.origin, user=number, name=found.name, target=found.name, **told
            )

        await ask.db.change(work)
        return answers.done()

    async def set_password(self, ask: Ask) -> Answer:
        """Change a password: one's own with the one before it, another's as an administrator. Ends all their sessions."""
        number = await _require(ask, "update")
        given = ask.read(NewPassword)
        new, old = given.new_password or "", given.old_password or ""
        if _is_self(ask, number):
            await _require_right(ask, old)
            if new == old:
                raise BadRequest("New password is identical to old password")
        users.check_password(new)
        hashed = await ask.access.hash(new)

        async def work(tx: Tx) -> None:
            found = await _changeable(ask, tx, number)
            if not found.local:
                raise Forbidden(f"{found.name} signs in by somebody else's word, and has no password here")
            await users.set_password(tx, number, hashed)
            await record(tx, "user.password", ask.origin, user=number, target=found.name)

        await ask.db.change(work)
        return answers.done()

    async def set_cli_secret(self, ask: Ask) -> Answer:
        """Give who signs in by an OpenID provider another CLI secret: the one that is asked for, or one that is made up."""
        number = await _require(ask, "update")
        if not await cli_secrets.is_outsider(ask.db, number):
            mode = await configuration.auth_mode(ask.db)
            raise Precondition(f"unable to update CLI secret under authmode: {mode}")
        given = ask.read(NewSecret).secret
        secret = given or users.generated_password()
        users.check_password(secret)
        hashed = await ask.access.hash(secret)

        async def work(tx: Tx) -> None:
            found = await _changeable(ask, tx, number)
            await cli_secrets.put(tx, number, hashed)
            await record(tx, "user.cli-secret", ask.origin, user=number, target=found.name)

        await ask.db.change(work)
        return answers.done() if given else answers.given({"secret": secret})


async def _require_creatable(ask: Ask) -> None:
    """Raise Unauthorized or Forbidden, unless the caller may make a user."""
    if not await ask.may_in_system("user", "create"):
        found = (await configuration.get(ask.db, SELF_REGISTRATION)).get(SELF_REGISTRATION)
        if found is None or found.text != "true":
            raise ask.refusal("user:create in the system (people do not register themselves here)")
        # What carries the cookie has shown a guard too, so a browser's page sent it.
        if not csrf.cookie(ask.scope, csrf.SESSION):
            raise Forbidden("self-registration cannot be triggered via API")
    mode = await configuration.auth_mode(ask.db)
    if mode == configuration.IAM:
        raise Forbidden(f"creating local user is not allowed under auth mode: {mode}")


async def _require(ask: Ask, action: str) -> int:
    """Give the number of the user in the path, if the caller is that user, or may do this to all."""
    number = ask.number("user_id")
    if not _is_self(ask, number):
        await ask.require_in_system("user", action)
    return number


async def _require_right(ask: Ask, password: str) -> None:
    """Raise Forbidden unless this is the caller's password."""
    try:
        await ask.access.sign_in(ask.caller.name, password, address=ask.address)
    except oci.Unauthorized:
        raise Forbidden("Current password is incorrect") from None


async def _changeable(ask: Ask, tx: Tx, number: int) -> Profile:
    """Give a user's profile, if the caller may change such a user: a robot could else become what it changes."""
    found = await profiles.get(tx, number)
    if found.admin and ask.caller.kind == "robot":
        raise Forbidden("a robot changes no administrator")
    return found


def _is_self(ask: Ask, number: int) -> bool:
    return ask.caller.kind == "user" and ask.caller.id == number


def _details(given: NewUser | NewProfile) -> Details:
    return Details(given.email or "", given.realname or "", given.comment or "")


def _said(found: Profile) -> dict[str, str]:
    return {"email": found.email, "realname": found.realname, "comment": found.comment}


async def _own(ask: Ask, number: int) -> dict[str, object]:
    """Show one user, and to themselves who they are at the OpenID provider; the CLI secret is kept as a hash alone."""
    found = await profiles.get(ask.db, number)
    known = None if found.local else await outsiders.of_user(ask.db, number)
    shown = _shown(found)
    if known is None:
        return shown
    shown["admin_role_in_auth"] = known.kept.by_group
    if _is_self(ask, number) and known.is_oidc:
        shown["oidc_user_meta"] = {
            "id": number,
            "user_id": number,
            "subiss": known.subject + known.issuer,
            "secret": "",
            "creation_time": answers.moment(known.created_at),
            "update_time": answers.moment(known.kept.signed_in_at or known.created_at),
        }
    return shown


def _shown(found: Profile) -> dict[str, object]:
    return {
        "admin_role_in_auth": False,
        "comment": found.comment,
        "creation_time": answers.moment(found.created_at),
        "email": found.email,
        "realname": found.realname,
        "sysadmin_flag": found.admin,
        "update_time": answers.moment(found.updated_at),
        "user_id": found.id,
        "username": found.name,
    }
