"""A canvas for figures that stand alone: every style is inline, so they look the same on a page, on GitHub and in print."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
INK, SOFT, GRID = "#1d2430", "#5b6472", "#e3e6ea"
BLUE, VERMILLION, GREEN, PURPLE, SKY, AMBER = "#0072b2", "#d55e00", "#009e73", "#aa4499", "#56b4e9", "#e69f00"
"""Colours that stay apart for colour-blind readers. Source: M. Okabe, K. Ito, "Color Universal Design", 2008."""
FILLS = ("#44bb99", "#ee8866", "#77aadd", "#eedd88", "#ffaabb", "#99ddff", "#bbcc33", "#aaaa00", "#dddddd")
"""Areas under dark text. Source: P. Tol, "Colour Schemes", SRON/EPS/TN/09-002, scheme "light"."""


class Canvas:
    """Collects shapes on a white sheet; lengths are pixels, y points down.

    Args:
        width, height: size of the sheet.
        label: what the figure shows, for readers who do not see it.
    """

    def __init__(self, width: int, height: int, label: str) -> None:
        self.width, self.height = width, height
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
            f'aria-label="{escape(label)}" font-family="{FONT}"><rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>'
        ]

    def svg(self) -> str:
        """Return the whole ``<svg>`` element."""
        return "".join(self.parts) + "</svg>"

    def line(
        self, start: tuple[float, float], end: tuple[float, float], colour: str = SOFT, width: float = 1, dash: str = "", opacity: float = 1
    ) -> None:
        """Draw a straight line."""
        self.polyline([start, end], colour, width, dash, opacity)

    def polyline(self, points: Sequence[tuple[float, float]], colour: str, width: float = 2, dash: str = "", opacity: float = 1) -> None:
        """Draw a line through points."""
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        extra = (f' stroke-dasharray="{dash}"' if dash else "") + (f' opacity="{opacity}"' if opacity < 1 else "")
        self.parts.append(
            f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"{extra}/>'
        )

    def rect(self, x: float, y: float, width: float, height: float, colour: str, hover: str = "") -> None:
        """Fill a rectangle."""
        title = f"<title>{escape(hover)}</title>" if hover else ""
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}">{title}</rect>')

    def text(
        self, x: float, y: float, text: str, anchor: str = "start", colour: str = INK, size: int = 13, bold: bool = False, turn: int = 0
    ) -> None:
        """Write one line; ``y`` is its baseline, ``turn`` rotates it about (x, y) [degrees]."""
        weight = "font-weight:600;" if bold else ""
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        # a style, not attributes: the style sheet of a page that this is pasted into has no say then
        style = f"font-size:{size}px;{weight}fill:{colour}"
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{style}"{turned}>{escape(text)}</text>')

    def marker(self, x: float, y: float, shape: str, colour: str, size: float = 4.5, hover: str = "", hollow: bool = False) -> None:
        """Draw a circle, square, triangle or diamond of half-width ``size``."""
        fill = f'fill="#ffffff" stroke="{colour}" stroke-width="1.3"' if hollow else f'fill="{colour}" stroke="#ffffff" stroke-width="1"'
        corners = {
            "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
            "triangle": ((0, -1.2), (1.1, 0.8), (-1.1, 0.8)),
            "diamond": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
        }.get(shape)
        title = f"<title>{escape(hover)}</title>" if hover else ""
        if corners is None:
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" {fill}>{title}</circle>')
        else:
            points = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners)
            self.parts.append(f'<polygon points="{points}" {fill}>{title}</polygon>')


@dataclass(frozen=True)
class Frame:
    """A rectangle of a canvas with axes.

    Attributes:
        x, y, width, height: where it is on the canvas [px].
        x_range, y_range: values at its edges.
        log_y: logarithmic y axis.
    """

    x: float
    y: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    log_y: bool = False

    def px(self, value: float) -> float:
        """Return the canvas x of a value."""
        low, high = self.x_range
        return self.x + (value - low) / (high - low) * self.width

    def py(self, value: float) -> float:
        """Return the canvas y of a value, held within the frame."""
        scale: Callable[[float], float] = math.log10 if self.log_y else float
        low, high = (scale(bound) for bound in self.y_range)
        share = (scale(max(value, self.y_range[0])) - low) / (high - low)
        return self.y + self.height * (1 - min(share, 1.0))

    def grid(self, canvas: Canvas, y_ticks: Sequence[float], y_labels: bool = True) -> None:
        """Draw horizontal grid lines with their values."""
        for tick in y_ticks:
            y = self.py(tick)
            canvas.line((self.x, y), (self.x + self.width, y), GRID)
            if y_labels:
                canvas.text(self.x - 8, y + 4.5, f"{tick:g}", "end", SOFT)

    def x_axis(self, canvas: Canvas, ticks: Sequence[tuple[float, str]], label: str = "") -> None:
        """Draw the lower edge with labelled ticks."""
        bottom = self.y + self.height
        canvas.line((self.x, bottom), (self.x + self.width, bottom), SOFT)
        for value, text in ticks:
            canvas.line((self.px(value), bottom), (self.px(value), bottom + 4), SOFT)
            canvas.text(self.px(value), bottom + 19, text, "middle", SOFT)
        if label:
            canvas.text(self.x + self.width / 2, bottom + 40, label, "middle", SOFT)

    def y_label(self, canvas: Canvas, text: str, distance: float = 42) -> None:
        """Write the name of the y axis along it."""
        canvas.text(self.x - distance, self.y + self.height / 2, text, "middle", SOFT, turn=-90)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart until they are ``gap`` from one another, as little as needed, within [low, high]."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    for _ in range(200):
        for a, b in pairwise(order):
            lack = gap - (placed[b] - placed[a])
            if lack > 0:
                placed[a], placed[b] = placed[a] - lack / 2, placed[b] + lack / 2
        placed = [min(max(y, low), high) for y in placed]
    return placed


def text_width(text: str, size: int = 13) -> float:
    """Return roughly how wide a text is [px]; browsers choose the font."""
    return 0.57 * size * len(text)
