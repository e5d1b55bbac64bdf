"""Hashing can be stopped after any byte and gone on with elsewhere, by either engine."""

import hashlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.storage import hashing, libcrypto, rehashing
from moorage.storage.hashing import Hasher, StateRefused

ALGORITHMS = ("sha256", "sha512")


def hasher_by(engine: str, algorithm: str) -> Hasher:
    """Make a hasher with the named engine, whatever this machine prefers."""
    hasher = Hasher(algorithm)
    if engine == "rehashes":
        hasher._engine = rehashing.Rehashes(algorithm)
    return hasher


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_this_machine_has_the_engine_that_lets_other_threads_run(algorithm: str) -> None:
    assert isinstance(hashing.engine(algorithm), hashing.Libcrypto)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("engine", ["libcrypto", "rehashes"])
@given(data=st.binary(max_size=700), cut=st.integers(0, 700))
def test_a_hash_stopped_anywhere_goes_on_in_either_engine(
    engine: str, algorithm: str, data: bytes, cut: int
) -> None:
    cut = min(cut, len(data))
    first = hasher_by(engine, algorithm)
    first.update(data[:cut])
    second = hasher_by("rehashes" if engine == "libcrypto" else "libcrypto", algorithm)

    second.rewind(first.state())
    second.update(data[cut:])

    assert second.digest().hex == hashlib.new(algorithm, data).hexdigest()
    assert second.count == len(data)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(data=st.binary(max_size=300))
def test_both_engines_save_the_same_state(algorithm: str, data: bytes) -> None:
    states = []
    for engine in ("libcrypto", "rehashes"):
        hasher = hasher_by(engine, algorithm)
        hasher.update(data)
        states.append(hasher.state())

    assert states[0] == states[1]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_count_past_32_bits_of_bits_survives(algorithm: str) -> None:
    piece = bytes(64 * 1024 * 1024)
    whole = hashlib.new(algorithm)
    hasher = Hasher(algorithm)
    for _ in range(9):
        whole.update(piece)
        hasher.update(piece)

    resumed = Hasher.resume(algorithm, hasher.state(), 9 * len(piece))
    resumed.update(b"end")
    whole.update(b"end")

    assert resumed.digest().hex == whole.hexdigest()


def test_the_digest_can_be_asked_for_and_hashing_goes_on() -> None:
    hasher = Hasher()
    hasher.update(b"one")

    first = hasher.digest()
    hasher.update(b"two")

    assert first.hex == hashlib.sha256(b"one").hexdigest()
    assert hasher.digest().hex == hashlib.sha256(b"onetwo").hexdigest()


@pytest.mark.parametrize(
    "view",
    [b"moorage", bytearray(b"moorage"), memoryview(b"moorage"), memoryview(b"a moorage")[2:]],
)
def test_any_buffer_is_hashed_where_it_lies(view: bytes | bytearray | memoryview) -> None:
    hasher = Hasher()

    hasher.update(view)

    assert hasher.digest().hex == hashlib.sha256(b"moorage").hexdigest()


def test_a_state_that_is_none_is_refused_and_changes_nothing() -> None:
    saved = Hasher()
    saved.update(b"x" * 100)
    state = saved.state()
    hasher = Hasher()
    hasher.update(b"kept")

    broken = [b"", bytes(len(state)), state[:-1], state + b"x", b"\x02" + state[1:]]
    for text in [*broken, Hasher("sha512").state()]:
        with pytest.raises(StateRefused):
            hasher.rewind(text)

    assert hasher.digest().hex == hashlib.sha256(b"kept").hexdigest()


def test_a_state_of_other_bytes_than_are_stored_is_refused() -> None:
    hasher = Hasher()
    hasher.update(b"x" * 100)

    with pytest.raises(StateRefused):
        Hasher.resume("sha256", hasher.state(), 99)


def test_a_library_that_lacks_the_functions_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    libcrypto.functions.cache_clear()
    monkeypatch.setattr(libcrypto, "NAMES", (None, "libnothing.so.0"))

    engine = hashing.engine("sha256")
    libcrypto.functions.cache_clear()

    assert isinstance(engine, rehashing.Rehashes)


def test_other_threads_run_while_a_piece_is_hashed() -> None:
    hasher = Hasher()
    piece = bytes(256 * 1024 * 1024)
    started = threading.Event()

    def work() -> None:
        started.set()
        hasher.update(piece)

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    turns = 0

    while thread.is_alive():
        turns += 1

    # With the lock held this loop would run only before and after the one long call.
    assert turns > 10_000
