"""What a check is, and how a card differs from what it should do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from apdu.codec import Response
from apdu.model import SW, describe

_COUNTER = 0x0F


class Verdict(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One check with its outcome.

    `group` is the rule or the vector, `command` the name of the command in the catalogue, `clause`
    where the standard says what was `expected`; `exchanges` are the APDUs, decoded as a trace
    does it; `reason` says why a check was skipped.
    """

    group: str
    name: str
    command: str
    clause: str
    verdict: Verdict
    expected: str = ""
    got: str = ""
    reason: str = ""
    exchanges: tuple[str, ...] = ()


class DifferenceError(Exception):
    """A card did something else than was `expected`: `got` says what."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"{got}, not {expected}")
        self.expected = expected
        self.got = got


class SkipError(Exception):
    """A check that cannot be made on this card; the message says why."""


def tries_left(response: Response) -> int:
    """The number that 63Cx carries. Raises DifferenceError for another status word."""
    if response.sw & ~_COUNTER != SW.WRONG_PIN:
        raise DifferenceError("the tries left (63Cx)", describe(response.sw))
    return response.sw & _COUNTER


def names(accepted: Iterable[int]) -> str:
    """Status words for people."""
    return " or ".join(describe(sw) for sw in accepted)


def compare(response: Response, expected: bytes) -> None:
    """Raises DifferenceError where a command succeeds with other data."""
    if response.sw == SW.NO_ERROR and response.data != expected:
        raise DifferenceError(f"the right {len(expected)} bytes", f"{len(response.data)} others")
