"""Cards whose PIV application is broken on purpose, and their examination."""

from __future__ import annotations

from dataclasses import replace

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
CHANGE, AUTHENTICATE, GET_DATA, GENERATE, RESET = 0x24, 0x87, 0xCB, 0x47, 0xFB
_COUNTERS = range(SW.WRONG_PIN, SW.WRONG_PIN + 16)


def examine(card: EmulatedCard, *, destructive: bool = True) -> list[Check]:
    examination = Examination(card, "piv", PINS, destructive=destructive)
    return list(examination.run())


class Finger:
    """Somebody who touches the token whenever it asks."""

    def touched(self) -> bool:
        return True

    def close(self) -> None:
        """Nobody waits."""


class IsTouched(EmulatedCard):
    """A sound card with a finger on it."""

    def _insert(self, bench: cards.Bench) -> None:
        bench.card = Card(Env(bench.store, presence=Finger()))
        super()._insert(bench)


class HasNoReset(EmulatedCard):
    """A sound card without Yubico's RESET."""

    def answer(self, command: Command) -> Response:
        if (command.cla, command.ins) == (0x00, RESET):
            return Response(SW.INS_NOT_SUPPORTED)
        return self.soundly(command)


class TakesShortLengthsOnly(EmulatedCard):
    """A sound card without extended length fields."""

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
