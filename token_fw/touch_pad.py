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
        self._waiting: deque[_Wait] = deque()
        self._closed = False

    def touched(self) -> bool:
        """Wait for a touch; False where none came in time, or the token is pulled."""
        wait = _Wait()
        end = self._clock() + self._patience
        with self._changed:
            if self._closed:
                return False
            self._waiting.append(wait)
            self._changed.notify_all()
            while wait in self._waiting:
                left = end - self._clock()
                if left <= 0:
                    self._waiting.remove(wait)
                    break
                self._changed.wait(left)
        return wait.touched

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


class _Wait:
    """One command that waits."""

    touched = False
