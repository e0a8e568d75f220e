"""A touch sensor of the token: who holds the token gives the touch that a command waits for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

PATIENCE = 15.0
"""Seconds until a command waits no longer."""


class TouchPad:
    """Commands that wait for a touch, in the order they came; a touch is for the first of them.

    No touch is ever given by itself, and none is kept for later. Thread-safe. `clock` counts
    seconds and never goes back.
    """

    def __init__(
        self, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: deque[_Wish] = deque()
        self._closed = False

    def ask(self) -> _Wish:
        """Wish for a touch once those before it are given."""
        wish = _Wish(self)
        with self._changed:
            if not self._closed:
                self._waiting.append(wish)
                self._changed.notify_all()
        return wish

    def close(self) -> None:
        """No command waits any more, and no later one does."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    # What the user sees and does

    def awaited(self, seconds: float = 0.0) -> bool:
        """Whether a touch is waited for; waits so long for a command that does."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, seconds)
            return bool(self._waiting)

    def give(self) -> bool:
        """Touch the token; False where nobody waits for it."""
        with self._changed:
            if not self._waiting:
                return False
            self._waiting.popleft().touched = True
            self._changed.notify_all()
        return True

    # What a wish does

    def wait(self, wish: _Wish) -> bool:
        """Wait until a wish is fulfilled; False where it was not in time, or was withdrawn."""
        end = self._clock() + self._patience
        with self._changed:
            while wish in self._waiting:
                left = end - self._clock()
                if left <= 0:
                    self._waiting.remove(wish)
                    break
                self._changed.wait(left)
        return wish.touched

    def withdraw(self, wish: _Wish) -> None:
        """Wish no more."""
        with self._changed:
            if wish in self._waiting:
                self._waiting.remove(wish)
                self._changed.notify_all()


class _Wish:
    """One touch that a command waits for."""

    def __init__(self, pad: TouchPad) -> None:
        self._pad = pad
        self.touched = False

    def wait(self) -> bool:
        """Whether somebody touched the token."""
        return self._pad.wait(self)

    def cancel(self) -> None:
        """Wish no more."""
        self._pad.withdraw(self)
