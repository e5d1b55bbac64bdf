"""The client of directories, against a real one: what it asks, whom it believes, and how long it waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest

from moorage.outbound import ldap_filters as filters
from moorage.outbound import ldap_messages as wire
from moorage.outbound.http import Caller, NotAsked
from moorage.outbound.ldap import LARGEST, SUBTREE, Refused, Server, connected
from tests.servers.directory import Directory

HERE = Caller((ip_network("127.0.0.0/8"),))
PATIENCE = 60.0
PASSWORD = "Person-pass-1"


async def uids(directory: Directory, server: Server, condition: bytes, most: int = 10) -> list[str]:
    """Look for people, as who may."""
    async with connected(HERE, server, seconds=PATIENCE) as connection:
        assert await connection.bind(directory.reader, directory.password)
        found = await connection.search(directory.base, SUBTREE, condition, ("uid",), most=most)
    return [one.text("uid") for one in found]


async def test_it_is_spoken_to_in_clear_within_tls_and_where_tls_is_begun(directory: Directory) -> None:
    own = directory.server.certificate
    for server in (
        Server.of(directory.url),
        Server.of(directory.tls_url, trusted=own),
        Server.of(directory.start_tls_url, trusted=own),
        Server.of(directory.tls_url, verified=False),
    ):
        assert await uids(directory, server, filters.equal("uid", "reader")) == ["reader"]


async def test_a_certificate_that_nobody_vouches_for_or_of_another_name_is_not_believed(
    directory: Directory,
) -> None:
    own = directory.server.certificate
    other = Server("ldaps", "localhost", directory.server.tls_port, trusted=own)
    for server in (Server.of(directory.tls_url), Server.of(directory.start_tls_url), other):
        with pytest.raises(NotAsked, match="certificate is not believed"):
            await uids(directory, server, filters.present("uid"))


async def test_a_password_is_right_or_wrong_and_none_is_never_asked_about(directory: Directory) -> None:
    directory.add_person("alice", PASSWORD)
    async with connected(HERE, Server.of(directory.url), seconds=PATIENCE) as connection:
        right = await connection.bind(directory.person("alice"), PASSWORD)
        others = [
            await connection.bind(*one)
            for one in (
                (directory.person("alice"), "wrong"),
                (directory.person("alice"), ""),
                ("", ""),
                ("", PASSWORD),
                (directory.person("nobody"), PASSWORD),
                ("no name at all", PASSWORD),
            )
        ]

    assert (right, others) == (True, [False] * 6)


@pytest.mark.parametrize("value", ["*", "*)(uid=*", "alice)(|(uid=*", "al*", "\\2a", "", "\0", "ali\\63e"])
async def test_nothing_in_a_value_is_read_as_a_filter(directory: Directory, value: str) -> None:
    directory.add_person("alice", PASSWORD)

    assert await uids(directory, Server.of(directory.url), filters.equal("uid", value)) == []


async def test_the_first_so_many_are_given_and_none_below_what_is_not_there(directory: Directory) -> None:
    for name in ("ann", "bob", "cem"):
        directory.add_person(name, PASSWORD)
    everybody = filters.read("(&(objectClass=inetOrgPerson)(!(uid=reader)))")

    few = await uids(directory, Server.of(directory.url), everybody, most=2)
    everyone = await uids(directory, Server.of(directory.url), everybody)
    async with connected(HERE, Server.of(directory.url), seconds=PATIENCE) as connection:
        assert await connection.bind(directory.reader, directory.password)
        absent = await connection.search(f"ou=absent,{directory.base}", SUBTREE, everybody, ("uid",))
        with pytest.raises(Refused) as refused:
            await connection.search("no name at all", SUBTREE, everybody, ("uid",))

    assert (len(few), sorted(everyone), absent, refused.value.code) == (2, ["ann", "bob", "cem"], [], 34)


async def test_it_is_not_asked_where_it_must_not_be_nor_in_clear_where_others_listen(
    directory: Directory,
) -> None:
    with pytest.raises(NotAsked, match="no public address"):
        await uids_of_nobody(Caller(), directory.tls_url)
    # A public address would be asked, but never in clear.
    with pytest.raises(NotAsked, match="within TLS alone"):
        await uids_of_nobody(Caller(), "ldap://1.1.1.1")


async def uids_of_nobody(caller: Caller, url: str) -> None:
    """Connect, and do nothing."""
    async with connected(caller, Server.of(url), seconds=PATIENCE):
        pass


@asynccontextmanager
async def lying(*answers: bytes, drips: bool = False, stays: bool = True) -> AsyncIterator[str]:
    """Run what is no directory: to each thing that is asked it answers with the next of some bytes, and then with nothing."""
    tasks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError):
            for one in answers:
                await reader.read(1000)
                writer.write(one)
            while drips and not writer.is_closing():
                writer.write(b"\x30")
                await asyncio.sleep(0.01)
            # Until the other side goes.
            while stays and await reader.read(1000):
                pass
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with server:
            yield f"ldap://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await asyncio.gather(*(one for one in tasks if one is not None))


def answer(number: int, kind: int, code: int = 0, said: str = "") -> bytes:
    """Write the end of an operation."""
    body = wire.tlv(
        kind, wire.number(code, wire.ENUMERATED), wire.octets(b""), wire.octets(said), wire.tlv(0xA3, b"")
    )
    return wire.request(number, body)


async def asked(url: str, seconds: float = PATIENCE) -> None:
    """Bind, and look for all."""
    async with connected(HERE, Server.of(url), seconds=seconds) as connection:
        await connection.bind("cn=a", "b")
        await connection.search("dc=a", SUBTREE, filters.present("uid"), ("uid",))


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "as an LDAP directory does"),
        ([answer(9, wire.BIND_ANSWER)], "as an LDAP directory does"),
        ([answer(1, wire.DONE)], "as an LDAP directory does"),
        ([b"\x30\x84\x7f\xff\xff\xff"], "more than"),
        ([b"\x30\x80\x00\x00"], "as an LDAP directory does"),
        ([answer(0, wire.EXTENDED_ANSWER, 52)], "ends the connection"),
        ([answer(1, wire.BIND_ANSWER, 10, "elsewhere")], "LDAP result 10: elsewhere"),
        ([answer(1, wire.BIND_ANSWER, 13)], "LDAP result 13"),
        ([answer(1, wire.BIND_ANSWER), answer(2, wire.DONE, 10)], "LDAP result 10"),
        ([answer(1, wire.BIND_ANSWER), wire.request(2, wire.tlv(wire.ENTRY, b"\x04"))], "as an LDAP directory does"),
        ([answer(1, wire.BIND_ANSWER), wire.request(2, wire.octets(b"x" * LARGEST, wire.ENTRY))], "more than"),
    ],
)  # fmt: skip
async def test_what_is_no_answer_of_a_directory_is_told_and_not_believed(
    answers: list[bytes], told: str
) -> None:
    async with lying(*answers) as url:
        with pytest.raises(NotAsked, match=told):
            await asked(url)


@pytest.mark.parametrize("drips", [False, True])
async def test_who_does_not_answer_in_time_is_not_waited_for(*, drips: bool) -> None:
    async with lying(drips=drips) as url:
        with pytest.raises(NotAsked, match=r"did not answer within 0\.2 s"):
            await asked(url, seconds=0.2)


async def test_a_connection_that_ends_is_told() -> None:
    async with lying(stays=False) as url:
        with pytest.raises(NotAsked, match="ended the connection"):
            await asked(url)
    with pytest.raises(NotAsked, match="cannot be reached"):
        await asked(url)


async def test_what_comes_in_clear_after_the_answer_to_starttls_is_never_taken_for_what_came_within() -> None:
    injected = answer(1, wire.EXTENDED_ANSWER) + answer(2, wire.BIND_ANSWER)
    async with lying(injected) as url:
        with pytest.raises(NotAsked, match="between its answer and TLS"):
            await asked(url.replace("ldap:", "ldap+starttls:"))
    async with lying(answer(1, wire.EXTENDED_ANSWER, 2, "no")) as url:
        with pytest.raises(NotAsked, match="to go on within TLS: LDAP result 2: no"):
            await asked(url.replace("ldap:", "ldap+starttls:"))
