"""A first start: the data folder and the master key are made, and a first push is shown."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

KEY_FILE = "master.key"
KEY_BYTES = 32


class NoMasterKey(Exception):
    """There is no usable master key: the message says where one should be."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and what it does."""

    command: str
    purpose: str


def first_push(address: str) -> tuple[Step, ...]:
    """Give the three commands to a first push to the registry at *address*."""
    return (
        Step(f"docker login --username admin {address}", "Sign in"),
        Step(f"docker tag alpine {address}/library/alpine", "Name an image you have for the registry"),
        Step(f"docker push {address}/library/alpine", "Push it"),
    )


def make_folder(data: Path) -> None:
    """Make the data folder, for nobody else to look into."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)


def make_master_key(data: Path) -> None:
    """Make the master key's file, unless there is one; whole and durable, or not at all."""
    kept = data / KEY_FILE
    if kept.exists():
        return
    made = data / f".{KEY_FILE}.{secrets.token_hex(4)}"
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # A link fails when another process was quicker, and then that one's key counts.
        with contextlib.suppress(FileExistsError):
            kept.hardlink_to(made)
    finally:
        made.unlink()
    folder = os.open(data, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def master_key(data: Path, given: str) -> bytes:
    """Read the key that was *given*, or else the file's; raise NoMasterKey."""
    where, text = "MOORAGE_MASTER_KEY", given
    if not given:
        where = str(data / KEY_FILE)
        try:
            text = (data / KEY_FILE).read_text()
        except OSError as error:
            message = f"{where}: the master key cannot be read ({error.strerror}); put it back or set MOORAGE_MASTER_KEY"
            raise NoMasterKey(message) from None
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        message = f"{where}: a master key is {KEY_BYTES} bytes in Base64, such as `openssl rand -base64 32` prints"
        raise NoMasterKey(message)
    return key
