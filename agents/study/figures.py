"""The figures of a study, each one SVG that stands alone; None where there is nothing to show yet."""

from collections.abc import Callable, Sequence

import numpy as np

from agents.draw import AMBER, BLUE, FILLS, GREEN, GRID, INK, PURPLE, SOFT, VERMILLION, Canvas, Frame, spread, text_width
from agents.study.arms import WARMUP
from agents.study.labour import labour
from agents.study.modes import mode_counts
from agents.study.results import REFERENCE, Study
from agents.study.stats import Difference, difference, pooled_rate, signed
from agents.study.table import tasks
from agents.svg import ticks as nice_ticks
from dexhil_env.registration import task_name

WIDTH = 900
PERCENT = tuple(range(0, 101, 20))
_STYLES = {"dexhil": (BLUE, "circle"), "dagger": (VERMILLION, "square"), "baseline": (GREEN, "triangle")}
_OTHERS = ((PURPLE, "diamond"), (AMBER, "square"), (SOFT, "circle"))


def style(study: Study, arm: str) -> tuple[str, str]:
    """Return the colour and marker of an arm."""
    return _STYLES[arm] if arm in _STYLES else _OTHERS[study.arms.index(arm) % len(_OTHERS)]


def curves(study: Study) -> str | None:
    """Success against round: one panel per task and their mean; bars are 95 % Wilson intervals, small marks are training seeds."""
    panels = tasks(study)
    if pooled_rate(study, WARMUP, 0) is None:
        return None
    canvas = Canvas(WIDTH, 326, "success rate after every round, by task and arm")
    left, right, gap = 62, 92, 24
    width = (WIDTH - left - right - gap * (len(panels) - 1)) / len(panels)
    ends: list[tuple[str, float, float]] = []
    for index, (name, env_ids) in enumerate(panels):
        frame = Frame(left + index * (width + gap), 44, width, 230, (-0.25, study.rounds + 0.25), (0, 100))
        frame.grid(canvas, PERCENT, y_labels=index == 0)
        frame.x_axis(canvas, [(r, "warm-up" if r == 0 else str(r)) for r in range(study.rounds + 1)], "round")
        canvas.text(frame.x, 28, name, size=15, bold=True)
        if index == 0:
            frame.y_label(canvas, "success [%]")
        ends = [end for arm in study.main_arms for end in _curve(study, canvas, frame, arm, env_ids)]
    _end_labels(study, canvas, ends, 44, 274)
    return canvas.svg()


def _curve(study: Study, canvas: Canvas, frame: Frame, arm: str, env_ids: tuple[str, ...]) -> list[tuple[str, float, float]]:
    """Draw one arm and return [(arm, x, y of its last point)]."""
    colour, shape = style(study, arm)
    aside = 0.16 * (study.main_arms.index(arm) - (len(study.main_arms) - 1) / 2)
    found = [(r, rate) for r in range(study.rounds + 1) if (rate := pooled_rate(study, arm, r, env_ids))]
    points = [(frame.px(r + aside * (r > 0)), frame.py(100 * rate.rate)) for r, rate in found]  # the warm-up is one point for all
    canvas.polyline(points, colour, 2.2)
    for (r, rate), (x, y) in zip(found, points, strict=True):
        shade, form = (colour, shape) if r else (SOFT, "circle")
        canvas.line((x, frame.py(100 * rate.low)), (x, frame.py(100 * rate.high)), shade, 1.6, opacity=0.75)
        for value in rate.by_seed.values() if len(rate.by_seed) > 1 else ():
            canvas.marker(x + 5, frame.py(100 * value), form, shade, 1.8, hollow=True)
        seeds = f"{len(rate.by_seed)} of {len(study.seeds)} training seeds"
        canvas.marker(x, y, form, shade, hover=f"{study.title(arm)}, round {r}: {rate.n_success}/{rate.n}, {seeds}")
    return [(arm, *points[-1])] if points else []


def _end_labels(study: Study, canvas: Canvas, ends: Sequence[tuple[str, float, float]], low: float, high: float) -> None:
    """Name lines at their right ends, apart from one another."""
    column = max((x for _, x, _ in ends), default=0.0)
    for (arm, x, y), at in zip(ends, spread([y for _, _, y in ends], 19, low, high), strict=True):
        colour = style(study, arm)[0]
        # marks of training seeds stand right of the point; the leader starts behind them
        canvas.line((x + 9, y), (column + 18, at), colour, 1, opacity=0.6)
        canvas.text(column + 21, at + 4.5, study.title(arm), colour=colour, bold=True)


def forest(study: Study) -> str | None:
    """Difference to DexHiL in the last round, every arm: thin bars draw training seeds too, thick bars evaluation seeds only."""
    arms = [arm for arm in (*study.arms, WARMUP) if arm != REFERENCE]
    found = [(arm, difference(study, REFERENCE, arm, study.last_round)) for arm in arms]
    rows = [(arm, found_one) for arm, found_one in found if found_one is not None]
    if not rows:
        return None
    step, top = 28, 64
    low = 10 * np.floor(10 * min(0.0, *(min(d.low, d.low_given) for _, d in rows)) - 0.2)
    high = 10 * np.ceil(10 * max(0.0, *(max(d.high, d.high_given) for _, d in rows)) + 0.2)
    canvas = Canvas(WIDTH, top + step * len(rows) + 62, f"difference to {study.title(REFERENCE)} in success, every arm")
    frame = Frame(190, top - 8, 500, step * len(rows) + 8, (float(low), float(high)), (0, 1))
    canvas.text(16, 26, f"Success after round {study.last_round}, minus {study.title(REFERENCE)}", size=15, bold=True)
    canvas.text(WIDTH - 16, 48, "points [95 % interval], seeds", "end", SOFT)
    for tick in nice_ticks(*frame.x_range, 9):
        canvas.line(
            (frame.px(tick), frame.y), (frame.px(tick), frame.y + frame.height), INK if tick == 0 else GRID, 1.4 if tick == 0 else 1
        )
    for edge, anchor, text in ((-7, "end", "← worse"), (7, "start", "better →")):
        canvas.text(frame.px(0) + edge, 48, text, anchor, SOFT)
    for index, (arm, found_one) in enumerate(rows):
        _forest_row(study, canvas, frame, arm, found_one, top + step * (index + 0.5))
    frame.x_axis(canvas, [(tick, signed(tick)) for tick in nice_ticks(*frame.x_range, 9)], "points")
    return canvas.svg()


def _forest_row(study: Study, canvas: Canvas, frame: Frame, arm: str, found: Difference, y: float) -> None:
    colour, shape = style(study, arm) if arm in study.main_arms else (INK, "circle")
    canvas.text(frame.x - 12, y + 4.5, study.title(arm), "end", colour, bold=arm in study.main_arms)
    canvas.line((frame.px(100 * found.low), y), (frame.px(100 * found.high), y), colour, 1.4)
    canvas.line((frame.px(100 * found.low_given), y), (frame.px(100 * found.high_given), y), colour, 5, opacity=0.45)
    canvas.marker(frame.px(100 * found.difference), y, shape, colour, 5, f"{study.title(arm)}: {found.text}")
    canvas.text(WIDTH - 40, y + 4.5, found.text, "end")
    canvas.text(WIDTH - 16, y + 4.5, str(len(found.seeds)), "end", SOFT)


def effort(study: Study) -> str | None:
    """Mean success of all tasks against cumulative human minutes: as the paper counts, and with watching; marks are rounds."""
    panels = (("demonstrating and correcting", "hands_on_min"), ("with watching", "total_min"))
    lines = {name: {arm: _spent(study, arm, name) for arm in study.main_arms} for _, name in panels}
    if not any(points for by_arm in lines.values() for points in by_arm.values()):
        return None
    canvas = Canvas(WIDTH, 380, "success against human minutes")
    gap = 40
    width = (WIDTH - 62 - 20 - gap) / 2
    # lines may end amid others here, so names stand above
    legend(canvas, [(study.title(arm), style(study, arm)[0]) for arm in study.main_arms], 62, 28, bold=True)
    for index, (title, name) in enumerate(panels):
        minutes = [m for points in lines[name].values() for _, m, _ in points]
        margin = max(0.08 * (max(minutes) - min(minutes)), 0.5)
        frame = Frame(62 + index * (width + gap), 70, width, 250, (min(minutes) - margin, max(minutes) + margin), (0, 100))
        frame.grid(canvas, PERCENT, y_labels=index == 0)
        frame.x_axis(canvas, [(t, f"{t:g}") for t in nice_ticks(*frame.x_range, 6)], "human minutes, all tasks, mean of training seeds")
        canvas.text(frame.x, 56, title, size=15, bold=True)
        if index == 0:
            frame.y_label(canvas, "success [%]")
        for arm in study.main_arms:
            _effort_line(study, canvas, frame, arm, lines[name][arm])
    return canvas.svg()


def _spent(study: Study, arm: str, name: str) -> list[tuple[int, float, float]]:
    """Return (round, minutes, success [%])."""
    both = [(r, labour(study, arm, r), pooled_rate(study, arm, r)) for r in range(study.rounds + 1)]
    return [(r, getattr(spent, name), 100 * rate.rate) for r, spent, rate in both if spent and rate]


def _effort_line(study: Study, canvas: Canvas, frame: Frame, arm: str, points: Sequence[tuple[int, float, float]]) -> None:
    colour, _ = style(study, arm)
    places = [(frame.px(minutes), frame.py(rate)) for _, minutes, rate in points]
    canvas.polyline(places, colour, 2.2)
    for (x, y), (round_index, minutes, rate) in zip(places, points, strict=True):
        shade = colour if round_index else SOFT
        canvas.marker(x, y, "circle", shade, 8.5, f"{study.title(arm)}, round {round_index}: {rate:.0f} % after {minutes:.1f} min")
        canvas.text(x, y + 4.3, str(round_index), "middle", "#ffffff", 12, bold=True)


def losses(study: Study) -> str | None:
    """Training loss over the warm-up and the rounds, every stretch as wide; mean of the training seeds, logarithmic."""
    stretches = {(arm, r): _mean_loss(study, arm, r) for arm in study.main_arms for r in range(study.rounds + 1)}
    values = [loss for points in stretches.values() for _, loss in points if loss > 0]
    if not values:
        return None
    low, high = 0.85 * min(values), 1.15 * max(values)
    canvas = Canvas(WIDTH, 360, "training loss over the rounds")
    frame = Frame(74, 52, WIDTH - 74 - 92, 240, (0, study.rounds + 1), (low, high), log_y=True)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))))
    frame.grid(canvas, [t for d in decades for t in (10.0**d, 2 * 10.0**d, 5 * 10.0**d) if low <= t <= high])
    frame.x_axis(canvas, [])
    frame.y_label(canvas, "loss", 56)
    canvas.text(frame.x, 26, "Training loss", size=15, bold=True)
    for r in range(study.rounds + 1):
        x = frame.px(r)
        canvas.line((x, frame.y), (x, frame.y + frame.height), SOFT, 1, "" if r == 0 else "3 4", 0.7)
        steps = max((c.training.steps for a in study.main_arms for s in study.seeds if (c := study.cell(a, r, s))), default=0)
        canvas.text(frame.px(r + 0.5), 312, "warm-up" if r == 0 else f"round {r}", "middle")
        canvas.text(frame.px(r + 0.5), 331, f"{steps} steps" if steps else "not yet", "middle", SOFT, 12)
    ends = [end for arm in study.main_arms for end in _loss_line(study, canvas, frame, arm, stretches)]
    _end_labels(study, canvas, ends, 60, 290)
    return canvas.svg()


def _mean_loss(study: Study, arm: str, round_index: int) -> list[tuple[float, float]]:
    """Return (share of the training done, mean loss over training seeds) at the steps that all of them logged."""
    cells = [cell for seed in study.seeds if (cell := study.cell(arm, round_index, seed)) and cell.training.losses]
    if not cells:
        return []
    logs = [dict(cell.training.losses) for cell in cells]
    common = sorted(set.intersection(*(set(log) for log in logs)))
    last = max(cells[0].training.steps, common[-1] if common else 1)
    return [(step / last, float(np.mean([log[step] for log in logs]))) for step in common]


def _loss_line(
    study: Study, canvas: Canvas, frame: Frame, arm: str, stretches: dict[tuple[str, int], list[tuple[float, float]]]
) -> list[tuple[str, float, float]]:
    colour, shape = style(study, arm)
    points: list[tuple[float, float]] = []
    for r in range(study.rounds + 1):
        mine = [(frame.px(r + share), frame.py(loss)) for share, loss in stretches[arm, r]]
        canvas.polyline(mine, colour if r else SOFT, 1.8)
        if r and mine:
            canvas.marker(*mine[0], shape, colour, 4, f"{study.title(arm)}, start of round {r}: {stretches[arm, r][0][1]:.3g}")
        points += mine if r else []
    return [(arm, *points[-1])] if points else []


def failure_modes(study: Study) -> str | None:
    """How episodes ended in the last round: one bar per arm and task, 100 % wide."""
    panels = {
        env_id: [(arm, c) for arm in study.arms if (c := mode_counts(study, arm, study.last_round, env_id))] for env_id in study.env_ids
    }
    panels = {env_id: rows for env_id, rows in panels.items() if rows}
    if not panels:
        return None
    step = 25
    modes = list(dict.fromkeys(mode for rows in panels.values() for mode in rows[0][1]))
    colours = {mode: FILLS[index % len(FILLS)] for index, mode in enumerate(modes)}
    heights = {env_id: 74 + step * len(rows) for env_id, rows in panels.items()}
    canvas = Canvas(WIDTH, sum(heights.values()) + 30, "how episodes ended, by arm and task")
    top = 0.0
    for env_id, rows in panels.items():
        canvas.text(16, top + 28, f"{task_name(env_id)}, round {study.last_round}", size=15, bold=True)
        legend(canvas, [(name, colours[name]) for name in rows[0][1]], 190, top + 28)
        for index, (arm, counts) in enumerate(rows):
            _mode_bar(canvas, colours, study.title(arm), counts, top + 46 + step * index)
        top += heights[env_id]
    canvas.text(190, top + 2, "share of episodes [%], training seeds pooled", colour=SOFT)
    return canvas.svg()


def legend(canvas: Canvas, entries: Sequence[tuple[str, str]], x: float, y: float, bold: bool = False) -> None:
    """Write (name, colour) entries in a row from (x, y) on."""
    for name, colour in entries:
        canvas.rect(x, y - 10, 12, 12, colour)
        canvas.text(x + 17, y, name, size=12, bold=bold)
        x += 17 + text_width(name, 12) * (1.08 if bold else 1.0) + 13


def _mode_bar(canvas: Canvas, colours: dict[str, str], title: str, counts: dict[str, int], y: float) -> None:
    total, x, scale = sum(counts.values()), 190.0, WIDTH - 190 - 20
    canvas.text(178, y + 14, title, "end")
    for name, count in counts.items():
        share = count / total
        if not share:
            continue
        canvas.rect(x, y, max(share * scale - 1, 0.5), 19, colours[name], f"{title}: {name} {count} of {total}")
        if share > 0.035:
            canvas.text(x + share * scale / 2, y + 14, f"{100 * share:.0f}", "middle", size=12)
        x += share * scale


FIGURES: dict[str, tuple[Callable[[Study], str | None], str]] = {
    "curves": (curves, "Success after every round. Bars: 95 % Wilson intervals; small hollow marks: single training seeds."),
    "forest": (
        forest,
        "Difference to DexHiL after the last round. Thin: training and evaluation seeds drawn; thick: given the trained policies.",
    ),
    "effort": (effort, "Success against human time. Numbers are rounds, 0 is the warm-up."),
    "loss": (losses, "Training loss (compare the paper's fig. 5). Every stretch is one training; marks show where a round starts."),
    "modes": (failure_modes, "How the episodes of the last round ended."),
}
"""Name -> (drawing, caption), in the order of a report."""
