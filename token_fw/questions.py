"""What a token asks of its user: who holds it answers one question after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

Q = TypeVar("Q")


class Questions(Generic[Q]):
    """Questions in the order they came, of which the first is shown. Thread-safe.

    One that nobody answers ends after `patience` seconds. `clock` counts seconds and never goes
    back. Of a thousand tokens few ever ask: they share what wakes who waits.
    """

    _changed: ClassVar = threading.Condition()

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._clock = clock
        self._open: list[Q] = []
        self._closed = False

    def __len__(self) -> int:
        """How many are not answered yet."""
        return len(self._open)

    def put(self, question: Q) -> None:
        """Show a question once those before it are answered."""
        with self._changed:
            if not self._closed:
                self._open.append(question)
                self._changed.notify_all()

    def close(self) -> None:
        """Withdraw every question, also each later one."""
        with self._changed:
            self._closed = True
            self._open.clear()
            self._changed.notify_all()

    def first(self, seconds: float = 0.0) -> Q | None:
        """The question that is shown; waits so long for one."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or self._closed, seconds)
            return self._open[0] if self._open else None

    def answer(self, fill: Callable[[Q], None]) -> Q | None:
        """Have `fill` put the answer into the question that is shown; None where there is none."""
        with self._changed:
            if not self._open:
                return None
            question = self._open.pop(0)
            fill(question)
            self._changed.notify_all()
        return question

    def wait(self, question: Q, patience: float | None = None) -> bool:
        """Wait until a question is answered or withdrawn; False where its time is over.

        `patience`: seconds for this question, those for all of them for None.
        """
        end = self._clock() + (self._patience if patience is None else patience)
        with self._changed:
            while question in self._open:
                left = end - self._clock()
                if left <= 0:
                    self._open.remove(question)
                    return False
                self._changed.wait(left)
        return True

    def withdraw(self, question: Q) -> None:
        """Ask a question no more, if it still is asked."""
        with self._changed:
            if question in self._open:
                self._open.remove(question)
                self._changed.notify_all()
