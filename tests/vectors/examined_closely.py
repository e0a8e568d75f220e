"""Cards that are broken where only a closer look shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Protocol

from apdu import tlv
from apdu.codec import CHAINING, Command, Response
from apdu.model import SW
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from tests import cards, piv_cards
from tests.vectors.examined import CHALLENGE, COMPUTE, UPDATE_BINARY, VERIFY, EmulatedCard
from tests.vectors.examined_piv import AUTHENTICATE, CHANGE

GET_RESPONSE, UPDATE_BINARY_ODD, PUT_DATA, TELL = 0xC0, 0xD7, 0xDB, 0xCA
CHANGE_COUNTER, KEYS, INFORMATION = 0x02, 0x03, 0x04
_SEEN = 4


class AnswersWhatIsSilent(EmulatedCard):
    """A byte comes with the success of an instruction that answers none."""

    instructions: frozenset[int]

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        extra = command.ins in self.instructions and response.sw == SW.NO_ERROR
        return replace(response, data=b"\x00") if extra and command.data else response


class AnswersUpdates(AnswersWhatIsSilent):
    """It is one of UPDATE BINARY."""

    instructions = frozenset((UPDATE_BINARY, UPDATE_BINARY_ODD))


class AnswersVerify(AnswersWhatIsSilent):
    """It is VERIFY."""

    instructions = frozenset((VERIFY,))


class AnswersPutData(AnswersWhatIsSilent):
    """It is PUT DATA of PIV."""

    instructions = frozenset((PUT_DATA,))


class AnswersChains(EmulatedCard):
    """A byte comes with every part of a chain."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        return replace(response, data=b"\x00") if command.cla & CHAINING else response


class _Compares(Protocol):
    def __call__(self, given: bytes, right: bytes) -> bool:
        """Whether the card takes a value for the right one."""
        ...


def _begins(given: bytes, right: bytes) -> bool:
    return given[:_SEEN] == right[:_SEEN]


def _continues(given: bytes, right: bytes) -> bool:
    return given.startswith(right)


def _is_part(given: bytes, right: bytes) -> bool:
    return len(given) >= _SEEN and right.startswith(given)


def _compares_pin(ref: int, right: bytes, compares: _Compares) -> type[EmulatedCard]:
    class Careless(EmulatedCard):
        """It takes other PINs for the right one."""

        def answer(self, command: Command) -> Response:
            entered = (command.ins, command.p2, command.p1) == (VERIFY, ref, 0) and command.data
            if entered and compares(command.data, right):
                return self.soundly(replace(command, data=right))
            return self.soundly(command)

    return Careless


class ComparesFourBytesOfThePuk(EmulatedCard):
    """Of the PUK it compares the first four bytes."""

    def answer(self, command: Command) -> Response:
        puk = piv.padded(piv_cards.PUK)
        given = command.data
        if (command.ins, command.p2) == (CHANGE, piv.REF_PUK) and _begins(given, puk):
            return self.soundly(replace(command, data=puk + given[len(puk) :]))
        return self.soundly(command)


class TakesBarePins(EmulatedCard):
    """It takes a PIN of PIV without padding."""

    def answer(self, command: Command) -> Response:
        if command.ins == VERIFY and command.data:
            return self.soundly(replace(command, data=piv.padded(command.data)))
        return self.soundly(command)


class _Tells(EmulatedCard):
    """One of GET DATA is told wrongly."""

    what: int

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        asked = (command.cla, command.ins, command.p2) == (0x00, TELL, self.what)
        told = asked and response.sw == SW.NO_ERROR and bool(response.data)
        return replace(response, data=self.told(response.data, command.ne)) if told else response

    def told(self, data: bytes, ne: int) -> bytes:
        raise NotImplementedError


class CountsNoChanges(_Tells):
    """The change counter never moves."""

    what = CHANGE_COUNTER

    def told(self, data: bytes, ne: int) -> bytes:
        return bytes(4)[:ne]


class ListsNoKeys(_Tells):
    """The list of keys is empty."""

    what = KEYS

    def told(self, data: bytes, ne: int) -> bytes:
        return b""


class ListsNonsense(_Tells):
    """The list of keys is made of no data objects."""

    what = KEYS

    def told(self, data: bytes, ne: int) -> bytes:
        return b"\xff" * 3


class TellsAllTries(_Tells):
    """The card information tells that no try was spent."""

    what = INFORMATION

    def told(self, data: bytes, ne: int) -> bytes:
        for left, most in ((1, 3), (2, 3), (9, 10)):
            before, after = (
                tlv.encode(0x81, bytes((number,))) + tlv.encode(0x82, bytes((most,)))
                for number in (left, most)
            )
            data = data.replace(before, after)
        return data


def _deciphers(sw: int, answer: Callable[[bytes], bytes]) -> type[EmulatedCard]:
    class Oracle(EmulatedCard):
        """It tells by its answer that a cryptogram has the wrong padding."""

        def answer(self, command: Command) -> Response:
            response = self.soundly(command)
            used = (command.ins, command.p1) == (COMPUTE, 0x80) and response.sw == sw
            # What is padded rightly is the session key of the vectors.
            right = response.data == b"a session key" or len(command.data) <= 128
            return Response(SW.NO_ERROR, answer(response.data)) if used and not right else response

    return Oracle


class GoesOnWithNothing(EmulatedCard):
    """GET RESPONSE answers where nothing waits."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        nothing = command.ins == GET_RESPONSE and response.sw == SW.CONDITIONS_NOT_SATISFIED
        return Response(SW.NO_ERROR, b"\x00") if nothing else response


class CutsLongData(EmulatedCard):
    """Of what is written from an offset the first 255 bytes are kept."""

    def answer(self, command: Command) -> Response:
        if command.ins == UPDATE_BINARY and len(command.data) > 255:
            return self.soundly(replace(command, data=command.data[:255]))
        return self.soundly(command)


class ForgetsTheEndOfChains(EmulatedCard):
    """Of what is written from an offset as a chain the last part is lost."""

    chained = False

    def answer(self, command: Command) -> Response:
        last = self.chained and not command.cla & CHAINING
        self.chained = command.ins == UPDATE_BINARY and bool(command.cla & CHAINING)
        if last and command.ins == UPDATE_BINARY:
            return self.soundly(replace(command, data=b""))
        return self.soundly(command)


class ChallengesInTurn(EmulatedCard):
    """Every third challenge is the same."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = count()

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == CHALLENGE and response.data:
            made = bytes((next(self._numbers) % 3,))
            return replace(response, data=made * len(response.data))
        return response


class ChallengesByHalves(EmulatedCard):
    """The second half of a challenge is zeros."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        half = len(response.data) // 2
        if command.ins == CHALLENGE and half:
            return replace(response, data=response.data[:-half] + bytes(half))
        return response


class ChangesItsAtr(EmulatedCard):
    """The last byte but one of the ATR counts the resets."""

    resets = 0

    def reset(self) -> bytes:
        atr = super().reset()
        self.resets += 1
        return atr[:-2] + bytes((self.resets & 0xFF,)) + atr[-1:]


class AgreesWithAnything(EmulatedCard):
    """A point that is none is agreed with like one."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        refused = response.sw == SW.INCORRECT_DATA
        own = (command.ins, command.p1) == (COMPUTE, 0x80) and command.data[:1] == b"\xa6"
        of_piv = command.ins == AUTHENTICATE and command.data[4:5] == b"\x85"
        if refused and own:
            return Response(SW.NO_ERROR, bytes(32))
        if refused and of_piv:
            return Response(SW.NO_ERROR, bytes.fromhex("7C228220") + bytes(32))
        return response


USER, SO, PIN = cards.USER_PIN, cards.SO_PIN, piv.padded(piv_cards.PIN)


def _is_like(given: bytes, right: bytes) -> bool:
    return given[: len(piv_cards.PIN)] == right[: len(piv_cards.PIN)]


CARELESS = {
    "the user PIN by four bytes": _compares_pin(pki.USER, USER, _begins),
    "the user PIN by its beginning": _compares_pin(pki.USER, USER, _continues),
    "a part of the user PIN": _compares_pin(pki.USER, USER, _is_part),
    "the SO PIN by four bytes": _compares_pin(pki.SO, SO, _begins),
    "the SO PIN by its beginning": _compares_pin(pki.SO, SO, _continues),
}
"""Cards that compare less of a PIN of the PKI application than all."""
CARELESS_PIV = {
    "four bytes": _compares_pin(piv.REF_PIN, PIN, _begins),
    "without the padding": _compares_pin(piv.REF_PIN, PIN, _is_like),
}
"""The same of PIV's PIN."""
_NUMBERS = count()
ORACLES = {
    "garbage for bad OAEP": _deciphers(SW.INCORRECT_DATA, lambda _: b"garbage"),
    "garbage for bad PKCS #1": _deciphers(SW.NO_ERROR, lambda _: b"garbage"),
    "chance for bad PKCS #1": _deciphers(
        SW.NO_ERROR, lambda data: data + next(_NUMBERS).to_bytes(4, "big")
    ),
}
"""Cards whose deciphering tells what the padding was."""
