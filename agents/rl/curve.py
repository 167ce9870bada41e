"""The learning curve as a figure that stands alone."""

from collections.abc import Sequence

from agents.draw import BLUE, Canvas, Frame

WIDTH, HEIGHT = 640, 300
TICKS = 5


def draw_curve(rows: Sequence[dict[str, float]], title: str) -> str:
    """Draw success against thousands of actions; bars are 95 % Wilson intervals.

    Args:
        rows: of :func:`agents.rl.train.read_curve`, at least one.
        title: task and settings, in words.

    Returns:
        An ``<svg>`` element.
    """
    canvas = Canvas(WIDTH, HEIGHT, f"learning curve: {title}")
    last = max(row["steps"] for row in rows)
    frame = Frame(62, 44, WIDTH - 90, HEIGHT - 100, (0, last), (0, 100))
    frame.grid(canvas, (0, 25, 50, 75, 100))
    every = last / TICKS
    frame.x_axis(canvas, [(every * k, f"{every * k / 1000:g}") for k in range(TICKS + 1)], "thousand actions")
    frame.y_label(canvas, "success [%]")
    canvas.text(frame.x, 28, title, size=15, bold=True)
    points = [(frame.px(row["steps"]), frame.py(100 * row["successes"] / row["episodes"])) for row in rows]
    canvas.polyline(points, BLUE, 2.2)
    for row, (x, y) in zip(rows, points, strict=True):
        canvas.line((x, frame.py(100 * row["low"])), (x, frame.py(100 * row["high"])), BLUE, 1.6, opacity=0.75)
        canvas.marker(x, y, "circle", BLUE, hover=f"{row['steps']:.0f} actions: {row['successes']:.0f}/{row['episodes']:.0f}")
    return canvas.svg()
