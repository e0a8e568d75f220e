"""Structures in the frames between library and daemon: parameters, messages, nested templates."""

from __future__ import annotations

import struct

import pytest

from pkcs11_module import wire
from pkcs11_module._constants import (
    CKA_ID,
    CKA_LABEL,
    CKA_WRAP_TEMPLATE,
    CKM_AES_CTR,
    CKM_AES_GCM,
    CKR_BUFFER_TOO_SMALL,
    CKR_GENERAL_ERROR,
    CKR_OK,
)
from pkcs11_module.server import ProtocolError
from pkcs11_module.types import (
    AesCtrParams,
    Attribute,
    Buffer,
    GcmMessageParams,
    GcmParams,
    Mechanism,
    MessageOutput,
)
from tests import rpc_frames as frames
from tests.rpc_server import KEY, SESSION, Recorder, ask, greeted, received

GCM = frames.sized(b"nonce") + frames.ulongs(32, 1) + frames.sized(bytes(16)) + frames.ulongs(128)
GCM_PARAMETER = GcmMessageParams(b"nonce", 32, 1, bytes(16), 128)


@pytest.mark.parametrize(
    ("wire_form", "parameter"),
    [
        (b"\x00", None),
        (b"\x01" + frames.sized(b"raw"), b"raw"),
        (b"\x02" + GCM, GCM_PARAMETER),
    ],
    ids=["nothing", "bytes", "gcm"],
)
def test_parameters_of_messages_become_their_class(wire_form: bytes, parameter: object) -> None:
    args = received(
        "C_EncryptMessageBegin", frames.ulongs(SESSION), wire_form, frames.sized(b"aad")
    )
    assert args == (SESSION, parameter, b"aad")


def test_one_mechanism_has_another_structure_where_messages_are() -> None:
    kind = frames.ulongs(CKM_AES_GCM) + b"\x02"
    key = frames.ulongs(KEY)
    plain = frames.sized(b"nonce") + frames.ulongs(96) + frames.NULL_BYTES + frames.ulongs(128)
    session = frames.ulongs(SESSION)
    _, mechanism, _ = received("C_MessageEncryptInit", session, kind + GCM, key)
    assert mechanism == Mechanism(CKM_AES_GCM, GCM_PARAMETER)
    _, mechanism, _ = received("C_EncryptInit", session, kind + plain, key)
    assert mechanism == Mechanism(CKM_AES_GCM, GcmParams(b"nonce", 96, None, 128))


def test_arrays_inside_a_structure_have_its_length() -> None:
    form = frames.ulongs(CKM_AES_CTR) + b"\x02" + frames.ulongs(64) + bytes(range(16))
    args = received("C_EncryptInit", frames.ulongs(SESSION), form, frames.ulongs(KEY))
    mechanism = Mechanism(CKM_AES_CTR, AesCtrParams(64, bytes(range(16))))
    assert args == (SESSION, mechanism, KEY)


def test_no_mechanism_ends_an_operation_and_is_none() -> None:
    nothing = frames.ulongs(0) + b"\x03"
    key = frames.ulongs(KEY)
    assert received("C_SignInit", frames.ulongs(SESSION), nothing, key) == (SESSION, None, KEY)


def test_what_is_written_back_into_a_message_stands_before_its_output() -> None:
    start = frames.ulongs(SESSION) + b"\x02" + GCM + frames.NULL_BYTES + frames.sized(b"text")
    output = (MessageOutput(b"made!", None), b"cryptext")
    assert ask(output, "C_EncryptMessage", start, frames.ulongs(64)) == (
        CKR_OK,
        frames.sized(b"made!") + frames.NULL_BYTES + b"\x02" + frames.sized(b"cryptext"),
    )
    begin = frames.ulongs(SESSION) + b"\x00" + frames.NULL_BYTES
    nothing = (CKR_OK, frames.NULL_BYTES * 2)
    assert ask(MessageOutput(), "C_EncryptMessageBegin", begin) == nothing


@pytest.mark.parametrize(
    "output",
    [MessageOutput(b"too long for it"), MessageOutput(None, bytes(17)), None, (None, None)],
)
def test_more_than_a_message_has_room_for_never_leaves(output: object) -> None:
    start = frames.ulongs(SESSION) + b"\x02" + GCM + frames.NULL_BYTES
    assert ask(output, "C_EncryptMessageBegin", start) == (CKR_GENERAL_ERROR, b"")


def test_the_last_output_is_asked_for_or_not() -> None:
    start = frames.ulongs(SESSION) + frames.NULL_BYTES + frames.sized(b"part")
    assert received("C_SignMessageNext", start, b"\x00") == (SESSION, None, b"part", None)
    asked = b"\x01" + frames.ulongs(64)
    assert received("C_SignMessageNext", start, asked) == (SESSION, None, b"part", Buffer(64))
    assert ask(None, "C_SignMessageNext", start, b"\x00") == (CKR_OK, b"\x00")
    assert ask(b"sig", "C_SignMessageNext", start, asked) == (
        CKR_OK,
        b"\x02" + frames.sized(b"sig"),
    )
    assert ask(b"sig", "C_SignMessageNext", start, b"\x00") == (CKR_GENERAL_ERROR, b"")


def nested(depth: int) -> bytes:
    """Templates within templates."""
    inner = frames.attributes((CKA_ID, frames.sized(b"\x01")))
    for _ in range(depth):
        inner = frames.attributes((CKA_WRAP_TEMPLATE, inner))
    return inner


def test_templates_are_nested_as_deep_as_the_library_sends_them_and_no_deeper() -> None:
    _, (attribute,) = received(
        "C_FindObjectsInit", frames.ulongs(SESSION), nested(wire.NESTING_MAX)
    )
    for _ in range(wire.NESTING_MAX):
        assert attribute.value is None
        (attribute,) = attribute.nested
    assert attribute == Attribute(CKA_ID, b"\x01")
    deeper = frames.call("C_FindObjectsInit", frames.ulongs(SESSION), nested(wire.NESTING_MAX + 1))
    with pytest.raises(ProtocolError):
        greeted(Recorder()).receive(wire.frame(deeper))


def test_a_template_is_answered_attribute_by_attribute() -> None:
    places = frames.attributes((0, frames.ulongs(8)), (0, frames.NULL), (0, frames.ulongs(1)))
    asked = frames.attributes((CKA_WRAP_TEMPLATE, places))
    template = (Attribute(CKA_ID, b"\x01"), Attribute(CKA_LABEL, b"key"), Attribute(CKA_ID, b"12"))
    arguments = (frames.ulongs(SESSION, 1), asked)
    rv, rest = ask((CKR_OK, [template]), "C_GetAttributeValue", *arguments)
    assert rv == CKR_BUFFER_TOO_SMALL
    assert rest == (
        struct.pack("<IBI", 1, 3, 3)
        + frames.ulongs(CKA_ID) + b"\x02" + frames.sized(b"\x01")
        + frames.ulongs(CKA_LABEL) + b"\x01" + frames.ulongs(3)
        + frames.ulongs(CKA_ID) + b"\x00"
    )  # fmt: skip
