"""Whatever bytes a peer sends, the PKCS#11 server answers a return value or closes the door."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pkcs11_module import wire
from pkcs11_module._constants import CKR_FUNCTION_NOT_SUPPORTED, CKR_GENERAL_ERROR, CKR_OK
from pkcs11_module._functions import FUNCTIONS, MESSAGE, NESTED, PARAMETERS
from pkcs11_module.model import Field, FunctionSpec, Kind, Parameter
from pkcs11_module.server import ApplicationRegistry, ProtocolError, RpcConnection
from pkcs11_module.types import (
    Attribute,
    AttributeRequest,
    Buffer,
    GcmMessageParams,
    Length,
    Mechanism,
    MessageOutput,
    Pkcs11Error,
)
from tests import rpc_frames as frames

SERVED: Final = [spec for spec in FUNCTIONS if not spec.local]
STRUCTURED: Final = {kind: entry for entry in PARAMETERS for kind in entry.mechanisms}
OF_MESSAGES: Final = STRUCTURED | dict.fromkeys(MESSAGE.mechanisms, MESSAGE)
TYPES: Final[dict[Kind, tuple[type, ...]]] = {
    Kind.SESSION: (int,),
    Kind.ULONG: (int,),
    Kind.BOOL: (bool,),
    Kind.BYTES: (bytes, type(None)),
    Kind.OPTIONAL: (bytes, type(None)),
    Kind.LABEL: (bytes,),
    Kind.MECHANISM: (Mechanism,),
    Kind.INIT: (Mechanism, type(None)),
    Kind.MESSAGE: (GcmMessageParams, bytes, type(None)),
    Kind.MESSAGE_IN: (GcmMessageParams, bytes, type(None)),
    Kind.MESSAGE_INIT: (Mechanism, type(None)),
    Kind.WRAPPING: (Mechanism,),
    Kind.UNWRAPPING: (Mechanism,),
    Kind.TEMPLATE: (tuple,),
    Kind.ATTRIBUTES: (tuple,),
    Kind.BUFFER: (Buffer,),
    Kind.LAST: (Buffer, type(None)),
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


def field(entry: Field) -> SearchStrategy[bytes]:
    if entry.kind is Kind.ARRAY:
        return st.binary(min_size=entry.size, max_size=entry.size)
    return ARGUMENTS[entry.kind]


def structure(entry: Parameter) -> SearchStrategy[bytes]:
    return joined(st.just(b"\x02"), *map(field, entry.fields))


unstructured = st.one_of(st.just(b"\x00"), joined(st.just(b"\x01"), data))


def mechanism(structures: Mapping[int, Parameter]) -> SearchStrategy[bytes]:
    fields = [
        joined(st.just(frames.ulongs(kind)), structure(entry))
        for kind, entry in sorted(structures.items())
    ]
    return st.one_of(joined(ulong, unstructured), *fields)


def init(structures: Mapping[int, Parameter]) -> SearchStrategy[bytes]:
    return st.one_of(st.just(frames.ulongs(0) + b"\x03"), mechanism(structures))


def nested(inner: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Attributes with values that are attributes again."""
    kinds = st.sampled_from(sorted(NESTED)).map(frames.ulongs)
    return joined(kinds, st.one_of(st.just(frames.NULL_BYTES), inner))


def attributes(value: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Templates, or with capacities for values what is asked for, up to the deepest nesting."""
    flat = joined(ulong.filter(lambda kind: kind not in NESTED_TYPES), value)
    inner = lists(flat)
    for _ in range(wire.NESTING_MAX):
        inner = lists(st.one_of(flat, nested(inner)))
    return inner


NESTED_TYPES: Final = frozenset(map(frames.ulongs, NESTED))

ARGUMENTS: Final[dict[Kind, SearchStrategy[bytes]]] = {
    Kind.SESSION: ulong,
    Kind.ULONG: ulong,
    Kind.BOOL: st.binary(min_size=1, max_size=1),
    Kind.BYTES: data,
    Kind.LABEL: st.binary(min_size=wire.LABEL_SIZE, max_size=wire.LABEL_SIZE),
    Kind.BITS: data,
    Kind.OPTIONAL: data,
    Kind.MECHANISM: st.deferred(lambda: mechanism(STRUCTURED)),
    Kind.INIT: st.deferred(lambda: init(STRUCTURED)),
    Kind.MESSAGE: st.deferred(lambda: st.one_of(unstructured, structure(MESSAGE))),
    Kind.MESSAGE_IN: st.deferred(lambda: st.one_of(unstructured, structure(MESSAGE))),
    Kind.MESSAGE_INIT: st.deferred(lambda: init(OF_MESSAGES)),
    Kind.WRAPPING: st.deferred(lambda: mechanism(OF_MESSAGES)),
    Kind.UNWRAPPING: st.deferred(lambda: mechanism(OF_MESSAGES)),
    Kind.TEMPLATE: attributes(data),
    Kind.ATTRIBUTES: attributes(ulong),
    Kind.BUFFER: ulong,
    Kind.LAST: st.one_of(st.just(b"\x00"), joined(st.just(b"\x01"), ulong)),
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
        self.refusals: list[tuple[str, int]] = []

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

    def refused(self, name: str, session: int) -> None:
        assert BY_NAME[name].ends
        assert type(session) is int
        self.refusals.append((name, session))

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


refusals = joined(
    st.sampled_from([struct.pack("<I", wire.REFUSED | s.number) for s in FUNCTIONS if s.ends]),
    ulong,
)


@given(refusals)
def test_every_well_formed_refusal_arrives_as_one_and_calls_nothing(body: bytes) -> None:
    witness = Witness([])
    (reply,) = connect(witness).receive(wire.frame(body))
    assert frames.answer(reply) == (CKR_OK, b"")
    ((name, session),) = witness.refusals
    assert body == frames.refusal(name, frames.ulongs(session))
    assert witness.calls == []


@given(st.one_of(bodies.flatmap(harmed), refusals.flatmap(harmed), st.binary(max_size=64)))
def test_a_harmed_call_is_answered_or_the_connection_closes(body: bytes) -> None:
    witness = Witness([])
    connection = connect(witness)
    try:
        (reply,) = connection.receive(wire.frame(body))
    except ProtocolError:
        assert (witness.calls, witness.refusals) == ([], [])
        return
    rv, rest = frames.answer(reply)
    if witness.refusals:
        assert (rv, rest, witness.calls) == (CKR_OK, b"", [])
        return
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
    st.one_of(
        st.none(),
        st.integers(),
        st.binary(max_size=8),
        st.text(max_size=4),
        st.integers(0, 2**64).map(Length),
        st.builds(
            MessageOutput,
            st.one_of(st.none(), st.binary(max_size=16)),
            st.one_of(st.none(), st.binary(max_size=16)),
        ),
        st.builds(
            Attribute, st.sampled_from(sorted(NESTED)), st.none(), st.just((Attribute(3, b"x"),))
        ),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple)),
    max_leaves=6,
)


@given(bodies, values)
def test_whatever_a_function_returns_the_answer_is_a_frame(body: bytes, value: object) -> None:
    (reply,) = connect(Witness([value])).receive(wire.frame(body))
    rv, rest = frames.answer(reply)
    assert rv != CKR_GENERAL_ERROR or rest == b""
