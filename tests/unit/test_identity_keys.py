"""The master key: what it wraps opens for one registry and one purpose, and with one key."""

import stat
from pathlib import Path

import pytest

from moorage.identity import keys
from moorage.identity.keys import MasterKey, MasterKeyWrong

HEX = "00112233445566778899aabbccddeeff" * 2


def test_a_secret_opens_for_the_registry_and_purpose_it_was_wrapped_for() -> None:
    master = MasterKey.new()

    wrapped = master.wrap(b"secret", registry="r1", purpose="signing key a")

    assert master.unwrap(wrapped, name=master.name, registry="r1", purpose="signing key a") == b"secret"
    assert b"secret" not in wrapped


@pytest.mark.parametrize(("registry", "purpose"), [("r2", "signing key a"), ("r1", "signing key b")])
def test_a_secret_opens_for_no_other_registry_and_no_other_purpose(registry: str, purpose: str) -> None:
    master = MasterKey.new()
    wrapped = master.wrap(b"secret", registry="r1", purpose="signing key a")

    with pytest.raises(MasterKeyWrong, match="does not open"):
        master.unwrap(wrapped, name=master.name, registry=registry, purpose=purpose)


def test_a_changed_secret_does_not_open() -> None:
    master = MasterKey.new()
    wrapped = bytearray(master.wrap(b"secret", registry="r1", purpose="p"))
    wrapped[-1] ^= 1

    with pytest.raises(MasterKeyWrong):
        master.unwrap(bytes(wrapped), name=master.name, registry="r1", purpose="p")


def test_another_master_key_says_which_is_needed() -> None:
    first, second = MasterKey.new(), MasterKey.new()
    wrapped = first.wrap(b"secret", registry="r1", purpose="p")

    with pytest.raises(MasterKeyWrong, match=first.name):
        second.unwrap(wrapped, name=first.name, registry="r1", purpose="p")


def test_two_wraps_of_one_secret_differ() -> None:
    master = MasterKey.new()

    assert master.wrap(b"s", registry="r", purpose="p") != master.wrap(b"s", registry="r", purpose="p")


def test_a_key_is_made_at_first_start_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "master.key"

    made = MasterKey.open("", path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert MasterKey.open("", path) == made
    assert [file.name for file in path.parent.iterdir()] == ["master.key"]


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    MasterKey.open("", path)
    path.chmod(0o640)

    with pytest.raises(MasterKeyWrong, match="chmod 600"):
        MasterKey.open("", path)


def test_a_key_from_the_environment_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "master.key"

    assert MasterKey.open(HEX, path).keys == (bytes.fromhex(HEX),)
    assert not path.exists()


@pytest.mark.parametrize("text", ["short", "00" * 31, "zz" * 32, "00" * 33, ",", "é" * 64])
def test_what_is_no_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(MasterKeyWrong) as refused:
        MasterKey.parse(text)

    assert text == "," or text not in str(refused.value)


def test_a_key_does_not_show_itself() -> None:
    assert HEX not in repr(MasterKey.parse(HEX))


def test_a_new_key_wraps_and_the_old_one_still_opens_until_it_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    old = MasterKey.open("", path)
    wrapped = old.wrap(b"secret", registry="r", purpose="p")

    both = keys.add_new(path)

    assert both.name != old.name
    assert both.unwrap(wrapped, name=old.name, registry="r", purpose="p") == b"secret"
    assert MasterKey.open("", path) == both
    assert keys.forget_old(path).keys == both.keys[:1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
