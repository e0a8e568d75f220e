"""The wanted ratios as a picture: SVG that is readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from bench.report import Report, number, outcome
from bench.rows import Verdict

_ROW, _TOP, _LEFT, _WIDTH, _RIGHT = 24, 58, 430, 320, 150
_DECADES = (-1.0, 2.0)
"""The axis: from a tenth of what is wanted to a hundred times as much."""

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.quiet, .axis text { fill: #59636e } .axis line { stroke: #d1d9e0 }
.wanted { stroke: #59636e; stroke-width: 2 }
.met { fill: #1a7f37; stroke: #1a7f37 } .not { fill: #cf222e; stroke: #cf222e }
.aim { fill: #9a6700; stroke: #9a6700 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .quiet, .axis text { fill: #9198a1 } .axis line { stroke: #3d444d }
  .wanted { stroke: #9198a1 }
  .met { fill: #3fb950; stroke: #3fb950 } .not { fill: #f85149; stroke: #f85149 }
  .aim { fill: #d29922; stroke: #d29922 }
}"""


def svg(report: Report) -> str:
    """One row for each ratio that something was wanted of, on a logarithmic axis."""
    wanted = list(report.wanted())
    height = _TOP + _ROW * len(wanted) + 16
    width = _LEFT + _WIDTH + _RIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img">',
        f"<style>{_STYLE}</style>",
        '<text x="12" y="22" font-weight="bold">Speed beside what is wanted</text>',
        f'<text x="{_LEFT}" y="22" class="quiet">times as much as wanted</text>',
        *_axis(height),
    ]
    for place, (name, verdict) in enumerate(wanted):
        lines += _row(_TOP + _ROW * place + _ROW / 2, name, verdict)
    return "\n".join([*lines, "</svg>", ""])


def _x(ratio: float) -> float:
    low, high = _DECADES
    decade = min(max(math.log10(ratio), low), high)
    return round(_LEFT + _WIDTH * (decade - low) / (high - low), 1)


def _axis(height: int) -> Iterator[str]:
    yield '<g class="axis">'
    for mark in (0.1, 0.3, 1, 3, 10, 30, 100):
        x = _x(mark)
        kind = ' class="wanted"' if mark == 1 else ""
        yield f'<line{kind} x1="{x}" y1="{_TOP - 6}" x2="{x}" y2="{height - 12}"/>'
        yield f'<text x="{x}" y="{_TOP - 12}" text-anchor="middle">{mark:g}</text>'
    yield "</g>"


def _row(y: float, name: str, verdict: Verdict) -> Iterator[str]:
    assert verdict.least is not None
    low, middle, high = (
        _x(value / verdict.least)
        for value in (verdict.ratio.low, verdict.ratio.median, verdict.ratio.high)
    )
    kind = "met" if verdict.met else "aim" if verdict.aim else "not"
    shown = f"{number(verdict.ratio.median)} × (wanted {number(verdict.least)})"
    yield f'<text x="12" y="{y + 4}">{escape(name)} '
    yield f'<tspan class="quiet">/ {escape(verdict.peer)}</tspan></text>'
    yield f'<g class="{kind}"><title>{escape(outcome(verdict))}</title>'
    yield f'<line x1="{low}" y1="{y}" x2="{high}" y2="{y}" stroke-width="2"/>'
    yield f'<circle cx="{middle}" cy="{y}" r="4.5"/></g>'
    yield f'<text x="{_LEFT + _WIDTH + 12}" y="{y + 4}">{shown}</text>'
