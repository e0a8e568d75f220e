"""The PKCS#11 library in C, against the real server side and an application without a card."""

from __future__ import annotations

import ctypes
import struct
import subprocess
import threading
import time
from ctypes import byref, c_ulong
from pathlib import Path
from typing import Any, Final

import pytest

from host_tools.cryptoki import Cryptoki
from host_tools.cryptoki_types import CkAttribute, CkMechanism
from pkcs11_module import wire
from pkcs11_module._constants import (
    CK_UNAVAILABLE_INFORMATION,
    CKA_LABEL,
    CKD_KDF_GOSTR3411_2012_256,
    CKM_ECDH1_DERIVE,
    CKM_GOSTR3410_12_DERIVE,
    CKM_RSA_PKCS_PSS,
    CKR_ARGUMENTS_BAD,
    CKR_ATTRIBUTE_TYPE_INVALID,
    CKR_BUFFER_TOO_SMALL,
    CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_DEVICE_REMOVED,
    CKR_FUNCTION_NOT_PARALLEL,
    CKR_HOST_MEMORY,
    CKR_MECHANISM_PARAM_INVALID,
    CKR_NAMES,
    CKR_OK,
    CKR_SESSION_HANDLE_INVALID,
)
from pkcs11_module._functions import FUNCTIONS
from pkcs11_module.model import FunctionSpec, Kind
from pkcs11_module.types import UNAVAILABLE, Ecdh1DeriveParams, Gostr3410DeriveParams, Mechanism
from tests.interop.cryptoki_samples import NUMBER, SERVED, SESSION, sample_call
from tests.interop.fake_daemon import SIGNATURE, SLOT, FakeApplication, FakeDaemon, Recorder
from tests.interop.liar import Liar
from tests.rpc_frames import NULL_BYTES
from tests.vectors.operation_rules import FUNCTIONS as FUNCTION_RULES
from tests.vectors.operation_rules import USES

HUGE: Final = (2**63, 2**64 - 1, wire.FRAME_MAX * 4)


def named(spec: FunctionSpec) -> str:
    return spec.name


def ends(spec: FunctionSpec) -> bool:
    """Whether the table says that an error of the function changes an operation."""
    uses = FUNCTION_RULES[spec.name].get("does", {}).values()
    return any(USES[use]["error"] != "same" for use in uses)


@pytest.mark.parametrize("spec", SERVED, ids=named)
def test_every_function_carries_its_arguments_and_outputs(
    spec: FunctionSpec, library: Cryptoki, recorder: Recorder
) -> None:
    library.initialize()
    call = sample_call(spec)
    recorder.answer = call.answer
    assert CKR_NAMES[library.raw[spec.name](*call.values)] == "CKR_OK"
    assert recorder.calls == [(spec.name, call.arrives)]
    call.check()


@pytest.mark.parametrize("spec", SERVED, ids=named)
def test_null_pointers_are_refused_without_a_call_and_the_daemon_is_told_what_that_ends(
    spec: FunctionSpec, library: Cryptoki, recorder: Recorder
) -> None:
    library.initialize()
    call = sample_call(spec)
    for place in call.places(lambda sample: sample.pointers):
        values = call.values
        values[place] = None
        recorder.refusals.clear()
        assert CKR_NAMES[library.raw[spec.name](*values)] == "CKR_ARGUMENTS_BAD", place
        assert recorder.refusals == ([(spec.name, SESSION)] if ends(spec) else [])
    assert recorder.calls == []


@pytest.mark.parametrize("spec", SERVED, ids=named)
@pytest.mark.parametrize("length", HUGE)
def test_huge_lengths_are_refused_without_touching_memory(
    spec: FunctionSpec, length: int, library: Cryptoki, recorder: Recorder
) -> None:
    library.initialize()
    call = sample_call(spec)
    for place in call.places(lambda sample: sample.lengths):
        values = call.values
        values[place] = length
        recorder.refusals.clear()
        assert library.raw[spec.name](*values) in (CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY), place
        assert recorder.refusals == ([(spec.name, SESSION)] if ends(spec) else [])
    assert recorder.calls == []


@pytest.mark.parametrize("spec", FUNCTIONS, ids=named)
def test_functions_before_initialisation_say_so(spec: FunctionSpec, library: Cryptoki) -> None:
    if spec.local == "hand" and spec.name != "C_Finalize":
        return
    values = sample_call(spec).values
    assert library.raw[spec.name](*values) == CKR_CRYPTOKI_NOT_INITIALIZED


def test_a_capacity_larger_than_any_answer_is_allowed(library: Cryptoki, fake: FakeDaemon) -> None:
    with library:
        session = library.open_session(SLOT)
        room, size = ctypes.create_string_buffer(128), c_ulong(2**64 - 1)
        session.call("C_Sign", b"data", 4, room, byref(size))
        assert room.raw[: size.value] == SIGNATURE


def test_size_query_and_short_buffer_tell_the_length(library: Cryptoki, fake: FakeDaemon) -> None:
    with library:
        session = library.open_session(SLOT)
        size = c_ulong()
        session.call("C_Sign", b"data", 4, None, byref(size))
        assert size.value == len(SIGNATURE)
        room, size = ctypes.create_string_buffer(64), c_ulong(63)
        short = session.call(
            "C_Sign", b"data", 4, room, byref(size), allowed=[CKR_BUFFER_TOO_SMALL]
        )
        assert (short, size.value) == (CKR_BUFFER_TOO_SMALL, len(SIGNATURE))
        assert room.raw == bytes(64)


def test_zero_lengths_with_null_pointers_pass(library: Cryptoki, recorder: Recorder) -> None:
    library.initialize()
    recorder.answer = None
    assert library.raw["C_FindObjectsInit"](1, None, 0) == CKR_OK
    assert library.raw["C_Login"](1, 1, None, 0) == CKR_OK
    recorder.answer = b""
    assert library.raw["C_GenerateRandom"](1, None, 0) == CKR_OK
    assert recorder.calls == [
        ("C_FindObjectsInit", (1, ())),
        ("C_Login", (1, 1, None)),
        ("C_GenerateRandom", (1, 0)),
    ]


def test_attributes_are_filled_beside_unavailable_ones(
    library: Cryptoki, recorder: Recorder
) -> None:
    library.initialize()
    room = ctypes.create_string_buffer(8)
    asked = (CkAttribute * 2)(
        CkAttribute(NUMBER, None, 0), CkAttribute(CKA_LABEL, ctypes.addressof(room), 8)
    )
    recorder.answer = (CKR_ATTRIBUTE_TYPE_INVALID, [UNAVAILABLE, b"key"])
    assert library.raw["C_GetAttributeValue"](1, 1, asked, 2) == CKR_ATTRIBUTE_TYPE_INVALID
    assert asked[0].ulValueLen == CK_UNAVAILABLE_INFORMATION
    assert room.raw[: asked[1].ulValueLen] == b"key"


def test_mechanism_parameter_of_the_wrong_size_is_refused(
    library: Cryptoki, recorder: Recorder
) -> None:
    library.initialize()
    parameter = ctypes.create_string_buffer(40)
    mechanism = CkMechanism(CKM_RSA_PKCS_PSS, ctypes.addressof(parameter), 23)
    rv = library.raw["C_SignInit"](1, byref(mechanism), 1)
    assert rv == CKR_MECHANISM_PARAM_INVALID
    mechanism = CkMechanism(CKM_RSA_PKCS_PSS, None, 24)
    assert library.raw["C_SignInit"](1, byref(mechanism), 1) == CKR_ARGUMENTS_BAD
    assert recorder.calls == []


POINT, UKM = bytes(range(64)), bytes(range(1, 9))


@pytest.mark.parametrize("number", ["I", "Q"], ids=["32 bits", "64 bits"])
@pytest.mark.parametrize("size", [64, 128])
def test_a_structure_in_one_buffer_is_taken_apart(
    library: Cryptoki, recorder: Recorder, number: str, size: int
) -> None:
    """As Aktiv's wrappers for Java and .NET send it."""
    library.initialize()
    point = bytes(range(size))
    fields = (CKD_KDF_GOSTR3411_2012_256, size, point, len(UKM), UKM)
    packed = struct.pack(f"<2{number}{size}s{number}8s", *fields)
    memory = ctypes.create_string_buffer(packed, len(packed))
    mechanism = CkMechanism(CKM_GOSTR3410_12_DERIVE, ctypes.addressof(memory), len(packed))
    recorder.answer = 5
    library.call("C_DeriveKey", 1, byref(mechanism), 2, None, 0, byref(c_ulong()))
    parameter = Gostr3410DeriveParams(CKD_KDF_GOSTR3411_2012_256, point, UKM)
    arrived = Mechanism(CKM_GOSTR3410_12_DERIVE, parameter)
    assert recorder.calls == [("C_DeriveKey", (1, arrived, 2, ()))]


@pytest.mark.parametrize(
    "buffer",
    [
        b"\1",
        struct.pack("<2I64sI7s", 1, 64, POINT, 8, UKM),
        struct.pack("<2I64sI9s", 1, 64, POINT, 8, UKM),
        struct.pack("<2I64sI8s", 1, 0xFFFFFFFF, POINT, 8, UKM),
        struct.pack("<2Q64sQ8s", 1, 2**64 - 1, POINT, 8, UKM),
        struct.pack("<2I64sQ8s", 1, 64, POINT, 8, UKM),
    ],
)
def test_a_buffer_that_is_not_the_structure_stays_bytes(
    library: Cryptoki, recorder: Recorder, buffer: bytes
) -> None:
    library.initialize()
    memory = ctypes.create_string_buffer(buffer, len(buffer))
    mechanism = CkMechanism(CKM_GOSTR3410_12_DERIVE, ctypes.addressof(memory), len(buffer))
    recorder.answer = 5
    library.call("C_DeriveKey", 1, byref(mechanism), 2, None, 0, byref(c_ulong()))
    arrived = Mechanism(CKM_GOSTR3410_12_DERIVE, buffer)
    assert recorder.calls == [("C_DeriveKey", (1, arrived, 2, ()))]


def test_pointers_inside_a_parameter_are_followed_also_unaligned(
    library: Cryptoki, recorder: Recorder
) -> None:
    library.initialize()
    point = ctypes.create_string_buffer(b"\x04point", 6)
    packed = struct.pack("@LLPLP", 1, 0, 0, 6, ctypes.addressof(point))
    memory = ctypes.create_string_buffer(b"\x00" + packed, 1 + len(packed))
    mechanism = CkMechanism(CKM_ECDH1_DERIVE, ctypes.addressof(memory) + 1, len(packed))
    recorder.answer = 5
    library.call("C_DeriveKey", 1, byref(mechanism), 2, None, 0, byref(c_ulong()))
    arrived = Mechanism(CKM_ECDH1_DERIVE, Ecdh1DeriveParams(1, None, b"\x04point"))
    assert recorder.calls == [("C_DeriveKey", (1, arrived, 2, ()))]
    broken = struct.pack("@LLPLP", 1, 5, 0, 6, ctypes.addressof(point))
    memory = ctypes.create_string_buffer(broken, len(broken))
    mechanism = CkMechanism(CKM_ECDH1_DERIVE, ctypes.addressof(memory), len(broken))
    rv = library.raw["C_DeriveKey"](1, byref(mechanism), 2, None, 0, byref(c_ulong()))
    assert rv == CKR_ARGUMENTS_BAD


@pytest.mark.parametrize("handle", [0, 2, 2**40 + 1, 2**63, 2**64 - 1])
def test_wild_session_handles_are_invalid(handle: int, library: Cryptoki, fake: FakeDaemon) -> None:
    with library:
        assert library.open_session(SLOT).handle == 1
        assert library.raw["C_Logout"](handle) != CKR_OK
        assert library.raw["C_CloseSession"](handle) == CKR_SESSION_HANDLE_INVALID


def test_legacy_functions_are_not_parallel(library: Cryptoki, fake: FakeDaemon) -> None:
    with library:
        for name in ("C_GetFunctionStatus", "C_CancelFunction"):
            assert library.raw[name](1) == CKR_FUNCTION_NOT_PARALLEL


def test_only_the_standards_functions_are_exported(library: Cryptoki) -> None:
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", library.path], capture_output=True, text=True, check=True
    )
    names = {line.split()[-1] for line in listed.stdout.splitlines()}
    assert names == {spec.name for spec in FUNCTIONS}


class Echo(FakeApplication):
    """Signs by giving the data back, slowly enough that threads overlap."""

    def sign(self, session: int, data: bytes | None, buffer: Any) -> Any:
        time.sleep(0.001)
        return buffer.fill(len(data or b""), lambda: data)


def test_threads_get_their_own_answers(library: Cryptoki, folder: Path) -> None:
    wrong: list[bytes] = []

    def work(number: int) -> None:
        session = library.open_session(SLOT)
        for turn in range(10):
            data = b"%d/%d" % (number, turn) * 100
            if session.sign(CKM_RSA_PKCS_PSS, 1, data) != data:
                wrong.append(data)

    with FakeDaemon(folder, Echo), library:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_large_data_travels_both_ways(library: Cryptoki, folder: Path) -> None:
    data = bytes(range(256)) * 4096 * 4
    with FakeDaemon(folder, Echo), library:
        assert library.open_session(SLOT).sign(CKM_RSA_PKCS_PSS, 1, data) == data


OK: Final = struct.pack("<Q", CKR_OK)
LIES: Final = {
    "empty": b"",
    "no outputs": OK,
    "half a number": OK + b"\x01\x02",
    "unknown form": OK + b"\x09" + bytes(64),
    "data longer than the frame": OK + b"\x02" + struct.pack("<I", 1000) + bytes(10),
    "data longer than the buffer": OK + b"\x02" + struct.pack("<I", 1000) + bytes(1000),
    "endless data": OK + b"\x02" + struct.pack("<I", 0xFFFFFFFF) + bytes(16),
    "endless list": OK + struct.pack("<I", 0xFFFFFFFF) + bytes(64),
    "more than a nonce": OK + struct.pack("<I", 13) + bytes(64),
    "more than a tag": OK + NULL_BYTES + struct.pack("<I", 16) + bytes(64),
    "trailing bytes": OK + bytes(5000),
}
OUTPUT_KINDS: Final = {
    Kind.BUFFER,
    Kind.LAST,
    Kind.LIST,
    Kind.FIND,
    Kind.FILLED,
    Kind.STRUCT,
    Kind.ATTRIBUTES,
    Kind.MESSAGE,
    Kind.WRAPPING,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_daemon_that_lies_about_lengths_overwrites_nothing(
    lie: bytes, library: Cryptoki, liar: Liar
) -> None:
    library.initialize()
    liar.answer = wire.frame(lie)
    for spec in SERVED:
        if not OUTPUT_KINDS.intersection(argument.kind for argument in spec.arguments):
            continue
        call = sample_call(spec)
        assert CKR_NAMES[library.raw[spec.name](*call.values)] == "CKR_DEVICE_ERROR", spec.name
        for sample in call.samples:
            for kept in sample.kept:
                if isinstance(kept, ctypes.Array) and kept._type_ is ctypes.c_ubyte:
                    assert kept[-1] == 0xA5, spec.name


@pytest.mark.parametrize(
    "answer",
    [b"\xff\xff\xff\xff", struct.pack("<I", wire.FRAME_MAX + 1), wire.frame(OK) + b"\x00"],
    ids=["endless frame", "frame beyond the limit", "more than one frame"],
)
def test_a_broken_frame_drops_the_connection(answer: bytes, library: Cryptoki, liar: Liar) -> None:
    library.initialize()
    liar.answer = answer
    assert library.raw["C_Logout"](1) == CKR_DEVICE_REMOVED
    assert library.raw["C_Logout"](1) == CKR_SESSION_HANDLE_INVALID
