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

_SELECT = 0xA4
# With these a response has a data field, or may have one (ISO/IEC 7816-4:2013, 5.6).
_WITH_DATA = frozenset((0x90, 0x61, 0x62, 0x63))


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
        self.broken_off: Check | None = None

    def transceive(self, command: bytes) -> bytes:
        raw = self._traced.transceive(command)
        try:
            response = Response.parse(raw)
        except ApduFormatError as error:
            raise DifferenceError("a response with a status word", f"{len(raw)} bytes") from error
        if response.data and response.sw1 not in _WITH_DATA:
            size = len(response.data)
            raise DifferenceError("no data with an error", f"{size} bytes with {response.sw:04X}")
        return raw

    def exchange(self, command: Command) -> Response:
        """One APDU as it is, without chaining or GET RESPONSE."""
        return self.answer(command.encode())

    def answer(self, raw: bytes) -> Response:
        """What is answered to these bytes, which need not be an APDU."""
        return Response.parse(self.transceive(raw))

    def pull_reset(self) -> None:
        """Reset the card, and nothing else."""
        self._card.reset()

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
