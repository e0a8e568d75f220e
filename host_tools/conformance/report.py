"""What an examination found, as one JSON document and as one HTML page that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from html import escape

from host_tools.conformance.checks import Check, Verdict
from host_tools.version import version

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem }
tr { border-bottom: 1px solid #8884 }
td:not(:first-child) { min-width: 8rem }
pre { margin: 0; white-space: pre-wrap; font-size: .85em }
.passed { color: #18794e } .failed { color: #c62a2f; font-weight: 600 } .skipped { color: #80808b }
@media (prefers-color-scheme: dark) { body { background: #16161a; color: #ececf1 } }
"""
_WORST = (Verdict.FAILED, Verdict.SKIPPED, Verdict.PASSED)
_HEADINGS = ("", "Check", "Clause", "Expected", "Got", "Exchanged")


@dataclass(frozen=True, slots=True)
class Report:
    """The checks of one card: what it is called, which application was examined, when it began.

    One that was `interrupted` has not all of them.
    """

    card: str
    application: str
    began: str
    destructive: bool
    checks: tuple[Check, ...]
    interrupted: bool = False

    @property
    def sound(self) -> bool:
        """Whether all checks were made, and none failed."""
        return not self.interrupted and self.count(Verdict.FAILED) == 0

    def count(self, verdict: Verdict) -> int:
        return Counter(check.verdict for check in self.checks)[verdict]

    @property
    def summary(self) -> str:
        """How many checks ended how."""
        counts = [f"{self.count(verdict)} {verdict}" for verdict in Verdict]
        return ", ".join([*counts, *(["interrupted"] if self.interrupted else [])])

    def document(self) -> dict[str, object]:
        """Everything, for programs."""
        return {
            "klyuch": version(),
            "card": self.card,
            "application": self.application,
            "began": self.began,
            "destructive": self.destructive,
            "sound": self.sound,
            "interrupted": self.interrupted,
            "counts": {str(verdict): self.count(verdict) for verdict in Verdict},
            "checks": [asdict(check) for check in self.checks],
        }

    def html(self) -> str:
        """Everything, for a browser; groups with a failure are open, the worst first in each."""
        title = f"Conformance of {self.card}: {self.application}"
        kind = (
            "with steps that change the card" if self.destructive else "without changing the card"
        )
        return "\n".join(
            (
                '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width">',
                f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>",
                f"<h1>{escape(title)}</h1>",
                f"<p>Klyuch {escape(version())}, {escape(self.began)}, {kind}.</p>",
                f"<p><strong>{escape(self.summary)}</strong></p>",
                *self._groups(),
                "</html>\n",
            )
        )

    def _groups(self) -> Iterable[str]:
        groups: dict[str, list[Check]] = {}
        for check in self.checks:
            groups.setdefault(check.group, []).append(check)
        for group, checks in groups.items():
            opened = any(check.verdict is Verdict.FAILED for check in checks)
            yield f"<details{' open' if opened else ''}><summary>{_verdict(checks)} {escape(group)}"
            yield f"({len(checks)})</summary>\n<table><tr>{_cells('th', _HEADINGS)}</tr>"
            yield from map(_row, sorted(checks, key=lambda check: _WORST.index(check.verdict)))
            yield "</table></details>"


def _verdict(checks: Sequence[Check]) -> str:
    """The worst of a group."""
    worst = min((check.verdict for check in checks), key=_WORST.index)
    return f'<span class="{worst}">{worst}</span>'


def _row(check: Check) -> str:
    cells = (check.name, check.clause, check.expected, check.got or check.reason)
    exchanges = escape("\n".join(check.exchanges))
    told = f"<td><pre>{exchanges}</pre></td>" if exchanges else "<td></td>"
    return f"<tr><td>{_verdict([check])}</td>{_cells('td', cells)}{told}</tr>"


def _cells(tag: str, texts: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
