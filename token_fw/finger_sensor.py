"""A fingerprint sensor of the token: who holds the token puts a finger on it, or scripts that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from token_fw.env import Sample
from token_fw.errors import EntryCancelled, EntryTimedOut
from token_fw.questions import Questions

PATIENCE = 15.0
"""Seconds until a command that has no time of its own waits no longer."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a script has happen at one capture: a sample after `delay` seconds, or no finger."""

    sample: Sample | None
    delay: float = 0.0


class ScriptedSensor:
    """Commands that wait for a finger, in the order they came. Thread-safe.

    There is no finger unless somebody puts one on the sensor, for the command that has waited
    longest, or has scripted one, for a command that begins to wait later. `clock` counts seconds
    and never goes back.
    """

    def __init__(
        self, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience = patience
        self._captures = Questions[_Capture](patience, clock)
        self._script: list[Step] = []

    def ask(self, patience: float | None = None) -> _Capture:
        """Wait for a finger; the next step of the script is for this capture."""
        patience = self._patience if patience is None else patience
        try:
            step = self._script.pop(0)
        except IndexError:
            step = Step(None)
        capture = _Capture(self._captures, patience, step)
        self._captures.put(capture)
        return capture

    def close(self) -> None:
        """No command waits any more, and no later one does."""
        self._captures.close()

    # What the user sees and does

    def awaited(self, seconds: float = 0.0) -> bool:
        """Whether a finger is waited for; waits so long for a command that does."""
        return self._captures.first(seconds) is not None

    def present(self, sample: Sample) -> bool:
        """Put a finger on the sensor; False where nobody waits for one."""
        return self._captures.answer(lambda capture: capture.fill(sample)) is not None

    def script(self, steps: Iterable[Step]) -> int:
        """Have these happen at the captures to come, a step each; gives how many are left."""
        self._script.extend(steps)
        return len(self._script)

    def forget(self) -> int:
        """Drop what is left of the script; gives how many steps it was."""
        left = len(self._script)
        self._script.clear()
        return left


class _Capture:
    """One finger that a command waits for."""

    def __init__(self, captures: Questions[_Capture], patience: float, step: Step) -> None:
        self._captures = captures
        self._patience = patience
        self._step = step
        self._sample: Sample | None = None

    def fill(self, sample: Sample) -> None:
        """A finger is on the sensor."""
        self._sample = sample

    def wait(self) -> Sample:
        """What was captured; raises EntryCancelled or EntryTimedOut."""
        step = self._step
        scripted = step.sample is not None and step.delay <= self._patience
        if not self._captures.wait(self, step.delay if scripted else self._patience):
            if not scripted or step.sample is None:
                raise EntryTimedOut("no finger was put on the sensor in time")
            self._sample = step.sample
        if self._sample is None:
            raise EntryCancelled("the capture was cancelled")
        return self._sample

    def cancel(self) -> None:
        """Wait no more."""
        self._captures.withdraw(self)
