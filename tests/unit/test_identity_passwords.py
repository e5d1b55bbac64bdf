"""Passwords: right and wrong, cheap when known, slow for whoever guesses and for nobody else."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher, Type

from moorage.identity.passwords import LONGEST, OWASP, Passwords, lane_of
from moorage.oci.errors import TooManyRequests


class Counting(PasswordHasher):
    """A cheap hasher that counts its checks."""

    checks = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]  # noqa: A002 - argon2's name.
        self.checks += 1
        return super().verify(hash, password)


class Pauses:
    """Counts the pauses that are asked for, and takes none; or holds them until it is told."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await self.open.wait()


@pytest.fixture
def hasher() -> Counting:
    return Counting(time_cost=1, memory_cost=8, parallelism=1, type=Type.ID)


@pytest.fixture
async def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def passwords(hasher: Counting, pauses: Pauses) -> AsyncIterator[Passwords]:
    made = Passwords(hasher=hasher, pause=pauses)
    yield made
    made.close()


async def test_the_right_password_is_right_and_another_is_not(passwords: Passwords) -> None:
    hashed = await passwords.hash("right")

    assert await passwords.verify("right", hashed, address="1.2.3.4")
    assert not await passwords.verify("wrong", hashed, address="1.2.3.4")


async def test_a_hash_names_its_scheme_and_parameters() -> None:
    passwords = Passwords(hasher=OWASP)

    assert (await passwords.hash("x")).startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    passwords.close()


def test_the_full_price_is_what_a_process_pays_that_says_nothing_of_it() -> None:
    # In a process of its own, since the tests' own has been told of another.
    said = "from moorage.identity.passwords import OWASP, Passwords; print(Passwords.hasher is OWASP)"

    ran = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)

    assert ran.stdout == "True\n"


async def test_a_password_longer_than_72_bytes_counts_whole(passwords: Passwords) -> None:
    hashed = await passwords.hash("x" * 100 + "a")

    assert not await passwords.verify("x" * 100 + "b", hashed, address="1.2.3.4")


async def test_a_known_password_is_not_computed_again(passwords: Passwords, hasher: Counting) -> None:
    hashed = await passwords.hash("right")

    for _ in range(5):
        assert await passwords.verify("right", hashed, address="1.2.3.4")
        assert not await passwords.verify("wrong", hashed, address="1.2.3.4")

    assert hasher.checks == 2


async def test_a_changed_hash_is_never_answered_from_what_was_known(passwords: Passwords) -> None:
    old, new = await passwords.hash("old"), await passwords.hash("new")
    await passwords.verify("old", old, address="1.2.3.4")

    assert not await passwords.verify("old", new, address="1.2.3.4")


async def test_an_unknown_user_costs_as_much_as_a_known_one(passwords: Passwords, hasher: Counting) -> None:
    assert not await passwords.verify("guess", None, address="1.2.3.4")

    assert hasher.checks == 1


async def test_a_password_of_megabytes_is_wrong_and_as_much_work(
    passwords: Passwords, hasher: Counting
) -> None:
    hashed = await passwords.hash("right")

    assert not await passwords.verify("x" * (LONGEST + 1), hashed, address="1.2.3.4")
    assert hasher.checks == 1


async def test_a_hash_of_another_scheme_is_nobodys_password(passwords: Passwords) -> None:
    assert not await passwords.verify("x", "$2b$12$abcdefghijklmnopqrstuv", address="1.2.3.4")


async def test_many_who_ask_the_same_at_once_cost_one_check(passwords: Passwords, hasher: Counting) -> None:
    hashed = await passwords.hash("right")

    answers = await asyncio.gather(*(passwords.verify("right", hashed, address="1.2.3.4") for _ in range(16)))

    assert answers == [True] * 16
    assert hasher.checks == 1


async def test_five_hundred_who_know_the_password_are_all_let_in_at_once(
    passwords: Passwords, hasher: Counting
) -> None:
    """A build farm behind one address, at a process that has just begun."""
    hashed = await passwords.hash("right")

    asked = (passwords.verify("right", hashed, address="1.2.3.4") for _ in range(500))

    assert all(await asyncio.gather(*asked))
    assert hasher.checks == 1


async def test_a_flood_of_one_wrong_password_is_refused_all_the_same(
    passwords: Passwords, pauses: Pauses
) -> None:
    hashed = await passwords.hash("right")
    for guess in range(3):
        await passwords.verify(f"free {guess}", hashed, address="6.6.6.6")
    pauses.open.clear()
    flood = [asyncio.create_task(passwords.verify("wrong", hashed, address="6.6.6.6")) for _ in range(500)]

    await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
    pauses.open.set()
    answers = await asyncio.gather(*flood, return_exceptions=True)

    assert True not in answers
    assert sum(isinstance(one, TooManyRequests) for one in answers) >= 500 - 2 * 16


async def test_whoever_fails_waits_longer_each_time_up_to_a_limit(
    passwords: Passwords, pauses: Pauses
) -> None:
    hashed = await passwords.hash("right")

    for guess in range(10):
        await passwords.verify(f"guess {guess}", hashed, address="1.2.3.4")

    assert pauses.taken == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0, 2.0]


async def test_the_right_password_is_never_put_off(passwords: Passwords, pauses: Pauses) -> None:
    hashed = await passwords.hash("right")
    for guess in range(10):
        await passwords.verify(f"guess {guess}", hashed, address="1.2.3.4")
    before = len(pauses.taken)

    assert await passwords.verify("right", hashed, address="1.2.3.4")
    assert len(pauses.taken) == before


async def test_a_flood_of_guesses_locks_nobody_else_out(passwords: Passwords, pauses: Pauses) -> None:
    hashed = await passwords.hash("right")
    for guess in range(3):
        await passwords.verify(f"free {guess}", hashed, address="6.6.6.6")
    pauses.open.clear()
    flood = [
        asyncio.create_task(passwords.verify(f"guess {number}", hashed, address="6.6.6.6", name="admin"))
        for number in range(16)
    ]
    await asyncio.sleep(0)

    with pytest.raises(TooManyRequests):
        await passwords.verify("one more", hashed, address="6.6.6.6", name="admin")
    assert await passwords.verify("right", hashed, address="1.2.3.4", name="admin")

    pauses.open.set()
    assert await asyncio.gather(*flood) == [False] * 16


async def test_a_flood_from_everywhere_takes_no_place_of_a_browser_that_the_user_knows(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = await passwords.hash("right")
    monkeypatch.setattr("moorage.identity.passwords._IN_ALL", 0)

    with pytest.raises(TooManyRequests):
        await passwords.verify("right", hashed, address="10.1.0.1", name="a", whose="a")
    assert await passwords.verify("right", hashed, address="10.1.0.1", name="a", whose="a", known=True)


async def test_guesses_at_one_user_are_checked_one_at_a_time_and_at_another_are_not(
    passwords: Passwords, pauses: Pauses
) -> None:
    hashed = await passwords.hash("right")
    for guess in range(10):
        await passwords.verify(f"guess {guess}", hashed, address=f"10.0.{guess}.1", whose="a")
    before = list(pauses.taken)
    await passwords.verify("guess 10", hashed, address="10.0.10.1", whose="b")
    other = list(pauses.taken)
    await passwords.verify("guess 11", hashed, address="10.0.11.1", whose="a")

    assert before == other == []
    assert pauses.taken == [0.5]
    assert await passwords.verify("right", hashed, address="10.0.12.1", whose="a")
    assert pauses.taken == [0.5, 0.5]


async def test_a_refused_flood_says_when_to_come_back(passwords: Passwords) -> None:
    hashed = await passwords.hash("right")
    flood = [
        asyncio.create_task(passwords.verify(f"guess {number}", hashed, address="6.6.6.6"))
        for number in range(17)
    ]

    answers = await asyncio.gather(*flood, return_exceptions=True)

    refused = [answer for answer in answers if isinstance(answer, TooManyRequests)]
    assert [problem.retry_after for problem in refused] == [2]


def test_an_ipv6_client_has_one_lane_for_its_whole_network() -> None:
    assert lane_of("2001:db8::1", "a") == lane_of("2001:db8::ffff:2", "b")
    assert lane_of("10.0.0.1", "a") != lane_of("10.0.0.2", "a")
    assert lane_of("", "alice") == "alice"


async def test_a_hash_with_weaker_parameters_is_outdated(passwords: Passwords) -> None:
    weak = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1, type=Type.ID).hash("x")

    assert passwords.outdated(weak)
    assert not passwords.outdated(await passwords.hash("x"))
