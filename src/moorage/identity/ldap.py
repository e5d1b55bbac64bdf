"""Signing in by the word of a registry's LDAP directory: who somebody is there, whether a password is theirs, and their groups.

The directory is asked last, and only for who has no password here. A right password is remembered a short time, under a digest
that is keyed in this process: a client that shows it with each request does not have the directory asked each time. What is
remembered ends with any change of the account or of how the directory is asked.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from moorage.errors import Problem
from moorage.identity import groups, ldap_settings, methods, outsiders, users
from moorage.identity.outsiders import Found, Vouched
from moorage.identity.passwords import lane_of
from moorage.outbound import ldap_filters, ldap_names
from moorage.outbound.http import Caller, NotAsked
from moorage.outbound.ldap import BASE, MOST, Connection, connected

if TYPE_CHECKING:
    from moorage.db import Database, Tx
    from moorage.identity.accounts import Account
    from moorage.identity.keys import MasterKey
    from moorage.identity.ldap_settings import Directory
    from moorage.identity.passwords import Passwords
    from moorage.outbound.ldap_messages import Entry

LOG = logging.getLogger(__name__)

COMMENT: Final = "from LDAP"
SECOND: Final = 1_000_000
REMEMBERED: Final = 60 * SECOND
"""How long a right password is believed without a question: as long is who has lost it there still let in here."""
MOST_REMEMBERED: Final = 10_000
AT_ONCE: Final = 16
"""Questions to one directory; whoever asks more waits, and so slow ones take nobody else's place."""
LONGEST: Final = 255
LONGEST_PASSWORD: Final = 1024

# What stays when a person is renamed or moved, in the order of whom it is taken from.
_GUID: Final = "objectguid"
_LASTING: Final = ("entryuuid", _GUID, "ipauniqueid", "nsuniqueid")
_NOTHING: Final = ("1.1",)

ByNumber = Callable[[str, int], Awaitable["Account | None"]]
Told = Callable[["Tx", Found, str, bool], Awaitable[None]]
"""Tells the record of an account that was made, or made an administrator; with the address that it came from."""


class DirectoryAway(Problem):
    """The registry's LDAP directory did not answer, or not as one does."""

    code, status, summary = (
        "UNAVAILABLE",
        503,
        "the registry's LDAP directory cannot be asked just now: try again",
    )


class NoDirectory(Problem):
    """The registry has no LDAP directory."""

    code, status, summary = "BAD_REQUEST", 400, "this registry has no LDAP directory: set ldap_url first"


class DirectoryWrong(Problem):
    """The registry's LDAP directory cannot be asked as it is set."""

    code, status, summary = "BAD_REQUEST", 400, "the LDAP directory cannot be asked"


class NotAdmitted(Problem):
    """The password is right, and there can be no account."""

    code, status, summary = "FORBIDDEN", 403, "nobody can sign in to this registry by this name"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in the directory; *lasting* is what they are called there for good."""

    dn: str
    lasting: str
    name: str
    realname: str
    email: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A group in the directory."""

    dn: str
    name: str


@dataclass(frozen=True, slots=True)
class _Right:
    """A password that was right, of which account, and until when."""

    number: int
    valid_from: int
    until: int


class Ldap:
    """The directory of one registry."""

    def __init__(
        self,
        db: Database,
        registry: str,
        master: MasterKey,
        passwords: Passwords,
        caller: Caller | None = None,
        told: Told | None = None,
    ) -> None:
        """Ask through *caller*, for the registry whose lasting name is *registry*."""
        self._db = db
        self._registry = registry
        self._master = master
        self._caller = caller or Caller()
        self._told = told
        self._lanes = passwords.lanes()
        self._key = os.urandom(32)
        self._right: OrderedDict[bytes, _Right] = OrderedDict()
        self._asked: dict[bytes, asyncio.Future[int | None]] = {}
        self._free = asyncio.Semaphore(AT_ONCE)
        self._read: tuple[int, Directory | None] = (-1, None)

    async def directory(self) -> Directory | None:
        """Give the directory that people sign in by; None: they do not."""
        version = self._db.access_version()
        if self._read[0] != version:
            on = (await methods.on(self._db)).ldap
            self._read = (version, await self.configured() if on else None)
        return self._read[1]

    async def configured(self) -> Directory | None:
        """Give the directory that is configured, whether or not people sign in by it."""
        return await ldap_settings.read(self._db, self._master, self._registry)

    async def sign_in(self, name: str, password: str, *, address: str, by_number: ByNumber) -> Account | None:
        """Give the account of somebody whom the directory knows; None: it is not their password, or nobody is called so.

        Raises DirectoryAway, NotAdmitted and TooManyRequests.
        """
        directory = await self.directory()
        if directory is None or not _may_be(name, LONGEST) or not _may_be(password, LONGEST_PASSWORD):
            return None
        fact = self._fact(directory, name, password)
        known = await self._remembered(fact, by_number)
        if known is not None:
            return known
        asked = self._asked.get(fact)
        if asked is not None:
            # Whoever asks the same just now gets the one answer, and takes no place.
            number = await asyncio.shield(asked)
        else:
            number = await self._found_out(fact, directory, name, password, address)
        account = None if number is None else await by_number("user", number)
        if account is not None and account.works(self._db.now()):
            self._remember(fact, account)
        return account

    def forget(self) -> None:
        """Ask anew about each password."""
        self._right.clear()

    async def people(self, name: str) -> list[Person]:
        """Give who has a name in the directory, or (without one) the first of all; raises NoDirectory and DirectoryWrong."""
        async with self._as_set() as (directory, connection):
            return await _people(connection, directory, name)

    async def groups(self, *, name: str = "", dn: str = "") -> list[Group]:
        """Give the groups of a name, or the one that is called *dn*; raises NoDirectory and DirectoryWrong."""
        async with self._as_set() as (directory, connection):
            return await _groups(connection, directory, name, dn)

    async def ping(self, directory: Directory) -> None:
        """Ask a directory who may look for people; raise DirectoryWrong, which says what is wrong."""
        async with self._admin(directory):
            pass

    async def bring(self, person: Person, told: Callable[[Tx, int], Awaitable[None]]) -> None:
        """Make the account of somebody who is in the directory, and have it *told*; one that is there stays as it is.

        Raises NoDirectory, UserExists and UserNameInvalid.
        """
        directory = await self.configured()
        if directory is None:
            raise NoDirectory
        vouched = _vouched(directory, person, {})

        async def work(tx: Tx) -> None:
            if await outsiders.find(tx, vouched.issuer, vouched.subject) is None:
                await told(tx, await outsiders.onboard(tx, vouched, person.name, COMMENT))

        await self._db.change(work)

    @asynccontextmanager
    async def _as_set(self) -> AsyncIterator[tuple[Directory, Connection]]:
        directory = await self.configured()
        if directory is None:
            raise NoDirectory
        async with self._admin(directory) as connection:
            yield directory, connection

    @asynccontextmanager
    async def _admin(self, directory: Directory) -> AsyncIterator[Connection]:
        try:
            async with self._connected(directory) as connection:
                yield connection
        except (NotAsked, ValueError) as error:
            raise DirectoryWrong(f"the LDAP directory cannot be asked: {error}") from None

    @asynccontextmanager
    async def _connected(self, directory: Directory) -> AsyncIterator[Connection]:
        """Connect as who may look for people; raises NotAsked and ValueError."""
        try:
            async with asyncio.timeout(directory.timeout):
                await self._free.acquire()
        except TimeoutError:
            raise NotAsked("it is slow, and others wait for it") from None
        try:
            async with connected(self._caller, directory.server, seconds=directory.timeout) as connection:
                await _look(connection, directory)
                yield connection
        finally:
            self._free.release()

    async def _found_out(
        self, fact: bytes, directory: Directory, name: str, password: str, address: str
    ) -> int | None:
        """Give the number of somebody's account; whoever asks the same meanwhile is told the same."""
        asked = self._asked[fact] = asyncio.get_running_loop().create_future()
        try:
            number = await self._ask(directory, name, password, address)
        except BaseException as error:
            # Whoever waits has not been cancelled, if this request has.
            asked.set_exception(error if isinstance(error, Exception) else DirectoryAway(retry_after=1))
            # Nobody may be waiting.
            asked.exception()
            raise
        finally:
            del self._asked[fact]
        asked.set_result(number)
        return number

    async def _ask(self, directory: Directory, name: str, password: str, address: str) -> int | None:
        lane = lane_of(address, name)
        with self._lanes.enter(lane):
            person = await self._checked(directory, name, password)
            if person is None:
                await self._lanes.put_off(lane)
                return None
        return await self._entered(directory, person, address)

    async def _checked(self, directory: Directory, name: str, password: str) -> Person | None:
        """Find who has this name and this password."""
        try:
            async with self._connected(directory) as connection:
                found = await _people(connection, directory, name)
                if len(found) != 1:
                    if found:
                        LOG.warning(
                            "several entries of the LDAP directory have one name, so nobody signs in by it"
                        )
                    return None
                person = await self._with_groups(connection, directory, found[0])
                # Last: from here on the connection is theirs.
                return person if await connection.bind(person.dn, password) else None
        except (NotAsked, ValueError) as error:
            LOG.warning("an LDAP directory cannot be asked: %s", error, extra={"registry": self._registry})
            raise DirectoryAway(retry_after=5) from None

    async def _with_groups(self, connection: Connection, directory: Directory, person: Person) -> Person:
        """Look for somebody's groups where their entry does not name them, if any matters."""
        wanted = directory.admin_group or await groups.externals(self._db, groups.LDAP)
        if person.groups or not wanted:
            return person
        among = ldap_filters.any_of(
            ldap_filters.equal("member", person.dn),
            ldap_filters.equal("uniqueMember", person.dn),
            ldap_filters.equal("memberUid", person.name),
        )
        found = await connection.search(
            directory.group_base, directory.group_search_scope, directory.groups(among), _NOTHING
        )
        named = tuple(one.dn for one in found)
        return Person(person.dn, person.lasting, person.name, person.realname, person.email, named)

    async def _entered(self, directory: Directory, person: Person, address: str) -> int:
        """Give the number of somebody's account, made where they had none, with the groups that they have now."""
        known = await groups.externals(self._db, groups.LDAP)
        # There may be as many names of groups as the directory likes: others are answered meanwhile.
        vouched = await asyncio.to_thread(_vouched, directory, person, known)

        async def work(tx: Tx) -> Found:
            new = await outsiders.find(tx, vouched.issuer, vouched.subject) is None
            if new:
                await outsiders.onboard(tx, vouched, person.name, COMMENT)
            found = await outsiders.refresh(tx, vouched)
            assert found is not None
            if self._told is not None:
                await self._told(tx, found, address, new)
            return found

        try:
            return (await self._db.change(work)).id
        except users.UserExists:
            told = f"the name {person.name} is another user's of this registry: ask its administrators"
        except users.UserNameInvalid as problem:
            told = f"{person.name} cannot be a user's name here: {problem}"
        raise NotAdmitted(told)

    async def _remembered(self, fact: bytes, by_number: ByNumber) -> Account | None:
        known = self._right.get(fact)
        if known is None or known.until <= self._db.now():
            return None
        account = await by_number("user", known.number)
        return account if account is not None and account.valid_from == known.valid_from else None

    def _remember(self, fact: bytes, account: Account) -> None:
        self._right[fact] = _Right(account.caller.id, account.valid_from, self._db.now() + REMEMBERED)
        self._right.move_to_end(fact)
        if len(self._right) > MOST_REMEMBERED:
            self._right.popitem(last=False)

    def _fact(self, directory: Directory, name: str, password: str) -> bytes:
        text = f"{directory!r}\0{directory.search_password}\0{name}\0{password}"
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")


async def _look(connection: Connection, directory: Directory) -> None:
    """Be who may look for people: nobody, if no name is set."""
    if not directory.search_dn:
        return
    if not directory.search_password:
        raise NotAsked("ldap_search_password is empty, and nobody is asked about without one")
    if not await connection.bind(directory.search_dn, directory.search_password):
        raise NotAsked("ldap_search_dn or ldap_search_password is wrong")


async def _people(connection: Connection, directory: Directory, name: str) -> list[Person]:
    """Give who has a name, or (without one) the first of all."""
    named = ldap_filters.equal(directory.uid, name) if name else ldap_filters.present(directory.uid)
    membership = directory.group_membership_attribute
    wanted = [
        directory.uid,
        "uid",
        "cn",
        "mail",
        "email",
        *_LASTING,
        *([membership] if membership and name else []),
    ]
    # Of one name there is one; two tell that it names nobody.
    most = 2 if name else MOST
    found = await connection.search(
        directory.base_dn, directory.scope, directory.people(named), list(dict.fromkeys(wanted)), most=most
    )
    return [_person(one, directory, name) for one in found]


async def _groups(connection: Connection, directory: Directory, name: str, dn: str) -> list[Group]:
    attribute = directory.group_attribute_name or "cn"
    if name:
        where = directory.group_base, directory.group_search_scope
        condition = directory.groups(ldap_filters.equal(attribute, name))
    elif dn and ldap_names.is_under(dn, directory.group_base):
        where, condition = (dn, BASE), directory.groups(ldap_filters.present("objectClass"))
    else:
        return []
    found = await connection.search(*where, condition, (attribute,))
    return [
        Group(ldap_names.normal(one.dn), one.text(attribute)[:LONGEST] or one.dn[:LONGEST]) for one in found
    ]


def _person(entry: Entry, directory: Directory, name: str) -> Person:
    return Person(
        entry.dn,
        lasting(entry),
        entry.text(directory.uid) or name,
        entry.text("cn") or entry.text("uid"),
        entry.text("mail") or entry.text("email"),
        entry.texts(directory.group_membership_attribute or "memberof"),
    )


def lasting(entry: Entry) -> str:
    """Give what an entry is called for good: it tells people apart who have had the same name one after the other."""
    for attribute in _LASTING:
        value = next(iter(entry.attributes.get(attribute, ())), b"")
        if value:
            # Active Directory gives the bytes of it, the others write them down.
            text = value.hex() if attribute == _GUID else value.decode("utf-8", "replace").lower()
            return f"{attribute}:{text}"
    return f"dn:{ldap_names.normal(entry.dn)}"


def _vouched(directory: Directory, person: Person, known: dict[str, str]) -> Vouched:
    """Write down what the directory says: of the groups, those that the registry knows."""
    theirs = set(_normal(person.groups))
    return Vouched(
        directory.issuer,
        person.lasting,
        groups.LDAP,
        person.name,
        person.email,
        person.realname,
        {dn: known[dn] for dn in theirs if dn in known},
        admin=bool(directory.admin_group) and directory.admin_group in theirs,
    )


def _normal(names: Sequence[str]) -> list[str]:
    found = []
    for one in names:
        try:
            found.append(ldap_names.normal(one))
        except ValueError:
            # What is no name is no group that anybody has named here.
            continue
    return found


def _may_be(text: str, longest: int) -> bool:
    return 0 < len(text) <= longest and "\0" not in text
