"""SHA-256 and SHA-512 of libcrypto, whose state can be read and restored.

hashlib cannot save its state between requests. OpenSSL's older functions work on a public struct
(``openssl/sha.h``), need no copy of the input, and run without the interpreter's lock.
"""

import ctypes
import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

NAMES = (None, "libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.3.dylib")


class Sha256State(ctypes.Structure):
    """``SHA256_CTX`` as the header has it."""

    _fields_ = (
        ("h", ctypes.c_uint32 * 8),
        ("low", ctypes.c_uint32),
        ("high", ctypes.c_uint32),
        ("tail", ctypes.c_uint8 * 64),
        ("used", ctypes.c_uint),
        ("length", ctypes.c_uint),
    )


class Sha512State(ctypes.Structure):
    """``SHA512_CTX`` as the header has it."""

    _fields_ = (
        ("h", ctypes.c_uint64 * 8),
        ("low", ctypes.c_uint64),
        ("high", ctypes.c_uint64),
        ("tail", ctypes.c_uint8 * 128),
        ("used", ctypes.c_uint),
        ("length", ctypes.c_uint),
    )


class Buffer(ctypes.Structure):
    """``Py_buffer``: the only way to the address of read-only memory without a copy."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = (ctypes.py_object, ctypes.POINTER(Buffer), ctypes.c_int)
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = (ctypes.POINTER(Buffer),)
_release_buffer.restype = None


@dataclass(frozen=True, slots=True)
class Functions:
    """One algorithm's three functions, and the struct they work on."""

    state: type[Any]
    init: Any
    update: Any
    final: Any
    hash_length: int
    word: int

    def feed(self, state: ctypes.Structure, piece: bytes | bytearray | memoryview) -> int:
        """Hash *piece* where it lies and give its length."""
        buffer = Buffer()
        _get_buffer(piece, ctypes.byref(buffer), 0)
        try:
            self.update(ctypes.byref(state), buffer.buf, buffer.len)
            return int(buffer.len)
        finally:
            _release_buffer(ctypes.byref(buffer))

    def finish(self, state: ctypes.Structure) -> bytes:
        """Give the hash of what came so far; *state* can go on."""
        copy = type(state).from_buffer_copy(state)
        out = ctypes.create_string_buffer(self.hash_length)
        self.final(out, ctypes.byref(copy))
        return out.raw


@cache
def functions(algorithm: str) -> Functions | None:
    """Find an algorithm's functions; None where no libcrypto offers them, or lies about them."""
    for name in NAMES:
        try:
            found = _load(ctypes.CDLL(name), algorithm)
        except (OSError, AttributeError):
            continue
        if _answers_right(found, algorithm):
            return found
    return None


def _load(library: ctypes.CDLL, algorithm: str) -> Functions:
    name = algorithm.upper()
    init, update, final = (getattr(library, f"{name}_{verb}") for verb in ("Init", "Update", "Final"))
    state: type[ctypes.Structure] = Sha256State if algorithm == "sha256" else Sha512State
    length = 32 if algorithm == "sha256" else 64
    pointer = ctypes.POINTER(state)
    init.argtypes = (pointer,)
    update.argtypes = (pointer, ctypes.c_void_p, ctypes.c_size_t)
    final.argtypes = (ctypes.c_char_p, pointer)
    return Functions(state, init, update, final, length, word=length)


def _answers_right(found: Functions, algorithm: str) -> bool:
    state = found.state()
    found.init(ctypes.byref(state))
    found.feed(state, b"moor" * 50)
    return (
        state.used == 200 % len(state.tail)
        and found.finish(state) == hashlib.new(algorithm, b"moor" * 50).digest()
    )
