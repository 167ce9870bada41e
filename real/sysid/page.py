"""Reports as one web page each: tables and charts, nothing to load from elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np

from dexhil_env import robot
from dexhil_env.store.files import write_whole
from dexhil_env.types import F64
from real.sysid.arm_fit import JointFit
from real.sysid.chart import Line, chart, legend
from real.sysid.compare import Difference, moving_joints
from real.sysid.estimates import Estimate
from real.sysid.identify import Identification
from real.sysid.log import MotionLog
from real.sysid.motion import Motion, prepare
from real.sysid.replay import Track

NAMES: Final = (*robot.ARM_JOINTS, *robot.HAND_MOTORS)
_COLOUR: Final = {"robot": 0, "twin": 1, "tuned twin": 2}
_CSS: Final = """body{font:15px/1.45 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222;background:#fff}
table{border-collapse:collapse;margin:.6em 0 1.4em}td,th{padding:.15em .8em;text-align:right;border-bottom:1px solid #e4e4e4}
td:first-child,th:first-child,td.text{text-align:left}.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(360px,1fr));gap:10px}
svg{width:100%;font:10px system-ui,sans-serif;fill:#555}svg .title{font-weight:600;font-size:12px;fill:#222}.grid{stroke:#e8e8e8}
.mark{display:inline-block;width:1.6em;height:.3em;margin:0 .4em .2em 0}small{color:#666}"""


def identification_page(found: Identification, log: MotionLog) -> str:
    """Return the report of ``dexhil real identify``."""
    real, plain, tuned = found.tracks
    parts = [_facts(log), "<h2>Parameters</h2>", _parameters(found.estimates)]
    parts += ["<h2>Robot and twin, before and after</h2>", _differences({"twin": found.before, "tuned twin": found.after})]
    parts += _error_charts(real, {"twin": plain, "tuned twin": tuned}, moving_joints({"twin": found.before, "tuned twin": found.after}))
    if found.arm is not None:
        parts += ["<h2>Friction of the arm</h2>", "<p>Torque that is left when the model's inertia is taken off, against the speed; the "
                  "line is what was fitted. A curve that the line misses is friction of another kind.</p>"]  # fmt: skip
        parts.append(_grid(_friction_charts(prepare(log), found.arm)))
    return _page("Identification", parts)


def gap_page(found: Mapping[str, Difference], tracks: Mapping[str, Track], log: MotionLog) -> str:
    """Return the report of ``dexhil real gap``.

    Args:
        found: difference of the robot and each twin, by the twin's name.
        tracks: motion of the robot under ``"robot"`` and of each twin under its name.
        log: what the robot was told and did.
    """
    parts = [
        _facts(log),
        "<h2>Difference at the same time</h2>",
        "<p>late: by how much the robot is behind the twin.</p>",
        _differences(found),
        "<h2>Palm</h2>",
        _palm_table(found),
    ]
    distance = [Line(name, each.palm_time_s, 1e3 * each.palm_m, _COLOUR[name]) for name, each in found.items()]
    parts += [legend(_colours(found)), _grid([chart("distance of the palms", distance, "time [s]", "[mm]"), *_palm_charts(found)])]
    parts += ["<h2>Angles</h2>", legend(_colours(tracks))]
    charts: list[str] = []
    for joint in moving_joints(found):
        lines = [Line(name, track.time_s, track.pos[:, joint], _COLOUR[name]) for name, track in tracks.items()]
        charts.append(chart(NAMES[joint], lines, "time [s]", "[rad]"))
    parts.append(_grid(charts))
    parts += ["<h2>Errors</h2>", *_error_charts(tracks["robot"], {name: tracks[name] for name in found}, moving_joints(found))]
    return _page("Robot and twin", parts)


def write_page(text: str, path: Path) -> None:
    """Write a page, whole or not at all."""
    write_whole(path, lambda beside: _fill(beside, text))


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _page(title: str, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_CSS}</style></head>'
        f"<body><h1>{title}</h1>\n{body}\n</body></html>\n"
    )


def _facts(log: MotionLog) -> str:
    source, date = (str(log.facts.get(key, "unknown")) for key in ("source", "date"))
    return f"<p><small>{escape(source)}, {escape(date)}; {log.duration_s:.1f} s, {len(log)} targets</small></p>"


def _parameters(estimates: Sequence[Estimate]) -> str:
    rows: list[Sequence[Any]] = []
    for each in estimates:
        value = f"{each.value:.4g} &plusmn; {each.half_width:.2g} {each.unit}" if np.isfinite(each.value) else "not identifiable"
        usual, condition = (f"{number:.4g}" if np.isfinite(number) else "" for number in (each.twin, each.condition))
        rows.append((each.name, each.joint, value, usual, condition, each.note))
    return _table(("parameter", "of", "estimate and 95 % interval", "twin", "condition", ""), rows)


def _differences(found: Mapping[str, Difference]) -> str:
    heads = ["joint", *(f"{name}: {what}" for name in found for what in ("RMS [mrad]", "max [mrad]", "late [ms]"))]
    rows: list[Sequence[Any]] = []
    for joint in moving_joints(found):
        name, cells = NAMES[joint], [_three(each, joint) for each in found.values()]
        rows.append((name, *(cell for three in cells for cell in three)))
    return _table(heads, rows)


def _three(each: Difference, joint: int) -> tuple[str, str, str]:
    late = each.delay_s[joint]
    return f"{1e3 * each.rms[joint]:.2f}", f"{1e3 * each.largest[joint]:.2f}", f"{1e3 * late:.1f}" if np.isfinite(late) else ""


def _palm_table(found: Mapping[str, Difference]) -> str:
    rows: list[Sequence[Any]] = []
    for name, each in found.items():
        apart, path = 1e3 * each.palm_m, 1e3 * each.palm_path_m
        rows.append((name, f"{apart.mean():.2f}", f"{apart.max():.2f}", f"{path.mean():.2f}", f"{path.max():.2f}"))
    return _table(("robot against", "mean [mm]", "max [mm]", "from the path: mean [mm]", "max [mm]"), rows)


def _palm_charts(found: Mapping[str, Difference]) -> list[str]:
    charts: list[str] = []
    for axis, letter in enumerate("xyz"):
        lines = [
            Line(name, each.palm_time_s, 1e3 * (each.palm_robot - each.palm_twin)[:, axis], _COLOUR[name]) for name, each in found.items()
        ]
        charts.append(chart(f"palm {letter}, robot less twin", lines, "time [s]", "[mm]"))
    return charts


def _error_charts(real: Track, twins: Mapping[str, Track], joints: Sequence[int]) -> list[str]:
    charts: list[str] = []
    for joint in joints:
        lines = [Line(name, real.time_s, 1e3 * (real.pos - twin.pos)[:, joint], _COLOUR[name]) for name, twin in twins.items()]
        charts.append(chart(f"{NAMES[joint]}, robot less twin", lines, "time [s]", "[mrad]"))
    return [legend(_colours(twins)), _grid(charts)]


def _friction_charts(motion: Motion, arm: Sequence[JointFit]) -> list[str]:
    charts: list[str] = []
    for joint, fit in enumerate(arm):
        rows = motion.moving[:, joint] > 0.5
        speed = motion.dq[rows, joint]
        body = motion.inertial[rows, joint] + motion.velocity[rows, joint]
        offset = float(fit.plant.values[3]) * fit.gain
        left = fit.gain * motion.torque[rows, joint] - body - offset
        line_speed: F64 = np.linspace(float(speed.min()), float(speed.max()), 200)
        fitted = fit.damping * line_speed + fit.friction * np.sign(line_speed)
        lines = [Line("measured", speed, left, points=True), Line("fitted", line_speed, fitted, 1)]
        charts.append(chart(robot.ARM_JOINTS[joint], lines, "speed [rad/s]", "friction [Nm]"))
    return charts


def _colours(names: Iterable[str]) -> dict[str, int]:
    return {name: _COLOUR[name] for name in names}


def _grid(charts: Sequence[str]) -> str:
    return f'<div class="charts">{"".join(charts)}</div>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
