"""Which PINs one interface has proven to the fingerprint application, and what it enrols."""

from __future__ import annotations

from dataclasses import dataclass

from apdu.spec import Access, CommandSpec
from token_fw.apps.attendance import Attendance
from token_fw.apps.pins import VerifiedPins
from token_fw.env import Sample
from token_fw.errors import ConditionsNotSatisfied, NoFinger
from token_fw.fingerprint import Enrolment, Matcher
from token_fw.pin import PinRef, Pins
from token_fw.transaction import Transaction

HOLDERS = frozenset({PinRef.USER, PinRef.PIV})
"""The PINs of the token's holder that can be proven here."""


@dataclass(frozen=True, slots=True)
class Core:
    """What all interfaces share."""

    transaction: Transaction
    pins: Pins
    matcher: Matcher


class FingerprintSession:
    """The security status of one interface, and the enrolment that it began."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.pins = VerifiedPins(core.pins)
        self.enrolment: Enrolment | None = None
        self._attendance = Attendance(core.transaction)

    def begin(self, command: CommandSpec | None) -> None:
        """Nothing ends with a command."""

    def branch(self) -> FingerprintSession:
        """One with the same PINs proven; an enrolment is not shared."""
        other = FingerprintSession(self.core)
        other.pins = self.pins
        return other

    def end(self) -> None:
        """The interface is closed: a command that waits for a finger waits no more."""
        self._attendance.end()

    def permits(self, access: Access) -> bool:
        """USER: a PIN was proven, whichever."""
        return access is not Access.USER or bool(self.proven())

    def proven(self) -> frozenset[PinRef]:
        """The PINs that are proven on this interface."""
        return frozenset(ref for ref in HOLDERS if self.pins.holds(ref))

    def current(self) -> Enrolment:
        """The enrolment that this interface began; raises ConditionsNotSatisfied."""
        if self.enrolment is None or not self.core.matcher.enrols(self.enrolment):
            raise ConditionsNotSatisfied("no enrolment goes on")
        return self.enrolment

    def capture(self) -> Sample:
        """Wait for a finger; other interfaces work meanwhile.

        Raises EntryCancelled, EntryTimedOut, and CardRemoved where the token was pulled.
        """
        if self.core.matcher.sensor is None:
            raise NoFinger("there is no fingerprint sensor")
        return self._attendance.wait(self.core.matcher.sensor.ask())
