"""Small line and point charts as inline SVG: they open from disk and need no script."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np

from dexhil_env.types import F64

COLOURS: Final = ("#2f6fde", "#e07a1f", "#2a9d62", "#b0479a")
WIDTH: Final = 380
HEIGHT: Final = 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 10, 24, 30
_MOST_POINTS: Final = 700


@dataclass(frozen=True)
class Line:
    """A line, or points, of a chart.

    Attributes:
        name: for the legend of the page.
        x, y: (N,) values; long ones are thinned out.
        colour: place in ``COLOURS``.
        points: draw dots instead of a line.
    """

    name: str
    x: F64
    y: F64
    colour: int = 0
    points: bool = False


def chart(title: str, lines: Sequence[Line], x_label: str, y_label: str) -> str:
    """Return an ``<svg>`` element."""
    x_low, x_high = _span([line.x for line in lines])
    y_low, y_high = _span([line.y for line in lines])

    def place(x: F64, y: F64) -> tuple[F64, F64]:
        right = _LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - _LEFT - _RIGHT)
        return right, HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    parts.append(f'<text class="title" x="{_LEFT}" y="14">{escape(title)}</text>')
    for tick in _ticks(y_low, y_high, 5):
        _, y = place(np.array(x_low), np.array(tick))
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 3:.1f}" text-anchor="end">{tick:.4g}</text>')
    for tick in _ticks(x_low, x_high, 6):
        x, _ = place(np.array(tick), np.array(y_low))
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - _BOTTOM + 13}" text-anchor="middle">{tick:.4g}</text>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escape(x_label)}</text>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="14" text-anchor="end">{escape(y_label)}</text>')
    parts += [_drawn(line, COLOURS[line.colour], *place(*_thinned(line))) for line in lines]
    return "".join((*parts, "</svg>"))


def legend(colours: Mapping[str, int]) -> str:
    """Return a paragraph that says what has which colour of ``COLOURS``."""
    marks = (f'<span class="mark" style="background:{COLOURS[place]}"></span>{escape(name)}' for name, place in colours.items())
    return f'<p class="legend">{" &nbsp; ".join(marks)}</p>'


def _drawn(line: Line, colour: str, x: F64, y: F64) -> str:
    if line.points:
        return "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="1.1" fill="{colour}" fill-opacity=".45"/>' for a, b in zip(x, y, strict=True))
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.2"/>'


def _thinned(line: Line) -> tuple[F64, F64]:
    step = max(1, math.ceil(len(line.x) / _MOST_POINTS))
    return line.x[::step], line.y[::step]


def _span(values: Sequence[F64]) -> tuple[float, float]:
    """Return the ends of an axis, with a little room."""
    low, high = (float(end) for end in (min(np.min(v) for v in values), max(np.max(v) for v in values)))
    room = 0.04 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - room, high + room


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Return round numbers between two ends, at most about ``count``."""
    raw = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(magnitude * factor for factor in (1, 2, 5, 10) if magnitude * factor >= raw)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
