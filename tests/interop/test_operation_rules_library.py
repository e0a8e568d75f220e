"""The rows of spec/pkcs11/rules.toml through the C interface, with the real daemon and its card."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator
from ctypes import byref, c_ulong, c_void_p
from typing import Any

import pytest

from host_tools.cryptoki import Cryptoki, GcmMessage, Session
from host_tools.cryptoki_types import CkMechanism
from host_tools.testing import Scratch
from pkcs11_module import _constants as ck
from pkcs11_module._functions import FUNCTIONS as SPECS
from pkcs11_module.model import Kind
from pkcs11_module.types import AesCtrParams, Buffer, GcmMessageParams, Mechanism
from tests.unit.facade_rig import P256
from tests.vectors.operation_rules import (
    ARGUMENTS,
    BEGINNERS,
    FUNCTIONS,
    LAST,
    OPERATIONS,
    SECRET,
    USES,
    Stage,
    sized,
)

KINDS = {spec.name: [item.kind for item in spec.arguments][1:] for spec in SPECS}
ROWS = [
    (name, kind, state)
    for name, rule in FUNCTIONS.items()
    if len(rule.get("does", ())) == 1
    for kind in rule["does"]
    for state in ["none", *OPERATIONS[kind]["states"]]
]


class Output:
    """An output buffer: a pointer to it and one to its length."""

    def __init__(self, buffer: Buffer | None) -> None:
        room = buffer.capacity if buffer is not None else None
        self.length = c_ulong(room or 0)
        self.data = ctypes.create_string_buffer(room + 1) if room is not None else None
        pointers = self.data, byref(self.length)
        self.arguments: tuple[Any, ...] = (None, None) if buffer is None else pointers

    @property
    def value(self) -> bytes:
        assert self.data is not None
        return self.data.raw[: self.length.value]


class LibraryStage(Stage):
    """The stage on the other side of the library."""

    def __init__(self, session: Session) -> None:
        self.opened = session
        uses = dict.fromkeys((ck.CKA_ENCRYPT, ck.CKA_DECRYPT, ck.CKA_SIGN, ck.CKA_VERIFY), True)
        secret: dict[int, Any] = {ck.CKA_CLASS: ck.CKO_SECRET_KEY, ck.CKA_VALUE: SECRET, **uses}
        self.secret = session.create({**secret, ck.CKA_KEY_TYPE: ck.CKK_AES})
        self.mac_key = session.create({**secret, ck.CKA_KEY_TYPE: ck.CKK_GENERIC_SECRET})
        self.ec = session.generate_key_pair(
            ck.CKM_EC_KEY_PAIR_GEN, {ck.CKA_EC_PARAMS: P256, ck.CKA_TOKEN: True}, {}
        )
        self.rsa = session.generate_key_pair(
            ck.CKM_RSA_PKCS_KEY_PAIR_GEN,
            {ck.CKA_MODULUS_BITS: 2048, ck.CKA_VERIFY_RECOVER: True},
            {ck.CKA_SIGN_RECOVER: True},
        )

    def run(self, name: str, *args: object) -> Any:
        rv, output = self._call(name, *args)
        assert rv == "CKR_OK", f"{name}: {rv}"
        return output

    def outcome(self, name: str, *args: object) -> str:
        return self._call(name, *args)[0]

    def active(self, kind: str) -> bool:
        """Whether there is such an operation: then it cannot be begun, and is ended instead."""
        args = self.beginning(kind, single=False)
        active = self.outcome(BEGINNERS[kind], *args) == "CKR_OPERATION_ACTIVE"
        self.cancel()
        return active

    def cancel(self) -> None:
        self.run("C_SessionCancel", 2**64 - 1)

    def _call(self, name: str, *args: object) -> tuple[str, Any]:
        made: list[Any] = []
        output = None
        given = iter(args)
        for kind in KINDS[name]:
            value = next(given)
            if kind in (Kind.BUFFER, Kind.LAST):
                assert value is None or isinstance(value, Buffer)
                output = Output(value)
                made += output.arguments
            else:
                made += MARSHAL[kind](value)
        rv = ck.CKR_NAMES[self.opened.library.raw[name](self.opened.handle, *made)]
        read = output is not None and output.data is not None and rv == "CKR_OK"
        return rv, output.value if read and output is not None else None


def _bytes(value: bytes | None) -> tuple[Any, ...]:
    return value, len(value or b"")


def _message(value: GcmMessageParams) -> tuple[Any, ...]:
    made = GcmMessage(value.iv or b"", value.tag or b"")
    KEPT.append(made)
    return made.argument


def _mechanism(value: Mechanism | None) -> tuple[Any, ...]:
    if value is None:
        return (None,)
    parameter = value.parameter
    data = b""
    if isinstance(parameter, AesCtrParams):
        data = struct.pack("@L16s", parameter.counter_bits, parameter.counter_block)
    place = ctypes.create_string_buffer(data, len(data))
    pointer = ctypes.cast(place, c_void_p) if data else None
    made = CkMechanism(value.type, pointer, len(data))
    KEPT.extend((place, made))
    return (byref(made),)


KEPT: list[object] = []
"""What the pointers of a call lead to, for as long as the tests run."""
MARSHAL: dict[Kind, Callable[[Any], tuple[Any, ...]]] = {
    Kind.ULONG: lambda value: (value,),
    Kind.BYTES: _bytes,
    Kind.OPTIONAL: _bytes,
    Kind.MECHANISM: _mechanism,
    Kind.INIT: _mechanism,
    Kind.MESSAGE_INIT: _mechanism,
    Kind.MESSAGE: _message,
    Kind.MESSAGE_IN: _message,
    Kind.TEMPLATE: lambda value: (None, 0),
    Kind.FIND: lambda value: ((c_ulong * value)(), value, byref(c_ulong())),
}


@pytest.fixture(scope="module")
def shared() -> Iterator[LibraryStage]:
    with pytest.MonkeyPatch.context() as patch, Scratch() as scratch:
        for name, value in scratch.environment.items():
            patch.setenv(name, value)
        token = scratch.create_token("Rules")
        with Cryptoki() as library, library.open_session(token.slot) as session:
            session.login(ck.CKU_USER, token.pin.encode())
            yield LibraryStage(session)


@pytest.fixture
def stage(shared: LibraryStage) -> LibraryStage:
    shared.cancel()
    return shared


@pytest.mark.parametrize(("name", "kind", "state"), ROWS)
def test_a_row_holds_through_the_library(
    stage: LibraryStage, name: str, kind: str, state: str
) -> None:
    use = USES[FUNCTIONS[name]["does"][kind]]
    args = ARGUMENTS[name](stage, state)
    put_in = b"a part of the data" if state == "parts" else b""
    added = b"all of the data" if name == "C_VerifySignature" else b""
    stage.begin(kind, state, signed=put_in + added)
    outcome = stage.outcome(name, *args)
    refused = state in use["refused"]
    assert outcome == (use["refused"][state] if refused else "CKR_OK")
    after = use["error"] if refused else use["next"]
    assert stage.active(kind) == (state != "none" and after != "none")


@pytest.mark.parametrize(
    ("name", "kind", "state"),
    [
        (name, kind, state)
        for name, kind, state in ROWS
        if KINDS[name] and {Kind.BUFFER, Kind.LAST} & set(KINDS[name])
        if state not in USES[FUNCTIONS[name]["does"][kind]]["refused"]
        if name not in ("C_EncryptFinal", "C_DecryptFinal")
    ],
)
def test_a_size_query_and_a_short_buffer_keep_the_operation(
    stage: LibraryStage, name: str, kind: str, state: str
) -> None:
    args = ARGUMENTS[name](stage, state)
    stage.begin(kind, state)
    args = LAST.get(name, args)
    assert stage.outcome(name, *sized(args, None)) == "CKR_OK"
    assert stage.outcome(name, *sized(args, 0)) == "CKR_BUFFER_TOO_SMALL"
    assert stage.outcome(name, *args) == "CKR_OK"
