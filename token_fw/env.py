"""The effects a card depends on: storage, time, randomness and its user, all injected."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from token_fw.storage.base import Store


class Question(Protocol):
    """Something that the token has asked its user to enter."""

    def wait(self) -> bytes:
        """What was entered, to be compared on the card. Blocks.

        Raises EntryCancelled or EntryTimedOut.
        """

    def cancel(self) -> None:
        """Ask no more; nothing happens where there is an answer. From any thread."""


class ProtectedPath(Protocol):
    """The protected authentication path: a pad or a sensor of the token's own. Thread-safe."""

    def ask(self, reference: int) -> Question:
        """Ask for the PIN of that reference; does not block."""

    def close(self) -> None:
        """The token is pulled: every question, also a later one, is cancelled."""


class Presence(Protocol):
    """A button or a sensor that only somebody at the token can touch. Thread-safe."""

    def touched(self) -> bool:
        """Ask for a touch and wait; False where none came in time. Blocks."""

    def close(self) -> None:
        """The token is pulled: nothing waits for a touch any more."""


@dataclass(slots=True)
class Env:
    """What one card lives in.

    `clock` counts seconds and never goes back; `rng(n)` gives n unpredictable bytes. `path` is how
    the token asks its user itself, None where it has no such way; `presence` how it is touched,
    None where nobody is there to touch it. `changed` is called after every
    change of the card's contents, before the command that made it is answered.
    """

    store: Store
    clock: Callable[[], float] = time.monotonic
    rng: Callable[[int], bytes] = os.urandom
    path: ProtectedPath | None = None
    changed: Callable[[], None] = lambda: None
    presence: Presence | None = None
