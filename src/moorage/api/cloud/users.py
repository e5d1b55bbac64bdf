"""Calls about the users of a registry: they are the registry's own, and sign in to it alone."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from moorage.api.cloud import models
from moorage.api.cloud.asks import Ask
from moorage.api.cloud.models import UserCreation
from moorage.api.cloud.routes import Route
from moorage.cloud import registry_users
from moorage.db import Database
from moorage.identity import users
from moorage.identity.passwords import Passwords
from moorage.identity.users import User, UserUnknown

Rows = Callable[[Ask], AbstractAsyncContextManager[Database]]
"""Opens the rows of the registry that a call names, or raises a Problem when there is none or it is not ready."""

_PATH: Final = "/cloud/project/{serviceName}/containerRegistry/{registryID}/users"
_ONE: Final = _PATH + "/{userID}"
_NUMBER = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Users:
    """Calls about the users of a registry."""

    rows: Rows
    passwords: Passwords

    def routes(self) -> list[Route]:
        """List the calls."""
        action = "containerRegistry/users/"
        return [
            Route("GET", _PATH, f"{action}get", self.list, "List the registry's users", gives=list[models.User]),
            Route("POST", _PATH, f"{action}create", self.create, "Make a user", UserCreation, models.User),
            Route("GET", _ONE, f"{action}get", self.get, "Show a user", gives=models.User),
            Route("DELETE", _ONE, f"{action}delete", self.delete, "Delete a user"),
            Route("PUT", f"{_ONE}/setAsAdmin", f"{action}setAsAdmin", self.set_as_admin, "Make a user an administrator"),
        ]  # fmt: skip

    async def list(self, ask: Ask) -> builtins.list[models.User]:
        """List the users, without passwords."""
        async with self.rows(ask) as db:
            return [_shown(one) for one in await users.listed(db)]

    async def create(self, ask: Ask) -> models.User:
        """Make a user and show the password, this once."""
        given = ask.read(UserCreation)
        async with self.rows(ask) as db:
            made = await registry_users.create(
                db, self.passwords, ask.origin, login=given.login, email=given.email, password=given.password
            )
        return _shown(made.user, made.password)

    async def get(self, ask: Ask) -> models.User:
        """Show a user, without the password."""
        async with self.rows(ask) as db:
            return _shown(await users.get(db, _number(ask)))

    async def delete(self, ask: Ask) -> None:
        """End a user."""
        async with self.rows(ask) as db:
            await registry_users.delete(db, ask.origin, _number(ask))

    async def set_as_admin(self, ask: Ask) -> None:
        """Make a user an administrator."""
        async with self.rows(ask) as db:
            await registry_users.set_as_admin(db, ask.origin, _number(ask))


def _number(ask: Ask) -> int:
    text = ask.params["userID"]
    if not _NUMBER.fullmatch(text):
        raise UserUnknown
    return int(text)


def _shown(user: User, password: str = "") -> models.User:
    return models.User(email=user.email or "", id=str(user.id), password=password, user=user.name)
