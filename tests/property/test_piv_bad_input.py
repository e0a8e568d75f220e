"""Whatever the PIV application is sent, it answers with a status word of its table."""

from __future__ import annotations

from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apdu import tlv
from apdu.codec import Command
from host_tools.conformance import piv_commands as piv
from tests import cards, piv_cards
from tests.property.bad_input import Judge
from token_fw.storage.memory import Medium, MemoryStore

pytestmark = pytest.mark.usefixtures("cheap_hash")


class State(StrEnum):
    """What was proven when the bytes arrive."""

    NOTHING = "nothing"
    PIN = "the PIN"
    ALL = "the PIN and the management key"


@pytest.fixture(scope="module")
def medium() -> Medium:
    """A token with a key of each kind that is quickly made, and objects."""
    bench = cards.Bench()
    client = piv_cards.managed(bench)
    for slot, algorithm in KEYS.items():
        client.make_key(slot, algorithm)
    client.ok(piv.put_data(piv.CHUID, b"somebody"))
    client.ok(piv.put_data(piv.PRINTED, b"a name"))
    return bench.medium


KEYS = {
    piv.AUTHENTICATION: piv.RSA_2048,
    piv.SIGNATURE: piv.P256,
    piv.KEY_MANAGEMENT: piv.P384,
    piv.CARD_AUTHENTICATION: piv.ED25519,
    piv.RETIRED: piv.X25519,
}
MEANT_WELL = st.sampled_from(
    [
        command.encode()
        for command in (
            piv.verify(piv_cards.PIN),
            piv.change(piv.REF_PIN, piv_cards.PIN, piv_cards.NEW_PIN),
            piv.change(piv.REF_PUK, piv_cards.PUK, piv_cards.NEW_PUK),
            piv.unblock(piv_cards.PUK, piv_cards.NEW_PIN),
            piv.set_retries(5, 5),
            piv.reset(),
            piv.set_management_key(piv.AES_192, bytes(24)),
            piv.authenticate(piv.AES_192, piv.MANAGEMENT, {0x80: b""}),
            piv.authenticate(piv.AES_192, piv.MANAGEMENT, {0x81: b""}),
            piv.authenticate(piv.AES_192, piv.MANAGEMENT, {0x80: bytes(16), 0x81: bytes(16)}),
            piv.authenticate(piv.AES_192, piv.MANAGEMENT, {0x82: bytes(16)}),
            *(piv.use(slot, algorithm, bytes(32)) for slot, algorithm in KEYS.items()),
            piv.use(piv.AUTHENTICATION, piv.RSA_2048, bytes(256)),
            piv.use(piv.KEY_MANAGEMENT, piv.P384, b"\x04" + bytes(96), 0x85),
            piv.use(piv.RETIRED, piv.X25519, bytes(31) + b"\x09", 0x85),
            piv.get_data(piv.CHUID),
            piv.get_data(piv.PRINTED),
            piv.put_data(piv.CHUID, b"x"),
            piv.generate(piv.SIGNATURE, piv.P256, pin=piv.NEVER, touch=0x01),
            piv.import_key(0x95, piv.P256, {0x06: bytes(31) + b"\x07"}),
            piv.import_key(0x95, piv.ED25519, {0x07: bytes(32)}, pin=piv.ONCE),
            piv.move(0x95, piv.AUTHENTICATION),
            piv.metadata(piv.AUTHENTICATION),
            piv.attest(piv.SIGNATURE),
        )
    ]
)
JUDGE = Judge(piv.SPEC, lambda _: True)


def prepared(medium: Medium, state: State) -> tuple[cards.Bench, piv_cards.Client]:
    """A card of its own on a copy of the medium."""
    bench = cards.Bench(store=MemoryStore(Medium(dict(medium.records))))
    client = piv_cards.client(bench)
    if state is State.ALL:
        client.prove()
    if state is not State.NOTHING:
        client.log_in()
    return bench, client


@given(state=st.sampled_from(State), raws=st.lists(JUDGE.inputs(MEANT_WELL), max_size=5))
def test_any_bytes_get_a_status_word_and_a_refusal_changes_nothing(
    medium: Medium, state: State, raws: list[bytes]
) -> None:
    bench, client = prepared(medium, state)
    for raw in raws:
        JUDGE.send(bench, client, raw)
    # What is durable can be read by a card that starts anew.
    piv_cards.client(bench.restarted()).tries(piv.REF_PIN)


FIELDS = st.dictionaries(
    st.sampled_from((0x80, 0x81, 0x82, 0x85, 0x83)),
    st.sampled_from((0, 8, 16, 32, 48, 65, 97, 256)).map(bytes) | st.binary(max_size=70),
    max_size=3,
)


@given(fields=FIELDS, algorithm=st.sampled_from((0x03, 0x0A, *KEYS.values())), data=st.data())
def test_any_template_for_any_key_gets_a_status_word_and_changes_nothing(
    medium: Medium, fields: dict[int, bytes], algorithm: int, data: st.DataObject
) -> None:
    bench, client = prepared(medium, State.PIN)
    slot = data.draw(st.sampled_from((piv.MANAGEMENT, piv.ATTESTATION, *KEYS)))
    inner = b"".join(tlv.encode(tag, value) for tag, value in fields.items())
    raw = Command(0x00, 0x87, algorithm, slot, tlv.encode(0x7C, inner), 256).encode()
    before = bench.medium.records
    JUDGE.send(bench, client, raw)
    assert bench.medium.records == before


@given(data=st.data(), state=st.sampled_from(State))
def test_a_chain_cut_anywhere_gets_a_status_word_and_changes_nothing(
    medium: Medium, data: st.DataObject, state: State
) -> None:
    bench, client = prepared(medium, state)
    JUDGE.cut_chain(bench, client, data)
