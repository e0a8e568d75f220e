"""A recorded PKI session played to another card: signatures are compared by its public keys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from apdu import tlv
from apdu.codec import CHAINING, Command, Response
from apdu.model import SW
from apdu.recording import Entry, Mask, Recorder, read_entry
from apdu.transport import Transport
from host_tools.conformance import pki_commands as pki
from host_tools.replay import Outcome, Player, Replayed
from tests import cards
from tests.vectors.examined import CHOOSE, GENERATE, PINS, EmulatedCard
from token_fw.factory import Profile

Session = Callable[[cards.Client], None]

DIGEST = hashlib.sha256(b"a message").digest()
SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
ISO_ECDSA, GET_RESPONSE = 0x21, 0xC0
RSA, EC, EDWARDS, GOST, OTHER = range(1, 6)
KEYS = {
    RSA: (pki.RSA_2048, b""),
    EC: (pki.EC, pki.p256()),
    EDWARDS: (pki.ED25519, b""),
    GOST: (pki.GOST_256, pki.curve("tc26-256-A")),
}
PSS_SHA256 = b"\xc1\x01\x03"


def make(client: cards.Client, reference: int) -> None:
    kind, curve = KEYS[reference]
    client.ok(pki.mse(pki.GENERATE, kind, reference))
    client.ok(pki.generate(curve))


def make_all(client: cards.Client) -> None:
    for reference in KEYS:
        make(client, reference)


def sign(
    client: cards.Client, reference: int, algorithm: int, data: bytes, extra: bytes = b""
) -> None:
    client.ok(pki.mse(pki.SIGN, algorithm, reference, extra))
    client.ok(pki.sign(data))


def sign_with_all(client: cards.Client) -> None:
    sign(client, RSA, pki.PKCS1, SHA256_INFO + DIGEST)
    sign(client, RSA, pki.PSS, DIGEST, PSS_SHA256)
    sign(client, RSA, pki.PSS, DIGEST)
    sign(client, EC, pki.ECDSA, DIGEST)
    sign(client, EDWARDS, pki.EDDSA, b"a message" * 50)
    sign(client, GOST, pki.GOST_SIGN, DIGEST)


def make_and_sign(client: cards.Client) -> None:
    make_all(client)
    sign_with_all(client)


SIGNATURES = 6


def recorded(
    session: Session, *, extended: bool = True, card: Transport | None = None
) -> list[Entry]:
    """A session of one that has logged in, read back from its lines."""
    entries: list[Entry] = []
    recorder = Recorder(card or cards.operational().connect(), entries.append, Mask(pki.PKI))
    client = cards.Client(recorder, extended=extended)
    client.log_in()
    session(client)
    return [read_entry(entry.line()) for entry in entries]


def with_keys(card: EmulatedCard) -> EmulatedCard:
    """The card with keys that were made before."""
    make_all(cards.logged_in(card.bench))
    return card


def play(entries: list[Entry], card: EmulatedCard | None = None) -> list[Replayed]:
    other = card or another()
    return list(Player("pki", lambda: other, PINS).play(entries))


def another(kind: type[EmulatedCard] = EmulatedCard) -> EmulatedCard:
    return kind(Profile(b"ANOTHER1"))


def unlike(played: list[Replayed]) -> list[tuple[str, Outcome, str]]:
    """What is not the same: its name, outcome and reason."""
    found = (item for item in played if item.outcome is not Outcome.SAME)
    return [(item.name, item.outcome, item.reason) for item in found]


def keys_made_before(session: Session) -> list[Entry]:
    bench = cards.operational()
    make_all(cards.logged_in(bench))
    return recorded(session, card=bench.connect())


@pytest.mark.parametrize("extended", [True, False], ids=["extended", "in chains and parts"])
def test_another_sound_card_signs_by_keys_of_its_own(extended: bool) -> None:
    entries = recorded(make_and_sign, extended=extended)
    played = play(entries)
    assert unlike(played) == []
    assert len(played) == len(entries)


@pytest.mark.parametrize("extended", [True, False], ids=["extended", "in chains and parts"])
def test_a_flipped_bit_of_a_signature_is_found(extended: bool) -> None:
    entries = recorded(make_and_sign, extended=extended)
    differing = unlike(play(entries, another(FlipsABit)))
    assert [item[1:] for item in differing] == [
        (Outcome.DIFFERENT, "the signature is wrong")
    ] * SIGNATURES


class FlipsABit(EmulatedCard):
    """One bit at the end of every signature is wrong."""

    signing = False

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins != GET_RESPONSE:
            self.signing = command.header[1:] == pki.sign(b"").header[1:]
        if self.signing and response.sw == SW.NO_ERROR and response.data:
            return replace(response, data=response.data[:-1] + bytes((response.data[-1] ^ 1,)))
        return response


class SignsWithAnotherKey(EmulatedCard):
    """Whoever chooses the key 2 to sign gets the key 5, which is of the same kind."""

    def answer(self, command: Command) -> Response:
        if (command.ins, command.p2) == (CHOOSE, pki.SIGN):
            objects = tlv.to_dict(tlv.parse(command.data))
            if objects[0x84] == EC.to_bytes(2, "big"):
                return self.soundly(pki.mse(pki.SIGN, objects[0x80][0], OTHER))
        return self.soundly(command)


def test_a_card_that_signs_with_another_key_differs() -> None:
    card = another(SignsWithAnotherKey)
    cards.make_key(cards.logged_in(card.bench), OTHER)
    differing = unlike(play(recorded(make_and_sign), card))
    assert differing == [
        ("PSO COMPUTE DIGITAL SIGNATURE", Outcome.DIFFERENT, "the signature is wrong")
    ]


def test_keys_that_both_cards_had_before_are_compared_by_what_the_card_tells() -> None:
    entries = keys_made_before(sign_with_all)
    assert unlike(play(entries, with_keys(another()))) == []
    differing = unlike(play(entries, with_keys(another(FlipsABit))))
    assert [reason for *_, reason in differing] == ["the signature is wrong"] * SIGNATURES


class FlipsABitAndTellsNoPublicKey(FlipsABit):
    """The same, without GET PUBLIC KEY, as IsoApplet is."""

    def soundly(self, command: Command) -> Response:
        if (command.ins, command.p1) == (GENERATE, 0x01):
            return Response(SW.INCORRECT_P1P2)
        return super().soundly(command)


def test_without_a_public_key_signatures_are_compared_by_their_form() -> None:
    entries = keys_made_before(sign_with_all)
    assert unlike(play(entries, with_keys(another(FlipsABitAndTellsNoPublicKey)))) == []
    made = recorded(make_and_sign)
    assert len(unlike(play(made, another(FlipsABitAndTellsNoPublicKey)))) == SIGNATURES


def test_asking_for_a_public_key_leaves_chosen_what_was() -> None:
    def choose_before(client: cards.Client) -> None:
        client.ok(pki.mse(pki.GENERATE, pki.GOST_256, GOST))
        sign(client, EC, pki.ECDSA, DIGEST)
        client.ok(pki.generate(KEYS[GOST][1]))
        sign(client, GOST, pki.GOST_SIGN, DIGEST)

    assert unlike(play(keys_made_before(choose_before), with_keys(another()))) == []


class HasACurveOfItsOwn(EmulatedCard):
    """It takes P-256 by an identifier that nobody else knows."""

    oid = tlv.encode(0x06, b"\x2a\x03\x04")

    def answer(self, command: Command) -> Response:
        own = command.ins == GENERATE and command.data == self.oid
        return self.soundly(replace(command, data=pki.p256()) if own else command)


def test_a_key_on_a_curve_that_only_the_card_knows_is_not_taken_for_the_one_before() -> None:
    def make_twice(client: cards.Client) -> None:
        make(client, EC)
        client.ok(pki.generate(HasACurveOfItsOwn.oid))
        sign(client, EC, pki.ECDSA, DIGEST)

    entries = recorded(make_twice, card=HasACurveOfItsOwn())
    assert unlike(play(entries, another(HasACurveOfItsOwn))) == []


class SelectsByItself(EmulatedCard):
    """After a reset the application is selected."""

    def reset(self) -> bytes:
        atr = super().reset()
        self.soundly(pki.select_application())
        return atr


@pytest.mark.parametrize("begin", ["by SELECT", "by a reset"])
def test_asking_for_a_public_key_chooses_none_to_be_made(begin: str) -> None:
    def choose(client: cards.Client) -> None:
        client.ok(pki.mse(pki.GENERATE, pki.EC, EC))

    def make_unchosen(client: cards.Client) -> None:
        sign(client, EC, pki.ECDSA, DIGEST)
        assert client.status(pki.generate(pki.p256())) == SW.CONDITIONS_NOT_SATISFIED

    select, *others = keys_made_before(make_unchosen)
    anew = {"by SELECT": select, "by a reset": Entry(0, 1.0)}[begin]
    card = with_keys(another(SelectsByItself))
    before = told(card)
    assert unlike(play([*recorded(choose), anew, *others], card)) == []
    assert told(card) == before


def test_a_chain_that_another_command_has_broken_is_over() -> None:
    def break_a_chain(client: cards.Client) -> None:
        make(client, EDWARDS)
        client.ok(pki.mse(pki.SIGN, pki.EDDSA, EDWARDS))
        client.ok(replace(pki.sign(b"a part of a message"), cla=CHAINING, ne=0))
        client.send(pki.challenge(8))
        client.ok(pki.sign(DIGEST))

    assert unlike(play(recorded(break_a_chain))) == []


def told(card: EmulatedCard) -> bytes:
    """The public key of 2 as the card tells it."""
    client = card.bench.client()
    client.ok(pki.mse(pki.GENERATE, pki.EC, EC))
    return client.ok(pki.public_key())


@pytest.mark.parametrize("version_asked", [False, True])
def test_ecdsa_of_isoapplet_hashes_until_its_version_is_asked_for(version_asked: bool) -> None:
    def session(client: cards.Client) -> None:
        if version_asked:
            client.ok(pki.get_data(0x01))
        make(client, EC)
        sign(client, EC, ISO_ECDSA, DIGEST[:20])

    entries = recorded(session)
    assert unlike(play(entries)) == []
    assert [reason for *_, reason in unlike(play(entries, another(FlipsABit)))] == [
        "the signature is wrong"
    ]


def test_a_number_that_is_too_large_for_the_other_modulus_is_skipped() -> None:
    entries = recorded(lambda client: make(client, RSA))
    for command in (pki.mse(pki.SIGN, pki.RSA_RAW, RSA), pki.sign(b"\xff" * 256)):
        entries.append(Entry(0, 1.0, command=command.encode(), response=b"\x90\x00"))
    [*_, last] = play(entries)
    assert (last.outcome, last.reason) == (
        Outcome.SKIPPED,
        "it was made for a key with a larger modulus",
    )


def test_after_a_reset_and_on_another_way_the_key_made_before_is_known() -> None:
    bench = cards.operational()
    entries: list[Entry] = []
    ways = [Recorder(bench.connect(), entries.append, Mask(pki.PKI), door) for door in (0, 1)]
    first, second = (cards.Client(way) for way in ways)
    first.log_in()
    make(first, EC)
    ways[0].was_reset()
    second.log_in()
    sign(second, EC, pki.ECDSA, DIGEST)
    other = cards.operational(Profile(b"ANOTHER1"))
    differing = unlike(list(Player("pki", lambda: Way(other), PINS).play(entries)))
    assert [reason for *_, reason in differing] == ["the signature is wrong"]


class Way(FlipsABitAndTellsNoPublicKey):
    """A further interface of a card."""

    def __init__(self, bench: cards.Bench) -> None:
        self.bench, self.interface = bench, bench.connect()
