"""The parameters of messages through the C interface, and outputs that need not be asked for."""

from __future__ import annotations

import ctypes
import mmap
import struct
from ctypes import byref, c_ulong, c_void_p
from typing import Any, Final

import pytest

from host_tools.cryptoki import Cryptoki
from host_tools.cryptoki_types import CkMechanism, GcmMessageParameter
from pkcs11_module import wire
from pkcs11_module._constants import (
    CKG_GENERATE,
    CKM_AES_CTR,
    CKM_AES_GCM,
    CKM_ML_KEM,
    CKM_RSA_PKCS,
    CKR_ARGUMENTS_BAD,
    CKR_BUFFER_TOO_SMALL,
    CKR_DEVICE_ERROR,
    CKR_HOST_MEMORY,
    CKR_MECHANISM_PARAM_INVALID,
    CKR_OK,
)
from pkcs11_module.types import (
    AesCtrParams,
    Buffer,
    BufferTooSmall,
    GcmMessageParams,
    Length,
    Mechanism,
    MessageOutput,
)
from tests.interop.fake_daemon import Recorder
from tests.interop.liar import Liar

NONCE: Final = bytes(range(12))
SIZE: Final = ctypes.sizeof(GcmMessageParameter)


class Message:
    """CK_GCM_MESSAGE_PARAMS with its two places."""

    def __init__(self, tag: bytes = bytes(16), nonce: bytes = NONCE) -> None:
        self.iv = ctypes.create_string_buffer(nonce, len(nonce))
        self.tag = ctypes.create_string_buffer(tag, len(tag))
        self.raw = GcmMessageParameter(
            ctypes.addressof(self.iv), len(nonce), 0, CKG_GENERATE, ctypes.addressof(self.tag), 128
        )

    def mechanism(self, kind: int = CKM_AES_GCM) -> CkMechanism:
        return CkMechanism(kind, ctypes.addressof(self.raw), SIZE)

    def encrypt(self, library: Cryptoki, size: int = SIZE) -> int:
        room, length = ctypes.create_string_buffer(8), c_ulong(8)
        pointer = byref(self.raw)
        return library.raw["C_EncryptMessage"](
            1, pointer, size, None, 0, b"text", 4, room, byref(length)
        )

    def decrypt(self, library: Cryptoki) -> int:
        room, length = ctypes.create_string_buffer(8), c_ulong(8)
        return library.raw["C_DecryptMessage"](
            1, byref(self.raw), SIZE, None, 0, b"text", 4, room, byref(length)
        )


@pytest.fixture
def called(library: Cryptoki, recorder: Recorder) -> Recorder:
    library.initialize()
    recorder.answer = (MessageOutput(), b"")
    return recorder


def first_call(recorder: Recorder) -> tuple[object, ...]:
    ((_, args),) = recorder.calls
    return args


def test_nonce_and_tag_are_written_back_where_they_belong(
    library: Cryptoki, called: Recorder
) -> None:
    message = Message()
    called.answer = (MessageOutput(bytes(12), b"T" * 16), b"cryptext")
    assert message.encrypt(library) == CKR_OK
    assert (message.iv.raw, message.tag.raw) == (bytes(12), b"T" * 16)


def test_nothing_written_back_leaves_the_callers_bytes_alone(
    library: Cryptoki, called: Recorder
) -> None:
    message = Message(tag=b"as it was before")
    assert message.encrypt(library) == CKR_OK
    assert (message.iv.raw, message.tag.raw) == (NONCE, b"as it was before")


def test_a_tag_to_be_made_is_not_read_and_a_tag_to_be_checked_is(
    library: Cryptoki, called: Recorder
) -> None:
    message = Message(tag=b"sixteen bytes ..")
    assert message.encrypt(library) == CKR_OK
    assert first_call(called)[1] == GcmMessageParams(NONCE, 0, CKG_GENERATE, bytes(16), 128)
    called.calls.clear()
    called.answer = b"plain"
    assert message.decrypt(library) == CKR_OK
    arrived = GcmMessageParams(NONCE, 0, CKG_GENERATE, b"sixteen bytes ..", 128)
    assert first_call(called)[1] == arrived


@pytest.mark.parametrize("bits", [129, 1000, 2**32, 2**64 - 1])
def test_a_tag_of_absurd_length_is_not_read(bits: int, library: Cryptoki, called: Recorder) -> None:
    """The place lies at the very end of a page, with nothing readable behind it."""
    page = mmap.mmap(-1, mmap.PAGESIZE)
    end = ctypes.addressof(ctypes.c_char.from_buffer(page)) + mmap.PAGESIZE
    message = Message()
    message.raw.pTag, message.raw.ulTagBits = end - 16, bits
    called.answer = b"plain"
    assert message.decrypt(library) == CKR_OK
    assert first_call(called)[1] == GcmMessageParams(NONCE, 0, CKG_GENERATE, None, bits)


@pytest.mark.parametrize(("bits", "size"), [(0, 0), (1, 1), (8, 1), (9, 2), (127, 16), (128, 16)])
def test_bits_of_a_tag_are_rounded_up_to_bytes(
    bits: int, size: int, library: Cryptoki, called: Recorder
) -> None:
    message = Message(tag=b"sixteen bytes ..")
    message.raw.ulTagBits = bits
    called.answer = b"plain"
    assert message.decrypt(library) == CKR_OK
    arrived: Any = first_call(called)[1]
    assert arrived.tag == b"sixteen bytes .."[:size]


def test_pointers_of_a_message_are_checked(library: Cryptoki, called: Recorder) -> None:
    without_nonce = Message()
    without_nonce.raw.pIv = None
    assert without_nonce.encrypt(library) == CKR_ARGUMENTS_BAD
    endless = Message()
    endless.raw.ulIvLen = 2**64 - 1
    assert endless.encrypt(library) == CKR_HOST_MEMORY
    begin = library.raw["C_EncryptMessageBegin"]
    assert begin(1, None, SIZE, None, 0) == CKR_ARGUMENTS_BAD
    assert begin(1, byref(Message().raw), SIZE, None, 1) == CKR_ARGUMENTS_BAD
    assert called.calls == []


def test_a_message_without_a_parameter_and_one_of_another_size(
    library: Cryptoki, called: Recorder
) -> None:
    called.answer = MessageOutput()
    begin = library.raw["C_EncryptMessageBegin"]
    assert begin(1, None, 0, b"aad", 3) == CKR_OK
    assert begin(1, b"nonce", 5, None, 0) == CKR_OK
    assert called.calls == [
        ("C_EncryptMessageBegin", (1, None, b"aad")),
        ("C_EncryptMessageBegin", (1, b"nonce", None)),
    ]


def test_short_buffer_of_a_message_writes_nothing_back(
    library: Cryptoki, called: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object) -> object:
        raise BufferTooSmall(20)

    monkeypatch.setattr(called, "call", short)
    message, length = Message(), c_ulong(8)
    rv = library.raw["C_EncryptMessage"](
        1, byref(message.raw), SIZE, None, 0, b"text", 4, bytes(8), byref(length)
    )
    assert (rv, length.value) == (CKR_BUFFER_TOO_SMALL, 20)
    assert message.iv.raw == NONCE


OK: Final = struct.pack("<Q", CKR_OK)


def test_what_has_no_place_in_a_message_is_a_device_error(library: Cryptoki, liar: Liar) -> None:
    library.initialize()
    nonce = struct.pack("<I", 1) + b"N"
    liar.answer = wire.frame(OK + nonce + struct.pack("<I", wire.NULL_LENGTH))
    begin = library.raw["C_EncryptMessageBegin"]
    assert begin(1, None, 0, None, 0) == CKR_DEVICE_ERROR
    assert begin(1, b"nonce", 5, None, 0) == CKR_DEVICE_ERROR
    without_tag = Message()
    without_tag.raw.pTag = None
    liar.answer = wire.frame(OK + struct.pack("<I", wire.NULL_LENGTH) + nonce)
    assert begin(1, byref(without_tag.raw), SIZE, None, 0) == CKR_DEVICE_ERROR


def test_mechanisms_of_messages_carry_their_own_structure(
    library: Cryptoki, called: Recorder
) -> None:
    called.answer = None
    message = Message()
    mechanism = message.mechanism()
    arrived = GcmMessageParams(NONCE, 0, CKG_GENERATE, bytes(16), 128)
    assert library.raw["C_MessageEncryptInit"](1, byref(mechanism), 7) == CKR_OK
    assert first_call(called) == (1, Mechanism(CKM_AES_GCM, arrived), 7)
    mechanism.ulParameterLen = 40
    rv = library.raw["C_MessageEncryptInit"](1, byref(mechanism), 7)
    assert rv == CKR_MECHANISM_PARAM_INVALID


@pytest.mark.parametrize(
    "name",
    [
        "C_EncryptInit",
        "C_DecryptInit",
        "C_SignInit",
        "C_VerifyInit",
        "C_SignRecoverInit",
        "C_VerifyRecoverInit",
        "C_MessageEncryptInit",
        "C_MessageDecryptInit",
        "C_MessageSignInit",
        "C_MessageVerifyInit",
    ],
)
def test_no_mechanism_is_sent_to_end_an_operation(
    name: str, library: Cryptoki, called: Recorder
) -> None:
    called.answer = None
    assert library.raw[name](1, None, 7) == CKR_OK
    assert called.calls == [(name, (1, None, 7))]


def test_no_mechanism_ends_a_digest_or_a_verification_of_a_known_signature(
    library: Cryptoki, called: Recorder
) -> None:
    called.answer = None
    assert library.raw["C_DigestInit"](1, None) == CKR_OK
    assert library.raw["C_VerifySignatureInit"](1, None, 0, None, 0) == CKR_OK
    assert called.calls == [
        ("C_DigestInit", (1, None)),
        ("C_VerifySignatureInit", (1, None, 0, None)),
    ]


def test_arrays_inside_parameters_travel_whole(library: Cryptoki, called: Recorder) -> None:
    called.answer = None
    packed = ctypes.create_string_buffer(struct.pack("@L16s", 32, bytes(range(16))), 24)
    mechanism = CkMechanism(CKM_AES_CTR, ctypes.addressof(packed), 24)
    assert library.raw["C_EncryptInit"](1, byref(mechanism), 7) == CKR_OK
    arrived = Mechanism(CKM_AES_CTR, AesCtrParams(32, bytes(range(16))))
    assert first_call(called) == (1, arrived, 7)


def test_a_signature_is_asked_for_only_with_the_last_part(
    library: Cryptoki, called: Recorder
) -> None:
    following = library.raw["C_SignMessageNext"]
    called.answer = None
    assert following(1, None, 0, b"part", 4, None, None) == CKR_OK
    room, length = ctypes.create_string_buffer(8), c_ulong(8)
    called.answer = b"signed"
    assert following(1, None, 0, b"last", 4, room, byref(length)) == CKR_OK
    assert room.raw[: length.value] == b"signed"
    called.answer = Length(6)
    assert following(1, None, 0, b"last", 4, None, byref(length)) == CKR_OK
    assert length.value == 6
    assert [args for _, args in called.calls] == [
        (1, None, b"part", None),
        (1, None, b"last", Buffer(8)),
        (1, None, b"last", Buffer(None)),
    ]


def test_a_signature_to_check_may_be_missing_until_the_last_part(
    library: Cryptoki, called: Recorder
) -> None:
    called.answer = None
    following = library.raw["C_VerifyMessageNext"]
    assert following(1, None, 0, b"part", 4, None, 64) == CKR_OK
    assert following(1, None, 0, b"last", 4, b"signature", 9) == CKR_OK
    assert [args[3] for _, args in called.calls] == [None, b"signature"]


def encapsulate(library: Cryptoki, room: Any, key: Any) -> tuple[int, int]:
    """C_EncapsulateKey with a buffer of eight bytes or none; gives the length too."""
    length = c_ulong(8)
    mechanism = CkMechanism(CKM_ML_KEM)
    rv = library.raw["C_EncapsulateKey"](1, byref(mechanism), 7, None, 0, room, byref(length), key)
    return rv, length.value


def test_encapsulated_key_comes_with_the_ciphertext_and_only_with_it(
    library: Cryptoki, called: Recorder
) -> None:
    room, key = ctypes.create_string_buffer(8), c_ulong(99)
    called.answer = (Length(1088), 0)
    assert encapsulate(library, None, byref(key)) == (CKR_OK, 1088)
    assert encapsulate(library, None, None) == (CKR_OK, 1088)
    assert key.value == 99
    called.answer = (b"secret", 5)
    assert encapsulate(library, room, byref(key)) == (CKR_OK, 6)
    assert (room.raw[:6], key.value) == (b"secret", 5)
    called.calls.clear()
    assert encapsulate(library, room, None) == (CKR_ARGUMENTS_BAD, 8)
    assert called.calls == []


def test_user_names_are_told_apart_from_pins(library: Cryptoki, called: Recorder) -> None:
    called.answer = None
    assert library.raw["C_LoginUser"](1, 1, b"1234", 4, b"root", 4) == CKR_OK
    assert library.raw["C_LoginUser"](1, 1, None, 0, None, 0) == CKR_OK
    assert library.raw["C_LoginUser"](1, 1, b"1234", 4, None, 4) == CKR_ARGUMENTS_BAD
    assert [args for _, args in called.calls] == [(1, 1, b"1234", b"root"), (1, 1, None, None)]


def test_wrapping_writes_back_only_into_the_parameter_of_a_message(
    library: Cryptoki, called: Recorder
) -> None:
    wrap = library.raw["C_WrapKeyAuthenticated"]
    room, length = ctypes.create_string_buffer(8), c_ulong(8)
    plain = CkMechanism(CKM_RSA_PKCS, None, 0)
    called.answer = (MessageOutput(), b"wrapped")
    assert wrap(1, byref(plain), 5, 6, b"aad", 3, room, byref(length)) == CKR_OK
    assert room.raw[: length.value] == b"wrapped"
    called.answer = (MessageOutput(b"nonce", None), b"wrapped")
    rv = wrap(1, byref(plain), 5, 6, b"aad", 3, room, byref(length))
    assert rv not in (CKR_OK, CKR_ARGUMENTS_BAD)
    assert wrap(1, c_void_p(), 5, 6, b"aad", 3, room, byref(length)) == CKR_ARGUMENTS_BAD
