"""A touch sensor of the token: who holds the token gives the touch that a command waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from token_fw.questions import Questions

PATIENCE = 15.0
"""Seconds until a command waits no longer."""


class TouchPad:
    """Commands that wait for a touch, in the order they came; a touch is for the first of them.

    No touch is ever given by itself, and none is kept for later but by `press`. Thread-safe.
    `clock` counts seconds and never goes back.
    """

    def __init__(
        self, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._wishes = Questions[_Wish](patience, clock)
        self._lock = threading.Lock()
        self._pressed = False

    def ask(self, patience: float | None = None) -> _Wish:
        """Wish for a touch once those before it are given; for so many seconds, as Presence."""
        wish = _Wish(self._wishes, patience)
        with self._lock:
            pressed, self._pressed = self._pressed, False
            if not pressed:
                self._wishes.put(wish)
        if pressed:
            wish.fulfil()
        return wish

    def close(self) -> None:
        """No command waits any more, and no later one does."""
        self.release()
        self._wishes.close()

    # What the user sees and does

    def awaited(self, seconds: float = 0.0) -> bool:
        """Whether a touch is waited for; waits so long for a command that does."""
        return self._wishes.first(seconds) is not None

    def give(self) -> bool:
        """Touch the token; False where nobody waits for it."""
        return self._wishes.answer(_Wish.fulfil) is not None

    def press(self) -> None:
        """Touch the token and keep the finger there: one touch, now or when one is wished for."""
        with self._lock:
            self._pressed = not self.give()

    def release(self) -> None:
        """Take the finger away."""
        with self._lock:
            self._pressed = False


class _Wish:
    """One touch that a command waits for."""

    def __init__(self, wishes: Questions[_Wish], patience: float | None) -> None:
        self._wishes = wishes
        self._patience = patience
        self._touched = False

    def wait(self) -> bool:
        """Whether somebody touched the token."""
        self._wishes.wait(self, self._patience)
        return self._touched

    def cancel(self) -> None:
        """Wish no more."""
        self._wishes.withdraw(self)

    def fulfil(self) -> None:
        """The token is touched."""
        self._touched = True
