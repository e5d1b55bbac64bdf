"""Who asks of one registry, and what they may: asked on every request, and nearly always remembered.

What is remembered hangs on the database's access version: a change of any account, member or role is
seen by the next request. A token limits its bearer further, and never adds: what it grants is cut down
to what its account may at this moment.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeVar

from moorage.errors import StorageFull
from moorage.identity import (
    accounts,
    cli_secrets,
    held,
    keyless,
    refresh,
    repository_grants,
    roles,
    scopes,
    tokens,
    users,
)
from moorage.identity.callers import ANONYMOUS, Caller
from moorage.identity.held import Held
from moorage.identity.keyless import Keyless
from moorage.identity.ldap import Ldap
from moorage.identity.old_names import OldNames
from moorage.identity.robot_use import Used
from moorage.identity.roles import Permission
from moorage.identity.scopes import Scope
from moorage.identity.tokens import Grants, Tokens
from moorage.oci.errors import NameInvalid, Unauthorized
from moorage.oci.names import RepositoryName
from moorage.outbound import http
from moorage.outbound.key_sets import KeySets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.db import Database, Tx
    from moorage.identity.accounts import Account
    from moorage.identity.keys import MasterKey
    from moorage.identity.passwords import Passwords
    from moorage.identity.repository_grants import Place
    from moorage.identity.roles import OciAction, Permissions
    from moorage.identity.tokens import Issued, Verified

K = TypeVar("K")
V = TypeVar("V")

_REMEMBERED = 10_000
_REMEMBERED_WITHIN = 1_000
_LONGEST_NAME = 1024
_NO_SECRET = bytes(32)
_WRONG = "unknown user or robot, or wrong password"


class Verdict(Enum):
    """The answer to a caller who asks for something."""

    ALLOWED = "allowed"
    SIGN_IN = "sign in"
    """Nobody in particular may not: ask who it is."""
    INSUFFICIENT_SCOPE = "insufficient scope"
    """The caller may, and the token does not say so: ask for a better one."""
    DENIED = "denied"
    """The caller may not, whatever the token."""


@dataclass(frozen=True, slots=True)
class Identified:
    """Who asks, and what the token that they showed limits them to (None: no token, no limit)."""

    caller: Caller
    grants: Grants | None = None
    # As of which access version this was found, and until when (microseconds) it holds if that stays; 0: ask anew.
    version: int = tokens.NEVER
    until: int = 0


NOBODY: Final = Identified(ANONYMOUS)


@dataclass(frozen=True, slots=True)
class _Reach:
    """What somebody may do on the wire with every repository of a project, and all that this was made of."""

    actions: frozenset[OciAction]
    held: Held
    _within: dict[str, frozenset[OciAction]] = field(default_factory=dict)

    def within(self, name: RepositoryName) -> frozenset[OciAction]:
        """Add what is granted for one repository: nobody pays for grants who has none."""
        if not self.held.granted:
            return self.actions
        found = self._within.get(name.text)
        if found is None:
            found = roles.oci_actions(self.held.within(name.within_project))
            if len(self._within) >= _REMEMBERED_WITHIN:
                self._within.clear()
            self._within[name.text] = found
        return found


_EVERYWHERE: Final = _Reach(roles.oci_actions(roles.EVERYTHING), held.ALL)


@dataclass(slots=True)
class _Known:
    """What was found out since the access rows last changed."""

    version: int
    subjects: dict[tuple[str, int], Account] = field(default_factory=dict)
    names: dict[str, Account] = field(default_factory=dict)
    secrets: dict[int, str | None] = field(default_factory=dict)
    held: dict[tuple[str, int, str], Held] = field(default_factory=dict)
    reach: dict[tuple[str, int, str], _Reach] = field(default_factory=dict)
    places: dict[tuple[str, int], tuple[Place, ...]] = field(default_factory=dict)


class Access:
    """Everything about identity that the rest of the program asks of one registry."""

    def __init__(
        self,
        db: Database,
        registry: str,
        master: MasterKey,
        passwords: Passwords,
        *,
        token_life: int = tokens.LIFE,
        refresh_life: int = refresh.LIFE,
        key_sets: KeySets | None = None,
        ldap: Ldap | None = None,
    ) -> None:
        """Work on the rows of the registry whose lasting name (its uuid) is *registry*.

        Access tokens live for seconds, refresh tokens for microseconds after their last use. *key_sets* are those of whoever
        has signed tokens that robots trust.
        """
        self.db = db
        self.master = master
        self.tokens = Tokens(db, registry, master)
        self.token_life = max(60, min(token_life, tokens.LONGEST_LIFE))
        self.used = Used(db)
        self.keyless = Keyless(db, key_sets or KeySets(http.Caller(), db.now))
        self.old_names = OldNames(db)
        self._refresh_life = refresh_life
        self._passwords = passwords
        self.ldap = ldap or Ldap(db, registry, master, passwords)
        self._known = _Known(tokens.NEVER)

    @property
    def version(self) -> int:
        """The access version that the last answer was found at."""
        return self._known.version

    async def identify(self, authorization: str | None, *, address: str = "") -> Identified:
        """Say who asks by the Authorization header, or raise Unauthorized (or TooManyRequests).

        *address* is the client's, so that one client's wrong passwords hold up no other.
        """
        if authorization is None:
            return NOBODY
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return await self._bearer(token.strip())
        name, password = name_and_password(authorization)
        found = await self.sign_in(name, password, address=address)
        return Identified(found.caller)

    async def sign_in(self, name: str, password: str, *, address: str = "") -> Account:
        """Give the account of this name and password, or raise Unauthorized: never saying which is wrong."""
        if keyless.is_token(password) and keyless.is_name(name):
            return await self._by_token(name, password)
        found = await self._named(name)
        if accounts.is_robots(name):
            right = await self._is_secret(found, password, address=address, name=name)
        else:
            hashed = await self._hash_of(found)
            if hashed is None and await self.ldap.directory() is not None:
                return await self._by_ldap(name, password, address)
            right = await self._passwords.verify(password, hashed, address=address, name=name)
        if found is None or not right or not found.works(self.db.now()):
            raise Unauthorized(_WRONG)
        if found.caller.kind == "robot":
            self.used.note(found.caller.id)
        if found.password and self._passwords.outdated(found.password):
            hashed = await self._passwords.hash(password)
            # Signing in needs no room: it is done the next time.
            with contextlib.suppress(StorageFull):
                await users.rehash(self.db, found, hashed)
        return found

    async def _by_token(self, name: str, token: str) -> Account:
        """Give the robot that a token of another's signs in: for a while that no token of ours outlives."""
        asked: int | None = None
        if name != keyless.ANY_ROBOT:
            named = await self._named(name)
            # A robot that is not there trusts nobody: whoever shows a token learns no more than of one that is.
            asked = named.caller.id if named else 0
        proven = await self.keyless.robot(asked, token)
        found = await self._subject("robot", proven.robot)
        now = self.db.now()
        # An issuer may have been waited for: what changed meanwhile is not what the token was held to.
        if found is None or not found.works(now) or found.valid_from != proven.epoch:
            raise Unauthorized(keyless.WRONG)
        self.used.note(found.caller.id)
        ends = now + keyless.LIFE * tokens.SECOND
        return replace(found, expires_at=min(found.expires_at or ends, ends), by=proven.by)

    async def _by_ldap(self, name: str, password: str, address: str) -> Account:
        found = await self.ldap.sign_in(name, password, address=address, by_number=self._subject)
        if found is None or not found.works(self.db.now()):
            raise Unauthorized(_WRONG)
        return found

    async def hash(self, password: str) -> str:
        """Hash a password that is to be kept."""
        return await self._passwords.hash(password)

    async def refreshed(self, text: str) -> Account:
        """Give the account that a refresh token stands for, or raise Unauthorized."""
        return await refresh.account(self.db, text, life=self._refresh_life)

    async def issue_refresh_token(self, caller: Caller, *, client: str) -> str:
        """Make a refresh token for a caller who signed in."""

        async def work(tx: Tx) -> str:
            return await refresh.issue(tx, caller, client=client, life=self._refresh_life)

        return await self.db.change(work)

    async def issue(
        self, account: Account | None, asked: Iterable[Scope]
    ) -> tuple[Issued, tuple[Scope, ...]]:
        """Sign a token for what of *asked* the account may (None: nobody's), and tell what that is."""
        caller = account.caller if account else ANONYMOUS
        granted = [scopes.granted(scope, await self._allowed(caller, scope)) for scope in asked]
        given = tuple(scope for scope in granted if scope is not None)
        issued = await self.tokens.issue(
            caller.subject,
            account.valid_from if account else 0,
            given,
            life=self.token_life,
            until=account.expires_at if account else None,
        )
        return issued, given

    async def verdict(
        self,
        who: Identified,
        name: RepositoryName,
        *actions: OciAction,
        asked: RepositoryName | None = None,
    ) -> Verdict:
        """Say whether *who* may do *actions* on the repository *name*, and if not, why.

        *asked* is the old name that it was asked for by, if it was: tokens speak of that.
        """
        wanted = frozenset(actions)
        reach = await self._reach(who.caller, name.project)
        if not wanted <= reach.actions and not wanted <= reach.within(name):
            return Verdict.SIGN_IN if who.caller.is_anonymous else Verdict.DENIED
        if who.grants is None or wanted <= who.grants.repositories.get((asked or name).text, frozenset()):
            return Verdict.ALLOWED
        return Verdict.INSUFFICIENT_SCOPE

    async def catalog_verdict(self, who: Identified) -> Verdict:
        """Say whether *who* may list every repository."""
        if not await self.may_in_system(who.caller, *roles.CATALOG):
            return Verdict.SIGN_IN if who.caller.is_anonymous else Verdict.DENIED
        allowed = who.grants is None or who.grants.catalog
        return Verdict.ALLOWED if allowed else Verdict.INSUFFICIENT_SCOPE

    async def actions(self, caller: Caller, project: str) -> frozenset[OciAction]:
        """Say what *caller* may do on the wire with every repository of *project*."""
        return (await self._reach(caller, project)).actions

    async def actions_in(self, caller: Caller, name: RepositoryName) -> frozenset[OciAction]:
        """Say what *caller* may do on the wire with one repository: what they may with all, and what is granted for it."""
        return (await self._reach(caller, name.project)).within(name)

    async def _reach(self, caller: Caller, project: str) -> _Reach:
        if caller.admin:
            return _EVERYWHERE
        known = self._current()
        key = (caller.kind, caller.id, project)
        found = known.reach.get(key)
        if found is None:
            everything = await self.held(caller, project)
            found = _Reach(roles.oci_actions(everything.everywhere), everything)
            if everything.everywhere:
                _remember(known.reach, key, found)
        return found

    async def may(self, caller: Caller, project: str, resource: str, action: str) -> bool:
        """Say whether *caller* may do *action* to a *resource* of *project*."""
        return (resource, action) in await self.permissions(caller, project)

    async def may_in_system(self, caller: Caller, resource: str, action: str) -> bool:
        """Say whether *caller* may do *action* to a *resource* that is in no project."""
        if caller.admin or caller.kind != "robot":
            return caller.admin
        found = await self._subject("robot", caller.id)
        wanted = Permission(resource, action)
        return (
            found is not None
            and found.project_id is None
            and wanted in roles.ROBOT_SYSTEM
            and any(grant.kind == "system" and grant.permission == wanted for grant in found.grants)
        )

    async def permissions(self, caller: Caller, project: str) -> Permissions:
        """Give all that *caller* may everywhere in *project*; nothing where there is no such project.

        An administrator may everything, also in a project that is not there yet.
        """
        return (await self.held(caller, project)).everywhere

    async def held(self, caller: Caller, project: str) -> Held:
        """Give all that *caller* may in *project*, and what is granted for single repositories of it."""
        if caller.admin:
            return held.ALL
        known = self._current()
        key = (caller.kind, caller.id, project)
        found = known.held.get(key)
        if found is None:
            robot = await self._subject("robot", caller.id) if caller.kind == "robot" else None
            found = await held.find(self.db, caller, project, robot)
            if found is held.NONE and (current := await self.old_names.project(project)) is not None:
                found = await held.find(self.db, caller, current, robot)
            if found.everywhere:
                _remember(known.held, key, found)
        return found

    async def places(self, caller: Caller) -> tuple[Place, ...]:
        """List what *caller* was granted for single repositories, in any project."""
        if caller.admin or caller.is_anonymous:
            return ()
        known = self._current()
        key = (caller.kind, caller.id)
        found = known.places.get(key)
        if found is None:
            found = await repository_grants.places(self.db, caller)
            _remember(known.places, key, found)
        return found

    async def _bearer(self, text: str) -> Identified:
        known = self._current()
        verified = await self.tokens.verify(text, version=known.version)
        until = verified.expires_at * tokens.SECOND
        if verified.kind == "anonymous":
            return Identified(ANONYMOUS, verified.grants, known.version, until)
        found = known.subjects.get((verified.kind, verified.number))
        if found is None:
            found = await self._subject(verified.kind, verified.number)
        if found is None or not _still_good(found, verified, self.db.now()):
            raise Unauthorized("the token is void since its account changed; sign in again")
        return Identified(found.caller, verified.grants, known.version, min(until, found.expires_at or until))

    async def _allowed(self, caller: Caller, scope: Scope) -> frozenset[str]:
        """Give all the actions that *caller* may on what *scope* names."""
        if scope.type == scopes.REGISTRY:
            may = await self.may_in_system(caller, *roles.CATALOG)
            return frozenset({scopes.EVERY}) if may else frozenset()
        try:
            name = RepositoryName.parse(scope.name)
        except NameInvalid:
            return frozenset()
        found = await self.actions_in(caller, name)
        if scopes.EVERY not in scope.actions and scope.actions <= found:
            return frozenset(found)
        # Under the old name of a repository a token says what may be done to it where it is now.
        current = await self.old_names.repository(name)
        moved = frozenset[str]() if current is None else await self.actions_in(caller, current)
        return frozenset(found) | moved

    async def _is_secret(self, robot: Account | None, given: str, *, address: str, name: str) -> bool:
        """Say whether *given* is a robot's secret; those that somebody made up are checked as passwords are."""
        now = self.db.now()
        if _is_secret(robot, given, now):
            return True
        for kept in () if robot is None else robot.secrets(now):
            if len(kept) != len(_NO_SECRET) and await self._passwords.verify(
                given, kept.decode("ascii"), address=address, name=name
            ):
                return True
        return False

    async def _hash_of(self, user: Account | None) -> str | None:
        """Give the hash of a user's password; for who signs in by an OpenID provider, of their CLI secret."""
        if user is None or user.password is not None:
            return None if user is None else user.password
        known, number = self._current(), user.caller.id
        if number not in known.secrets:
            _remember(known.secrets, number, await cli_secrets.of(self.db, number))
        return known.secrets[number]

    async def _subject(self, kind: str, number: int) -> Account | None:
        known = self._current()
        found = known.subjects.get((kind, number))
        if found is None:
            found = await accounts.by_subject(self.db, kind, number)
            if found is not None:
                _remember(known.subjects, (kind, number), found)
        return found

    async def _named(self, name: str) -> Account | None:
        known = self._current()
        found = known.names.get(name)
        if found is None and len(name) <= _LONGEST_NAME and "\0" not in name:
            found = await accounts.by_name(self.db, name) or await self._once_named(name)
            if found is not None:
                _remember(known.names, name, found)
        return found

    async def _once_named(self, name: str) -> Account | None:
        """Give the robot that had this name while its project had another."""
        bare = accounts.without_prefix(name)
        project, plus, rest = bare.partition("+")
        if not plus or not accounts.is_robots(name):
            return None
        current = await self.old_names.project(project)
        return (
            None
            if current is None
            else await accounts.by_name(self.db, f"{name.removesuffix(bare)}{current}+{rest}")
        )

    def _current(self) -> _Known:
        """Give what is known, and forget it first if any access row changed.

        What is read after this is put into the same object, so an answer from before a change is
        never taken for one from after it.
        """
        version = self.db.access_version()
        if self._known.version != version:
            self._known = _Known(version)
        return self._known


def _remember(into: dict[K, V], key: K, value: V) -> None:
    if len(into) >= _REMEMBERED:
        del into[next(iter(into))]
    into[key] = value


def name_and_password(authorization: str) -> tuple[str, str]:
    """Read a Basic Authorization header, or raise Unauthorized."""
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise Unauthorized("this kind of Authorization is not known here; use a name and password")
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise Unauthorized("the Authorization header is malformed") from None
    try:
        name, colon, password = raw.decode().partition(":")
    except UnicodeDecodeError:
        name, colon, password = raw.decode("latin-1").partition(":")
    if not colon:
        raise Unauthorized("the Authorization header is malformed")
    return name, password


def _is_secret(robot: Account | None, given: str, now: int) -> bool:
    """Compare *given* with a robot's secrets in constant time, and as long when there is no robot."""
    hashed = hashlib.sha256(given.encode("utf-8", "surrogatepass")).digest()
    secret, old = (*(robot.secrets(now) if robot else ()), _NO_SECRET, _NO_SECRET)[:2]
    is_new = hmac.compare_digest(hashed, secret)
    is_old = hmac.compare_digest(hashed, old)
    return robot is not None and (is_new or is_old)


def _still_good(found: Account, verified: Verified, now: int) -> bool:
    return found.valid_from == verified.epoch and found.works(now)
