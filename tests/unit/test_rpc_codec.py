"""The frames between the PKCS#11 library and the daemon: what they mean and what is refused."""

from __future__ import annotations

import logging
import struct

import pytest

from pkcs11_module import wire, wire_outputs
from pkcs11_module._constants import (
    CKA_ID,
    CKA_LABEL,
    CKA_VALUE,
    CKM_ECDH1_DERIVE,
    CKM_EDDSA,
    CKM_RSA_PKCS,
    CKM_RSA_PKCS_OAEP,
    CKM_RSA_PKCS_PSS,
    CKM_SHA256,
    CKR_ATTRIBUTE_SENSITIVE,
    CKR_BUFFER_TOO_SMALL,
    CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_DEVICE_REMOVED,
    CKR_FUNCTION_NOT_SUPPORTED,
    CKR_GENERAL_ERROR,
    CKR_OK,
    CKR_PIN_INCORRECT,
)
from pkcs11_module._functions import FUNCTIONS
from pkcs11_module.model import EXTENSION
from pkcs11_module.server import ApplicationRegistry, ProtocolError, RpcConnection
from pkcs11_module.types import (
    UNAVAILABLE,
    Attribute,
    AttributeRequest,
    Buffer,
    BufferTooSmall,
    Ecdh1DeriveParams,
    EddsaParams,
    Length,
    Mechanism,
    Pkcs11Error,
    RsaPkcsOaepParams,
    RsaPkcsPssParams,
)
from tests import rpc_frames as frames
from tests.rpc_server import KEY, SESSION, Recorder, ask, greeted, received


def test_functions_stand_in_the_order_of_ck_function_list() -> None:
    assert [spec.number for spec in FUNCTIONS] == list(range(104 + 34))
    assert [FUNCTIONS[n].name for n in (0, 1, 3, 18, 29, 43, 59, 67, 68, 91, 92, 103)] == [
        "C_Initialize",
        "C_Finalize",
        "C_GetFunctionList",
        "C_Login",
        "C_EncryptInit",
        "C_Sign",
        "C_GenerateKeyPair",
        "C_WaitForSlotEvent",
        "C_GetInterfaceList",
        "C_MessageVerifyFinal",
        "C_EncapsulateKey",
        "C_UnwrapKeyAuthenticated",
    ]


def test_every_version_of_the_standard_only_adds_functions_behind_the_others() -> None:
    versions = [spec.since for spec in FUNCTIONS]
    assert versions == sorted(versions)
    counted = [versions.count(version) for version in ((2, 40), (3, 0), (3, 2), EXTENSION)]
    assert counted == [68, 24, 12, 34]


def test_bytes_and_null_pointers_are_told_apart() -> None:
    login = frames.ulongs(SESSION, 1)
    assert received("C_Login", login, frames.sized(b"1234")) == (SESSION, 1, b"1234")
    assert received("C_Login", login, frames.sized(b"")) == (SESSION, 1, b"")
    assert received("C_Login", login, frames.NULL_BYTES) == (SESSION, 1, None)


def test_label_is_its_thirty_two_bytes() -> None:
    label = b"Work".ljust(32)
    pin = frames.sized(b"12345678")
    assert received("C_InitToken", frames.ulongs(7), pin, label) == (7, b"12345678", label)


def test_template_carries_types_values_and_null_pointers() -> None:
    template = frames.attributes((CKA_ID, frames.sized(b"\x01")), (CKA_LABEL, frames.NULL_BYTES))
    assert received("C_FindObjectsInit", frames.ulongs(SESSION), template) == (
        SESSION,
        (Attribute(CKA_ID, b"\x01"), Attribute(CKA_LABEL, None)),
    )


@pytest.mark.parametrize(
    ("wire_form", "mechanism"),
    [
        (frames.ulongs(CKM_RSA_PKCS) + b"\x00", Mechanism(CKM_RSA_PKCS)),
        (
            frames.ulongs(CKM_RSA_PKCS) + b"\x01" + frames.sized(b"odd"),
            Mechanism(CKM_RSA_PKCS, b"odd"),
        ),
        (
            frames.ulongs(CKM_RSA_PKCS_PSS) + b"\x02" + frames.ulongs(CKM_SHA256, 2, 32),
            Mechanism(CKM_RSA_PKCS_PSS, RsaPkcsPssParams(CKM_SHA256, 2, 32)),
        ),
        (
            frames.ulongs(CKM_RSA_PKCS_OAEP)
            + b"\x02"
            + frames.ulongs(CKM_SHA256, 2, 1)
            + frames.sized(b"label"),
            Mechanism(CKM_RSA_PKCS_OAEP, RsaPkcsOaepParams(CKM_SHA256, 2, 1, b"label")),
        ),
        (
            frames.ulongs(CKM_ECDH1_DERIVE)
            + b"\x02"
            + frames.ulongs(1)
            + frames.NULL_BYTES
            + frames.sized(b"\x04point"),
            Mechanism(CKM_ECDH1_DERIVE, Ecdh1DeriveParams(1, None, b"\x04point")),
        ),
        (
            frames.ulongs(CKM_EDDSA) + b"\x02\x01" + frames.sized(b"context"),
            Mechanism(CKM_EDDSA, EddsaParams(True, b"context")),
        ),
    ],
    ids=["nothing", "bytes", "pss", "oaep", "ecdh", "eddsa"],
)
def test_mechanism_parameters_become_their_class(wire_form: bytes, mechanism: Mechanism) -> None:
    args = received("C_SignInit", frames.ulongs(SESSION), wire_form, frames.ulongs(KEY))
    assert args == (SESSION, mechanism, KEY)


def test_output_buffers_come_with_their_capacity() -> None:
    start = frames.ulongs(SESSION) + frames.sized(b"data")
    assert received("C_Sign", start, frames.ulongs(64)) == (SESSION, b"data", Buffer(64))
    assert received("C_Sign", start, frames.NULL) == (SESSION, b"data", Buffer(None))
    assert received("C_GetSlotList", b"\x01", frames.ulongs(4)) == (True, Buffer(4))


def test_buffer_answers_the_bytes_or_only_their_length() -> None:
    start = frames.ulongs(SESSION) + frames.sized(b"data")
    assert ask(b"sig", "C_Sign", start, frames.ulongs(3)) == (
        CKR_OK,
        b"\x02" + frames.sized(b"sig"),
    )
    length = (CKR_OK, b"\x01" + frames.ulongs(64))
    assert ask(Length(64), "C_Sign", start, frames.NULL) == length
    assert ask(bytes(64), "C_Sign", start, frames.NULL) == length


def test_short_buffer_is_told_the_length_it_needs() -> None:
    answer = ask(BufferTooSmall(256), "C_SignFinal", frames.ulongs(SESSION, 10))
    assert answer == (CKR_BUFFER_TOO_SMALL, frames.ulongs(256))


def test_buffer_runs_the_operation_only_where_the_output_fits() -> None:
    ran = []

    def run() -> bytes:
        ran.append(True)
        return b"done"

    assert Buffer(None).fill(4, run) == Length(4)
    with pytest.raises(BufferTooSmall) as short:
        Buffer(3).fill(4, run)
    assert (short.value.length, ran) == (4, [])
    assert Buffer(4).fill(4, run) == b"done"


def test_an_answer_longer_than_the_callers_buffer_never_leaves() -> None:
    rv, rest = ask(bytes(65), "C_SignFinal", frames.ulongs(SESSION, 64))
    assert (rv, rest) == (CKR_GENERAL_ERROR, b"")


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("C_FindObjects", frames.ulongs(SESSION, 2), [1, 2, 3]),
        ("C_GenerateRandom", frames.ulongs(SESSION, 8), bytes(7)),
        ("C_CloseSession", frames.ulongs(SESSION), 1),
        ("C_GetObjectSize", frames.ulongs(SESSION, 1), "big"),
        ("C_GetMechanismInfo", frames.ulongs(1, 1), (1, 2)),
        ("C_GetObjectSize", frames.ulongs(SESSION, 1), -1),
    ],
    ids=["too many", "too few", "unasked", "not a number", "fields missing", "negative"],
)
def test_a_value_the_table_does_not_promise_is_a_general_error(
    name: str, arguments: bytes, value: object
) -> None:
    assert ask(value, name, arguments) == (CKR_GENERAL_ERROR, b"")


def test_lists_and_found_objects_are_counted() -> None:
    items = struct.pack("<I", 2) + frames.ulongs(5, 6)
    assert ask([5, 6], "C_GetSlotList", b"\x00", frames.ulongs(9)) == (CKR_OK, b"\x02" + items)
    assert ask(Length(2), "C_GetSlotList", b"\x00", frames.NULL) == (
        CKR_OK,
        b"\x01" + frames.ulongs(2),
    )
    assert ask([5, 6], "C_FindObjects", frames.ulongs(SESSION, 9)) == (CKR_OK, items)


def test_structures_are_padded_with_blanks_never_with_nul() -> None:
    info = ((2, 40), "Klyuch", 0, "Ключ", (1, 2))
    rv, rest = ask(info, "C_GetInfo")
    assert rv == CKR_OK
    assert rest == (
        b"\x02\x28" + b"Klyuch".ljust(32) + bytes(8) + "Ключ".encode().ljust(32) + b"\x01\x02"
    )


def test_long_text_is_cut_between_characters() -> None:
    assert wire_outputs.pad("ключ", 7) == "клю".encode() + b" "


def test_key_pair_answers_both_handles() -> None:
    template = frames.attributes()
    mechanism = frames.ulongs(0) + b"\x00"
    answer = ask((1, 2), "C_GenerateKeyPair", frames.ulongs(3), mechanism, template, template)
    assert answer == (CKR_OK, frames.ulongs(1, 2))


def test_attributes_answer_values_lengths_and_unavailable_ones_together() -> None:
    asked = frames.attributes(
        (CKA_ID, frames.ulongs(8)), (CKA_LABEL, frames.NULL), (CKA_VALUE, frames.ulongs(8))
    )
    value = (CKR_ATTRIBUTE_SENSITIVE, [b"\x01", Length(4), UNAVAILABLE])
    rv, rest = ask(value, "C_GetAttributeValue", frames.ulongs(SESSION, 1), asked)
    assert rv == CKR_ATTRIBUTE_SENSITIVE
    assert rest == (
        struct.pack("<I", 3)
        + b"\x02" + frames.sized(b"\x01")
        + b"\x01" + frames.ulongs(4)
        + b"\x00"
    )  # fmt: skip


def test_attribute_that_does_not_fit_is_unavailable_and_buffer_too_small() -> None:
    asked = frames.attributes((CKA_ID, frames.ulongs(2)), (CKA_LABEL, frames.ulongs(4)))
    value = (CKR_OK, [b"long", b"fits"])
    rv, rest = ask(value, "C_GetAttributeValue", frames.ulongs(SESSION, 1), asked)
    assert rv == CKR_BUFFER_TOO_SMALL
    assert rest == struct.pack("<I", 2) + b"\x00" + b"\x02" + frames.sized(b"fits")


def test_attribute_request_follows_the_standards_three_cases() -> None:
    assert AttributeRequest(CKA_ID, None).fill(b"abc") == Length(3)
    assert AttributeRequest(CKA_ID, 3).fill(b"abc") == b"abc"
    assert AttributeRequest(CKA_ID, 2).fill(b"abc") is UNAVAILABLE


def test_errors_carry_their_code_and_nothing_else() -> None:
    answer = ask(Pkcs11Error(CKR_PIN_INCORRECT), "C_Logout", frames.ulongs(SESSION))
    assert answer == (CKR_PIN_INCORRECT, b"")


def test_a_defect_is_a_general_error_and_the_next_call_works(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pin = b"481516"
    failing: list[Exception] = [ValueError(f"cannot use {pin!r}")]

    def give() -> object:
        if failing:
            raise failing.pop()
        return None

    connection = greeted(Recorder(give))
    login = wire.frame(frames.call("C_Login", frames.ulongs(SESSION, 1), frames.sized(pin)))
    with caplog.at_level(logging.ERROR):
        replies = frames.split(*connection.receive(login + login))
    assert [frames.answer(reply)[0] for reply in replies] == [CKR_GENERAL_ERROR, CKR_OK]
    assert "C_Login failed: ValueError" in caplog.text
    assert pin.decode() not in caplog.text


def test_secrets_do_not_show_in_the_representation_of_arguments() -> None:
    assert "481516" not in repr(Attribute(CKA_VALUE, b"481516"))


def test_frames_may_arrive_in_any_pieces() -> None:
    application = Recorder()
    connection = RpcConnection(ApplicationRegistry(lambda: application))
    stream = frames.GREETING + 2 * wire.frame(frames.call("C_Logout", frames.ulongs(SESSION)))
    replies = [reply for byte in stream for reply in connection.receive(bytes([byte]))]
    assert len(replies) == 3
    assert application.calls == [("C_Logout", (SESSION,))] * 2


def test_second_connection_attaches_by_the_id_and_only_the_anchor_ends_the_application() -> None:
    application = Recorder()
    registry = ApplicationRegistry(lambda: application)
    anchor, other = RpcConnection(registry), RpcConnection(registry)
    (reply,) = anchor.receive(frames.GREETING)
    ident = reply[8:]
    assert ident != bytes(16)
    (attached,) = other.receive(frames.GREETING[:-16] + ident)
    assert attached == reply
    other.receive(wire.frame(frames.call("C_Logout", frames.ulongs(SESSION))))
    other.closed()
    assert (len(application.calls), application.closed.is_set()) == (1, False)
    anchor.closed()
    assert application.closed.is_set()
    assert len(registry) == 0


def test_application_that_ended_is_not_initialized_for_its_other_connections() -> None:
    registry = ApplicationRegistry(Recorder)
    anchor, other, late = (RpcConnection(registry) for _ in range(3))
    (reply,) = anchor.receive(frames.GREETING)
    other.receive(frames.GREETING[:-16] + reply[8:])
    (farewell,) = anchor.receive(wire.frame(frames.call("C_Finalize")))
    assert frames.answer(farewell) == (CKR_OK, b"")
    (refused,) = other.receive(wire.frame(frames.call("C_Logout", frames.ulongs(SESSION))))
    assert frames.answer(refused) == (CKR_CRYPTOKI_NOT_INITIALIZED, b"")
    (unknown,) = late.receive(frames.GREETING[:-16] + reply[8:])
    assert int.from_bytes(unknown[4:8], "little") == CKR_CRYPTOKI_NOT_INITIALIZED


def test_applications_do_not_share_anything() -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    registry = ApplicationRegistry(factory)
    first, second = RpcConnection(registry), RpcConnection(registry)
    first.receive(frames.GREETING)
    second.receive(frames.GREETING)
    first.receive(wire.frame(frames.call("C_Logout", frames.ulongs(SESSION))))
    assert [len(application.calls) for application in made] == [1, 0]
    first.closed()
    assert [application.closed.is_set() for application in made] == [True, False]


def test_an_application_that_cannot_start_is_refused_with_its_reason() -> None:
    def no_device() -> Recorder:
        raise Pkcs11Error(CKR_DEVICE_REMOVED)

    def defect() -> Recorder:
        raise KeyError

    for factory, rv in ((no_device, CKR_DEVICE_REMOVED), (defect, CKR_GENERAL_ERROR)):
        (reply,) = RpcConnection(ApplicationRegistry(factory)).receive(frames.GREETING)
        assert reply[4:] == struct.pack("<I", rv) + bytes(16)


def test_another_protocol_version_is_refused_politely() -> None:
    greeting = wire.frame(wire.MAGIC + struct.pack("<I", wire.VERSION - 1) + bytes(16))
    (reply,) = RpcConnection(ApplicationRegistry(Recorder)).receive(greeting)
    assert reply[4:] == struct.pack("<I", CKR_GENERAL_ERROR) + bytes(16)


@pytest.mark.parametrize("name", ["C_Initialize", "C_GetFunctionList", "C_GetFunctionStatus"])
def test_functions_the_library_answers_itself_are_not_served(name: str) -> None:
    arguments = frames.ulongs(SESSION) if name == "C_GetFunctionStatus" else b""
    assert ask(None, name, arguments) == (CKR_FUNCTION_NOT_SUPPORTED, b"")


def test_a_refused_call_reaches_the_application_as_its_name_and_its_session() -> None:
    application = Recorder()
    connection = greeted(application)
    (reply,) = connection.receive(wire.frame(frames.refusal("C_Sign", frames.ulongs(SESSION))))
    assert frames.answer(reply) == (CKR_OK, b"")
    assert (application.refusals, application.calls) == ([("C_Sign", SESSION)], [])


def test_a_defect_while_a_refusal_is_noted_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    class Defective(Recorder):
        def refused(self, name: str, session: int) -> None:
            raise KeyError(name)

    connection = greeted(Defective())
    with caplog.at_level(logging.CRITICAL):
        (reply,) = connection.receive(wire.frame(frames.refusal("C_Sign", frames.ulongs(SESSION))))
    assert frames.answer(reply) == (CKR_GENERAL_ERROR, b"")


def test_a_refused_call_of_an_application_that_ended_is_not_initialized() -> None:
    connection = greeted(Recorder())
    connection.receive(wire.frame(frames.call("C_Finalize")))
    (reply,) = connection.receive(wire.frame(frames.refusal("C_Sign", frames.ulongs(SESSION))))
    assert frames.answer(reply) == (CKR_CRYPTOKI_NOT_INITIALIZED, b"")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        frames.call("C_Logout"),
        frames.call("C_Logout", frames.ulongs(SESSION), b"\x00"),
        struct.pack("<I", len(FUNCTIONS)),
        frames.call("C_Login", frames.ulongs(SESSION, 1), struct.pack("<I", 100) + b"short"),
        frames.call("C_FindObjectsInit", frames.ulongs(SESSION), struct.pack("<I", 0xFFFFFFFF)),
        frames.call(
            "C_SignInit", frames.ulongs(SESSION, CKM_RSA_PKCS), b"\x03", frames.ulongs(KEY)
        ),
        frames.call(
            "C_SignInit", frames.ulongs(SESSION, CKM_RSA_PKCS), b"\x02", frames.ulongs(KEY)
        ),
        frames.refusal("C_Sign"),
        frames.refusal("C_Sign", frames.ulongs(SESSION)[:7]),
        frames.refusal("C_Sign", frames.ulongs(SESSION), b"\x00"),
        frames.refusal("C_SignInit", frames.ulongs(SESSION)),
        frames.refusal("C_FindObjects", frames.ulongs(SESSION)),
        frames.refusal("C_Finalize", frames.ulongs(SESSION)),
        struct.pack("<IQ", wire.REFUSED | len(FUNCTIONS), SESSION),
    ],
    ids=[
        "empty",
        "argument missing",
        "too long",
        "unknown function",
        "bytes cut",
        "attribute count beyond the frame",
        "unknown form",
        "fields of a plain mechanism",
        "refusal without a session",
        "refusal with a cut session",
        "refusal too long",
        "refusal that begins something",
        "refusal that changes nothing",
        "refusal of a local function",
        "refusal of an unknown function",
    ],
)
def test_a_call_that_is_not_the_protocol_closes_the_connection(body: bytes) -> None:
    application = Recorder()
    connection = greeted(application)
    with pytest.raises(ProtocolError):
        connection.receive(wire.frame(body))
    assert (application.calls, application.refusals) == ([], [])


@pytest.mark.parametrize(
    "greeting",
    [
        wire.frame(b"KLY0" + struct.pack("<I", 1) + bytes(16)),
        wire.frame(wire.MAGIC),
        wire.frame(frames.call("C_GetInfo")),
        struct.pack("<I", wire.HELLO_SIZE + 1),
        struct.pack("<I", 0xFFFFFFFF),
    ],
    ids=["other magic", "short", "call first", "long", "huge"],
)
def test_a_connection_that_does_not_greet_is_closed(greeting: bytes) -> None:
    with pytest.raises(ProtocolError):
        RpcConnection(ApplicationRegistry(Recorder)).receive(greeting)


def test_a_frame_beyond_the_limit_is_refused_before_it_arrives() -> None:
    connection = greeted(Recorder())
    with pytest.raises(ProtocolError):
        connection.receive(struct.pack("<I", wire.FRAME_MAX + 1))
