"""Debian's libfido2, by ctypes: the platform of OpenSSH and of PAM, which speaks HID by itself.

Its packets go to a token of this process by `fido_dev_set_io_functions`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_size_t,
    c_ubyte,
    c_uint8,
    c_void_p,
    string_at,
)
from typing import Any, Final

import pytest

from host_tools.closing import Closing
from host_tools.hid import HidConnection
from host_tools.testing.fido import FidoKey

OK, PIN_INVALID, PIN_AUTH_BLOCKED, NO_CREDENTIALS = 0x00, 0x31, 0x34, 0x2E
ES256, EDDSA, RS256 = -7, -8, -257
TRUE: Final = 2
HMAC_SECRET, CRED_PROTECT, LARGE_BLOB_KEY = 0x01, 0x02, 0x04
_FAILED, _SECOND = -1, 1000.0
_POINTERS: Final = [
    "fido_dev_new",
    "fido_cred_new",
    "fido_assert_new",
    "fido_bio_template_new",
    "fido_bio_enroll_new",
    "fido_bio_template_array_new",
    "fido_credman_rk_new",
    "fido_cred_id_ptr",
    "fido_cred_pubkey_ptr",
    "fido_cred_x5c_ptr",
    "fido_cred_largeblob_key_ptr",
    "fido_assert_hmac_secret_ptr",
    "fido_assert_id_ptr",
    "fido_assert_largeblob_key_ptr",
    "fido_credman_rk",
    "es256_pk_new",
    "eddsa_pk_new",
    "rs256_pk_new",
]
_SIZES: Final = [
    "fido_cred_id_len",
    "fido_cred_pubkey_len",
    "fido_cred_x5c_len",
    "fido_cred_largeblob_key_len",
    "fido_assert_hmac_secret_len",
    "fido_assert_id_len",
    "fido_assert_count",
    "fido_assert_largeblob_key_len",
    "fido_credman_rk_count",
    "fido_bio_template_array_count",
]
_OPEN = CFUNCTYPE(c_void_p, c_char_p)
_CLOSE = CFUNCTYPE(None, c_void_p)
_READ = CFUNCTYPE(c_int, c_void_p, POINTER(c_ubyte), c_size_t, c_int)
_WRITE = CFUNCTYPE(c_int, c_void_p, POINTER(c_ubyte), c_size_t)


class _Io(Structure):
    _fields_ = (("open", _OPEN), ("close", _CLOSE), ("read", _READ), ("write", _WRITE))


class FidoError(Exception):
    """A function of libfido2 failed, with that code."""

    def __init__(self, function: str, code: int) -> None:
        super().__init__(f"{function}: 0x{code:02X}")
        self.code = code


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libfido2.so.1")
    except OSError:
        pytest.fail("libfido2 is missing: apt-get install libfido2-1")
    for name in _POINTERS:
        getattr(library, name).restype = c_void_p
    for name in _SIZES:
        getattr(library, name).restype = c_size_t
    library.fido_cred_fmt.restype = c_char_p
    library.fido_init(0)
    return library


class Device(Closing):
    """A token as libfido2 has it open; what it points to lives as long as this.

    Functions of the library are called by name through `do`, `pointer` and `bytes_of`.
    """

    def __init__(self, key: FidoKey) -> None:
        self._library = _library()
        self._key = key
        self._connection: HidConnection | None = None
        # ctypes frees functions that nobody refers to.
        self._io = _Io(
            _OPEN(self._opened), _CLOSE(self._left), _READ(self._read), _WRITE(self._write)
        )
        self.handle = c_void_p(self._library.fido_dev_new())
        self.do("fido_dev_set_io_functions", self.handle, byref(self._io))
        self.do("fido_dev_open", self.handle, b"a token of this process")

    def close(self) -> None:
        self._library.fido_dev_close(self.handle)
        self._library.fido_dev_free(byref(self.handle))

    def do(self, function: str, *arguments: Any) -> None:
        """Raises FidoError where it does not succeed."""
        code = getattr(self._library, function)(*arguments)
        if code != OK:
            raise FidoError(function, code)

    def pointer(self, function: str, *arguments: Any) -> c_void_p:
        """Something that the library makes, or that is in something else."""
        return c_void_p(getattr(self._library, function)(*arguments))

    def number(self, function: str, *arguments: Any) -> int:
        """What is no status."""
        return int(getattr(self._library, function)(*arguments))

    def bytes_of(self, what: str, *arguments: Any) -> bytes:
        """What `<what>_ptr` and `<what>_len` say."""
        place = getattr(self._library, f"{what}_ptr")(*arguments)
        return string_at(place, self.number(f"{what}_len", *arguments))

    def text(self, function: str, *arguments: Any) -> str:
        value = getattr(self._library, function)(*arguments)
        assert isinstance(value, bytes)
        return value.decode()

    # What libfido2 does with the device

    def _opened(self, _: bytes) -> int:
        self._connection = self._key.connect()
        return 1

    def _left(self, _: int) -> None:
        if self._connection is not None:
            self._connection.close()

    def _read(self, _: int, buffer: Any, size: int, milliseconds: int) -> int:
        return _guarded(lambda: self._receive(buffer, size, milliseconds))

    def _receive(self, buffer: Any, size: int, milliseconds: int) -> int:
        assert self._connection is not None
        seconds = None if milliseconds < 0 else milliseconds / _SECOND
        packet = self._connection.read(seconds)
        if packet is None or len(packet) > size:
            return _FAILED
        ctypes.memmove(buffer, packet, len(packet))
        return len(packet)

    def _write(self, _: int, buffer: Any, size: int) -> int:
        return _guarded(lambda: self._send(buffer, size))

    def _send(self, buffer: Any, size: int) -> int:
        assert self._connection is not None
        # The first byte is the number of the report.
        self._connection.write(string_at(buffer, size)[1:])
        return size


def _guarded(work: Callable[[], int]) -> int:
    """An exception cannot pass through C."""
    try:
        return work()
    except OSError:
        return _FAILED


def number() -> c_int:
    """Where a function writes a number."""
    return c_int()


def buffer() -> tuple[Any, c_size_t]:
    """Where a function puts a buffer of its own, and its size."""
    return POINTER(c_uint8)(), c_size_t()
