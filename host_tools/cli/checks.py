"""``klyuch doctor`` and ``klyuch demo``."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from host_tools.cli.output import json_option, print_json, print_table, working
from host_tools.home import current

if TYPE_CHECKING:
    from host_tools.demo import Step
    from host_tools.findings import Finding


@click.command(epilog="\b\nExample:\n  klyuch doctor\n")
@json_option
def doctor(as_json: bool) -> None:
    """Check this installation, this home and what is around them.

    The exit code is 1 where something is broken; what is only not there is told with the command
    that brings it.
    """
    from host_tools.doctor import examine

    with working("Checking"):
        findings = list(examine(current()))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            click.echo(f"{_mark(finding)}  {finding.what.ljust(width)}  {finding.found}")
            if finding.mend:
                click.echo(f"       {' ' * width}  Next: {finding.mend}")
    if not all(finding.ok for finding in findings):
        raise click.exceptions.Exit(1)


def _mark(finding: Finding) -> str:
    """Of what is sound, of what is not there, and of a fault."""
    if not finding.ok:
        return click.style("wrong", fg="red")
    return click.style("none ", dim=True) if finding.mend else click.style("ok   ", fg="green")


@click.command(epilog="\b\nExample:\n  klyuch demo\n")
@json_option
def demo(as_json: bool) -> None:
    """Show a token at work: keys, signatures, a PIN that locks, a killed daemon.

    It takes place in a throw-away home; your tokens are not touched. OpenSSL verifies each
    signature. The exit code is 1 where any step failed.
    """
    from host_tools.demo import Demo
    from host_tools.testing import Scratch

    start = time.perf_counter()
    steps: list[Step] = []
    with Scratch() as scratch:
        show = Demo(scratch)
        running = show.run()
        while True:
            with working(f"Step {len(steps) + 1}"):
                step = next(running, None)
            if step is None:
                break
            steps.append(step)
    seconds = time.perf_counter() - start
    done = all(step.ok for step in steps) and len(steps) == show.length
    if as_json:
        document = {"ok": done, "seconds": round(seconds, 3), "trace": show.trace}
        print_json({**document, "steps": [asdict(step) for step in steps]})
    else:
        _print(steps, show.trace)
        verdict = "Every step did what it should" if done else "A step FAILED"
        click.echo(f"{verdict}, in {seconds:.1f} s.")
    if not done:
        raise click.exceptions.Exit(1)


def _print(steps: list[Step], trace: list[str]) -> None:
    rows = [
        (
            str(number),
            step.title,
            "ok" if step.ok else "failed",
            step.outcome,
            f"{step.seconds:.2f} s",
        )
        for number, step in enumerate(steps, 1)
    ]
    print_table(("", "Step", "", "What happened", "Time"), rows, "A token at work")
    if trace:
        click.echo("The APDUs of one signature:")
        for line in trace:
            click.echo(f"  {line}")
        click.echo()
