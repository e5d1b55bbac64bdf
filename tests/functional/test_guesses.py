"""Wrong passwords are counted by all processes together, slow whoever guesses, and hold up nobody who is right."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher, Type
from sqlalchemy import func, select

from moorage.cloud import console_guesses
from moorage.db import Database, Statement
from moorage.db.cell import registry_guess
from moorage.db.migrate import PLATFORM
from moorage.db.platform_sign_in import password_guess
from moorage.db.postgres import Postgres
from moorage.db.sqlite import SqliteDatabase
from moorage.errors import Unavailable
from moorage.identity import guesses
from moorage.identity.guesses import CALM_AFTER, GUESSES, TIDY, Guesses
from moorage.identity.passwords import Passwords
from moorage.oci.errors import TooManyRequests
from tests.functional.registry_world import Clock

COUNT = {
    table.name: Statement(
        select(func.count().label("n"), func.coalesce(func.sum(table.c.count), 0).label("all")).select_from(
            table
        )
    )
    for table in (password_guess, registry_guess)
}
SECOND = 1_000_000


class Pauses(list[float]):
    """Counts the pauses that are asked for, and takes none."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@dataclass
class Processes:
    """Two processes of a house or a fleet: a connection of its own to the same database each, and one clock."""

    databases: list[Database]
    clock: Clock
    closing: AsyncExitStack
    hasher: PasswordHasher = field(
        default_factory=lambda: PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, type=Type.ID)
    )

    def passwords(self, number: int, place: str, pauses: Pauses) -> Passwords:
        made = Passwords(hasher=self.hasher, pause=pauses, shared=self.guesses(number, place))
        self.closing.callback(made.close)
        return made

    def guesses(self, number: int, place: str) -> Guesses:
        made = console_guesses.of_console(self.databases[number])
        made.place = place
        return made

    async def rows(self, table: str = "password_guess") -> Any:
        return await self.databases[0].one(COUNT[table])


@pytest.fixture(params=["sqlite", "postgres"])
async def processes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Processes]:
    clock = Clock()
    async with AsyncExitStack() as closing:
        databases: list[Database] = []
        for _ in range(2):
            if request.param == "sqlite":
                file = tmp_path / "platform.sqlite"
                db: Database = await SqliteDatabase.open(
                    file, None, create=True, family=PLATFORM, clock=clock
                )
                closing.push_async_callback(db.close)
            else:
                url = request.getfixturevalue("postgres_url")
                postgres = await Postgres.connect(url, create=True, clock=clock)
                await postgres.bring(url, PLATFORM)
                closing.push_async_callback(postgres.close)
                db = postgres.unbound()
            databases.append(db)
        yield Processes(databases, clock, closing)


@pytest.fixture
def place() -> str:
    """Name what no other test counts."""
    return secrets.token_hex(8)


async def test_guesses_at_a_user_are_counted_exactly_by_processes_at_once(
    processes: Processes, place: str
) -> None:
    ours = [processes.guesses(number, place) for number in (0, 1)]

    counts = await asyncio.gather(*(ours[number % 2].failed("192.0.2.1") for number in range(30)))
    await asyncio.gather(*(ours[number % 2].guessed("admin") for number in range(GUESSES)))
    turns = await asyncio.gather(*(ours[number % 2].turn("admin") for number in range(20)))

    assert sorted(count or 0 for count in counts) == list(range(1, 31))
    # Half a second apart, wherever they are checked; who would have to wait for longer is told to come back.
    given = sorted(turn for turn in turns if turn is not None and turn >= 0)
    assert given == [0.5 * place for place in range(1, len(given) + 1)]
    assert (len(given), turns.count(-1.0)) == (16, 4)


async def test_a_guesser_who_changes_processes_is_slowed_and_the_user_is_not(
    processes: Processes, place: str
) -> None:
    pauses = [Pauses(), Pauses()]
    ours = [processes.passwords(number, place, pauses[number]) for number in (0, 1)]
    hashed = await ours[0].hash("right")

    for number in range(GUESSES):
        wrong = await ours[number % 2].verify(
            "wrong" + str(number), hashed, address="192.0.2.1", whose="admin"
        )
        assert not wrong
    put_off = [*pauses[0], *pauses[1]]
    right = await ours[1].verify("right", hashed, address="198.51.100.1", whose="admin")
    waited = pauses[1][-1]
    known = await ours[0].verify("right", hashed, address="198.51.100.2", whose="admin", known=True)

    # Three go free, of both together; then each takes twice as long up to two seconds.
    assert sorted(put_off) == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0, 2.0]
    assert right
    assert known
    # From elsewhere the user waits for one turn, and from a browser of theirs for nothing.
    assert waited == 0.5
    assert len(pauses[0]) + len(pauses[1]) == len(put_off) + 1


async def test_a_right_password_writes_nothing(processes: Processes, place: str) -> None:
    ours = processes.passwords(0, place, Pauses())
    hashed = await ours.hash("right")
    before = await processes.rows()

    assert await ours.verify("right", hashed, address="192.0.2.1", whose="admin")

    assert await processes.rows() == before


async def test_guesses_are_forgotten_in_time_and_their_rows_dropped(
    processes: Processes, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = processes.guesses(0, place), processes.guesses(1, place)
    for _ in range(GUESSES):
        await first.guessed("admin")
    during = await second.turn("admin")
    for number in range(40):
        await first.failed(f"2001:db8:{number:x}::/64")
    processes.clock.at += CALM_AFTER + SECOND
    after = await second.turn("admin")
    again = await second.failed("2001:db8:1::/64")
    monkeypatch.setattr(guesses, "TIDY", 1)
    await first.failed("192.0.2.1")
    names = [
        ("user", "admin"),
        ("lane", "192.0.2.1"),
        *(("lane", f"2001:db8:{number:x}::/64") for number in range(40)),
    ]
    left = [
        name
        for kind, name in names
        if await first.db.one(first.statements.find, which=first._hash(kind, name), since=0)
    ]

    assert (during, after, again) == (0.5, 0.0, 1)
    assert left == ["192.0.2.1", "2001:db8:1::/64"]


async def test_a_flood_of_names_holds_a_bounded_number_of_rows(processes: Processes, place: str) -> None:
    ours = Guesses(processes.databases[0], place, guesses.statements(password_guess, most=50))
    await ours.tidy()

    for number in range(4 * TIDY):
        processes.clock.at += 1
        await ours.failed(f"192.0.2.{number}")
    left = await processes.rows()

    assert left.n == 50
    assert await ours.failed(f"192.0.2.{4 * TIDY - 1}") == 2
    assert await ours.failed("192.0.2.1") == 1


async def test_while_the_database_is_away_each_process_counts_and_checks_go_on(
    processes: Processes, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = Pauses()
    ours = processes.passwords(0, place, pauses)
    hashed = await ours.hash("right")
    db = processes.databases[0]

    async def away(*_: object, **__: object) -> None:
        raise Unavailable("it is away")

    for name in ("one", "record"):
        monkeypatch.setattr(type(db), name, away)
    for number in range(5):
        assert not await ours.verify(f"wrong{number}", hashed, address="192.0.2.1", whose="admin")

    assert await ours.verify("right", hashed, address="192.0.2.1", whose="admin")
    assert pauses == [0.25, 0.5]


async def test_registries_of_a_cell_count_together_and_not_before_its_schema_has_a_table(
    tmp_path: Path,
) -> None:
    cell = await SqliteDatabase.open(tmp_path / "cell.sqlite", None, create=True)
    old, new = Guesses.of_registries(cell), Guesses.of_registries(cell)
    old.kept_from = "9999"

    counts = [await new.failed("192.0.2.1"), await old.failed("192.0.2.1"), await new.failed("192.0.2.1")]
    turn = await old.turn("admin")
    row: Any = await cell.one(COUNT["registry_guess"])
    await cell.close()

    assert (counts, turn) == ([1, None, 2], None)
    assert (row.n, row.all) == (1, 2)


async def test_too_many_who_wait_for_a_user_are_told_to_come_back(processes: Processes, place: str) -> None:
    ours = processes.passwords(0, place, Pauses())
    hashed = await ours.hash("right")
    other = processes.guesses(1, place)
    for _ in range(GUESSES):
        await other.guessed("admin")
    for _ in range(16):
        await other.turn("admin")

    with pytest.raises(TooManyRequests, match="from a browser that you have used"):
        await ours.verify("right", hashed, address="192.0.2.1", whose="admin")

    assert await ours.verify("right", hashed, address="192.0.2.1", whose="admin", known=True)
