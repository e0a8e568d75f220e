"""Rounds in which the peers take turns, so that a busy moment of the machine hits all of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from bench.workloads import Action


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


def rate(action: Action, seconds: float) -> float:
    """How many times a second `action` ran, over at least `seconds`."""
    count = 0
    start = time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        action()
        count += 1
    return count / spent


def interleave(
    actions: Mapping[str, Action], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """The rate of each peer in each round; who begins changes from round to round."""
    names = list(actions)
    for name in names:
        actions[name]()
    rates: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            rates[name].append(rate(actions[name], seconds))
    return rates


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times as fast as the peer we were, round by round."""
    return Spread.of([mine / other for mine, other in zip(ours, theirs, strict=True)])
