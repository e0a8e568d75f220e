"""That a finger matched on one interface, and the temporary PIN that it got for that."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from token_fw.apps.piv.commands import TEMPORARY_PIN_SIZE
from token_fw.fingerprint import Matcher
from token_fw.pin import PinRef, Pins

TEMPORARY_PIN_SECONDS = 300.0
"""How long a temporary PIN is good for."""


@dataclass(frozen=True, slots=True, repr=False)
class TemporaryPin:
    """Its value of 16 bytes, until when it is good, and the state that it is good in."""

    value: bytes
    until: float
    state: tuple[int, ...]


class MatchedFinger:
    """Whether a finger matched on one interface.

    It holds until the PIN is given a new value, or a finger is removed.

    A temporary PIN stands for one more match. It ends with its time, with a wrong finger or a
    wrong PIN on any interface, and with a wrong temporary PIN on this one.
    """

    def __init__(
        self,
        pins: Pins,
        matcher: Matcher,
        rng: Callable[[int], bytes],
        clock: Callable[[], float],
    ) -> None:
        self._pins = pins
        self._matcher = matcher
        self._rng = rng
        self._clock = clock
        self._matched: tuple[int, int] | None = None
        self._temporary: TemporaryPin | None = None

    def holds(self) -> bool:
        """Whether a finger matched that stands for the PIN that is in force."""
        return self._matched == self._epoch()

    def hold(self) -> None:
        """A finger matched."""
        self._matched = self._epoch()

    def drop(self) -> None:
        """Neither a match nor a temporary PIN counts any more."""
        self._matched = self._temporary = None

    def make_temporary_pin(self) -> bytes:
        """16 bytes that will do for a match, in the place of those that did before."""
        value = self._rng(TEMPORARY_PIN_SIZE)
        until = self._clock() + TEMPORARY_PIN_SECONDS
        self._temporary = TemporaryPin(value, until, self._state())
        return value

    def has_temporary_pin(self) -> bool:
        """Whether there is one that is good."""
        made = self._temporary
        return made is not None and made.state == self._state() and self._clock() <= made.until

    def is_temporary_pin(self, value: bytes) -> bool:
        """Whether that is the one that is good; there is none after a wrong value."""
        good = self.has_temporary_pin()
        made = self._temporary
        if made is not None and hmac.compare_digest(made.value, value) and good:
            return True
        self._temporary = None
        return False

    def _epoch(self) -> tuple[int, int]:
        return self._pins.epochs[PinRef.PIV], self._matcher.removals

    def _state(self) -> tuple[int, ...]:
        return *self._epoch(), self._pins.misses[PinRef.PIV], self._matcher.mismatches
