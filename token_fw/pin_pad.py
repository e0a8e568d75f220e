"""A PIN pad of the token: who holds the token enters what a command waits for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from token_fw.errors import EntryCancelled, EntryTimedOut

PATIENCE = 60.0
"""Seconds until a question that nobody answers ends."""


class PinPad:
    """Questions in the order they came, of which the first is shown. Thread-safe.

    `clock` counts seconds and never goes back.
    """

    def __init__(
        self, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._changed = threading.Condition()
        self._questions: deque[_Question] = deque()
        self._closed = False

    def ask(self, reference: int) -> _Question:
        """Show a question for the PIN of that reference once those before it are answered."""
        question = _Question(self, reference)
        with self._changed:
            if not self._closed:
                self._questions.append(question)
                self._changed.notify_all()
        return question

    def close(self) -> None:
        """Cancel every question, also each later one."""
        with self._changed:
            self._closed = True
            self._questions.clear()
            self._changed.notify_all()

    # What the user sees and does

    def shown(self, seconds: float = 0.0) -> int | None:
        """The reference of the PIN that is asked for; waits so long for a question."""
        with self._changed:
            self._changed.wait_for(lambda: self._questions or self._closed, seconds)
            return self._questions[0].reference if self._questions else None

    def enter(self, value: bytes) -> int | None:
        """Answer the question that is shown; gives its reference, None where there is none."""
        return self._answer(value)

    def cancel(self) -> int | None:
        """Call off the question that is shown; gives its reference, None where there is none."""
        return self._answer(None)

    def _answer(self, value: bytes | None) -> int | None:
        with self._changed:
            if not self._questions:
                return None
            question = self._questions.popleft()
            question.value = value
            self._changed.notify_all()
        return question.reference

    # What a question does

    def wait(self, question: _Question) -> bytes:
        """Wait until a question has left the pad; raises EntryCancelled or EntryTimedOut."""
        end = self._clock() + self._patience
        with self._changed:
            while question in self._questions:
                left = end - self._clock()
                if left <= 0:
                    self._questions.remove(question)
                    raise EntryTimedOut("nothing was entered in time")
                self._changed.wait(left)
            value, question.value = question.value, None
        if value is None:
            raise EntryCancelled("the entry was cancelled")
        return value

    def withdraw(self, question: _Question) -> None:
        """Take a question off the pad, if it still is on it."""
        with self._changed:
            if question in self._questions:
                self._questions.remove(question)
                self._changed.notify_all()


class _Question:
    """One entry that a command waits for."""

    def __init__(self, pad: PinPad, reference: int) -> None:
        self._pad = pad
        self.reference = reference
        self.value: bytes | None = None

    def wait(self) -> bytes:
        """What was entered; raises EntryCancelled or EntryTimedOut."""
        return self._pad.wait(self)

    def cancel(self) -> None:
        """Ask no more."""
        self._pad.withdraw(self)
