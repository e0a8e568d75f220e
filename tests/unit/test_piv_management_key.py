"""The management key: both ways of proving it, its kinds, and what ends a proof."""

from __future__ import annotations

import pytest

from apdu.codec import Command
from apdu.model import SW
from host_tools.conformance import piv_commands as piv
from host_tools.conformance.piv_commands import AES_192, MANAGEMENT
from tests import cards, piv_cards
from tests.piv_cards import MANAGEMENT_KEY

DENIED = SW.SECURITY_STATUS_NOT_SATISFIED
WITNESS, CHALLENGE, RESPONSE = 0x80, 0x81, 0x82
KEYS = {
    piv.DES3: bytes(range(24)),
    piv.AES_128: bytes(range(16)),
    piv.AES_192: bytes(range(24)),
    piv.AES_256: bytes(range(32)),
}
WRITE = piv.put_data(piv.CHUID, b"x")


def send(client: piv_cards.Client, fields: dict[int, bytes], algorithm: int = AES_192) -> int:
    return client.status(piv.authenticate(algorithm, MANAGEMENT, fields))


def prove_single(client: piv_cards.Client, key: bytes, algorithm: int = AES_192) -> int:
    challenge = client.ask(algorithm, {CHALLENGE: b""})[CHALLENGE]
    return send(client, {RESPONSE: piv.encipher(key, challenge)}, algorithm)


def test_the_factory_key_is_that_of_every_yubikey_5_7() -> None:
    client = piv_cards.client()
    assert client.status(WRITE) == DENIED
    client.prove(MANAGEMENT_KEY, AES_192)
    client.ok(WRITE)


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_key_of_every_kind_is_proven_both_ways_and_lasts(algorithm: int) -> None:
    bench, key = cards.Bench(), KEYS[algorithm]
    piv_cards.managed(bench).ok(piv.set_management_key(algorithm, key))
    again = bench.restarted()
    mutual, single = piv_cards.client(again), piv_cards.client(again)
    mutual.prove(key, algorithm)
    assert prove_single(single, key, algorithm) == SW.NO_ERROR
    for client in (mutual, single):
        client.ok(WRITE)
    assert mutual.metadata(MANAGEMENT)[0x01] == bytes((algorithm,))


def test_3des_goes_by_two_identifiers() -> None:
    client = piv_cards.managed()
    client.ok(piv.set_management_key(piv.DES3, KEYS[piv.DES3]))
    assert prove_single(client, KEYS[piv.DES3], 0x00) == SW.NO_ERROR


def test_the_factory_value_may_be_that_of_a_3des_key() -> None:
    """So that programs which know no AES can be used."""
    client = piv_cards.managed()
    client.ok(piv.set_management_key(piv.DES3, MANAGEMENT_KEY))
    client.prove(MANAGEMENT_KEY, piv.DES3)


@pytest.mark.parametrize("algorithm", [piv.DES3, piv.AES_128, piv.AES_256, 0x11, 0x7F])
def test_another_algorithm_than_the_keys_is_refused(algorithm: int) -> None:
    client = piv_cards.client()
    for fields in ({WITNESS: b""}, {CHALLENGE: b""}):
        assert send(client, fields, algorithm) == SW.INCORRECT_P1P2


def test_a_wrong_answer_ends_what_was_proven_before() -> None:
    client = piv_cards.managed()
    client.ok(WRITE)
    assert prove_single(client, bytes(24)) == DENIED
    assert client.status(WRITE) == DENIED


def test_a_wrong_witness_is_refused_and_learns_nothing() -> None:
    client = piv_cards.client()
    client.ask(AES_192, {WITNESS: b""})
    answer = client.send(
        piv.authenticate(AES_192, MANAGEMENT, {WITNESS: bytes(16), CHALLENGE: bytes(16)})
    )
    assert (answer.sw, answer.data) == (DENIED, b"")


def test_a_challenge_is_answered_once() -> None:
    client = piv_cards.client()
    challenge = client.ask(AES_192, {CHALLENGE: b""})[CHALLENGE]
    right = {RESPONSE: piv.encipher(MANAGEMENT_KEY, challenge)}
    assert send(client, {RESPONSE: bytes(16)}) == DENIED
    assert send(client, right) == SW.CONDITIONS_NOT_SATISFIED
    assert client.status(WRITE) == DENIED


def test_the_enciphered_witness_does_not_answer_the_other_way() -> None:
    """Else a client without the key would echo what the card has enciphered."""
    client = piv_cards.client()
    witness = client.ask(AES_192, {WITNESS: b""})[WITNESS]
    assert send(client, {RESPONSE: witness}) == SW.CONDITIONS_NOT_SATISFIED
    challenge = client.ask(AES_192, {CHALLENGE: b""})[CHALLENGE]
    mutual = {WITNESS: challenge, CHALLENGE: bytes(16)}
    assert send(client, mutual) == SW.CONDITIONS_NOT_SATISFIED
    assert client.status(WRITE) == DENIED


BETWEEN = {
    "GET VERSION": piv.get_version(),
    "unknown": Command(0x00, 0x99, 0x00, 0x00),
    "a slot's key": piv.use(piv.AUTHENTICATION, piv.P256, bytes(32)),
    "no step": piv.authenticate(AES_192, MANAGEMENT, {}),
    "another algorithm": piv.authenticate(piv.AES_256, MANAGEMENT, {RESPONSE: bytes(16)}),
}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_any_other_command_ends_the_exchange(between: Command) -> None:
    client = piv_cards.client()
    challenge = client.ask(AES_192, {CHALLENGE: b""})[CHALLENGE]
    client.status(between)
    answer = {RESPONSE: piv.encipher(MANAGEMENT_KEY, challenge)}
    assert send(client, answer) == SW.CONDITIONS_NOT_SATISFIED


def test_challenges_and_witnesses_differ() -> None:
    client = piv_cards.client()
    asked = (WITNESS, WITNESS, CHALLENGE, CHALLENGE)
    told = [client.ask(AES_192, {tag: b""})[tag] for tag in asked]
    assert len(set(told)) == 4


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {WITNESS: bytes(16)},
        {CHALLENGE: bytes(16)},
        {CHALLENGE: bytes(16), RESPONSE: b""},
        {WITNESS: b"", CHALLENGE: b""},
        {0x85: bytes(16), RESPONSE: b""},
        {0x83: b""},
    ],
    ids=["nothing", "witness", "challenge", "internal", "both", "exponentiation", "unknown"],
)
def test_a_template_of_no_step_is_refused(fields: dict[int, bytes]) -> None:
    assert send(piv_cards.client(), fields) == SW.INCORRECT_DATA


@pytest.mark.parametrize("data", ["7C", "7C0480008100", "8000", "7C0080008200", "7C0280018100"])
def test_a_malformed_template_is_refused(data: str) -> None:
    command = Command(0x00, 0x87, AES_192, MANAGEMENT, bytes.fromhex(data), 256)
    assert piv_cards.client().status(command) == SW.INCORRECT_DATA


def test_a_new_key_has_to_be_proven_on_every_other_interface() -> None:
    bench = cards.Bench()
    one, other = piv_cards.managed(bench), piv_cards.managed(bench)
    one.ok(piv.set_management_key(AES_192, KEYS[AES_192]))
    one.ok(WRITE)
    assert other.status(WRITE) == DENIED
    other.prove(KEYS[AES_192])
    other.ok(WRITE)


@pytest.mark.parametrize(
    "data",
    [
        "0A9B10" + "00" * 16,
        "089B18" + "00" * 24,
        "079B18" + "00" * 24,
        "0A9C18" + "00" * 24,
        "039B18" + "0101010101010101" + "0001020304050607" * 2,
        "039B18" + "0001020304050607" * 2 + "00FF00FF00FF00FF",
        "0A",
        "0A9B18" + "00" * 25,
    ],
    ids=["short", "long", "algorithm", "tag", "weak", "semi-weak", "nothing", "more"],
)
def test_a_key_that_is_none_is_refused_and_the_old_one_stays(data: str) -> None:
    bench = cards.Bench()
    client = piv_cards.managed(bench)
    before = bench.digest()
    command = Command(0x00, 0xFF, 0xFF, 0xFF, bytes.fromhex(data))
    assert client.status(command) == SW.INCORRECT_DATA
    assert bench.digest() == before
    client.ok(WRITE)
