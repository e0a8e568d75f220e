"""What is wanted beside what was measured, as a picture: SVG for light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from bench.report import Report, number, outcome
from bench.rows import Verdict
from bench.whole import KIB_WANTED, Memory

_ROW, _TOP, _AXIS, _EDGE, _GAP = 24, 58, 320, 12, 14
_HEADING, _SCALE = "Speed and memory beside what is wanted", "times as good as wanted"
_CHARACTER, _BOLD = 7.5, 8.5
"""Pixels that a character takes on average in the widest usual font, DejaVu Sans of 13 pixels."""

_DECADES = (-1.0, 2.0)
"""The axis: from a tenth of what is wanted to a hundred times as good."""

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .heading { font-weight: bold }
.page { fill: #ffffff } .quiet, .axis text { fill: #59636e } .axis line { stroke: #d1d9e0 }
.axis .wanted { stroke: #59636e; stroke-width: 2 }
.met { fill: #1a7f37; stroke: #1a7f37 } .not { fill: #cf222e; stroke: #cf222e }
.aim { fill: #9a6700; stroke: #9a6700 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .page { fill: #0d1117 }
  .quiet, .axis text { fill: #9198a1 } .axis line { stroke: #3d444d }
  .axis .wanted { stroke: #9198a1 }
  .met { fill: #3fb950; stroke: #3fb950 } .not { fill: #f85149; stroke: #f85149 }
  .aim { fill: #d29922; stroke: #d29922 }
}"""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A row: what was measured as multiples of what is wanted, more being better."""

    name: str
    peer: str
    low: float
    middle: float
    high: float
    kind: str
    said: str
    shown: str

    @property
    def label(self) -> str:
        return f"{self.name} / {self.peer}" if self.peer else self.name


def _speed(name: str, verdict: Verdict) -> _Mark:
    least, ratio = verdict.least, verdict.ratio
    assert least is not None
    kind = "met" if verdict.met else "aim" if verdict.aim else "not"
    shown = f"{number(ratio.median)} × (wanted {number(least)})"
    low, middle, high = (value / least for value in (ratio.low, ratio.median, ratio.high))
    return _Mark(name, verdict.peer, low, middle, high, kind, outcome(verdict), shown)


def _memory(memory: Memory) -> _Mark:
    """Few tokens may weigh nothing that can be measured: that is at the end of the axis."""
    share = KIB_WANTED / memory.listed if memory.listed > 0 else math.inf
    kind, said = ("met", "met") if memory.met else ("not", "not met")
    shown = f"{memory.listed:.1f} KiB (wanted {number(KIB_WANTED)})"
    return _Mark(memory.name, "", share, share, share, kind, said, shown)


def svg(report: Report) -> str:
    """One row for everything that something was wanted of, on a logarithmic axis."""
    marks = [*(_speed(name, verdict) for name, verdict in report.wanted()), _memory(report.memory)]
    left = _EDGE + _room([mark.label for mark in marks]) + _GAP
    right = math.ceil(_CHARACTER * max(len(mark.shown) for mark in marks))
    width = left + _AXIS + _GAP + right + _EDGE
    height = _TOP + _ROW * len(marks) + 16
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {_size(width, height)} role="img">',
        f"<title>{_HEADING}</title>",
        f"<style>{_STYLE}</style>",
        '<rect class="page" width="100%" height="100%"/>',
        f'<text x="{_EDGE}" y="22" class="heading">{_HEADING}</text>',
        f'<text x="{left}" y="22" class="quiet">{_SCALE}</text>',
        *_axis(left, height),
    ]
    for place, mark in enumerate(marks):
        lines += _row(left, _TOP + _ROW * place + _ROW / 2, mark)
    return "\n".join([*lines, "</svg>", ""])


def _size(width: int, height: int) -> str:
    return f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'


def _room(labels: Sequence[str]) -> int:
    """The pixels of the longest label, and of the heading above them."""
    return math.ceil(max(_BOLD * len(_HEADING), *(_CHARACTER * len(label) for label in labels)))


def _x(left: int, ratio: float) -> float:
    low, high = _DECADES
    decade = min(max(math.log10(ratio), low), high)
    return round(left + _AXIS * (decade - low) / (high - low), 1)


def _axis(left: int, height: int) -> Iterator[str]:
    yield '<g class="axis">'
    for mark in (0.1, 0.3, 1, 3, 10, 30, 100):
        x = _x(left, mark)
        kind = ' class="wanted"' if mark == 1 else ""
        yield f'<line{kind} x1="{x}" y1="{_TOP - 6}" x2="{x}" y2="{height - 12}"/>'
        yield f'<text x="{x}" y="{_TOP - 12}" text-anchor="middle">{mark:g}</text>'
    yield "</g>"


def _row(left: int, y: float, mark: _Mark) -> Iterator[str]:
    low, middle, high = (_x(left, ratio) for ratio in (mark.low, mark.middle, mark.high))
    peer = f' <tspan class="quiet">/ {escape(mark.peer)}</tspan>' if mark.peer else ""
    yield f'<text x="{_EDGE}" y="{y + 4}">{escape(mark.name)}{peer}</text>'
    yield f'<g class="{mark.kind}"><title>{escape(mark.said)}</title>'
    yield f'<line x1="{low}" y1="{y}" x2="{high}" y2="{y}" stroke-width="2"/>'
    yield f'<circle cx="{middle}" cy="{y}" r="4.5"/></g>'
    yield f'<text x="{left + _AXIS + _GAP}" y="{y + 4}">{escape(mark.shown)}</text>'
