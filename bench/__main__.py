"""`python -m bench`: measures Klyuch and its peers in turn, and tells ratios."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from bench.gost import measure as measure_gost
from bench.peers import Unavailable, compile_program, peers
from bench.plot import svg
from bench.readers import measure as measure_readers
from bench.report import Report
from bench.rows import measure, rows
from bench.whole import first_load, memory
from hatch_build import BuildError

RESULTS = Path(__file__).parent / "results"
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_SUFFIXES = ("json", "md", "svg")
_PIPED_WIDTH = 160
_FULL = {"rounds": 15, "seconds": 0.15, "session": 10_000, "token": 1_000, "tokens": 1_000}
_QUICK = {"rounds": 2, "seconds": 0.01, "session": 40, "token": 20, "tokens": 4}


def _run(options: dict[str, float], progress: Callable[[str], None]) -> Report:
    rounds, seconds = int(options["rounds"]), options["seconds"]
    table = rows(int(options["session"]), int(options["token"]))
    results = []
    with tempfile.TemporaryDirectory(prefix="klyuch-bench-") as folder:
        client = compile_program("client", Path(folder), "-ldl")
        progress("starting the peers")
        with peers(Path(folder), client) as everybody:
            for row, result in measure(table, everybody, rounds, seconds):
                progress(row.name)
                results.append(result)
        for apart in (measure_readers, measure_gost):
            for result in apart(Path(folder), rounds, seconds):
                progress(result.name)
                results.append(result)
        progress("first load")
        results.append(first_load(client, rounds))
        weight = memory(client, int(options["tokens"]), progress)
    return Report(datetime.now(UTC), options, results, weight)


def _files(folder: Path, name: str) -> list[Path]:
    """Where the results go, tried before minutes are spent on them. Raises BadParameter."""
    if not _NAME.fullmatch(name):
        raise click.BadParameter(
            f"{name!r}: only letters A to Z, digits, - and _", param_hint="--name"
        )
    files = [folder / f"{name}.{suffix}" for suffix in _SUFFIXES]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            _try_to_write(file)
    except OSError as error:
        raise click.BadParameter(
            f"cannot write {error.filename}: {error.strerror}", param_hint="--results"
        ) from error
    return files


def _try_to_write(file: Path) -> None:
    """Leave the file as it was, or absent. Raises OSError where it could not be written."""
    absent = not file.exists()
    with file.open("ab"):
        pass
    if absent:
        file.unlink()


@click.command(
    epilog="""\b
Examples:
  ./dev bench                       everything, in three to five minutes
  ./dev bench --quick               whether it runs; the figures mean nothing
  ./dev bench --json | jq '.results[] | {name, ratios}'
  ./dev bench --name result         what the repository shows
"""
)
@click.option("--quick", is_flag=True, help="Few objects and short rounds.")
@click.option("--rounds", type=click.IntRange(2), help="Turns of each peer (15).")
@click.option("--seconds", type=click.FloatRange(0.001), help="Of each turn (0.15).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--name", default="latest", show_default=True, help="NAME.json, NAME.md, NAME.svg")
@click.option(
    "--results", default=RESULTS, type=click.Path(path_type=Path), help="The folder they go to."
)
def main(
    *,
    quick: bool,
    rounds: int | None,
    seconds: float | None,
    as_json: bool,
    name: str,
    results: Path,
) -> None:
    """Measure Klyuch beside SoftHSM2, SoftHSM2 behind p11-kit, and OpenSSL without any token.

    The peers take turns; every figure is a ratio inside one run. Nothing is judged by itself: the
    exit status says only whether everything ran.
    """
    options: dict[str, float] = {**(_QUICK if quick else _FULL)}
    options |= {key: value for key, value in (("rounds", rounds), ("seconds", seconds)) if value}
    files = _files(results, name)
    console = Console(stderr=True)
    try:
        with console.status("") as status:
            report = _run(options, status.update)
    except (Unavailable, BuildError) as error:
        raise click.ClickException(str(error)) from error
    document = json.dumps(report.document(), indent=2, ensure_ascii=False) + "\n"
    if as_json:
        click.echo(document, nl=False)
    else:
        width = None if sys.stdout.isatty() else _PIPED_WIDTH
        Console(width=width, highlight=False).print(report.table())
    try:
        for file, content in zip(files, (document, report.markdown(), svg(report)), strict=True):
            file.write_text(content, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error
    console.print(f"Kept in {results / name}.json, .md and .svg", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
