"""Whatever bytes a peer sends, the PKCS#11 server answers a return value or closes the door."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pkcs11_module import wire
from pkcs11_module._constants import CKR_FUNCTION_NOT_SUPPORTED, CKR_GENERAL_ERROR
from pkcs11_module._functions import FUNCTIONS, PARAMETERS
from pkcs11_module.model import FunctionSpec, Kind
from pkcs11_module.server import ApplicationRegistry, ProtocolError, RpcConnection
from pkcs11_module.types import Attribute, AttributeRequest, Buffer, Mechanism, Pkcs11Error
from tests import rpc_frames as frames

SERVED: Final = [spec for spec in FUNCTIONS if not spec.local]
STRUCTURED: Final = {kind: entry for entry in PARAMETERS for kind in entry.mechanisms}
TYPES: Final[dict[Kind, tuple[type, ...]]] = {
    Kind.SESSION: (int,),
    Kind.ULONG: (int,),
    Kind.BOOL: (bool,),
    Kind.BYTES: (bytes, type(None)),
    Kind.LABEL: (bytes,),
    Kind.MECHANISM: (Mechanism,),
    Kind.TEMPLATE: (tuple,),
    Kind.ATTRIBUTES: (tuple,),
    Kind.BUFFER: (Buffer,),
    Kind.LIST: (Buffer,),
    Kind.FIND: (int,),
    Kind.FILLED: (int,),
}
ITEMS: Final = {Kind.TEMPLATE: Attribute, Kind.ATTRIBUTES: AttributeRequest}
BY_NAME: Final = {spec.name: spec for spec in FUNCTIONS}

ulong = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**32, 2**63, 2**64 - 1])).map(
    frames.ulongs
)
data = st.one_of(st.just(frames.NULL_BYTES), st.binary(max_size=40).map(frames.sized))


def lists(item: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """A u32 count and that many items."""
    return st.lists(item, max_size=4).map(
        lambda items: struct.pack("<I", len(items)) + b"".join(items)
    )


def joined(*parts: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """The parts' bytes behind each other."""
    return st.tuples(*parts).map(b"".join)


def mechanism() -> SearchStrategy[bytes]:
    plain = joined(ulong, st.one_of(st.just(b"\x00"), joined(st.just(b"\x01"), data)))
    fields = [
        joined(st.just(frames.ulongs(kind) + b"\x02"), *(ARGUMENTS[k] for k, _ in entry.fields))
        for kind, entry in sorted(STRUCTURED.items())
    ]
    return st.one_of(plain, *fields)


ARGUMENTS: Final[dict[Kind, SearchStrategy[bytes]]] = {
    Kind.SESSION: ulong,
    Kind.ULONG: ulong,
    Kind.BOOL: st.binary(min_size=1, max_size=1),
    Kind.BYTES: data,
    Kind.LABEL: st.binary(min_size=wire.LABEL_SIZE, max_size=wire.LABEL_SIZE),
    Kind.MECHANISM: st.deferred(mechanism),
    Kind.TEMPLATE: lists(joined(ulong, data)),
    Kind.ATTRIBUTES: lists(joined(ulong, ulong)),
    Kind.BUFFER: ulong,
    Kind.LIST: ulong,
    Kind.FIND: ulong,
    Kind.FILLED: ulong,
}


def call(spec: FunctionSpec) -> SearchStrategy[bytes]:
    """A well-formed body that calls the function."""
    parts = [ARGUMENTS[a.kind] for a in spec.arguments if a.kind in ARGUMENTS]
    return joined(st.just(struct.pack("<I", spec.number)), *parts)


def harmed(body: bytes) -> SearchStrategy[bytes]:
    """The body cut short, lengthened or with bytes overwritten."""
    place = st.integers(0, len(body))
    return st.one_of(
        place.map(lambda at: body[:at]),
        st.binary(min_size=1, max_size=9).map(lambda more: body + more),
        st.tuples(place, st.binary(min_size=1, max_size=8)).map(
            lambda change: body[: change[0]] + change[1] + body[change[0] + len(change[1]) :]
        ),
    )


bodies = st.sampled_from(SERVED).flatmap(call)


class Witness:
    """Checks that every call arrives with the types the table promises."""

    def __init__(self, answers: Sequence[object]) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def call(self, name: str, *args: Any) -> object:
        self.calls.append((name, args))
        kinds = [a.kind for a in BY_NAME[name].arguments if a.kind in TYPES]
        assert len(kinds) == len(args)
        for kind, value in zip(kinds, args, strict=True):
            assert type(value) in TYPES[kind]
            if kind in ITEMS:
                assert {type(one) for one in value} <= {ITEMS[kind]}
        if self.answers:
            return self.answers.pop()
        raise Pkcs11Error(CKR_FUNCTION_NOT_SUPPORTED)

    def close(self) -> None:
        self.answers.clear()


def connect(witness: Witness) -> RpcConnection:
    connection = RpcConnection(ApplicationRegistry(lambda: witness))
    connection.receive(frames.GREETING)
    return connection


@given(bodies)
def test_every_well_formed_call_arrives_with_the_types_of_the_table(body: bytes) -> None:
    witness = Witness([])
    (reply,) = connect(witness).receive(wire.frame(body))
    assert frames.answer(reply) == (CKR_FUNCTION_NOT_SUPPORTED, b"")
    assert len(witness.calls) == 1


@given(st.one_of(bodies.flatmap(harmed), st.binary(max_size=64)))
def test_a_harmed_call_is_answered_or_the_connection_closes(body: bytes) -> None:
    witness = Witness([])
    connection = connect(witness)
    try:
        (reply,) = connection.receive(wire.frame(body))
    except ProtocolError:
        assert witness.calls == []
        return
    rv, rest = frames.answer(reply)
    assert (rv, rest) == (CKR_FUNCTION_NOT_SUPPORTED, b"") or body[:4] == b"\x01\x00\x00\x00"


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_any_stream_before_or_after_the_greeting_is_survived(pieces: list[bytes]) -> None:
    for start in (b"", frames.GREETING):
        connection = RpcConnection(ApplicationRegistry(partial(Witness, [])))
        try:
            for piece in (start, *pieces):
                for reply in connection.receive(piece):
                    assert int.from_bytes(reply[:4], "little") == len(reply) - 4
        except ProtocolError:
            pass
        connection.closed()


values = st.recursive(
    st.one_of(st.none(), st.integers(), st.binary(max_size=8), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple)),
    max_leaves=6,
)


@given(bodies, values)
def test_whatever_a_function_returns_the_answer_is_a_frame(body: bytes, value: object) -> None:
    (reply,) = connect(Witness([value])).receive(wire.frame(body))
    rv, rest = frames.answer(reply)
    assert rv != CKR_GENERAL_ERROR or rest == b""
