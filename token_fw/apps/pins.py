"""Which PINs one interface has verified, and how it tries one."""

from __future__ import annotations

from token_fw.errors import PinBlocked, PinNotInitialised, PinNotVerified, WrongPin
from token_fw.pin import PinRef, Pins


class VerifiedPins:
    """The PINs that one interface has verified.

    A verification holds until the PIN is given a new value by whomever, or the interface logs out
    or tries a wrong value.
    """

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self._epochs = pins.epochs
        self._verified: dict[PinRef, int] = {}

    def holds(self, ref: PinRef) -> bool:
        """Whether this interface verified the PIN as it is in force."""
        return self._verified.get(ref) == self._epochs[ref]

    def add(self, ref: PinRef) -> None:
        """The PIN as it is in force is verified on this interface."""
        self._verified[ref] = self._epochs[ref]

    def discard(self, ref: PinRef) -> None:
        """The PIN is verified no more on this interface."""
        self._verified.pop(ref, None)

    def usable(self, ref: PinRef) -> int:
        """The tries left; raises PinNotInitialised or PinBlocked."""
        record = self._pins.record(ref)
        if not record.initialised:
            raise PinNotInitialised("the PIN has no value yet")
        if not record.tries_left:
            raise PinBlocked("no try is left")
        return record.tries_left

    def ask(self, ref: PinRef) -> None:
        """Raises what the state of the PIN is; verified is no error."""
        if not self.holds(ref):
            raise PinNotVerified(self.usable(ref))

    def check(self, ref: PinRef, value: bytes) -> None:
        """Compare, see Pins.check; whoever enters a wrong value is logged out."""
        try:
            self._pins.check(ref, value)
        except (WrongPin, PinBlocked):
            self.discard(ref)
            raise

    def change(self, ref: PinRef, old: bytes, new: bytes) -> bool:
        """Give the PIN another value that its rule lets pass; returns whether it was verified.

        Raises IncorrectData with nothing spent, or as `check`.
        """
        self._pins.rule(ref).check(new)
        was_verified = self.holds(ref)
        self.check(ref, old)
        self._pins.set(ref, new)
        return was_verified
