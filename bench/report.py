"""What a run found: a table for the terminal, one in Markdown, and a document for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from typing import TypeAlias

from rich import box
from rich.table import Table
from rich.text import Text

from bench.measure import Spread
from bench.peers import OURS
from bench.rows import Result, Verdict
from bench.whole import KIB_WANTED, Memory

Document: TypeAlias = dict[str, object]

_STYLES = {"met": "green", "not met": "bold red", "aim met": "green", "aim not met": "yellow"}


@dataclass(frozen=True, slots=True)
class Report:
    """One run; `options` are those of the command line."""

    when: datetime
    options: Mapping[str, object]
    results: Sequence[Result]
    memory: Memory

    def document(self) -> Document:
        """Everything, as JSON takes it."""
        return {
            "when": self.when.isoformat(timespec="seconds"),
            "machine": {
                "processors": os.cpu_count(),
                "system": platform.platform(),
                "python": platform.python_version(),
                "cryptography": version("cryptography"),
            },
            "options": dict(self.options),
            "results": [
                {
                    "name": result.name,
                    "per_second": {peer: asdict(of) for peer, of in result.per_second.items()},
                    "ratios": [
                        {**asdict(verdict), "met": verdict.met} for verdict in result.verdicts
                    ],
                }
                for result in self.results
            ],
            "memory": {**asdict(self.memory), "wanted": KIB_WANTED, "met": self.memory.met},
        }

    def wanted(self) -> Iterator[tuple[str, Verdict]]:
        """The ratios that something was wanted of, with their rows' names."""
        for result in self.results:
            for verdict in result.verdicts:
                if verdict.least is not None:
                    yield result.name, verdict

    def lines(self) -> Iterator[tuple[str, str, str, str, str, str]]:
        """Row, rate, peer, ratio with quartiles, wanted, outcome."""
        for result in self.results:
            name, rate = result.name, pace(result.per_second[OURS].median)
            for verdict in result.verdicts:
                least = "" if verdict.least is None else f"≥ {number(verdict.least)}"
                yield name, rate, verdict.peer, spread(verdict.ratio), least, outcome(verdict)
                name = rate = ""
        said = f"{self.memory.listed:.1f} KiB"
        met = "met" if self.memory.met else "not met"
        yield self.memory.name, said, "", "", f"≤ {KIB_WANTED:.0f} KiB", met
        yield "after each was used once", f"{self.memory.used:.1f} KiB", "", "", "", ""

    def table(self) -> Table:
        """For the terminal."""
        title = "How many times as fast as the peer: median of the rounds (quartiles)"
        table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("what")
        for column in ("klyuch", "beside", "ratio", "wanted"):
            table.add_column(column, justify="right" if column != "beside" else "left")
        table.add_column("")
        for *cells, verdict in self.lines():
            table.add_row(*cells, Text(verdict, style=_STYLES.get(verdict, "")))
        return table

    def markdown(self) -> str:
        """The same table for a page."""
        head = (
            "| what | klyuch | beside | ratio (quartiles) | wanted | |\n|---|--:|---|--:|--:|---|\n"
        )
        when = f"{self.when:%Y-%m-%d}, {os.cpu_count()} processors, {platform.system()}"
        intro = f"One run of `./dev bench` ({when}). A ratio is how many times as fast we were.\n\n"
        return intro + head + "".join(f"| {' | '.join(line)} |\n" for line in self.lines())


def outcome(verdict: Verdict) -> str:
    """In words, nothing where nothing was wanted."""
    if verdict.met is None:
        return ""
    return ("aim " if verdict.aim else "") + ("met" if verdict.met else "not met")


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(ratio: Spread) -> str:
    """The median, and the quartiles behind it."""
    return f"{number(ratio.median)} ({number(ratio.low)}–{number(ratio.high)})"


def pace(per_second: float) -> str:
    """A rate, or the time one takes where that is long."""
    return f"{per_second:,.0f} /s" if per_second >= 100 else f"{1000 / per_second:,.1f} ms"
