"""What a PIN must be to be taken (spec/pins.toml)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, pairwise

from token_fw.errors import IncorrectData


@dataclass(frozen=True, slots=True)
class PinRule:
    """The rule for one PIN: lengths in bytes, then optional bounds on what it is made of.

    `digits` admits ASCII digits alone; `max_repeat` is the most equal bytes in a row; `max_run` the
    most bytes in a row that each go up by one, or each go down by one (0: no bound). `padding` is
    what fills up a shorter value on the wire.
    """

    min_length: int
    max_length: int
    digits: bool = False
    max_repeat: int = 0
    max_run: int = 0
    padding: int = 0x00

    def check(self, value: bytes) -> None:
        """Raises IncorrectData, which never holds the value, when it breaks the rule."""
        if not self.min_length <= len(value) <= self.max_length:
            raise IncorrectData("the PIN is too short or too long")
        if value.endswith(bytes((self.padding,))):
            # Such a PIN could not be told from a shorter one.
            raise IncorrectData("the PIN ends in a padding byte")
        if self.digits and not value.isdigit():
            raise IncorrectData("the PIN has other characters than digits")
        if self.max_repeat and longest_run(value, 0) > self.max_repeat:
            raise IncorrectData("the PIN repeats a character too often in a row")
        if self.max_run and max(longest_run(value, 1), longest_run(value, -1)) > self.max_run:
            raise IncorrectData("the PIN is a run of consecutive characters")


@dataclass(frozen=True, slots=True)
class PinPolicy:
    """The rules of both PINs of a token, under the name chosen when it was made."""

    name: str
    title: str
    user: PinRule
    so: PinRule


PIV_RULE = PinRule(6, 8, padding=0xFF)
"""The PIV PIN and PUK (SP 800-73-4 part 2, 2.4.3), but for the characters, which are any."""


def longest_run(values: Iterable[int], step: int) -> int:
    """The most numbers in a row of which each is the one before it plus `step`."""
    follows = (after - before == step for before, after in pairwise(values))
    return 1 + max((sum(1 for _ in group) for same, group in groupby(follows) if same), default=0)
