"""Whatever an authenticator is sent, it answers with a status of CTAP and breaks nothing."""

from __future__ import annotations

import string
from typing import Any

import pytest
from fido2 import cbor as peer
from hypothesis import given
from hypothesis import strategies as st

from apdu.ctap import REQUESTS, CtapCommand, FieldSpec, FieldType, Status, StructureSpec
from tests import strategies
from tests.fido_cards import RP, USER_FINGER, Desk, with_sensor
from tests.fido_platform import Platform
from token_fw.apps.fido2 import cbor
from token_fw.apps.fido2.requests import MAX_MSG_SIZE, PREVIEW
from token_fw.finger_sensor import ScriptedSensor
from token_fw.storage.memory import Medium, MemoryStore

TRIES = {"pin", "finger-tries"}

pytestmark = pytest.mark.usefixtures("cheap_hash")

texts = st.text(st.sampled_from(string.ascii_letters + "я€"), max_size=8) | st.just(RP)
integers = st.integers(-(1 << 64), (1 << 64) - 1) | st.integers(-60, 60)
leaves = integers | st.binary(max_size=40) | texts | st.booleans()
keys = st.integers(-30, 30) | texts | st.binary(max_size=4)


def nested(depth: int) -> st.SearchStrategy[Any]:
    """Values of up to so many levels."""
    if not depth:
        return leaves
    inner = nested(depth - 1)
    return leaves | st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)


values = nested(3)
floats = st.integers(1, 3).flatmap(
    lambda power: st.binary(min_size=1 << power, max_size=1 << power).map(
        lambda content: cbor.decode(bytes((0xF8 + power,)) + content)
    )
)
"""Of each width, also those that are no number."""
UNKNOWN_KEY = 99


def members(field: FieldSpec) -> st.SearchStrategy[Any]:
    """Values of a field's type; few of them mean anything."""
    single = built(field.structure) if field.structure else _TYPES[field.type]
    if field.type is FieldType.BYTES and field.length:
        single = st.binary(min_size=field.length, max_size=field.length)
    return st.lists(single, max_size=3) if field.many else single


def built(structure: StructureSpec) -> st.SearchStrategy[dict[Any, Any]]:
    """Maps with all that a structure requires, some of what it does not, and an unknown key."""
    named = {field.key: members(field) for field in structure.fields}
    required = {field.key for field in structure.fields if field.required}
    optional = {key: value for key, value in named.items() if key not in required}
    optional[UNKNOWN_KEY] = values | floats
    return st.fixed_dictionaries({key: named[key] for key in required}, optional=optional)


_TYPES: dict[FieldType, st.SearchStrategy[Any]] = {
    FieldType.ANY: values,
    FieldType.BOOL: st.booleans(),
    FieldType.BYTES: st.binary(max_size=80),
    FieldType.COSE: st.dictionaries(st.integers(-5, 5), leaves, max_size=5),
    FieldType.INT: st.sampled_from((-7, -8, -257, 0, 1)),
    FieldType.OPTIONS: st.dictionaries(st.sampled_from(("rk", "up", "uv")), st.booleans()),
    FieldType.TEXT: texts,
    FieldType.UINT: st.integers(0, 12) | st.integers(0, (1 << 64) - 1),
}


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Requests that every table lets pass."""
    command = draw(st.sampled_from(CtapCommand))
    fields = REQUESTS[command].fields
    encoded = cbor.encode(draw(built(REQUESTS[command]))) if fields else b""
    return bytes((command,)) + encoded


anything = (
    requests()
    | strategies.mutated(requests())
    | strategies.truncated(requests())
    | st.builds(lambda first, rest: bytes((first,)) + rest, st.integers(0, 255), st.binary())
    | st.binary(max_size=4)
)


# The decoder


@given(values)
def test_what_is_encoded_is_what_the_peer_encodes_and_is_decoded_to_the_same(value: Any) -> None:
    encoded = cbor.encode(value)
    assert encoded == peer.encode(value)
    assert cbor.decode(encoded) == value


@given(
    st.binary(max_size=60)
    | st.lists(floats, max_size=3).map(cbor.encode)
    | strategies.mutated(values.map(cbor.encode))
    | strategies.truncated(values.map(cbor.encode))
)
def test_what_is_decoded_is_encoded_to_the_same_bytes(data: bytes) -> None:
    """So nothing has two encodings."""
    try:
        value = cbor.decode(data)
    except cbor.CborError:
        return
    assert cbor.encode(value) == data


# The authenticator


@pytest.fixture(scope="module")
def media() -> dict[str, Medium]:
    """A new token, and one with a PIN, a finger and credentials."""
    used = with_sensor()
    used.present(USER_FINGER)
    used.make(rk=True, uv=True)
    used.make()
    Platform(used).set_pin()
    fresh = Desk()
    fresh.info()
    return {"new": fresh.store.medium, "used": used.store.medium}


@pytest.mark.parametrize("state", ["new", "used"])
@given(data=st.data())
def test_any_request_is_answered_and_a_refused_one_changes_nothing_but_tries(
    media: dict[str, Medium], state: str, data: st.DataObject
) -> None:
    store = MemoryStore(Medium(dict(media[state].records)))
    desk = Desk(store=store, sensor=ScriptedSensor(patience=0))
    for _ in range(3):
        request = data.draw(anything)
        before = dict(store.medium.records)
        status = Status(desk.card.ctap(desk.channel, request)[0])
        assert status is not Status.CTAP1_ERR_OTHER
        if status is not Status.CTAP2_OK:
            changed = {kind for (kind, _), _ in before.items() ^ store.medium.records.items()}
            assert changed <= TRIES
        expected = specified(request)
        assert expected is None or status is expected


def specified(request: bytes) -> Status | None:
    """What the encoding of a request alone says of its answer; None where that depends."""
    if not request:
        return Status.CTAP1_ERR_INVALID_LENGTH
    command = PREVIEW.get(request[0], request[0])
    if command not in REQUESTS:
        return Status.CTAP1_ERR_INVALID_COMMAND
    fields = REQUESTS[CtapCommand(command)].fields
    if not fields:
        return Status.CTAP1_ERR_INVALID_LENGTH if len(request) > 1 else None
    try:
        cbor.decode(request[1:])
    except cbor.CborError:
        return Status.CTAP2_ERR_INVALID_CBOR
    return None


@given(st.integers(1, 4000))
def test_a_request_that_is_too_long_is_too_large(excess: int) -> None:
    desk = Desk()
    answer = desk.card.ctap(desk.channel, bytes((1,)) * (MAX_MSG_SIZE + excess))
    assert answer == bytes((Status.CTAP2_ERR_REQUEST_TOO_LARGE,))
