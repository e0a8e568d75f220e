"""A PIN pad of the token: who holds the token enters what a command waits for."""

from __future__ import annotations

import time
from collections.abc import Callable

from token_fw.errors import EntryCancelled, EntryTimedOut
from token_fw.questions import Questions

PATIENCE = 60.0
"""Seconds until a question that nobody answers ends."""


class PinPad:
    """Questions in the order they came, of which the first is shown. Thread-safe.

    `clock` counts seconds and never goes back.
    """

    def __init__(
        self, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._questions = Questions[_Question](patience, clock)

    def ask(self, reference: int) -> _Question:
        """Show a question for the PIN of that reference once those before it are answered."""
        question = _Question(self._questions, reference)
        self._questions.put(question)
        return question

    def close(self) -> None:
        """Cancel every question, also each later one."""
        self._questions.close()

    # What the user sees and does

    def shown(self, seconds: float = 0.0) -> int | None:
        """The reference of the PIN that is asked for; waits so long for a question."""
        question = self._questions.first(seconds)
        return None if question is None else question.reference

    def enter(self, value: bytes) -> int | None:
        """Answer the question that is shown; gives its reference, None where there is none."""
        question = self._questions.answer(lambda shown: shown.fill(value))
        return None if question is None else question.reference

    def cancel(self) -> int | None:
        """Call off the question that is shown; gives its reference, None where there is none."""
        question = self._questions.answer(lambda _: None)
        return None if question is None else question.reference


class _Question:
    """One entry that a command waits for."""

    def __init__(self, questions: Questions[_Question], reference: int) -> None:
        self._questions = questions
        self.reference = reference
        self.value: bytes | None = None

    def fill(self, value: bytes) -> None:
        """What is entered."""
        self.value = value

    def wait(self) -> bytes:
        """What was entered; raises EntryCancelled or EntryTimedOut."""
        if not self._questions.wait(self):
            raise EntryTimedOut("nothing was entered in time")
        value, self.value = self.value, None
        if value is None:
            raise EntryCancelled("the entry was cancelled")
        return value

    def cancel(self) -> None:
        """Ask no more."""
        self._questions.withdraw(self)
