"""The effects a card depends on: storage, time, randomness and its user, all injected."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
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

    def ask(self) -> Question[bool]:
        """Ask for a touch; does not block. It is False where none came in time, or cancelled."""

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
