"""Small charts as inline SVG: they open from disk, print, and need no script."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#2f6fde", "#e07a1f", "#2a9d62", "#b0479a", "#7a7a7a")
WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 16, 44


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: for the legend.
        x, y: points.
        low, high: ends of the error bars, or empty.
        dashed: draw the line dashed.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dashed: bool = False


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round numbers between low and high, about ``count`` of them."""
    span = (high - low) or 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / count))
    step = next(magnitude * factor for factor in (1, 2, 5, 10) if span / (magnitude * factor) <= count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def _number(value: float) -> str:
    return f"{value:.3g}"


def line_chart(
    series: Sequence[Series],
    title: str,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    x_ticks: Sequence[tuple[float, str]] | None = None,
) -> str:
    """Draw lines with points, error bars and hover texts; returns an ``<svg>`` element."""
    xs = [x for line in series for x in line.x] or [0.0, 1.0]
    ys = [y for line in series for y in (*line.y, *line.low, *line.high)] or [0.0, 1.0]
    x0, x1 = min(xs), max(xs)
    if x0 == x1:
        x0, x1 = x0 - 0.5, x1 + 0.5
    y0, y1 = y_range or (0.0, max(ys) * 1.05 or 1.0)
    margin = 0.04 * (x1 - x0) if x_ticks else 0.0
    x0, x1 = x0 - margin, x1 + margin

    def px(x: float) -> float:
        return LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)

    def py(y: float) -> float:
        return HEIGHT - BOTTOM - (min(max(y, y0), y1) - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 22 * ((len(series) + 1) // 2)}" role="img" aria-label="{escape(title)}">']
    for tick in ticks(y0, y1):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py(tick):.1f}" y2="{py(tick):.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{py(tick) + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    for tick, label in x_ticks or [(t, _number(t)) for t in ticks(x0, x1)]:
        parts.append(f'<text x="{px(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{escape(label)}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle" class="label">{escape(x_label)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle" class="label">{escape(y_label)}</text>')
    for index, line in enumerate(series):
        parts += _draw(line, COLOURS[index % len(COLOURS)], px, py)
        x, y = LEFT + (index % 2) * 250, HEIGHT + 12 + 22 * (index // 2)
        dash = ' stroke-dasharray="6 4"' if line.dashed else ""
        parts.append(f'<line x1="{x}" x2="{x + 26}" y1="{y - 4}" y2="{y - 4}" stroke="{COLOURS[index % 5]}" stroke-width="3"{dash}/>')
        parts.append(f'<text x="{x + 34}" y="{y}">{escape(line.name)}</text>')
    return "".join(parts) + "</svg>"


def _draw(line: Series, colour: str, px: Callable[[float], float], py: Callable[[float], float]) -> list[str]:
    parts: list[str] = []
    points = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in zip(line.x, line.y, strict=True))
    dash = ' stroke-dasharray="6 4"' if line.dashed else ""
    parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.2"{dash}/>')
    for x, low, high in zip(line.x, line.low, line.high, strict=False):
        parts.append(
            f'<line x1="{px(x):.1f}" x2="{px(x):.1f}" y1="{py(low):.1f}" y2="{py(high):.1f}" stroke="{colour}" stroke-width="1.4"/>'
        )
    if len(line.x) <= 40:
        for i, (x, y) in enumerate(zip(line.x, line.y, strict=True)):
            bounds = f" [{_number(line.low[i])}, {_number(line.high[i])}]" if line.low else ""
            text = escape(f"{line.name}: {_number(y)}{bounds}")
            parts.append(f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="4" fill="{colour}"><title>{text}</title></circle>')
    return parts


def timeline(rows: Sequence[tuple[str, float, Sequence[tuple[float, float, str, str]]]], seconds: float) -> str:
    """Draw one bar per row; a row is (label, length, [(start, end, colour, hover text), ...]) in seconds; returns ``<svg>``."""
    height, left, width = 15, 150, 720
    scale = (width - left - 10) / seconds if seconds else 1.0
    parts = [f'<svg viewBox="0 0 {width} {height * len(rows) + 28}" role="img" aria-label="intervention timeline">']
    for index, (label, length, spans) in enumerate(rows):
        y = index * height + 2
        parts.append(f'<text x="{left - 8}" y="{y + 10}" text-anchor="end" class="small">{escape(label)}</text>')
        parts.append(f'<rect class="bar" x="{left}" y="{y}" width="{length * scale:.1f}" height="{height - 4}"/>')
        for start, end, colour, text in spans:
            box = f'x="{left + start * scale:.1f}" y="{y}" width="{max(1.5, (end - start) * scale):.1f}" height="{height - 4}"'
            parts.append(f'<rect {box} fill="{colour}"><title>{escape(text)}</title></rect>')
    bottom = height * len(rows) + 18
    for tick in range(0, int(seconds) + 1, 2):
        parts.append(f'<text x="{left + tick * scale:.1f}" y="{bottom}" text-anchor="middle" class="small">{tick} s</text>')
    return "".join(parts) + "</svg>"
