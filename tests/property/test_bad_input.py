"""Whatever a card is sent, it answers with a status word of its table and breaks nothing."""

from __future__ import annotations

from enum import StrEnum

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from apdu import tlv
from apdu.codec import Command
from host_tools.conformance import pki_commands as pki
from tests import cards
from tests.property.bad_input import Judge
from token_fw.storage.memory import Medium, MemoryStore

AES_KEY, DES3_KEY, GENERIC_KEY, ML_DSA_KEY, ML_KEM_KEY = 4, 5, 6, 7, 8

pytestmark = pytest.mark.usefixtures("cheap_hash")


class State(StrEnum):
    """How the card is when the bytes arrive."""

    BLANK = "blank"
    LOCKED = "operational"
    USER = "operational, the user PIN verified"
    UNSELECTED = "operational, no application selected"


@pytest.fixture(scope="module")
def media() -> dict[bool, Medium]:
    """A blank token, and one in use: keys, a directory, files with every rule of reading."""
    bench = cards.operational()
    client = cards.logged_in(bench)
    cards.make_key(client, 0)
    cards.make_key(client, 1, pki.ED25519)
    cards.put_secret(client, AES_KEY, pki.AES, bytes(16), pki.attributes(0x7E, pki.EXPORT))
    cards.put_secret(client, DES3_KEY, pki.DES3, bytes(range(24)))
    cards.put_secret(client, GENERIC_KEY, pki.GENERIC, bytes(20))
    cards.make_key(client, ML_DSA_KEY, pki.ML_DSA[44])
    cards.make_key(client, ML_KEM_KEY, pki.ML_KEM[768])
    client.ok(pki.create(pki.df_fcp(b"\x50\x15", b"name")))
    for number, condition in enumerate((pki.FREE, pki.BY_USER, pki.BY_SO, pki.NEVER)):
        conditions = bytes((pki.BY_USER,) * 6 + (condition,))
        client.ok(pki.select(b"\x50\x15"))
        client.ok(pki.create(pki.fcp(bytes((0x44, number)), 40, conditions)))
    return {True: cards.Bench().medium, False: bench.medium}


def prepared(media: dict[bool, Medium], state: State) -> tuple[cards.Bench, cards.Client]:
    """A card of its own on a copy of the medium, with a file and a key chosen."""
    medium = Medium(dict(media[state is State.BLANK].records))
    bench = cards.Bench(store=MemoryStore(medium))
    client = bench.client()
    if state is State.UNSELECTED:
        bench.card.connect()
        client.transport = bench.connect()
        return bench, client
    if state is State.USER:
        client.log_in()
        client.ok(pki.mse(pki.SIGN, pki.ECDSA, 0))
        client.ok(pki.mse(pki.DECIPHER, pki.ECB, AES_KEY))
        client.ok(pki.mse(pki.CHECKSUM, pki.HMAC, GENERIC_KEY, bytes((0xC1, 1, 3))))
        client.ok(pki.mse(pki.GENERATE, pki.EC, 2))
        client.ok(pki.select(b"\x50\x15\x44\x00"))
    return bench, client


CTR_BITS, TAG = bytes((0xC7, 1, 32)), bytes((0xC9, 1, 12))
MEANT_WELL = st.sampled_from(
    [
        command.encode()
        for command in (
            pki.select(b"\x50\x15\x44\x01", answer=True),
            pki.verify(pki.USER, cards.USER_PIN),
            pki.verify(pki.SO, cards.SO_PIN),
            pki.change(pki.USER, cards.USER_PIN, b"123456"),
            pki.unblock(cards.SO_PIN, b"123456"),
            pki.reset_by_so(b"123456"),
            pki.initialize(cards.SO_PIN, [(b"\x50\x15", pki.df_fcp(b"\x50\x15"), b"")]),
            pki.initialize(cards.SO_PIN, [(b"\x2f\x00", pki.fcp(b"\x2f\x00"), b"data")]),
            pki.create(pki.fcp(b"\x44\x09", 20)),
            pki.create(pki.df_fcp(b"\x50\x16", b"other name")),
            pki.delete(b"\x44\x00"),
            pki.read(3, b"\x44\x00"),
            pki.update(3, b"data", 30, b"\x44\x00"),
            pki.mse(pki.GENERATE, pki.X25519, 3),
            pki.mse(pki.GENERATE, pki.ED448, 3),
            pki.mse(pki.GENERATE, pki.X448, 3),
            pki.put_value(bytes(57)),
            pki.mse(pki.SIGN, pki.EDDSA, 1),
            pki.mse(pki.DECIPHER, pki.ECDH, 0),
            pki.generate(pki.p256() + pki.attributes(0x05, 0x01)),
            pki.generate(pki.explicit_p256()),
            pki.put_key(tlv.encode(0xE0, pki.p256() + tlv.encode(0x88, bytes(31) + b"\x07"))),
            pki.put_key(pki.rsa_template(rsa.generate_private_key(65537, 2048))),
            pki.mse(pki.GENERATE, pki.AES, 3),
            pki.generate_secret(32, pki.attributes(0x08, pki.EXPORT)),
            pki.put_value(bytes(32), pki.attributes(0x08)),
            pki.get_secret(AES_KEY),
            pki.get_secret(GENERIC_KEY),
            pki.mse(pki.GENERATE, pki.ML_KEM[1024], 3),
            pki.put_value(bytes(64)),
            pki.mse(pki.SIGN, pki.ML_DSA_SIGN, ML_DSA_KEY, tlv.encode(0xC5, b"context")),
            pki.mse(pki.DECIPHER, pki.ML_KEM_DECAPSULATE, ML_KEM_KEY),
            pki.mse(pki.DECIPHER, pki.CBC_PADDED, AES_KEY, tlv.encode(0xC6, bytes(16))),
            pki.mse(pki.DECIPHER, pki.CBC, DES3_KEY, tlv.encode(0xC6, bytes(8))),
            pki.mse(pki.DECIPHER, pki.CTR, AES_KEY, tlv.encode(0xC6, bytes(16)) + CTR_BITS),
            pki.mse(pki.DECIPHER, pki.GCM, AES_KEY, tlv.encode(0xC6, bytes(12)) + TAG),
            pki.mse(pki.DECIPHER, pki.WRAP_PADDED, AES_KEY),
            pki.mse(pki.CHECKSUM, pki.CMAC, DES3_KEY, bytes((0xC9, 1, 8))),
            pki.encipher(bytes(32)),
            pki.decipher(bytes(32)),
            pki.checksum(b"message"),
            pki.delete_key(1),
            pki.sign(bytes(32)),
            pki.decipher(bytes(256)),
            pki.derive(b"\x04" + bytes(64)),
        )
    ]
)
JUDGE = Judge(pki.PKI, lambda sw: sw >> 4 == 0x63C)


@given(state=st.sampled_from(State), raws=st.lists(JUDGE.inputs(MEANT_WELL), max_size=5))
def test_any_bytes_get_a_status_word_and_a_refusal_changes_nothing(
    media: dict[bool, Medium], state: State, raws: list[bytes]
) -> None:
    bench, client = prepared(media, state)
    for raw in raws:
        JUDGE.send(bench, client, raw)
    # What is durable can be read by a card that starts anew.
    cards.lifecycle(bench.restarted().client())


ALGORITHMS = {
    pki.CHECKSUM: (pki.HMAC, pki.CMAC),
    pki.SIGN: (pki.RSA_RAW, pki.ECDSA, pki.EDDSA, pki.ML_DSA_SIGN),
    pki.DECIPHER: (
        pki.ECDH,
        pki.ML_KEM_DECAPSULATE,
        *range(pki.ECB, pki.WRAP_PADDED + 1),
    ),
}
KEYS = (0, 1, AES_KEY, DES3_KEY, GENERIC_KEY, ML_DSA_KEY, ML_KEM_KEY)
CHOICES = st.sampled_from(sorted(ALGORITHMS)).flatmap(
    lambda template: st.builds(
        pki.mse, st.just(template), st.sampled_from(ALGORITHMS[template]), st.sampled_from(KEYS)
    )
)
PARAMETERS = st.dictionaries(
    st.integers(0xC1, 0xC9),
    st.sampled_from((8, 12, 16)).map(bytes) | st.binary(max_size=3) | st.binary(max_size=20),
    max_size=3,
)
LENGTHS = st.sampled_from((0, 1, 8, 16, 17, 24, 32, 1088)) | st.integers(0, 80)


@given(choice=CHOICES, parameters=PARAMETERS, length=LENGTHS, more=LENGTHS)
def test_any_parameters_of_any_algorithm_get_a_status_word_and_change_nothing(
    media: dict[bool, Medium], choice: Command, parameters: dict[int, bytes], length: int, more: int
) -> None:
    bench, client = prepared(media, State.USER)
    before = bench.medium.records
    extra = b"".join(tlv.encode(tag, value) for tag, value in parameters.items())
    chosen = Command(choice.cla, choice.ins, choice.p1, choice.p2, choice.data + extra)
    uses = pki.encipher, pki.decipher, pki.checksum, pki.sign, pki.derive
    for command in (chosen, *(use(bytes(size)) for use in uses for size in (length, more))):
        JUDGE.send(bench, client, command.encode())
    assert bench.medium.records == before


@given(data=st.data(), state=st.sampled_from(State))
def test_a_chain_cut_anywhere_gets_a_status_word_and_changes_nothing(
    media: dict[bool, Medium], data: st.DataObject, state: State
) -> None:
    bench, client = prepared(media, state)
    JUDGE.cut_chain(bench, client, data)
