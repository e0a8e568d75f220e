"""Whatever a card is sent, it answers with a status word of its table and breaks nothing."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from apdu import tlv
from apdu.codec import CHAINING, ApduFormatError, Command, Response
from apdu.model import SW, status_word
from tests import cards, strategies
from token_fw import pin
from token_fw.storage.memory import Medium, MemoryStore

AES_KEY, DES3_KEY, GENERIC_KEY, ML_DSA_KEY, ML_KEM_KEY = 4, 5, 6, 7, 8


class State(StrEnum):
    """How the card is when the bytes arrive."""

    BLANK = "blank"
    LOCKED = "operational"
    USER = "operational, the user PIN verified"
    UNSELECTED = "operational, no application selected"


@pytest.fixture(scope="module", autouse=True)
def cheap_hash() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pin, "HASH_COST", 2)
        yield


@pytest.fixture(scope="module")
def media() -> dict[bool, Medium]:
    """A blank token, and one in use: keys, a directory, files with every rule of reading."""
    bench = cards.operational()
    client = cards.logged_in(bench)
    cards.make_key(client, 0)
    cards.make_key(client, 1, cards.ED25519)
    cards.put_secret(client, AES_KEY, cards.AES, bytes(16), cards.attributes(0x7E, cards.EXPORT))
    cards.put_secret(client, DES3_KEY, cards.DES3, bytes(range(24)))
    cards.put_secret(client, GENERIC_KEY, cards.GENERIC, bytes(20))
    cards.make_key(client, ML_DSA_KEY, cards.ML_DSA[44])
    cards.make_key(client, ML_KEM_KEY, cards.ML_KEM[768])
    client.ok(cards.create(cards.df_fcp(b"\x50\x15", b"name")))
    for number, condition in enumerate((cards.FREE, cards.BY_USER, cards.BY_SO, cards.NEVER)):
        conditions = bytes((cards.BY_USER,) * 6 + (condition,))
        client.ok(cards.select(b"\x50\x15"))
        client.ok(cards.create(cards.fcp(bytes((0x44, number)), 40, conditions)))
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
        client.ok(cards.mse(cards.SIGN, cards.ECDSA, 0))
        client.ok(cards.mse(cards.DECIPHER, cards.ECB, AES_KEY))
        client.ok(cards.mse(cards.CHECKSUM, cards.HMAC, GENERIC_KEY, bytes((0xC1, 1, 3))))
        client.ok(cards.mse(cards.GENERATE, cards.EC, 2))
        client.ok(cards.select(b"\x50\x15\x44\x00"))
    return bench, client


def check(before: Medium, bench: cards.Bench, raw: bytes, answer: bytes) -> None:
    """The answer is one of the table's, and a refusal has changed nothing but tries."""
    sw = Response.parse(answer).sw
    status = status_word(sw)
    assert status is not None
    assert sw != SW.UNKNOWN_ERROR
    assert sw != SW.MEMORY_FAILURE
    try:
        command = Command.parse(raw)
    except ApduFormatError:
        assert sw == SW.WRONG_LENGTH
    else:
        spec = cards.PKI.match(command.cla, command.ins, command.p1, command.p2)
        assert status.general or spec is None or status.name in spec.status
    if sw >> 8 not in {0x90, 0x61}:
        changed = {
            kind
            for kind, ident in bench.medium.records.keys() | before.records.keys()
            if bench.medium.records.get((kind, ident)) != before.records.get((kind, ident))
        }
        assert changed <= ({"pin"} if sw >> 4 == 0x63C else set())


CTR_BITS, TAG = bytes((0xC7, 1, 32)), bytes((0xC9, 1, 12))
# Random bytes seldom get past the first check of a data field, so these begin as good ones.
MEANT_WELL = st.sampled_from(
    [
        command.encode()
        for command in (
            cards.select(b"\x50\x15\x44\x01", answer=True),
            cards.verify(cards.USER, cards.USER_PIN),
            cards.verify(cards.SO, cards.SO_PIN),
            cards.change(cards.USER, cards.USER_PIN, b"123456"),
            cards.unblock(cards.SO_PIN, b"123456"),
            cards.reset_by_so(b"123456"),
            cards.initialize(cards.SO_PIN, [(b"\x50\x15", cards.df_fcp(b"\x50\x15"), b"")]),
            cards.initialize(cards.SO_PIN, [(b"\x2f\x00", cards.fcp(b"\x2f\x00"), b"data")]),
            cards.create(cards.fcp(b"\x44\x09", 20)),
            cards.create(cards.df_fcp(b"\x50\x16", b"other name")),
            cards.delete(b"\x44\x00"),
            cards.read(3, b"\x44\x00"),
            cards.update(3, b"data", 30, b"\x44\x00"),
            cards.mse(cards.GENERATE, cards.X25519, 3),
            cards.mse(cards.GENERATE, cards.ED448, 3),
            cards.mse(cards.GENERATE, cards.X448, 3),
            cards.put_value(bytes(57)),
            cards.mse(cards.SIGN, cards.EDDSA, 1),
            cards.mse(cards.DECIPHER, cards.ECDH, 0),
            cards.generate(cards.p256() + cards.attributes(0x05, 0x01)),
            cards.generate(cards.explicit_p256()),
            cards.put_key(tlv.encode(0xE0, cards.p256() + tlv.encode(0x88, bytes(31) + b"\x07"))),
            cards.put_key(cards.rsa_template(rsa.generate_private_key(65537, 2048))),
            cards.mse(cards.GENERATE, cards.AES, 3),
            cards.generate_secret(32, cards.attributes(0x08, cards.EXPORT)),
            cards.put_value(bytes(32), cards.attributes(0x08)),
            cards.get_secret(AES_KEY),
            cards.get_secret(GENERIC_KEY),
            cards.mse(cards.GENERATE, cards.ML_KEM[1024], 3),
            cards.put_value(bytes(64)),
            cards.mse(cards.SIGN, cards.ML_DSA_SIGN, ML_DSA_KEY, tlv.encode(0xC5, b"context")),
            cards.mse(cards.DECIPHER, cards.ML_KEM_DECAPSULATE, ML_KEM_KEY),
            cards.mse(cards.DECIPHER, cards.CBC_PADDED, AES_KEY, tlv.encode(0xC6, bytes(16))),
            cards.mse(cards.DECIPHER, cards.CBC, DES3_KEY, tlv.encode(0xC6, bytes(8))),
            cards.mse(cards.DECIPHER, cards.CTR, AES_KEY, tlv.encode(0xC6, bytes(16)) + CTR_BITS),
            cards.mse(cards.DECIPHER, cards.GCM, AES_KEY, tlv.encode(0xC6, bytes(12)) + TAG),
            cards.mse(cards.DECIPHER, cards.WRAP_PADDED, AES_KEY),
            cards.mse(cards.CHECKSUM, cards.CMAC, DES3_KEY, bytes((0xC9, 1, 8))),
            cards.encipher(bytes(32)),
            cards.decipher(bytes(32)),
            cards.checksum(b"message"),
            cards.delete_key(1),
            cards.sign(bytes(32)),
            cards.decipher(bytes(256)),
            cards.derive(b"\x04" + bytes(64)),
        )
    ]
)
INPUTS = st.one_of(
    strategies.apdus(cards.PKI), strategies.mutated(MEANT_WELL), strategies.truncated(MEANT_WELL)
)


@given(state=st.sampled_from(State), raws=st.lists(INPUTS, max_size=5))
def test_any_bytes_get_a_status_word_and_a_refusal_changes_nothing(
    media: dict[bool, Medium], state: State, raws: list[bytes]
) -> None:
    bench, client = prepared(media, state)
    for raw in raws:
        before = Medium(bench.medium.records)
        check(before, bench, raw, client.transport.transceive(raw))
    # What is durable can be read by a card that starts anew.
    cards.lifecycle(bench.restarted().client())


ALGORITHMS = {
    cards.CHECKSUM: (cards.HMAC, cards.CMAC),
    cards.SIGN: (cards.RSA_RAW, cards.ECDSA, cards.EDDSA, cards.ML_DSA_SIGN),
    cards.DECIPHER: (
        cards.ECDH,
        cards.ML_KEM_DECAPSULATE,
        *range(cards.ECB, cards.WRAP_PADDED + 1),
    ),
}
KEYS = (0, 1, AES_KEY, DES3_KEY, GENERIC_KEY, ML_DSA_KEY, ML_KEM_KEY)
CHOICES = st.sampled_from(sorted(ALGORITHMS)).flatmap(
    lambda template: st.builds(
        cards.mse, st.just(template), st.sampled_from(ALGORITHMS[template]), st.sampled_from(KEYS)
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
    before = Medium(dict(bench.medium.records))
    extra = b"".join(tlv.encode(tag, value) for tag, value in parameters.items())
    chosen = Command(choice.cla, choice.ins, choice.p1, choice.p2, choice.data + extra)
    uses = cards.encipher, cards.decipher, cards.checksum, cards.sign, cards.derive
    for command in (chosen, *(use(bytes(size)) for use in uses for size in (length, more))):
        raw = command.encode()
        check(before, bench, raw, client.transport.transceive(raw))
    assert bench.medium.records == before.records


@given(data=st.data(), state=st.sampled_from(State))
def test_a_chain_cut_anywhere_gets_a_status_word_and_changes_nothing(
    media: dict[bool, Medium], data: st.DataObject, state: State
) -> None:
    bench, client = prepared(media, state)
    whole = data.draw(strategies.catalogue_commands(cards.PKI))
    other = data.draw(strategies.any_commands())
    half = len(whole.data) // 2
    before = Medium(bench.medium.records)
    first = Command(whole.cla | CHAINING, whole.ins, whole.p1, whole.p2, whole.data[:half])
    for command in (first, other):
        raw = command.encode()
        check(before, bench, raw, client.transport.transceive(raw))
        if command is first:
            assert bench.medium.records == before.records
