"""What every store of bytes keeps to; the same tests on memory, a folder and a real SeaweedFS."""

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from moorage.oci.errors import SizeInvalid
from moorage.storage import (
    BlobStore,
    Disconnected,
    Hasher,
    Key,
    Missing,
    StateRefused,
    Stored,
    WrongOffset,
    new_key,
    open_store,
)
from moorage.storage.memory import BytesSource, MemoryStore
from moorage.storage.store import FEW
from tests.servers.seaweedfs import SeaweedFS

MIB = 1024 * 1024
PLENTY = 1 << 40


@dataclass(frozen=True, slots=True)
class Kind:
    """A store, and how to open it again as another process would."""

    reopen: Callable[[], BlobStore]


@pytest.fixture(params=["memory", "posix", "s3"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    prefix = new_key()
    if request.param == "memory":
        whole = MemoryStore()
        return Kind(lambda: whole.under(prefix))
    if request.param == "posix":
        return Kind(lambda: open_store(f"file://{tmp_path}/store").under(prefix))
    server: SeaweedFS = request.getfixturevalue("seaweedfs")
    return Kind(lambda: open_store(server.url()).under(prefix))


@pytest.fixture
async def store(kind: Kind) -> AsyncIterator[BlobStore]:
    opened = kind.reopen()
    yield opened
    await opened.close()


async def push(store: BlobStore, data: bytes, hasher: Hasher | None = None) -> Key:
    """Write and commit under a fresh key."""
    key = new_key()
    await store.write(key, 0, BytesSource(data), hasher, limit=PLENTY)
    await store.commit([key], key)
    return key


async def pull(store: BlobStore, key: Key, start: int = 0, end: int = PLENTY) -> bytes:
    """Read all of a range."""
    return b"".join([piece async for piece in store.read(key, start, end)])


async def listed(store: BlobStore) -> dict[Key, Stored]:
    """List everything."""
    return {found.key: found async for found in store.list()}


class Paused(BytesSource):
    """A sender that stops in the middle, until it is told to go on."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.stopped = asyncio.Event()
        self.go_on = asyncio.Event()

    async def drain(self, consume: Callable[[memoryview], None]) -> int:
        await asyncio.to_thread(consume, self._data[: len(self._data) // 2])
        await self._pause()
        await asyncio.to_thread(consume, self._data[len(self._data) // 2 :])
        return len(self._data)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield bytes(self._data[: len(self._data) // 2])
        await self._pause()
        yield bytes(self._data[len(self._data) // 2 :])

    async def _pause(self) -> None:
        self.stopped.set()
        await self.go_on.wait()


class Zeros(BytesSource):
    """A big upload that takes no memory of its own."""

    def __init__(self, size: int) -> None:
        super().__init__(bytes(MIB))
        self.size = size

    def _pieces(self) -> list[memoryview]:
        return [self._data] * (self.size // MIB)


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, 9 * MIB + 5, 17 * MIB])
async def test_what_was_written_is_read(store: BlobStore, size: int) -> None:
    data = os.urandom(size)
    hasher = Hasher()

    key = await push(store, data, hasher)

    assert await pull(store, key) == data
    assert await store.size(key) == size
    assert hasher.digest().hex == hashlib.sha256(data).hexdigest()


async def test_a_range_is_read_in_bounded_pieces(store: BlobStore) -> None:
    data = os.urandom(5 * MIB)
    key = await push(store, data)

    pieces = [piece async for piece in store.read(key, 3, 4 * MIB + 7)]

    assert b"".join(pieces) == data[3 : 4 * MIB + 7]
    assert max(map(len, pieces)) <= 2 * MIB


@pytest.mark.parametrize(("start", "end"), [(0, 1), (4, 5), (2, 2), (0, 99)])
async def test_small_ranges_are_exact(store: BlobStore, start: int, end: int) -> None:
    key = await push(store, b"bytes")

    found = await pull(store, key, start, end)

    assert found == b"bytes"[start:end]


async def test_what_is_not_there_is_missing(store: BlobStore) -> None:
    key = new_key()

    assert await store.size(key) is None
    with pytest.raises(Missing):
        await pull(store, key)
    with pytest.raises(Missing):
        await pull(store, key, 5, 5)
    with pytest.raises(Missing):
        await store.commit([key], key)
    with pytest.raises(Missing):
        await store.commit([key, new_key()], new_key())


async def test_another_process_continues_an_upload(kind: Kind, store: BlobStore) -> None:
    first, second = os.urandom(700_000), os.urandom(600_001)
    hasher = Hasher()
    begun = new_key()
    await store.write(begun, 0, BytesSource(first), hasher, limit=PLENTY)
    other = kind.reopen()
    resumed = Hasher.resume("sha256", hasher.state(), len(first))

    key, keys = begun, [begun]
    if other.appends:
        await other.write(begun, len(first), BytesSource(second), resumed, limit=PLENTY)
    else:
        await other.write(rest := new_key(), 0, BytesSource(second), resumed, limit=PLENTY)
        key, keys = new_key(), [begun, rest]
    size = await other.commit(keys, key)

    assert size == len(first) + len(second)
    assert await pull(store, key) == first + second
    assert resumed.digest().hex == hashlib.sha256(first + second).hexdigest()
    await other.close()


async def test_several_keys_are_joined_in_their_order(store: BlobStore) -> None:
    parts = [os.urandom(size) for size in (MIB, 0, 6 * MIB + 1, 3)]
    keys = []
    for part in parts:
        keys.append(new_key())
        await store.write(keys[-1], 0, BytesSource(part), None, limit=PLENTY)
    into = new_key()

    size = await store.commit(keys, into)

    assert size == sum(map(len, parts))
    assert await pull(store, into) == b"".join(parts)
    assert await store.size(keys[0]) == MIB


async def test_nothing_is_joined_into_a_key_that_is_taken(store: BlobStore) -> None:
    taken = await push(store, b"taken")
    other = await push(store, b"other")

    with pytest.raises(WrongOffset):
        await store.commit([other, other], taken)

    assert await pull(store, taken) == b"taken"


@pytest.mark.parametrize("offset", [1, 4, 6, 100])
async def test_bytes_that_do_not_continue_are_refused(store: BlobStore, offset: int) -> None:
    key = new_key()
    await store.write(key, 0, BytesSource(b"bytes"), None, limit=PLENTY)

    with pytest.raises(WrongOffset):
        await store.write(key, offset, BytesSource(b"more"), None, limit=PLENTY)

    assert await pull(store, key) == b"bytes"


async def test_nothing_begins_at_an_offset(store: BlobStore) -> None:
    key = new_key()

    with pytest.raises(WrongOffset):
        await store.write(key, 5, BytesSource(b"more"), None, limit=PLENTY)

    assert await store.size(key) is None


async def test_what_is_committed_cannot_be_changed(store: BlobStore) -> None:
    key = await push(store, b"bytes")

    for offset in (0, 5):
        with pytest.raises(WrongOffset):
            await store.write(key, offset, BytesSource(b"other"), None, limit=PLENTY)

    assert await pull(store, key) == b"bytes"


async def test_a_commit_may_be_repeated(store: BlobStore) -> None:
    key = await push(store, b"bytes")

    assert await store.commit([key], key) == 5


async def test_of_writers_at_one_key_exactly_one_wins(kind: Kind) -> None:
    stores = [kind.reopen() for _ in range(4)]
    key = new_key()
    contents = [bytes([at]) * MIB for at in range(len(stores))]

    ended = await asyncio.gather(
        *(
            store.write(key, 0, BytesSource(data, piece=50_000), None, limit=PLENTY)
            for store, data in zip(stores, contents, strict=True)
        ),
        return_exceptions=True,
    )

    winners = [at for at, result in enumerate(ended) if result == MIB]
    assert len(winners) == 1
    assert sum(isinstance(result, WrongOffset) for result in ended) == len(stores) - 1
    assert await pull(stores[0], key) == contents[winners[0]]
    for store in stores:
        await store.close()


async def test_while_one_writes_another_cannot_and_one_of_them_wins(store: BlobStore) -> None:
    key, source = new_key(), Paused(b"one" * MIB)
    first = asyncio.create_task(store.write(key, 0, source, None, limit=PLENTY))
    await source.stopped.wait()

    offset = await store.size(key) or 0
    second = asyncio.create_task(store.write(key, offset, BytesSource(b"two" * MIB), None, limit=PLENTY))
    await asyncio.wait((second,))
    source.go_on.set()
    ended = await asyncio.gather(first, second, return_exceptions=True)

    assert sum(isinstance(result, WrongOffset) for result in ended) == 1
    winner = b"one" if ended[0] == 3 * MIB else b"two"
    assert await pull(store, key) == winner * MIB


@pytest.mark.parametrize("cut", [0, 700_000, 9 * MIB + 1])
async def test_a_cut_upload_leaves_what_the_hasher_has_counted(store: BlobStore, cut: int) -> None:
    data = os.urandom(20 * MIB)
    key, hasher = new_key(), Hasher()

    with pytest.raises(Disconnected):
        await store.write(key, 0, BytesSource(data, cut=cut), hasher, limit=PLENTY)

    stored = await store.size(key) or 0
    assert stored == hasher.count
    assert hasher.digest().hex == hashlib.sha256(data[:stored]).hexdigest()
    assert stored == (cut if store.appends else 0)
    assert await store.abort_leftovers(older_than_seconds=0) == 0


async def test_a_cut_upload_can_be_gone_on_with(store: BlobStore) -> None:
    data = os.urandom(3 * MIB)
    key, hasher = new_key(), Hasher()
    with pytest.raises(Disconnected):
        await store.write(key, 0, BytesSource(data, cut=MIB), hasher, limit=PLENTY)

    rest = BytesSource(data[hasher.count :])
    await store.write(key, hasher.count, rest, hasher, limit=PLENTY)
    await store.commit([key], key)

    assert await pull(store, key) == data
    assert hasher.digest().hex == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [MIB, 20 * MIB])
async def test_more_bytes_than_allowed_are_refused(store: BlobStore, size: int) -> None:
    key, hasher = new_key(), Hasher()

    with pytest.raises(SizeInvalid):
        await store.write(key, 0, BytesSource(bytes(size)), hasher, limit=size - 1)

    stored = await store.size(key) or 0
    assert stored < size
    assert stored == hasher.count


async def test_as_many_bytes_as_allowed_are_taken(store: BlobStore) -> None:
    written = await store.write(new_key(), 0, BytesSource(bytes(MIB)), None, limit=MIB)

    assert written == MIB


async def test_deleting_twice_is_as_deleting_once(store: BlobStore) -> None:
    key = await push(store, b"bytes")

    await store.delete(key)
    await store.delete(key)

    assert await store.size(key) is None
    assert await listed(store) == {}


async def test_the_list_names_everything_with_its_size_and_time(store: BlobStore) -> None:
    keys = [await push(store, bytes(size)) for size in range(5)]

    found = await listed(store)

    assert {key: stored.size for key, stored in found.items()} == dict(zip(keys, range(5), strict=True))
    assert all(stored.modified_us > 1_600_000_000_000_000 for stored in found.values())


async def test_a_list_of_nothing_is_empty(store: BlobStore) -> None:
    assert await listed(store) == {}


async def test_two_prefixes_never_see_each_other(store: BlobStore) -> None:
    one, other, longer = store.under("one"), store.under("other"), store.under("one-more")
    key = await push(one, b"one's")
    await push(longer, b"longer's")

    await other.delete(key)
    await longer.delete(key)
    await other.write(key, 0, BytesSource(b"other's"), None, limit=PLENTY)

    assert await pull(one, key) == b"one's"
    assert await pull(other, key) == b"other's"
    assert await longer.size(key) is None
    assert list(await listed(one)) == [key]
    assert await listed(store) == {}


async def test_a_prefix_lies_below_its_own(store: BlobStore) -> None:
    key = await push(store.under("one"), b"bytes")

    assert await store.under("two").under("one").size(key) is None


async def test_all_of_a_prefix_is_destroyed_in_bounded_pieces_and_nothing_beside_it(store: BlobStore) -> None:
    doomed, beside = store.under("one"), store.under("one-more")
    for number in range(7):
        await push(doomed, bytes(number))
    await doomed.write(new_key(), 0, BytesSource(b"not committed"), None, limit=PLENTY)
    await push(doomed.under("below"), b"below")
    kept = await push(beside, b"beside")
    before = len(await doomed.remains())

    pieces = []
    while gone := await doomed.destroy(4):
        pieces.append(gone)

    assert before == FEW
    assert max(pieces) <= 4
    assert sum(pieces) >= 9
    assert list(await doomed.remains()) == list(await listed(doomed)) == []
    assert await pull(beside, kept) == b"beside"
    assert await beside.remains() == [kept]
    assert await doomed.destroy(4) == 0


async def test_a_whole_store_is_never_destroyed(seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    for whole in (MemoryStore(), open_store(f"file://{tmp_path}"), open_store(seaweedfs.url())):
        with pytest.raises(ValueError, match="a whole store is never destroyed"):
            await whole.destroy(1)
        await whole.close()


@pytest.mark.parametrize("name", ["..", "../other", "a/b", "", "AB", "x" * 200, "a\0b", "key\n"])
async def test_no_name_climbs_out(store: BlobStore, name: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        store.under(name)
    with pytest.raises(ValueError, match="not a"):
        await store.size(Key(name))
    with pytest.raises(ValueError, match="not a"):
        await store.write(Key(name), 0, BytesSource(b"bytes"), None, limit=PLENTY)
    with pytest.raises(ValueError, match="not a"):
        await store.delete(Key(name))


async def test_a_cancelled_upload_has_ended_when_control_returns(store: BlobStore) -> None:
    data = os.urandom(20 * MIB)
    key, hasher, source = new_key(), Hasher(), Paused(data)
    await push(store, b"first")
    before = open_files()
    writing = asyncio.create_task(store.write(key, 0, source, hasher, limit=PLENTY))
    await source.stopped.wait()

    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing

    assert open_files() == before
    stored = await store.size(key) or 0
    assert stored == hasher.count == (10 * MIB if store.appends else 0)
    assert await store.abort_leftovers(older_than_seconds=0) == 0


async def test_a_reader_that_leaves_early_leaves_nothing_open(store: BlobStore) -> None:
    key = await push(store, bytes(4 * MIB))
    await pull(store, key)
    before = open_files()

    reading = aiter(store.read(key, 0, 4 * MIB))
    await anext(reading)
    await reading.aclose()  # type: ignore[attr-defined] # every one is a generator

    assert open_files() == before


async def test_memory_stays_flat_whatever_the_size(kind: Kind, store: BlobStore) -> None:
    if isinstance(store, MemoryStore):
        return
    key = new_key()
    await store.write(new_key(), 0, Zeros(32 * MIB), None, limit=PLENTY)
    # What the process has had before is forgotten.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_memory()

    await store.write(key, 0, Zeros(128 * MIB), Hasher(), limit=PLENTY)
    async for _ in store.read(key, 0, 128 * MIB):
        pass

    assert peak_memory() - before < (8 if store.appends else 32) * MIB


async def test_a_shortcut_is_a_file_with_the_bytes_or_none(store: BlobStore) -> None:
    key = await push(store, b"bytes")

    found = await store.shortcut(key)

    assert found is None or (isinstance(found, Path) and found.read_bytes() == b"bytes")


async def test_a_state_saved_elsewhere_must_fit(store: BlobStore) -> None:
    hasher = Hasher()
    key = new_key()
    await store.write(key, 0, BytesSource(b"bytes"), hasher, limit=PLENTY)

    with pytest.raises(StateRefused):
        Hasher.resume("sha256", hasher.state(), (await store.size(key) or 0) + 1)


def open_files() -> set[str]:
    """Name every regular file that this process has open."""
    return set(_open_files())


def _open_files() -> Iterator[str]:
    for link in Path("/proc/self/fd").iterdir():
        try:
            name = str(link.readlink())
        except FileNotFoundError:
            continue
        if name.startswith("/") and not name.startswith(("/dev", "/proc")):
            yield name


def peak_memory() -> int:
    """Give the most memory that this process has had, since that was last forgotten."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_no_worker_thread_is_started_before_there_is_work(tmp_path: Path) -> None:
    before = set(threading.enumerate())

    open_store(f"file://{tmp_path}")

    assert set(threading.enumerate()) <= before
