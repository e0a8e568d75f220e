"""What all interfaces share of the PIV application, and what one interface has proven."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from apdu.spec import Access, CommandSpec
from token_fw.apps.attendance import Attendance
from token_fw.apps.pins import VerifiedPins
from token_fw.apps.piv.algorithms import KEY_SLOTS, PinPolicy, TouchPolicy
from token_fw.apps.piv.matched import MatchedFinger
from token_fw.apps.piv.objects import DataObjects
from token_fw.apps.piv.slots import ManagementKey, ManagementRecord, SlotKey, SlotKeys
from token_fw.crypto import PrivateKey
from token_fw.env import Presence, Sample, Sensor
from token_fw.errors import (
    ConditionsNotSatisfied,
    IncorrectParameters,
    SecurityStatusNotSatisfied,
)
from token_fw.fingerprint import Matcher
from token_fw.pin import PinRef, Pins
from token_fw.state import Token
from token_fw.transaction import Transaction

TOUCH_SECONDS = 15.0
"""How long a touch counts for keys of the policy CACHED."""

_NOBODY = -1


@dataclass(slots=True)
class Core:
    """What all interfaces share: the token's durable state and the effects."""

    transaction: Transaction
    token: Token
    pins: Pins
    keys: SlotKeys
    objects: DataObjects
    management: ManagementKey
    matcher: Matcher
    rng: Callable[[int], bytes]
    clock: Callable[[], float]
    presence: Presence | None
    touched: float | None = field(default=None, init=False)
    """When somebody last touched the token, by `clock`."""


@dataclass(frozen=True, slots=True, repr=False)
class Challenge:
    """What the card waits to hear: whether for `mutual` authentication, and the bytes."""

    mutual: bool
    expected: bytes


class Proof(IntEnum):
    """How the card holder was known to the card, the stronger the greater."""

    NONE = 0
    FINGER = 1
    PIN = 2


@dataclass(frozen=True, slots=True)
class Demand:
    """What a PIN policy asks for: a proof on the interface, and whether right before the use."""

    proof: Proof
    fresh: bool = False


_DEMANDS = {
    PinPolicy.NEVER: Demand(Proof.NONE),
    PinPolicy.ONCE: Demand(Proof.PIN),
    PinPolicy.ALWAYS: Demand(Proof.PIN, fresh=True),
    PinPolicy.MATCH_ONCE: Demand(Proof.FINGER),
    PinPolicy.MATCH_ALWAYS: Demand(Proof.FINGER, fresh=True),
}


@dataclass(slots=True)
class Left:
    """What one command leaves to the next: consent to one use of a key, or a challenge."""

    consent: Proof = Proof.NONE
    challenge: Challenge | None = None


class PivSession:
    """The security status of one interface.

    All of it ends with a reset, and when the application is selected again.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.pins = VerifiedPins(core.pins)
        self.finger = MatchedFinger(core.pins, core.matcher, core.rng, core.clock)
        self._proven = _NOBODY
        self._last = Left()
        self._left = Left()
        self._attendance = Attendance(core.transaction)

    def begin(self, _: CommandSpec | None) -> None:
        """What the last command left is for this one alone, whether it takes it or not."""
        self._last, self._left = self._left, Left()

    def branch(self) -> PivSession:
        """One with the same PIN verified; the management key and consent are not shared."""
        other = PivSession(self.core)
        other.pins = self.pins
        other.finger = self.finger
        return other

    def end(self) -> None:
        """The interface is closed: a command that waits for its user waits no more."""
        self._attendance.end()

    def capture(self, sensor: Sensor) -> Sample:
        """Wait for a finger; other interfaces work meanwhile.

        Raises EntryCancelled, EntryTimedOut, and CardRemoved where the token was pulled.
        """
        return self._attendance.wait(sensor.ask())

    def permits(self, access: Access) -> bool:
        """KEY and OBJECT are decided where the key or the object is known."""
        user, management = self.pins.holds(PinRef.PIV), self._proven == self.core.management.epoch
        return {
            Access.USER: user,
            Access.MANAGEMENT: management,
            Access.USER_AND_MANAGEMENT: user and management,
        }.get(access, True)

    def require(self, access: Access) -> None:
        """Raises SecurityStatusNotSatisfied."""
        if not self.permits(access):
            raise SecurityStatusNotSatisfied("the PIN or the management key has to be proven first")

    def verified(self) -> None:
        """The PIN was verified on this interface, which is consent to one use of a key."""
        self.pins.add(PinRef.PIV)
        self._left.consent = Proof.PIN

    def matched(self) -> None:
        """A finger matched on this interface, which is consent to one use of some keys."""
        self.finger.hold()
        self._left.consent = Proof.FINGER

    def challenge(self, expected: bytes, *, mutual: bool) -> None:
        """Wait for `expected` in the next command."""
        self._left.challenge = Challenge(mutual, expected)

    def prove(self, record: ManagementRecord, answer: bytes, *, mutual: bool) -> None:
        """Take the answer to the last command's challenge; the management key may want a touch.

        Raises ConditionsNotSatisfied where it asked nothing, SecurityStatusNotSatisfied for a
        wrong answer, which also ends what was proven before, or without a touch.
        """
        challenge = self._last.challenge
        if challenge is None or challenge.mutual != mutual:
            raise ConditionsNotSatisfied("there is no challenge to answer")
        self._proven = _NOBODY
        if not hmac.compare_digest(challenge.expected, answer):
            raise SecurityStatusNotSatisfied("the answer was not made with the management key")
        epoch = self.core.management.epoch
        self._touch(record.touch)
        # Whoever changed the key meanwhile moved the epoch.
        self.core.transaction.after(lambda: self._keep_proven(epoch))

    def _keep_proven(self, epoch: int) -> None:
        self._proven = epoch

    def keep_management(self) -> None:
        """The management key changed through this interface, which goes on as proven."""
        self._proven = self.core.management.epoch

    def use(self, slot: int, algorithm: int) -> PrivateKey:
        """The key in a slot, for one use, of which the last command was the consent if it wants it.

        It may want a touch, too.

        Raises IncorrectParameters for another slot, or a key of another algorithm;
        ReferencedDataNotFound; SecurityStatusNotSatisfied where the key's policies are not met.
        """
        consent = self._last.consent
        key = self._permitted(slot, algorithm, consent=consent)
        if key.policies.touch is not TouchPolicy.NEVER:
            self._touch(key.policies.touch)
            key = self._permitted(slot, algorithm, consent=consent)
        return key.private

    def _permitted(self, slot: int, algorithm: int, *, consent: Proof) -> SlotKey:
        if slot not in KEY_SLOTS:
            raise IncorrectParameters("there is no slot whose key could be used")
        key = self.core.keys.get(slot)
        if key.algorithm != algorithm:
            raise IncorrectParameters("the key is of another algorithm")
        demand = _DEMANDS[key.policies.pin]
        if self._proof() < demand.proof:
            raise SecurityStatusNotSatisfied("the PIN has to be proven first, or a finger matched")
        if demand.fresh and consent < demand.proof:
            raise SecurityStatusNotSatisfied("the key needs the PIN verified right before")
        return key

    def _proof(self) -> Proof:
        if self.pins.holds(PinRef.PIV):
            return Proof.PIN
        return Proof.FINGER if self.finger.holds() else Proof.NONE

    def _touch(self, policy: TouchPolicy) -> None:
        """Wait for a touch where the policy wants one; other interfaces work meanwhile.

        Raises SecurityStatusNotSatisfied where nobody touched the token, CardRemoved.
        """
        core = self.core
        if policy is TouchPolicy.NEVER:
            return
        recent = core.touched is not None and core.clock() - core.touched <= TOUCH_SECONDS
        if policy is TouchPolicy.CACHED and recent:
            return
        if core.presence is None:
            raise SecurityStatusNotSatisfied("nobody is there to touch the token")
        if not self._attendance.wait(core.presence.ask()):
            raise SecurityStatusNotSatisfied("nobody touched the token")
        core.touched = core.clock()

    def meanwhile(self, make: Callable[[], PrivateKey]) -> PrivateKey:
        """Make a key while other interfaces work; they may change the management key."""
        with self.core.transaction.released():
            private = make()
        self.require(Access.MANAGEMENT)
        return private
