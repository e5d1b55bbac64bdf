"""What only a store in a folder can show: power, room, modes, and others' files."""

import asyncio
import errno
import fcntl
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from moorage.errors import StorageFull, Unavailable
from moorage.oci.digests import Digest
from moorage.storage import Hasher, Missing, WrongOffset, new_key
from moorage.storage.disk import Disk
from moorage.storage.memory import BytesSource
from moorage.storage.posix import PosixStore
from tests.servers.forgetful_disk import ForgetfulDisk

MIB = 1024 * 1024
PLENTY = 1 << 40


@pytest.fixture
def disk(tmp_path: Path) -> ForgetfulDisk:
    return ForgetfulDisk(tmp_path / "data" / "store")


def opened(tmp_path: Path, disk: Disk) -> PosixStore:
    """Open a store as a process does that begins now."""
    return PosixStore(tmp_path / "data" / "store", disk=disk).under("registry")


async def test_what_was_committed_survives_a_loss_of_power(tmp_path: Path, disk: ForgetfulDisk) -> None:
    keys = [new_key() for _ in range(5)]
    store = opened(tmp_path, disk)
    for key in keys:
        await store.write(key, 0, BytesSource(key.encode() * 1000), None, limit=PLENTY)
        await store.commit([key], key)

    disk.lose_power()

    after = opened(tmp_path, Disk())
    for key in keys:
        assert [piece async for piece in after.read(key, 0, PLENTY)] == [key.encode() * 1000]


async def test_what_was_not_committed_may_be_gone(tmp_path: Path, disk: ForgetfulDisk) -> None:
    store, key, half = opened(tmp_path, disk), new_key(), new_key()
    await store.write(key, 0, BytesSource(b"bytes"), None, limit=PLENTY)
    await store.commit([key], key)
    await store.write(half, 0, BytesSource(b"half"), None, limit=PLENTY)

    disk.lose_power()

    assert await store.size(key) == 5
    assert not await store.size(half)


async def test_a_commit_trusts_no_folder_that_another_process_made(
    tmp_path: Path, disk: ForgetfulDisk
) -> None:
    maker, committer, key = opened(tmp_path, disk), opened(tmp_path, disk), new_key()
    await maker.write(key, 0, BytesSource(b"bytes"), None, limit=PLENTY)

    await committer.commit([key], key)
    disk.lose_power()

    assert await committer.size(key) == 5


async def test_joined_bytes_survive_a_loss_of_power(tmp_path: Path, disk: ForgetfulDisk) -> None:
    store, one, two, into = opened(tmp_path, disk), new_key(), new_key(), new_key()
    await store.write(one, 0, BytesSource(b"one"), None, limit=PLENTY)
    await store.write(two, 0, BytesSource(b"two"), None, limit=PLENTY)

    await store.commit([one, two], into)
    disk.lose_power()

    assert [piece async for piece in store.read(into, 0, PLENTY)] == [b"onetwo"]


async def test_a_file_is_synced_once(tmp_path: Path, disk: ForgetfulDisk) -> None:
    store, key = opened(tmp_path, disk), new_key()

    await store.write(key, 0, BytesSource(bytes(20 * MIB)), None, limit=PLENTY)
    await store.commit([key], key)

    assert disk.file_syncs == 1


async def test_files_lie_where_the_reference_says(tmp_path: Path) -> None:
    store, key = opened(tmp_path, Disk()), new_key()
    await store.write(key, 0, BytesSource(b"bytes"), None, limit=PLENTY)
    path = tmp_path / "data" / "store" / "registry" / key[:2] / key
    begun = path.stat().st_mode & 0o777

    await store.commit([key], key)

    assert (begun, path.stat().st_mode & 0o777) == (0o640, 0o440)
    assert await store.shortcut(key) == path


async def test_a_full_disk_keeps_what_was_counted_and_says_so(tmp_path: Path) -> None:
    store, key, hasher = opened(tmp_path, Disk()), new_key(), Hasher()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB + 1000, hard))
    try:
        with pytest.raises(StorageFull) as refused:
            await store.write(key, 0, BytesSource(bytes(5 * MIB)), hasher, limit=PLENTY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert refused.value.status == 507
    assert await store.size(key) == hasher.count == 2 * MIB


class ShortDisk(Disk):
    """A disk that takes a part of what it is given, as one that is nearly full or interrupted does."""

    def write(self, descriptor: int, piece: memoryview) -> int:
        return super().write(descriptor, piece[: max(1, len(piece) // 3)])


async def test_what_the_disk_takes_in_parts_is_whole(tmp_path: Path) -> None:
    store, key, hasher = opened(tmp_path, ShortDisk()), new_key(), Hasher()
    content = os.urandom(3 * MIB + 1)

    await store.write(key, 0, BytesSource(content), hasher, limit=PLENTY)

    assert await store.commit([key], key) == hasher.count == len(content)
    assert b"".join([piece async for piece in store.read(key, 0, PLENTY)]) == content


async def test_a_write_that_fails_half_way_keeps_nothing_that_was_not_counted(tmp_path: Path) -> None:
    class Failing(Disk):
        left = 5

        def write(self, descriptor: int, piece: memoryview) -> int:
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.EIO, "broken")
            return super().write(descriptor, piece[:10_000])

    store, key, hasher = opened(tmp_path, Failing()), new_key(), Hasher()
    content = os.urandom(300_000)

    with pytest.raises(Unavailable):
        await store.write(key, 0, BytesSource(content), hasher, limit=PLENTY)
    kept = await store.size(key) or 0
    await store.write(key, hasher.count, BytesSource(content[hasher.count :]), hasher, limit=PLENTY)
    await store.commit([key], key)

    assert kept < len(content)
    assert b"".join([piece async for piece in store.read(key, 0, PLENTY)]) == content
    assert hasher.digest() == Digest.of(content)


async def test_a_push_goes_on_when_there_is_room_again(tmp_path: Path) -> None:
    store, key, hasher = opened(tmp_path, Disk()), new_key(), Hasher()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB + 1, hard))
    try:
        with pytest.raises(StorageFull):
            await store.write(key, 0, BytesSource(bytes(3 * MIB)), hasher, limit=PLENTY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    rest = BytesSource(bytes(3 * MIB - hasher.count))
    await store.write(key, hasher.count, rest, hasher, limit=PLENTY)

    assert await store.commit([key], key) == hasher.count == 3 * MIB


async def test_a_key_in_another_process_hands_is_refused(tmp_path: Path) -> None:
    store, key = opened(tmp_path, Disk()), new_key()
    await store.write(key, 0, BytesSource(b"bytes"), None, limit=PLENTY)
    path = await store.shortcut(key)
    assert isinstance(path, Path)

    with path.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(WrongOffset):
            await store.write(key, 5, BytesSource(b"more"), None, limit=PLENTY)

    assert await store.write(key, 5, BytesSource(b"more"), None, limit=PLENTY) == 4


async def test_no_symbolic_link_is_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    store, key = opened(tmp_path, Disk()), new_key()
    path = await store.shortcut(key)
    assert isinstance(path, Path)
    path.parent.mkdir(parents=True)
    path.symlink_to(secret)

    with pytest.raises(OSError, match="symbolic"):
        await store.write(key, 0, BytesSource(b"bytes"), None, limit=PLENTY)
    with pytest.raises(OSError, match="symbolic"):
        await anext(aiter(store.read(key, 0, 6)))
    await store.delete(key)

    assert secret.read_bytes() == b"secret"


class Careless(BytesSource):
    """A source that breaks its promise: a piece outlives the cancelled request."""

    def __init__(self) -> None:
        super().__init__(b"late")
        self.called = asyncio.Event()
        self.late: Callable[[memoryview], None] | None = None

    async def drain(self, consume: Callable[[memoryview], None]) -> int:
        self.late = consume
        self.called.set()
        await asyncio.get_running_loop().create_future()
        return 0


async def test_a_late_piece_finds_the_file_closed(tmp_path: Path) -> None:
    store, source = opened(tmp_path, Disk()), Careless()
    writing = asyncio.create_task(store.write(new_key(), 0, source, None, limit=PLENTY))
    await source.called.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    victim = (tmp_path / "victim").open("wb")

    assert source.late is not None
    with pytest.raises(ValueError, match="closed"):
        source.late(memoryview(b"late"))

    assert os.fstat(victim.fileno()).st_size == 0
    victim.close()


async def test_what_was_deleted_meanwhile_is_missing_or_read_whole(tmp_path: Path) -> None:
    store, key = opened(tmp_path, Disk()), new_key()
    data = os.urandom(3 * MIB)
    await store.write(key, 0, BytesSource(data), None, limit=PLENTY)
    reading = aiter(store.read(key, 0, 3 * MIB))
    first = await anext(reading)

    await store.delete(key)

    assert first + b"".join([piece async for piece in reading]) == data
    with pytest.raises(Missing):
        await anext(aiter(store.read(key, 0, 1)))


async def test_the_free_room_is_told(tmp_path: Path) -> None:
    store = PosixStore(tmp_path / "not" / "yet")

    room = await store.room()

    assert room is not None
    assert room > 0
