"""A recorded PIV session played to another card: keys are compared by what they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from apdu import piv as wire
from apdu.codec import Command, Response
from apdu.model import SW
from apdu.recording import Entry, Mask, Recorder, read_entry, write_entry
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.piv import SHA256_INFO
from host_tools.replay import Outcome, Player, Replayed, changing
from tests import cards, piv_cards
from tests.vectors.examined import EmulatedCard
from tests.vectors.examined_piv import (
    AUTHENTICATE,
    METADATA,
    ProvesNothing,
    SignsWrongly,
    TellsAnotherPinPolicy,
)
from token_fw.factory import Profile

DIGEST = bytes(range(32))
KEY, PIN = piv_cards.MANAGEMENT_KEY, piv_cards.PIN.decode()
OTHER_KEY = bytes(range(0x30, 0x48))
GET_RESPONSE = 0xC0


def point() -> bytes:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def sign(client: piv_cards.Client) -> None:
    client.make_key(piv.AUTHENTICATION)
    client.use(piv.AUTHENTICATION, piv.P256, DIGEST)
    client.use(piv.AUTHENTICATION, piv.P256, DIGEST[:20])
    client.make_key(piv.RETIRED, piv.ED25519)
    client.use(piv.RETIRED, piv.ED25519, b"a message")


def sign_by_rsa(client: piv_cards.Client) -> None:
    info = SHA256_INFO + DIGEST
    block = b"\x00\x01" + b"\xff" * (256 - len(info) - 3) + b"\x00" + info
    client.make_key(piv.KEY_MANAGEMENT, piv.RSA_2048)
    client.use(piv.KEY_MANAGEMENT, piv.RSA_2048, block)


def agree(client: piv_cards.Client) -> None:
    peer = x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()
    client.make_key(piv.AUTHENTICATION)
    client.use(piv.AUTHENTICATION, piv.P256, point(), piv.EXPONENTIATION)
    client.make_key(piv.RETIRED, piv.X25519)
    client.use(piv.RETIRED, piv.X25519, peer, piv.EXPONENTIATION)


def write(client: piv_cards.Client) -> None:
    client.ok(piv.put_data(piv.CERTIFICATE, b"certificate" * 60))
    client.ok(piv.put_data(piv.PRINTED, b"a name" * 60))
    client.ok(piv.get_data(piv.CERTIFICATE))


SESSIONS: dict[str, Callable[[piv_cards.Client], None]] = {
    "signatures": sign,
    "signatures by RSA": sign_by_rsa,
    "shared secrets": agree,
    "objects": write,
}


def recorded(session: Callable[[piv_cards.Client], None], *, extended: bool = True) -> list[Entry]:
    """A session that begins with the management key and the PIN, read back from its lines."""
    entries: list[Entry] = []
    recorder = Recorder(cards.Bench().connect(), entries.append, Mask(piv.SPEC))
    client = piv_cards.Client(recorder, extended=extended)
    client.prove()
    client.log_in()
    session(client)
    return [read_entry(entry.line()) for entry in entries]


def play(
    entries: list[Entry], card: EmulatedCard | None = None, key: bytes | None = KEY
) -> list[Replayed]:
    other = card or another()
    return list(Player("piv", lambda: other, {"pin": PIN}, key).play(entries))


def another(kind: type[EmulatedCard] = EmulatedCard) -> EmulatedCard:
    return kind(Profile(b"ANOTHER1"))


def unlike(played: list[Replayed]) -> list[tuple[str, Outcome, str]]:
    """What is not the same: its name, outcome and reason."""
    found = (item for item in played if item.outcome is not Outcome.SAME)
    return [(item.name, item.outcome, item.reason) for item in found]


@pytest.mark.parametrize("extended", [True, False], ids=["extended", "in chains and parts"])
@pytest.mark.parametrize("name", [name for name in SESSIONS if name != "objects"])
def test_another_sound_card_does_the_same_with_keys_of_its_own(name: str, extended: bool) -> None:
    entries = recorded(SESSIONS[name], extended=extended)
    played = play(entries)
    assert unlike(played) == []
    assert len(played) == len(entries)


def test_a_key_that_deciphers_is_compared_by_its_public_key() -> None:
    def decipher(client: piv_cards.Client) -> None:
        public = client.make_key(piv.KEY_MANAGEMENT, piv.RSA_2048)
        # Small enough for every other modulus.
        cryptogram = public.encrypt(b"a session key", PKCS1v15())
        while cryptogram[0] & 0x80:
            cryptogram = public.encrypt(b"a session key", PKCS1v15())
        client.use(piv.KEY_MANAGEMENT, piv.RSA_2048, cryptogram)

    entries = recorded(decipher)
    assert unlike(play(entries)) == []
    assert entries[-1].length == 256 + 8


def test_a_cryptogram_for_a_larger_modulus_is_skipped() -> None:
    entries = recorded(lambda client: client.make_key(piv.KEY_MANAGEMENT, piv.RSA_2048))
    use = piv.use(piv.KEY_MANAGEMENT, piv.RSA_2048, b"\xff" * 256)
    entries.append(Entry(0, 1.0, command=use.encode(), response=b"\x90\x00", length=256 + 8))
    [*_, last] = play(entries)
    assert last.outcome is Outcome.SKIPPED
    assert "larger modulus" in last.reason


@pytest.mark.parametrize("extended", [True, False], ids=["extended", "in chains and parts"])
@pytest.mark.parametrize("name", ["signatures", "signatures by RSA"])
def test_a_wrong_signature_is_found(name: str, extended: bool) -> None:
    played = play(recorded(SESSIONS[name], extended=extended), another(SignsWrongly))
    differing = unlike(played)
    assert differing
    assert {outcome for _, outcome, _ in differing} == {Outcome.DIFFERENT}
    told = {"the signature is wrong", "the result does not belong to the public key"}
    assert {reason for *_, reason in differing} <= told | {
        "the answer is no signature in DER",
        "the answer is no result of a key",
    }


class HasNoMetadata(EmulatedCard):
    """A card without Yubico's metadata."""

    def answer(self, command: Command) -> Response:
        if command.ins == METADATA:
            return Response(SW.INS_NOT_SUPPORTED)
        return self.soundly(command)


class SignsWronglyWithoutMetadata(SignsWrongly):
    """The same, and one bit of every signature is wrong."""

    def answer(self, command: Command) -> Response:
        if command.ins == METADATA:
            return Response(SW.INS_NOT_SUPPORTED)
        return super().answer(command)


def test_without_metadata_the_key_that_was_made_in_the_replay_is_taken() -> None:
    entries = recorded(sign_by_rsa, extended=False)
    assert unlike(play(entries, another(HasNoMetadata))) == []
    [(_, outcome, reason)] = unlike(play(entries, another(SignsWronglyWithoutMetadata)))
    assert outcome is Outcome.DIFFERENT
    assert reason == "the result does not belong to the public key"


class AgreesTooShort(EmulatedCard):
    """A shared secret lacks its last byte."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        agreed = command.ins == AUTHENTICATE and piv.EXPONENTIATION in wire.template(command.data)
        if agreed and response.data:
            secret = wire.template(response.data)[piv.RESPONSE]
            return replace(response, data=wire.encode_template({piv.RESPONSE: secret[:-1]}))
        return response


def test_a_shared_secret_of_another_length_is_found() -> None:
    differing = unlike(play(recorded(agree), another(AgreesTooShort)))
    assert {reason for *_, reason in differing} == {"the shared secret has another length"}


def test_the_management_key_is_proven_anew_and_no_value_of_it_is_kept() -> None:
    entries = recorded(sign)
    [asked, proven] = [entry for entry in entries if entry.command[1:4] == b"\x87\x0a\x9b"]
    assert (asked.blanked, proven.blanked) == (False, True)
    assert proven.parsed().data == bytes.fromhex("7C248010") + bytes(16) + b"\x81\x10" + bytes(16)
    assert asked.length == proven.length == 20
    kept = "".join(map(write_entry, entries))
    assert KEY.hex() not in kept


def test_a_card_that_does_not_prove_the_management_key_differs() -> None:
    [difference] = unlike(play(recorded(lambda _: None), another(ProvesNothing)))
    assert difference[1:] == (Outcome.DIFFERENT, "the card does not prove the management key")


def test_without_the_management_key_its_proof_is_skipped_and_what_needs_it_differs() -> None:
    differing = unlike(play(recorded(sign), key=None))
    skipped = [(name, why) for name, outcome, why in differing if outcome is Outcome.SKIPPED]
    reason = "its management key is masked, and not given or refused before"
    assert skipped == [("GENERAL AUTHENTICATE", reason)]
    refused = {name for name, outcome, _ in differing if outcome is Outcome.DIFFERENT}
    assert refused == {"GENERATE ASYMMETRIC KEY PAIR", "GENERAL AUTHENTICATE"}


def test_metadata_differ_by_what_they_tell_of_a_key_but_its_public_part() -> None:
    def ask(client: piv_cards.Client) -> None:
        client.make_key(piv.AUTHENTICATION)
        client.metadata(piv.AUTHENTICATION)
        client.make_key(piv.RETIRED, piv.RSA_2048)
        client.metadata(piv.RETIRED)  # in two parts

    entries = recorded(ask, extended=False)
    assert unlike(play(entries)) == []
    differing = unlike(play(entries, another(TellsAnotherPinPolicy)))
    # That card lies in answers of one part alone.
    assert [(name, outcome) for name, outcome, _ in differing] == [
        ("GET METADATA", Outcome.DIFFERENT)
    ]


def test_a_wrong_management_key_is_sent_once() -> None:
    entries = recorded(lambda client: client.prove())
    proofs = [item for item in play(entries, key=OTHER_KEY) if item.number in {3, 6}]
    assert [item.outcome for item in proofs] == [Outcome.DIFFERENT, Outcome.SKIPPED]


def test_what_differs_after_a_masked_change_of_the_management_key_tells_of_it() -> None:
    def change(client: piv_cards.Client) -> None:
        longer = bytes(range(32))
        client.ok(piv.set_management_key(piv.AES_256, longer))
        client.prove(longer, piv.AES_256)

    skipped, *later = unlike(play(recorded(change)))
    assert skipped[:2] == ("SET MANAGEMENT KEY", Outcome.SKIPPED)
    assert "needs the new value" in skipped[2]
    asked = [reason for _, outcome, reason in later if outcome is Outcome.DIFFERENT]
    assert asked == ["SET MANAGEMENT KEY before it was skipped"]


def test_single_authentication_is_played_too() -> None:
    def once(client: piv_cards.Client) -> None:
        challenge = client.ask(piv.AES_192, {piv.CHALLENGE: b""})[piv.CHALLENGE]
        client.ask(piv.AES_192, {piv.RESPONSE: piv.encipher(KEY, challenge)})
        client.make_key(piv.AUTHENTICATION)

    assert unlike(play(recorded(once))) == []


@pytest.mark.parametrize("extended", [True, False], ids=["extended", "in chains"])
def test_objects_for_everybody_are_written_and_private_ones_are_skipped(extended: bool) -> None:
    entries = recorded(write, extended=extended)
    card = another()
    skipped = unlike(play(entries, card))
    assert {(name, reason) for name, _, reason in skipped} == {("PUT DATA", "its data are masked")}
    client = piv_cards.managed(card.bench)
    assert b"certificate" * 60 in client.ok(piv.get_data(piv.CERTIFICATE))
    assert client.status(piv.get_data(piv.PRINTED)) == SW.FILE_NOT_FOUND
    assert b"a name".hex() not in "".join(map(write_entry, entries))


def test_what_goes_on_with_a_skipped_command_is_skipped() -> None:
    select = Command(0x00, 0xA4, 0x04, 0x00, piv.SPEC.aid)
    entries = [
        Entry(0, 0.0, command=select.encode(), response=b"\x90\x00", length=19),
        Entry(0, 0.1, command=b"\x00\xfe\x07\x9a", masked=True, response=b"\x61\x08", length=256),
        Entry(0, 0.2, command=bytes((0, GET_RESPONSE, 0, 0, 8)), response=b"\x90\x00", length=8),
        Entry(0, 0.3, command=piv.get_version().encode(), response=b"\x05\x07\x01\x90\x00"),
    ]
    outcomes = [item.outcome for item in play(entries)]
    assert outcomes == [Outcome.SAME, Outcome.SKIPPED, Outcome.SKIPPED, Outcome.SAME]


def test_the_use_of_a_key_changes_nothing_on_the_card() -> None:
    assert changing("piv", recorded(sign)) == ["GENERATE ASYMMETRIC KEY PAIR"]
    assert "PUT DATA" in changing("piv", recorded(write))


def test_what_a_key_deciphers_and_agrees_on_is_never_kept() -> None:
    entries: list[Entry] = []
    answers: list[bytes] = []

    class Seen(EmulatedCard):
        def answer(self, command: Command) -> Response:
            response = self.soundly(command)
            if command.ins in {AUTHENTICATE, GET_RESPONSE}:
                answers.append(response.data)
            return response

    client = piv_cards.Client(Recorder(Seen(), entries.append, Mask(pki.PKI)), extended=False)
    client.prove()
    client.log_in()
    answers.clear()
    public = client.make_key(piv.KEY_MANAGEMENT, piv.RSA_2048)
    answers.clear()
    client.use(piv.KEY_MANAGEMENT, piv.RSA_2048, public.encrypt(b"a session key", PKCS1v15()))
    client.make_key(piv.AUTHENTICATION)
    client.use(piv.AUTHENTICATION, piv.P256, point(), piv.EXPONENTIATION)
    kept = "".join(map(write_entry, entries))
    secret = [answer for answer in answers if answer]
    assert len(secret) == 3  # two parts of a plain text, and a shared secret
    assert not any(answer[-8:].hex() in kept for answer in secret)
