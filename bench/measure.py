"""Rounds in which the peers take turns, so that a busy moment of the machine hits all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

Action = Callable[[], float]
"""Measures once; gives how many times a second the thing can be done."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds and the quartiles around it."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        low, _, high = quantiles(values, n=4, method="inclusive")
        return cls(low, median(values), high)


def interleave(actions: Mapping[str, Action], rounds: int) -> dict[str, list[float]]:
    """The rate of each peer in each round; who begins changes from round to round."""
    names = list(actions)
    for name in names:
        actions[name]()
    rates: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            rates[name].append(actions[name]())
    return rates


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times as fast as the peer we were, round by round."""
    return Spread.of([mine / other for mine, other in zip(ours, theirs, strict=True)])
