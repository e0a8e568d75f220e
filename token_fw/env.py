"""The effects a card depends on: storage, time, randomness and its user, all injected."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, TypeVar

from token_fw.storage.base import Store

T_co = TypeVar("T_co", covariant=True)


class Question(Protocol[T_co]):
    """Something that the token has asked of its user."""

    def wait(self) -> T_co:
        """What the user did. Blocks."""

    def cancel(self) -> None:
        """Ask no more; nothing happens where there is an answer. From any thread."""


class ProtectedPath(Protocol):
    """The protected authentication path: a pad or a sensor of the token's own. Thread-safe."""

    def ask(self, reference: int) -> Question[bytes]:
        """Ask for the PIN of that reference, to be compared on the card; does not block.

        Its `wait` raises EntryCancelled or EntryTimedOut.
        """

    def close(self) -> None:
        """The token is pulled: every question, also a later one, is cancelled."""


class Presence(Protocol):
    """A button or a sensor that only somebody at the token can touch. Thread-safe."""

    def ask(self, patience: float | None = None) -> Question[bool]:
        """Ask for a touch; does not block. It is False where none came in time, or cancelled.

        `patience`: seconds, its own for None.
        """

    def close(self) -> None:
        """The token is pulled: nothing waits for a touch any more."""


class SampleStatus(IntEnum):
    """What came of one sample of a finger (CTAP 2.1 6.7.4, lastEnrollSampleStatus)."""

    GOOD = 0x00
    TOO_HIGH = 0x01
    TOO_LOW = 0x02
    TOO_LEFT = 0x03
    TOO_RIGHT = 0x04
    TOO_FAST = 0x05
    TOO_SLOW = 0x06
    POOR_QUALITY = 0x07
    TOO_SKEWED = 0x08
    TOO_SHORT = 0x09
    MERGE_FAILURE = 0x0A
    EXISTS = 0x0B
    DATABASE_FULL = 0x0C
    NO_USER_ACTIVITY = 0x0D
    NO_USER_PRESENCE_TRANSITION = 0x0E


@dataclass(frozen=True, slots=True, repr=False)
class Sample:
    """What a sensor captured: 1 to 32 bytes that are equal for samples of one finger, and how."""

    finger: bytes
    status: SampleStatus = SampleStatus.GOOD


class Sensor(Protocol):
    """A fingerprint sensor of the token. Thread-safe."""

    def ask(self, patience: float | None = None) -> Question[Sample]:
        """Ask for a finger; does not block. `patience`: seconds, the sensor's own for None.

        Its `wait` raises EntryCancelled or EntryTimedOut, and then there was no finger.
        """

    def close(self) -> None:
        """The token is pulled: every question, also a later one, is cancelled."""


@dataclass(slots=True)
class Env:
    """What one card lives in.

    `clock` counts seconds and never goes back; `rng(n)` gives n unpredictable bytes. `path` is how
    the token asks its user itself, None where it has no such way; `presence` how it is touched,
    None where nobody is there to touch it; `sensor` takes fingerprints, None where there is none.
    `powered`: since when the card has its power, by the clock; since it was opened for None.
    `changed` is called after every change of the card's contents, before the command that made it
    is answered.
    """

    store: Store
    clock: Callable[[], float] = time.monotonic
    rng: Callable[[int], bytes] = os.urandom
    path: ProtectedPath | None = None
    changed: Callable[[], None] = lambda: None
    presence: Presence | None = None
    sensor: Sensor | None = None
    powered: float | None = None
