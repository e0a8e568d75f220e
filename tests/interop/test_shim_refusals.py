"""Calls that the library refuses by itself end what every other error ends, in the real daemon."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from ctypes import byref, c_ulong, c_void_p
from typing import Any, Final

import pytest

from host_tools.cryptoki import Cryptoki, GcmMessage, Session
from host_tools.cryptoki_values import mechanism_of
from host_tools.testing import Scratch
from pkcs11_module import _constants as ck

IV: Final = bytes(16)
TEXT: Final = b"sixteen bytes .."
BEGUN: Final = "CKR_OPERATION_ACTIVE"


class Bench:
    """A session with a key for everything, and what begins an operation of each kind."""

    def __init__(self, session: Session) -> None:
        self.session = session
        uses = dict.fromkeys((ck.CKA_ENCRYPT, ck.CKA_DECRYPT, ck.CKA_SIGN, ck.CKA_VERIFY), True)
        value: dict[int, Any] = {ck.CKA_CLASS: ck.CKO_SECRET_KEY, ck.CKA_VALUE: bytes(32), **uses}
        aes = session.create({**value, ck.CKA_KEY_TYPE: ck.CKK_AES})
        mac = session.create({**value, ck.CKA_KEY_TYPE: ck.CKK_GENERIC_SECRET})
        cbc, hmac = mechanism_of((ck.CKM_AES_CBC, IV)), mechanism_of(ck.CKM_SHA256_HMAC)
        gcm = mechanism_of(ck.CKM_AES_GCM)
        self.beginnings: dict[str, tuple[Any, ...]] = {
            "C_EncryptInit": (cbc, aes),
            "C_DecryptInit": (cbc, aes),
            "C_SignInit": (hmac, mac),
            "C_VerifyInit": (hmac, mac),
            "C_DigestInit": (mechanism_of(ck.CKM_SHA256),),
            "C_FindObjectsInit": (None, 0),
            "C_MessageEncryptInit": (gcm, aes),
            "C_VerifySignatureInit": (hmac, mac, bytes(32), 32),
        }

    def outcome(self, name: str, *args: Any) -> str:
        return ck.CKR_NAMES[self.session.library.raw[name](self.session.handle, *args)]

    def begin(self, name: str) -> str:
        """What the beginning gives: CKR_OK, or CKR_OPERATION_ACTIVE where there is one already."""
        return self.outcome(name, *self.beginnings[name])


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch, Scratch() as scratch:
        for name, value in scratch.environment.items():
            patch.setenv(name, value)
        token = scratch.create_token("Refusals")
        with Cryptoki() as library, library.open_session(token.slot) as session:
            session.login(ck.CKU_USER, token.pin.encode())
            yield Bench(session)


@pytest.fixture
def bench(shared: Bench) -> Bench:
    assert shared.outcome("C_SessionCancel", 2**64 - 1) == "CKR_OK"
    return shared


def room() -> tuple[Any, Any]:
    """An output buffer and its length."""
    return ctypes.create_string_buffer(64), byref(c_ulong(64))


REFUSED: Final[dict[str, tuple[str, str, Callable[[], tuple[Any, ...]]]]] = {
    "C_Sign NULL length": ("C_SignInit", "C_Sign", lambda: (TEXT, 16, room()[0], None)),
    "C_Sign NULL data": ("C_SignInit", "C_Sign", lambda: (None, 16, *room())),
    "C_SignUpdate NULL data": ("C_SignInit", "C_SignUpdate", lambda: (None, 16)),
    "C_SignFinal NULL length": ("C_SignInit", "C_SignFinal", lambda: (None, None)),
    "C_Encrypt NULL data": ("C_EncryptInit", "C_Encrypt", lambda: (None, 16, *room())),
    "C_EncryptUpdate NULL data": ("C_EncryptInit", "C_EncryptUpdate", lambda: (None, 16, *room())),
    "C_DecryptUpdate NULL data": ("C_DecryptInit", "C_DecryptUpdate", lambda: (None, 16, *room())),
    "C_Digest NULL length": ("C_DigestInit", "C_Digest", lambda: (TEXT, 16, room()[0], None)),
    "C_DigestUpdate NULL data": ("C_DigestInit", "C_DigestUpdate", lambda: (None, 16)),
    "C_Verify NULL signature": ("C_VerifyInit", "C_Verify", lambda: (TEXT, 16, None, 32)),
    "C_VerifySignature NULL data": (
        "C_VerifySignatureInit",
        "C_VerifySignature",
        lambda: (None, 16),
    ),
}
"""What begins the operation, the function that the library refuses, and its arguments."""


@pytest.mark.parametrize(("beginning", "name", "arguments"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_argument_ends_the_operation_and_no_other(
    beginning: str, name: str, arguments: Callable[[], tuple[Any, ...]], bench: Bench
) -> None:
    assert bench.begin("C_FindObjectsInit") == "CKR_OK"
    assert bench.begin(beginning) == "CKR_OK"
    assert bench.outcome(name, *arguments()) == "CKR_ARGUMENTS_BAD"
    assert bench.begin(beginning) == "CKR_OK"
    assert bench.begin("C_FindObjectsInit") == BEGUN


def test_an_endless_length_ends_the_operation(bench: Bench) -> None:
    assert bench.begin("C_DigestInit") == "CKR_OK"
    assert bench.outcome("C_DigestUpdate", TEXT, 2**64 - 1) == "CKR_HOST_MEMORY"
    assert bench.begin("C_DigestInit") == "CKR_OK"


def test_an_operation_of_another_kind_stays_and_goes_on(bench: Bench) -> None:
    for beginning in ("C_DigestInit", "C_EncryptInit"):
        assert bench.begin(beginning) == "CKR_OK"
    assert bench.outcome("C_DigestUpdate", None, 16) == "CKR_ARGUMENTS_BAD"
    assert bench.begin("C_EncryptInit") == BEGUN
    assert bench.outcome("C_Encrypt", TEXT, 16, *room()) == "CKR_OK"


def test_a_dual_function_ends_both_of_its_operations(bench: Bench) -> None:
    for beginning in ("C_DigestInit", "C_EncryptInit"):
        assert bench.begin(beginning) == "CKR_OK"
    refused = bench.outcome("C_DigestEncryptUpdate", None, 16, *room())
    assert refused == "CKR_ARGUMENTS_BAD"
    assert bench.outcome("C_DigestFinal", *room()) == "CKR_OPERATION_NOT_INITIALIZED"
    assert bench.outcome("C_EncryptFinal", *room()) == "CKR_OPERATION_NOT_INITIALIZED"


def test_a_find_stays_whatever_is_refused_of_it(bench: Bench) -> None:
    found, count = (c_ulong * 1)(), c_ulong()
    assert bench.begin("C_FindObjectsInit") == "CKR_OK"
    assert bench.outcome("C_FindObjects", None, 1, byref(count)) == "CKR_ARGUMENTS_BAD"
    assert bench.outcome("C_FindObjects", found, 1, None) == "CKR_ARGUMENTS_BAD"
    assert bench.outcome("C_FindObjects", found, 1, byref(count)) == "CKR_OK"


def test_a_refused_beginning_leaves_the_operation_there_is(bench: Bench) -> None:
    assert bench.begin("C_SignInit") == "CKR_OK"
    hollow = mechanism_of(ck.CKM_SHA256_HMAC)
    hollow.contents.ulParameterLen = 9
    assert bench.outcome("C_SignInit", hollow, 1) == "CKR_ARGUMENTS_BAD"
    assert bench.outcome("C_Sign", TEXT, 16, *room()) == "CKR_OK"


def test_a_refused_message_leaves_the_process_and_a_refused_part_ends_the_message(
    bench: Bench,
) -> None:
    message = GcmMessage(bytes(12), bytes(16))
    assert bench.begin("C_MessageEncryptInit") == "CKR_OK"
    refused = bench.outcome("C_EncryptMessage", *message.argument, None, 0, None, 16, *room())
    assert refused == "CKR_ARGUMENTS_BAD"
    assert bench.begin("C_MessageEncryptInit") == BEGUN
    assert bench.outcome("C_EncryptMessageBegin", *message.argument, None, 0) == "CKR_OK"
    assert bench.outcome("C_MessageEncryptFinal") == BEGUN
    refused = bench.outcome("C_EncryptMessageNext", *message.argument, None, 16, *room(), 0)
    assert refused == "CKR_ARGUMENTS_BAD"
    assert bench.outcome("C_MessageEncryptFinal") == "CKR_OK"


def test_a_size_query_and_a_short_buffer_still_keep_the_operation(bench: Bench) -> None:
    assert bench.begin("C_SignInit") == "CKR_OK"
    assert bench.outcome("C_Sign", TEXT, 16, None, byref(c_ulong())) == "CKR_OK"
    short = ctypes.create_string_buffer(3), byref(c_ulong(3))
    assert bench.outcome("C_Sign", TEXT, 16, *short) == "CKR_BUFFER_TOO_SMALL"
    assert bench.outcome("C_Sign", TEXT, 16, *room()) == "CKR_OK"


def test_a_closed_session_is_no_matter(bench: Bench) -> None:
    library = bench.session.library
    slot = bench.session.info().slot
    closed = library.open_session(slot)
    closed.close()
    assert bench.begin("C_DigestInit") == "CKR_OK"
    for handle in (closed.handle, 0, 2**40 - 1):
        assert library.raw["C_Digest"](handle, TEXT, 16, c_void_p(), None) == ck.CKR_ARGUMENTS_BAD
    assert bench.begin("C_DigestInit") == BEGUN
