"""An emulated card under examination, and cards that are broken on purpose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from apdu import tlv
from apdu.codec import CHAINING, ApduFormatError, Command, Response
from apdu.model import SW
from apdu.transport import CardRemoved, TransportError
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.checks import Check, Verdict
from host_tools.conformance.examination import Examination
from tests import cards
from token_fw.factory import Profile

PINS = {"user": cards.USER_PIN.decode(), "so": cards.SO_PIN.decode()}
VERIFY, SELECT, READ_BINARY_ODD, GENERATE = 0x20, 0xA4, 0xB1, 0x46
READ_BINARY, UPDATE_BINARY, IMPORT, CHANGE, RESET_COUNTER = 0xB0, 0xD6, 0xDB, 0x24, 0x2C
CHOOSE, COMPUTE, CHALLENGE, INITIALIZE, UNBLOCK = 0x22, 0x2A, 0x84, 0xFA, 0x2D


class EmulatedCard:
    """The sound card; going back to the factory it becomes another one."""

    def __init__(self, profile: Profile | None = None) -> None:
        self._profile = profile
        self._insert(cards.operational(profile))

    def _insert(self, bench: cards.Bench) -> None:
        self.bench = bench
        self.interface = bench.connect()

    def blank(self) -> None:
        self._insert(cards.Bench(self._profile))

    def reset(self) -> bytes:
        return self.interface.reset()

    def transceive(self, command: bytes) -> bytes:
        try:
            parsed = Command.parse(command)
        except ApduFormatError:
            return self.malformed(command)
        return self.answer(parsed).encode()

    def malformed(self, command: bytes) -> bytes:
        return self.interface.transceive(command)

    def answer(self, command: Command) -> Response:
        """What the broken ones do differently."""
        return self.soundly(command)

    def soundly(self, command: Command) -> Response:
        return Response.parse(self.interface.transceive(command.encode()))


def examination(card: EmulatedCard, *, destructive: bool = True) -> Examination:
    return Examination(card, "pki", PINS, destructive=destructive, blank=card.blank)


def examine(card: EmulatedCard, *, destructive: bool = True) -> list[Check]:
    return list(examination(card, destructive=destructive).run())


def failures(checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if check.verdict is Verdict.FAILED]


def first_of(checks: Iterable[Check], group: str, clause: str) -> Check:
    """The first check of a group that fails with this clause; none is made after it."""
    passed_by = set()
    for check in checks:
        if check.verdict is Verdict.FAILED:
            if check.group.startswith(group) and check.clause == clause:
                assert check.expected
                assert check.got
                assert check.exchanges
                return check
            passed_by.add((check.group, check.clause))
    raise AssertionError(f"only these failed: {passed_by}")


def _tries(response: Response) -> int | None:
    return response.sw & 0x0F if response.sw & 0xFFF0 == SW.WRONG_PIN else None


class CountsTooMany(EmulatedCard):
    """After a wrong PIN it tells one try more than are left."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == VERIFY and command.data and _tries(response) is not None:
            return Response(response.sw + 1)
        return response


class GivesTriesBack(EmulatedCard):
    """A reset restores the tries of the user PIN."""

    def reset(self) -> bytes:
        super().reset()
        self.soundly(pki.select_application())
        self.soundly(pki.verify(pki.USER, cards.USER_PIN))
        return super().reset()


class AsksForNoPin(EmulatedCard):
    """It runs every command without a login."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if response.sw == SW.SECURITY_STATUS_NOT_SATISFIED:
            self.soundly(pki.verify(pki.USER, cards.USER_PIN))
            return self.soundly(command)
        return response


class AnswersAnotherStatus(EmulatedCard):
    """It calls wrong parameters wrong data."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        wrong = response.sw == SW.INCORRECT_P1P2
        return replace(response, sw=SW.INCORRECT_DATA) if wrong else response


class AnswersTooShort(EmulatedCard):
    """The last byte of every file is missing."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == READ_BINARY_ODD:
            return replace(response, data=response.data[:-1])
        return response


class AnswersTooLong(EmulatedCard):
    """A byte follows all data."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        return replace(response, data=response.data + b"\x00") if response.data else response


class AddsDataToErrors(EmulatedCard):
    """A refusal carries a byte of data."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        return replace(response, data=b"\x00") if response.sw1 >> 4 == 6 else response


class TakesAnyClass(EmulatedCard):
    """Of CLA it looks at the highest bit and the chaining bit only."""

    def answer(self, command: Command) -> Response:
        return self.soundly(replace(command, cla=command.cla & (0x80 | CHAINING)))


class TakesAnyP2(EmulatedCard):
    """VERIFY checks the user PIN, whatever P2 says."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == VERIFY and response.sw == SW.INCORRECT_P1P2:
            return self.soundly(replace(command, p2=pki.USER))
        return response


class TakesAnyInstruction(EmulatedCard):
    """What it does not know it takes for done."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        return Response(SW.NO_ERROR) if response.sw == SW.INS_NOT_SUPPORTED else response


class TakesAnyLc(EmulatedCard):
    """It takes the bytes that came for the data field, whatever Lc says."""

    def malformed(self, command: bytes) -> bytes:
        return self.answer(
            Command.parse(command[:4] + bytes((len(command) - 5,)) + command[5:])
        ).encode()


class TakesSuperfluousData(EmulatedCard):
    """A data field too many does not disturb it."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        wrong = response.sw == SW.WRONG_LENGTH
        return self.soundly(replace(command, data=b"")) if wrong else response


class IgnoresLe(EmulatedCard):
    """It sends all it has."""

    def answer(self, command: Command) -> Response:
        return self.soundly(replace(command, ne=65536) if command.ne else command)


class ForgetsChains(EmulatedCard):
    """It takes every part of a chain for a command."""

    def answer(self, command: Command) -> Response:
        return self.soundly(replace(command, cla=command.cla & ~CHAINING))


class TakesAnyPin(EmulatedCard):
    """Whatever is entered, the PIN is verified."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == VERIFY and command.data and _tries(response) is not None:
            right = cards.USER_PIN if command.p2 == pki.USER else cards.SO_PIN
            return self.soundly(replace(command, data=right))
        return response


class KeepsLoginOverReset(EmulatedCard):
    """A reset does not end a login."""

    stale = False

    def reset(self) -> bytes:
        self.stale = self._asked()
        return self.interface.reset()

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == SELECT and self.stale:
            self.stale = False
            self.soundly(pki.verify(pki.USER, cards.USER_PIN))
        return response

    def _asked(self) -> bool:
        return self.soundly(pki.verify(pki.USER)).sw == SW.NO_ERROR


class KeepsLoginOverSelect(KeepsLoginOverReset):
    """SELECT of the application does not end a login."""

    def reset(self) -> bytes:
        return self.interface.reset()

    def answer(self, command: Command) -> Response:
        self.stale = command.ins == SELECT and self._asked()
        return super().answer(command)


class SignsWrongly(EmulatedCard):
    """One bit of every signature is wrong."""

    shortest = 1

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        signature = (command.ins, command.p1) == (COMPUTE, 0x9E)
        if signature and len(response.data) >= self.shortest:
            return replace(response, data=response.data[:-1] + bytes((response.data[-1] ^ 1,)))
        return response


class TakesAnySignature(EmulatedCard):
    """A signature that is wrong it takes for right."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        wrong = command.ins == COMPUTE and response.sw == SW.VERIFICATION_FAILED
        return Response(SW.NO_ERROR) if wrong else response


class TakesNoGostSignature(EmulatedCard):
    """It compares signatures of GOST in the wrong order of bytes, so that none is right."""

    gost = False

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == CHOOSE:
            self.gost = tlv.encode(0x80, bytes((pki.GOST_SIGN,))) in command.data
        verified = (command.ins, command.p2) == (COMPUTE, 0xA8)
        return Response(SW.VERIFICATION_FAILED) if verified and self.gost else response


class FallsSilent(EmulatedCard):
    """GET CHALLENGE is never answered."""

    def answer(self, command: Command) -> Response:
        if command.ins == CHALLENGE and command.cla == 0x00:
            raise TransportError("no answer came in time")
        return self.soundly(command)


class RefusesToInitialize(EmulatedCard):
    """INITIALIZE fails, whatever is sent."""

    def answer(self, command: Command) -> Response:
        return Response(SW.UNKNOWN_ERROR) if command.ins == INITIALIZE else self.soundly(command)


class ReadsForAnybody(EmulatedCard):
    """A file that the user may read is read without a PIN."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        refused = response.sw == SW.SECURITY_STATUS_NOT_SATISFIED
        if command.ins == READ_BINARY_ODD and refused:
            self.soundly(pki.verify(pki.USER, cards.USER_PIN))
            return self.soundly(command)
        return response


class UnblocksForAnybody(EmulatedCard):
    """A wrong SO PIN unblocks the user PIN as the right one does."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == UNBLOCK and _tries(response) is not None:
            new = tlv.to_dict(tlv.parse(command.data))[0x81]
            return self.soundly(pki.unblock(cards.SO_PIN, new))
        return response


class KeepsLoginOverWrongPin(EmulatedCard):
    """Whoever is logged in stays so after a wrong user PIN."""

    def answer(self, command: Command) -> Response:
        entered = command.ins == VERIFY and command.p2 == pki.USER and command.data
        verified = entered and self.soundly(pki.verify(pki.USER)).sw == SW.NO_ERROR
        response = self.soundly(command)
        if verified and _tries(response):
            self.soundly(pki.verify(pki.USER, cards.USER_PIN))
        return response


class HasNoResetLine(EmulatedCard):
    """It tells its ATR, and goes on as before."""

    def reset(self) -> bytes:
        return b"\x3b\x80"


class SelectsAnything(EmulatedCard):
    """SELECT finds whatever it is asked for."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        absent = command.ins == SELECT and response.sw == SW.FILE_NOT_FOUND
        return Response(SW.NO_ERROR) if absent else response


class ChallengesTooShort(EmulatedCard):
    """A challenge of more than one byte is one byte short."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        long = command.ins == CHALLENGE and len(response.data) > 1
        return replace(response, data=response.data[:-1]) if long else response


class ChallengesByZeros(EmulatedCard):
    """Every challenge is the same."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        challenge = command.ins == CHALLENGE
        return replace(response, data=bytes(len(response.data))) if challenge else response


class VanishesWhenErased(EmulatedCard):
    """It is pulled out when it is erased."""

    def answer(self, command: Command) -> Response:
        if command.ins == INITIALIZE and command.data[:1] == b"\x81":
            raise CardRemoved("the card was pulled out")
        return self.soundly(command)


class TellsAnotherPublicKey(EmulatedCard):
    """The public key of a key that is there already is zeros."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        asked = (command.cla, command.ins, command.p1) == (0x00, GENERATE, 0x01)
        if asked and response.data:
            return replace(response, data=response.data[:8] + bytes(len(response.data) - 8))
        return response


class ImportsAnotherKey(EmulatedCard):
    """In the place of a key on P-256 that it imports it makes one of its own."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == IMPORT and pki.P256_OID in command.data and response.sw == SW.NO_ERROR:
            self.soundly(pki.generate(pki.p256()))
        return response


class ReadsFromTheStart(EmulatedCard):
    """READ BINARY does not look at the offset."""

    def answer(self, command: Command) -> Response:
        asked = replace(command, p1=0, p2=0) if command.ins == READ_BINARY else command
        return self.soundly(asked)


class WritesAtTheStart(EmulatedCard):
    """UPDATE BINARY does not look at the offset."""

    def answer(self, command: Command) -> Response:
        asked = replace(command, p1=0, p2=0) if command.ins == UPDATE_BINARY else command
        return self.soundly(asked)


class _TakesAnyOldPin(EmulatedCard):
    """An instruction takes its first PIN, 16 bytes, for the right one, whatever it is."""

    ins: int
    right: bytes

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == self.ins and _tries(response) is not None:
            data = self.right.ljust(16, b"\x00") + command.data[16:]
            return self.soundly(replace(command, data=data))
        return response


class ChangesForAnybody(_TakesAnyOldPin):
    """A PIN is changed by the even instruction without the old one."""

    ins, right = CHANGE, cards.USER_PIN


class UnblocksForAnybodyEvenly(_TakesAnyOldPin):
    """The user PIN is unblocked by the even instruction without the SO PIN."""

    ins, right = RESET_COUNTER, cards.SO_PIN


class SetsPinsAgain(EmulatedCard):
    """A PIN that is set already is set as one that is not."""

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        again = (command.ins, command.p1, response.sw) == (
            CHANGE,
            0x01,
            SW.CONDITIONS_NOT_SATISFIED,
        )
        return Response(SW.NO_ERROR) if again else response


class SignsWronglyWithLongKeys(SignsWrongly):
    """One bit of every signature of more than 256 bytes is wrong."""

    shortest = 257
