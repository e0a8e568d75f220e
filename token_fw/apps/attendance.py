"""What a command of one interface waits for from the user of the token."""

from __future__ import annotations

from typing import TypeVar

from token_fw.env import Question
from token_fw.transaction import Transaction

T = TypeVar("T")


class Attendance:
    """At most one question to the user; none any more once the interface is closed."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._question: Question[object] | None = None
        self._ended = False

    def wait(self, question: Question[T]) -> T:
        """The answer; other interfaces work meanwhile.

        Raises what the question raises, and CardRemoved where the token was pulled.
        """
        self._question = question
        if self._ended:
            # Whoever ended it came before there was a question to see.
            question.cancel()
        try:
            with self._transaction.released():
                return question.wait()
        finally:
            self._question = None

    def end(self) -> None:
        """The interface is closed: a command that waits for its user waits no more."""
        self._ended = True
        question = self._question
        if question is not None:
            question.cancel()
