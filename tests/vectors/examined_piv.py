"""Cards whose PIV application is broken on purpose, and their examination."""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from apdu import tlv
from apdu.codec import Command, Response
from apdu.model import SW
from host_tools.conformance import piv_commands as piv
from host_tools.conformance.checks import Check
from host_tools.conformance.examination import Examination
from host_tools.conformance.pki_commands import select_application
from tests import cards, piv_cards
from tests.vectors.examined import SELECT, VERIFY, EmulatedCard
from token_fw.card import Card
from token_fw.env import Env

PINS = {
    "pin": piv_cards.PIN.decode(),
    "puk": piv_cards.PUK.decode(),
    "management-key": piv_cards.MANAGEMENT_KEY.hex(),
}
METADATA, SERIAL, IMPORT, ATTEST = 0xF7, 0xF8, 0xFE, 0xF9
CHANGE, AUTHENTICATE, GET_DATA, GENERATE, RESET = 0x24, 0x87, 0xCB, 0x47, 0xFB
_COUNTERS = range(SW.WRONG_PIN, SW.WRONG_PIN + 16)


def examine(card: EmulatedCard, *, destructive: bool = True) -> list[Check]:
    examination = Examination(card, "piv", PINS, destructive=destructive)
    return list(examination.run())


class IsTouched(EmulatedCard):
    """A sound card with a finger on it."""

    def _insert(self, bench: cards.Bench) -> None:
        bench.card = Card(Env(bench.store, presence=piv_cards.Finger()))
        super()._insert(bench)


class HasNoReset(EmulatedCard):
    """A sound card without Yubico's RESET."""

    def answer(self, command: Command) -> Response:
        if (command.cla, command.ins) == (0x00, RESET):
            return Response(SW.INS_NOT_SUPPORTED)
        return self.soundly(command)


class TakesShortLengthsOnly(EmulatedCard):
    """A sound card without extended length fields; its ATR tells nothing."""

    def reset(self) -> bytes:
        super().reset()
        return b"\x3b\x80\x80\x01\x01"

    def transceive(self, command: bytes) -> bytes:
        if len(command) > 5 and command[4] == 0:
            return Response(SW.WRONG_LENGTH).encode()
        return super().transceive(command)


class CountsTooMany(EmulatedCard):
    """After a wrong PUK it tells one try more than are left."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        wrong_puk = (command.ins, command.p2) == (CHANGE, piv.REF_PUK)
        return Response(response.sw + 1) if wrong_puk and response.sw in _COUNTERS else response


class GivesTriesBack(EmulatedCard):
    """A reset restores the tries of the PIN."""

    def reset(self) -> bytes:
        super().reset()
        self.soundly(select_application(piv.SPEC))
        self.soundly(piv.verify(piv_cards.PIN))
        return super().reset()


class KeepsLoginOverReset(EmulatedCard):
    """A reset does not end a login."""

    stale = False

    def reset(self) -> bytes:
        self.stale = self.soundly(piv.verify()).sw == SW.NO_ERROR
        return super().reset()

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == SELECT and self.stale:
            self.stale = False
            self.soundly(piv.verify(piv_cards.PIN))
        return response


class ShowsPrintedInformation(EmulatedCard):
    """Printed information is read without the PIN."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == GET_DATA and response.sw == SW.SECURITY_STATUS_NOT_SATISFIED:
            return Response(SW.NO_ERROR, bytes.fromhex("5306") + b"a name")
        return response


class SignsTwiceForOnePin(EmulatedCard):
    """The key of 9C signs again without a PIN between."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        refused = response.sw == SW.SECURITY_STATUS_NOT_SATISFIED
        if refused and (command.ins, command.p2) == (AUTHENTICATE, piv.SIGNATURE):
            self.soundly(piv.verify(piv_cards.PIN))
            return self.soundly(command)
        return response


class GeneratesForThePin(EmulatedCard):
    """Whoever knows the PIN makes keys, without the management key."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        refused = response.sw == SW.SECURITY_STATUS_NOT_SATISFIED
        if command.ins == GENERATE and refused:
            logged_in = self.soundly(piv.verify()).sw == SW.NO_ERROR
            return Response(SW.INCORRECT_DATA) if logged_in else response
        return response


class AnswersAnotherStatus(EmulatedCard):
    """It calls what it does not find wrong data."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        absent = response.sw == SW.REFERENCED_DATA_NOT_FOUND
        return Response(SW.INCORRECT_DATA) if absent else response


class AnswersTooShort(EmulatedCard):
    """The last byte of every data object is missing."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        return replace(response, data=response.data[:-1]) if command.ins == GET_DATA else response


class SignsWrongly(EmulatedCard):
    """One bit of every signature is wrong."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == AUTHENTICATE and command.p2 != piv.MANAGEMENT and response.data:
            return replace(response, data=response.data[:-1] + bytes((response.data[-1] ^ 1,)))
        return response


class ProvesNothing(EmulatedCard):
    """It answers the challenge of whoever proves the management key by zeros."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        proof = command.data[2:3] == b"\x80" and len(response.data) > 4
        if command.ins == AUTHENTICATE and proof and len(command.data) > 8:
            head = response.data[:4]
            return replace(response, data=head + bytes(len(response.data) - len(head)))
        return response


class TakesAnyPin(EmulatedCard):
    """Whatever is entered, the PIN is verified."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == VERIFY and command.data and response.sw in _COUNTERS:
            return self.soundly(piv.verify(piv_cards.PIN))
        return response


class KeepsLoginOverWrongPin(EmulatedCard):
    """Whoever is logged in stays so after a wrong PIN."""

    def answer(self, command: Command) -> Response:
        entered = command.ins == VERIFY and command.data
        verified = entered and self.soundly(piv.verify()).sw == SW.NO_ERROR
        response = self.soundly(command)
        if verified and response.sw in _COUNTERS:
            self.soundly(piv.verify(piv_cards.PIN))
        return response


class _UsesWithoutPin(EmulatedCard):
    """The keys in some slots are used without a PIN."""

    slots: frozenset[int]

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        refused = response.sw == SW.SECURITY_STATUS_NOT_SATISFIED
        if refused and command.ins == AUTHENTICATE and command.p2 in self.slots:
            self.soundly(piv.verify(piv_cards.PIN))
            return self.soundly(command)
        return response


class DecryptsWithoutPin(_UsesWithoutPin):
    """The key management key asks for no PIN."""

    slots = frozenset((piv.KEY_MANAGEMENT,))


class UsesRetiredWithoutPin(_UsesWithoutPin):
    """The retired keys ask for no PIN, all but the first."""

    slots = frozenset(range(piv.RETIRED + 1, 0x96))


class NamesAnotherApplication(EmulatedCard):
    """The application property template has the version of no PIV card."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == SELECT and response.data:
            return replace(response, data=response.data.replace(b"\x01\x00\x79", b"\x02\x00\x79"))
        return response


class HasAnotherAuthority(EmulatedCard):
    """The application property template tells a RID that is not NIST's."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == SELECT and response.data:
            return replace(response, data=response.data.replace(b"\x03\x08", b"\x03\x09"))
        return response


class DiscoversAnotherApplication(EmulatedCard):
    """The discovery object names an application of another version."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == GET_DATA and response.data[:1] == piv.DISCOVERY:
            data = response.data.replace(b"\x01\x00\x5f\x2f", b"\x02\x00\x5f\x2f")
            return replace(response, data=data)
        return response


class DiscoversNoPin(EmulatedCard):
    """By the discovery object its PIN opens nothing."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == GET_DATA and response.data[:1] == piv.DISCOVERY:
            return replace(response, data=response.data[:-2] + b"\x20\x20")
        return response


class PrefersAPinItLacks(EmulatedCard):
    """By the discovery object the global PIN comes first, which there is not."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == GET_DATA and response.data[:1] == piv.DISCOVERY:
            return replace(response, data=response.data[:-1] + b"\x20")
        return response


class _TellsWrongly(EmulatedCard):
    """One value in the metadata of some references is another."""

    references: frozenset[int]
    tag: int

    def other(self, value: bytes) -> bytes:
        """The lie."""
        raise NotImplementedError

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        told = command.ins == METADATA and command.p2 in self.references
        if not told or response.sw != SW.NO_ERROR:
            return response
        items = [
            (item.tag, self.other(item.value) if item.tag == self.tag else item.value)
            for item in tlv.parse(response.data)
        ]
        return replace(response, data=b"".join(tlv.encode(*item) for item in items))


_SLOTS = frozenset((*range(0x82, 0x96), 0x9A, *range(0x9C, 0x9F)))


class TellsAnotherAlgorithm(_TellsWrongly):
    """Keys on P-256 are said to be on P-384, and the other way round."""

    references, tag = _SLOTS, piv.ALGORITHM

    def other(self, value: bytes) -> bytes:
        return {b"\x11": b"\x14", b"\x14": b"\x11"}.get(value, value)


class TellsAnotherPinPolicy(_TellsWrongly):
    """Every key is said to ask for no PIN."""

    references, tag = _SLOTS, piv.POLICIES

    def other(self, value: bytes) -> bytes:
        return bytes((piv.NEVER,)) + value[1:]


class TellsAnotherOrigin(_TellsWrongly):
    """Imported keys are said to be made on the card."""

    references, tag = _SLOTS, piv.ORIGIN

    def other(self, value: bytes) -> bytes:
        return bytes((piv.GENERATED,))


class TellsAnotherPublicKey(_TellsWrongly):
    """Of every key the public key of another one is told, which is as sound."""

    references, tag = _SLOTS, piv.PUBLIC
    point = bytes.fromhex("8641") + ec.generate_private_key(
        ec.SECP256R1()
    ).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def other(self, value: bytes) -> bytes:
        return self.point if len(value) == len(self.point) else value


class TellsAnotherAttestationKey(TellsAnotherPublicKey):
    """The same of the key that attests, which a card has from the factory on."""

    references = frozenset((piv.ATTESTATION,))


class TellsMoreTries(_TellsWrongly):
    """The metadata of the PIN tell one try more than are left."""

    references, tag = frozenset((piv.REF_PIN,)), piv.RETRIES

    def other(self, value: bytes) -> bytes:
        return bytes((value[0] + 1, value[1] + 1))


class TellsAnotherManagementAlgorithm(_TellsWrongly):
    """The management key is said to be for 3DES."""

    references, tag = frozenset((piv.MANAGEMENT,)), piv.ALGORITHM

    def other(self, value: bytes) -> bytes:
        return bytes((piv.DES3,))


class TellsAlwaysTheFactoryValue(_TellsWrongly):
    """Whatever PIN, PUK and management key are, they are said to be the factory's."""

    references, tag = frozenset((piv.REF_PIN, piv.REF_PUK, piv.MANAGEMENT)), piv.DEFAULT

    def other(self, value: bytes) -> bytes:
        return b"\x01"


class ChangesItsSerial(EmulatedCard):
    """Every serial number is one higher than the last."""

    told = 0

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == SERIAL and response.sw == SW.NO_ERROR:
            self.told += 1
            number = int.from_bytes(response.data, "big") + self.told
            return replace(response, data=number.to_bytes(4, "big"))
        return response


class HasAShortSerial(EmulatedCard):
    """The serial number is 3 bytes."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        return replace(response, data=response.data[1:]) if command.ins == SERIAL else response


class AttestsAnotherSerial(EmulatedCard):
    """The serial number that it tells is not the one in its attestations."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == SERIAL and response.data:
            return replace(response, data=response.data[:-1] + bytes((response.data[-1] ^ 1,)))
        return response


class ImportsNothing(EmulatedCard):
    """What it imports it takes for done, and makes a key of its own."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        done = command.ins == IMPORT and not command.chained and response.sw == SW.NO_ERROR
        if done and command.p1 == piv.P256:
            self.soundly(piv.generate(command.p2, piv.P256))
        return response


class AttestsImportedKeys(EmulatedCard):
    """It vouches for keys that were made elsewhere."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == ATTEST and response.sw == SW.CONDITIONS_NOT_SATISFIED:
            return self.soundly(piv.attest(piv.ATTESTATION))
        return response


class TakesShortLengthsAlone(TakesShortLengthsOnly):
    """Its ATR says that it takes extended length fields, and it does not."""

    def reset(self) -> bytes:
        return EmulatedCard.reset(self)


class LosesLongData(EmulatedCard):
    """Of an extended Lc it takes the lower byte alone."""

    def transceive(self, command: bytes) -> bytes:
        if len(command) > 7 and command[4] == 0:
            parsed = Command.parse(command)
            cut = replace(parsed, data=parsed.data[:1], ne=0)
            return super().transceive(cut.encode())
        return super().transceive(command)
