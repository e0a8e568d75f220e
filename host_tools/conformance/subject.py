"""The card that is examined, and what passed between it and the checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from apdu.codec import ApduFormatError, Command, Response
from apdu.model import SW, describe
from apdu.spec import ApplicationSpec
from apdu.trace import Trace
from apdu.transport import CardClient, CardRemoved, Transport, TransportError
from host_tools.conformance.checks import Check, DifferenceError, SkipError, Verdict, names

RESET, RESET_CLAUSE = "CARD RESET", "ISO/IEC 7816-3"
_SELECT = 0xA4
# The compact tag of the card capabilities, and a bit of their third byte.
_CAPABILITIES, _EXTENDED = 0x7, 0x40
EXECUTED = frozenset((0x90, 0x61, 0x62, 0x63))
"""SW1 of what is executed, with or without a warning: with these a response may have data."""
_MORE = SW.BYTES_AVAILABLE >> 8


def promises_extended(atr: bytes) -> bool:
    """Whether the card capabilities in the ATR tell of extended length fields.

    They are in the historical bytes, of the form 80 or 00 with data objects of a tag and a length
    in one byte (ISO/IEC 7816-3:2006, 8.2; ISO/IEC 7816-4:2013, 12.1.1).
    """
    if len(atr) < 2:
        return False
    place, count = 2, atr[1] & 0x0F
    present = atr[1] >> 4
    while present:
        last = place + present.bit_count() - 1
        # The last interface byte of a group, TD, tells which ones the next group has.
        place, present = last + 1, (atr[last] >> 4 if present & 8 and last < len(atr) else 0)
    historical = atr[place : place + count]
    objects = {b"\x80": historical[1:], b"\x00": historical[1:-3]}.get(historical[:1], b"")
    while objects:
        tag, size = objects[0] >> 4, objects[0] & 0x0F
        if (tag, size) == (_CAPABILITIES, 3) and len(objects) > size:
            return bool(objects[size] & _EXTENDED)
        objects = objects[1 + size :]
    return False


def _extended(command: Command) -> bytes:
    """Its bytes with extended length fields: as many as there are are asked for."""
    data = command.data
    body = len(data).to_bytes(2, "big") + data if data else b""
    return command.header + b"\x00" + body + (b"\x00\x00" if command.ne else b"")


class Card(Transport, Protocol):
    """A transport with the card's reset line."""

    def reset(self) -> bytes:
        """Reset the card; returns its ATR. Raises as `transceive`."""
        ...


class Subject:
    """A card with an application; what is exchanged is kept, decoded, until a check tells it.

    `extended` says whether the application has to take extended length fields. As a Transport it
    raises DifferenceError for answers that no card may give.
    """

    def __init__(self, card: Card, application: ApplicationSpec, *, extended: bool = True) -> None:
        self.application = application
        self._card = card
        self._lines: list[str] = []
        self._noted = ("", "")
        self._traced = Trace(card, self._lines.append, application)
        self.client = CardClient(self, extended=extended)
        self._demanded = self._takes_extended = extended
        self.broken_off: Check | None = None

    def transceive(self, command: bytes) -> bytes:
        raw = self._traced.transceive(command)
        try:
            response = Response.parse(raw)
        except ApduFormatError as error:
            raise DifferenceError("a response with a status word", f"{len(raw)} bytes") from error
        told = f"{len(response.data)} bytes with {response.sw:04X}"
        if response.data and response.sw1 not in EXECUTED:
            raise DifferenceError("no data with an error", told)
        if (response.data or response.sw1 == _MORE) and self._silent(command):
            raise DifferenceError("no data, as the command answers none", told)
        return raw

    def _silent(self, raw: bytes) -> bool:
        """Whether the catalogue says that what these bytes are answers no data."""
        try:
            command = Command.parse(raw)
        except ApduFormatError:
            return False
        header = command.cla, command.ins, command.p1, command.p2
        spec = self.application.match(*header)
        return spec is not None and (not spec.answers(command.p2) or command.chained)

    def exchange(self, command: Command) -> Response:
        """One APDU as it is, without chaining or GET RESPONSE."""
        return self.answer(command.encode())

    def answer(self, raw: bytes) -> Response:
        """What is answered to these bytes, which need not be an APDU."""
        return Response.parse(self.transceive(raw))

    def extended(self, command: Command) -> Response:
        """One APDU with extended length fields, however short it is (ISO/IEC 7816-4:2013, 5.2).

        Raises SkipError where neither the application nor the card's ATR promises them and they
        are refused, or the reader does not carry them.
        """
        try:
            response = self.answer(_extended(command))
        except CardRemoved:
            raise
        except TransportError as error:
            raise SkipError(f"the reader does not carry extended length fields: {error}") from error
        if response.sw == SW.WRONG_LENGTH and not self._takes_extended:
            raise SkipError("the card takes short length fields alone")
        return response

    def pull_reset(self) -> bytes:
        """Reset the card, and nothing else; returns its ATR."""
        atr = self._card.reset()
        self._lines.append(f"reset, answered {atr.hex(' ').upper()}")
        self._takes_extended = self._demanded or promises_extended(atr)
        return atr

    def reset(self) -> Response:
        """Reset the card and select the application; what SELECT answered."""
        self.pull_reset()
        return self.select()

    def select(self) -> Response:
        """SELECT by name (ISO/IEC 7816-4:2013, 11.1.1)."""
        return self.client.send(Command(0x00, _SELECT, 0x04, 0x00, self.application.aid))

    def fresh(self) -> None:
        """As after insertion, with the application selected. Raises DifferenceError."""
        self.expect(self.reset(), (SW.NO_ERROR,))

    def expect(self, response: Response, accepted: Iterable[int]) -> None:
        """Note the status word for the check. Raises DifferenceError for one not accepted."""
        wanted = tuple(accepted)
        self.note(names(wanted), describe(response.sw))
        if response.sw not in wanted:
            raise DifferenceError(*self._noted)

    def note(self, expected: str, got: str) -> None:
        """What the check that is being made compares, for people."""
        self._noted = expected, got

    @contextmanager
    def check(self, group: str, name: str, command: str, clause: str) -> Iterator[list[Check]]:
        """Puts into the list how what is done in the block ended.

        A TransportError is a failure too, as a card answers whatever it is sent; CardRemoved is
        raised, and the check is the one that is `broken_off`.
        """
        self._lines.clear()
        self.note("", "")
        outcome: list[Check] = []
        verdict, reason = Verdict.PASSED, ""
        try:
            yield outcome
            expected, got = self._noted
        except SkipError as skip:
            verdict, expected, got, reason = Verdict.SKIPPED, "", "", str(skip)
        except DifferenceError as difference:
            verdict, expected, got = Verdict.FAILED, difference.expected, difference.got
        except CardRemoved as error:
            seen = ("an answer", f"{error}", "", tuple(self._lines))
            self.broken_off = Check(group, name, command, clause, Verdict.FAILED, *seen)
            raise
        except TransportError as error:
            verdict, expected, got = Verdict.FAILED, "an answer", str(error)
        told = (expected, got, reason, tuple(self._lines))
        outcome.append(Check(group, name, command, clause, verdict, *told))
