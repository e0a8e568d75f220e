"""`python -m bench`: measures Klyuch, SoftHSM2 and plain `cryptography` in turn, prints ratios."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from bench.measure import Spread, interleave, ratios
from bench.peers import Token, tokens
from bench.workloads import Workload, workloads

RESULTS = Path(__file__).parent / "results"
OURS, PLAIN = "klyuch", "cryptography"
PEERS = ("softhsm2", PLAIN)


@dataclass(frozen=True, slots=True)
class Result:
    """One row: calls a second of each peer, and how many times as fast as each of them we were."""

    workload: str
    per_second: dict[str, Spread]
    ratio: dict[str, Spread]


def _measure(workload: Workload, peers: Sequence[Token], rounds: int, seconds: float) -> Result:
    actions = {peer.name: workload.prepare(peer) for peer in peers}
    if workload.plain is not None:
        actions[PLAIN] = workload.plain()
    rates = interleave(actions, rounds, seconds)
    return Result(
        workload.name,
        {name: Spread.of(values) for name, values in rates.items()},
        {name: ratios(rates[OURS], values) for name, values in rates.items() if name != OURS},
    )


def _machine() -> dict[str, object]:
    return {
        "processors": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cryptography": version("cryptography"),
    }


def _table(results: Sequence[Result]) -> Table:
    title = "How many times as fast as the peer: median of the rounds (quartiles)"
    table = Table("workload", title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("klyuch /s", *(f"to {peer}" for peer in PEERS)):
        table.add_column(column, justify="right", no_wrap=True)
    for result in results:
        ratios_shown = [
            f"{ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f})" if ratio else ""
            for ratio in map(result.ratio.get, PEERS)
        ]
        rate = result.per_second[OURS].median
        table.add_row(result.workload, f"{rate:,.0f}", *ratios_shown)
    return table


@click.command()
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(2))
@click.option("--seconds", default=0.2, show_default=True, help="of each peer in each round")
@click.option("--objects", default=200, show_default=True, type=click.IntRange(11, 900))
@click.option(
    "--results", default=RESULTS, type=click.Path(path_type=Path), help="folder for the figures"
)
def main(rounds: int, seconds: float, objects: int, results: Path) -> None:
    """Measure in turn, print a table of ratios and keep the figures as JSON."""
    console = Console()
    rows = []
    with tokens() as peers, console.status("") as status:
        for workload in workloads(objects):
            status.update(workload.name)
            rows.append(_measure(workload, peers, rounds, seconds))
    console.print(_table(rows))
    now = datetime.now(UTC)
    path = results / f"{now:%Y%m%dT%H%M%SZ}.json"
    results.mkdir(parents=True, exist_ok=True)
    options = {"rounds": rounds, "seconds": seconds, "objects": objects}
    report = {"when": now.isoformat(), "machine": _machine(), "options": options}
    path.write_text(
        json.dumps({**report, "results": [asdict(row) for row in rows]}, indent=2) + "\n"
    )
    console.print(f"Kept in {path}")


if __name__ == "__main__":
    main()
