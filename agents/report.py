"""A run as one static web page: opens from disk, no server, nothing fetched."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from agents.effort import RoundEffort, effort_by_round
from agents.evaluate import EvalResult
from agents.film import COLOURS as SOURCE_COLOURS
from agents.film import source_spans
from agents.run_data import RunData, read_run
from agents.showcase import Clip, film_run
from agents.statistics import Paired
from agents.svg import Series, line_chart, timeline
from dexhil_env.registration import task_name
from dexhil_env.store.files import write_whole
from dexhil_env.types import Source

STYLE = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")


def write_report(folder: str | Path, videos: int = 2) -> Path:
    """Write ``<folder>/report/index.html`` with its videos and return its path.

    Args:
        folder: run folder.
        videos: filmed comparisons per environment; 0 leaves videos out.
    """
    run = read_run(folder)
    target = run.folder / "report"
    clips = film_run(run.folder, run.config, run.names, run.results, target / "videos", videos) if videos else []
    page = _page(run, clips)
    write_whole(target / "index.html", lambda path: _write_text(path, page))
    return target / "index.html"


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _page(run: RunData, clips: Sequence[Clip]) -> str:
    sections = [
        ("Success", _success(run)),
        ("Before and after", _videos(clips)),
        ("Human effort", _effort(run)),
        ("Takeovers", _takeovers(run)),
        ("Who drove, episode by episode", _timelines(run)),
        ("Training loss", _losses(run)),
        ("How this was made", _provenance(run)),
    ]
    body = "".join(f"<section><h2>{escape(title)}</h2>{content}</section>" for title, content in sections if content)
    title = f"DexHiL run {escape(run.folder.resolve().name)}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><header><h1>{title}</h1>{_headline(run)}</header>"
        f"<main>{body}</main></body></html>"
    )


def _label(name: str) -> str:
    kind, number = name.split("-")
    return "warm-up" if name == "round-0" else f"{'round' if kind == 'round' else 'control'} {number}"


def _headline(run: RunData) -> str:
    rounds = [name for name in run.names if name.startswith("round-") and run.results[name]]
    if len(rounds) < 2:
        return ""
    first, last = run.results[rounds[0]], run.results[rounds[-1]]
    parts = [f"<b>{task_name(e)}</b> {_percent(first[e])} &rarr; {_percent(last[e])}" for e in last if e in first]
    return f"<p class='headline'>{' &nbsp; '.join(parts)} <span>after {len(rounds) - 1} round(s) of simulated human correction</span></p>"


def _percent(result: EvalResult) -> str:
    return f"{100 * result.n_success / len(result.seeds):.0f} %"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _pair(pair: Paired) -> str:
    return f"{100 * pair.difference:+.0f} [{100 * pair.low:+.0f}, {100 * pair.high:+.0f}]"


def _success(run: RunData) -> str:
    rows: list[list[str]] = []
    lines: list[Series] = []
    for env_id in run.config["env_ids"]:
        for kind in ("round", "control"):
            mine = [name for name in run.names if name.startswith(kind) and env_id in run.results[name]]
            shown = mine if kind == "round" else (["round-0", *mine] if mine else [])
            shown = [name for name in shown if env_id in run.results[name]]
            rates = [run.results[name][env_id] for name in shown]
            values = [100 * r.n_success / len(r.seeds) for r in rates]
            bounds = [r.interval for r in rates]
            label = f"{task_name(env_id)}: {'corrections' if kind == 'round' else 'control, same steps without'}"
            x = [int(name.split("-")[1]) for name in shown]
            if shown:
                lines.append(Series(label, x, values, [100 * b[0] for b in bounds], [100 * b[1] for b in bounds], kind == "control"))
            rows += [_success_row(run, name, env_id) for name in mine]
    if not rows:
        return ""
    header = ("task", "policy", "succeeded", "rate", "95 % Wilson", "against warm-up, points", "McNemar p", "median time to success")
    ticks = [(i, "warm-up" if i == 0 else f"round {i}") for i in range(1 + max(int(n.split("-")[1]) for n in run.names))]
    chart = line_chart(lines, "success per round", "", "success [%]", (0, 100), ticks)
    return f"<figure>{chart}</figure>{_table(header, rows)}"


def _success_row(run: RunData, name: str, env_id: str) -> list[str]:
    result, before = run.results[name][env_id], run.results["round-0"].get(env_id)
    low, high = result.interval
    times = [steps / 20 for steps, won in zip(result.steps, result.success, strict=True) if won]
    paired = result.against(before) if before is not None and name != "round-0" and before.seeds == result.seeds else None
    return [
        task_name(env_id), _label(name), f"{result.n_success} of {len(result.seeds)}", f"<b>{_percent(result)}</b>",
        f"{100 * low:.0f} to {100 * high:.0f} %", _pair(paired) if paired else "", f"{paired.p_value:.2g}" if paired else "",
        f"{np.median(times):.1f} s" if times else "",
    ]  # fmt: skip


def _videos(clips: Sequence[Clip]) -> str:
    if not clips:
        return ""
    cards: list[str] = []
    for clip in clips:
        strip = "".join(
            f'<i style="left:{100 * start:.2f}%;width:{100 * (end - start):.2f}%;background:{colour}"></i>'
            for start, end, colour in clip.spans
        )
        media = f'<video controls muted loop playsinline preload="metadata" src="videos/{escape(clip.path.name)}"></video>'
        cards.append(
            f'<figure class="clip">{media}<div class="strip">{strip}</div><figcaption>{escape(clip.caption)}</figcaption></figure>'
        )
    return f'<div class="clips">{"".join(cards)}</div>{_legend()}'


def _legend() -> str:
    names = {Source.ARM: "person drives the arm", Source.HAND: "person drives the hand", Source.BOTH: "person drives arm and hand"}
    dots = "".join(f'<span><i style="background:rgb{colour}"></i>{names[source]}</span>' for source, colour in SOURCE_COLOURS.items())
    return f'<p class="legend"><span><i class="policy"></i>policy drives</span>{dots}</p>'


def _effort(run: RunData) -> str:
    efforts = effort_by_round(run.episodes)
    header = ("round", "attempts", "with takeover", "takeovers", "demonstrating", "correcting", "watching", "mean correction")
    rows = [_effort_row(effort) for effort in efforts]
    labour = sum(effort.demonstration_s + effort.intervention_s for effort in efforts) / 60
    note = f"<p>Hands-on time in all: <b>{labour:.1f} min</b> of a <b>simulated</b> human (watching not counted).</p>"
    return _table(header, rows) + note


def _effort_row(e: RoundEffort) -> list[str]:
    mean = f"{e.intervention_s / e.takeovers:.1f} s" if e.takeovers else ""
    minutes = [f"{seconds / 60:.1f} min" if seconds else "" for seconds in (e.demonstration_s, e.intervention_s, e.watching_s)]
    return [
        "demonstrations" if e.round == 0 else str(e.round),
        str(e.episodes),
        str(e.corrected or ""),
        str(e.takeovers or ""),
        *minutes,
        mean,
    ]


def _takeovers(run: RunData) -> str:
    events = [event for episode in run.episodes for event in episode.extra.get("handovers", [])]
    if not events:
        return ""
    rows: list[list[str]] = []
    for limb in ("arm", "hand"):
        for kind in ("takeover", "release"):
            mine = [event for event in events if event["limb"] == limb and event["kind"] == kind]
            if mine:
                goal, sent = (np.array([event[key] for event in mine]) for key in ("goal_jump_rad", "target_jump_rad"))
                cells = [f"{np.median(goal):.4f}", f"{goal.max():.4f}", f"{np.median(sent):.4f}", f"{sent.max():.4f}"]
                rows.append([limb, kind, str(len(mine)), *cells])
    reasons: dict[str, int] = {}
    for episode in run.episodes:
        for takeover in episode.extra.get("takeovers", []):
            reasons[takeover["reason"]] = reasons.get(takeover["reason"], 0) + 1
    why = _table(("why the person took over", "times"), [[escape(k), str(v)] for k, v in sorted(reasons.items(), key=lambda kv: -kv[1])])
    header = ("limb", "event", "n", "goal jump, median [rad]", "max", "sent in one 5 ms tick, median [rad]", "max")
    note = "<p>Goal jump: first goal of the new driver minus the last target sent. No tick is blocked at a takeover.</p>"
    return _table(header, rows) + note + why + _live_takeovers(run)


def _live_takeovers(run: RunData) -> str:
    """What a live person's takeovers were like; nothing where nobody measured."""
    mine = [each for episode in run.episodes for each in episode.extra.get("takeovers", []) if "blocked_ticks" in each]
    if not mine:
        return ""
    lines = {
        "press to first command [ms]": "press_to_command_ms", "blocked ticks": "blocked_ticks",
        "arm: first command minus last target [rad]": "arm_jump_rad", "hand: the same [rad]": "hand_jump_rad",
        "arm: drift while held still [rad]": "arm_drift_rad", "hand: drift while held still [rad]": "hand_drift_rad",
        "hand: short of fully open [rad]": "open_gap_rad", "hand: short of fully closed [rad]": "close_gap_rad",
        "duration [s]": "duration_s",
    }  # fmt: skip
    rows: list[list[str]] = []
    for label, key in lines.items():
        values = np.array([each[key] for each in mine if each[key] is not None], dtype=float)
        if len(values):
            rows.append([label, str(len(values)), f"{np.median(values):.4g}", f"{values.max():.4g}"])
    return f"<h3>Takeovers of a person at live devices</h3>{_table(('measure', 'n', 'median', 'worst'), rows)}"


def _timelines(run: RunData) -> str:
    rows: list[tuple[str, float, list[tuple[float, float, str, str]]]] = []
    longest = 0.0
    for index, episode in enumerate(run.episodes):
        if episode.round == 0:
            continue
        spans = [
            (start / episode.fps, end / episode.fps, f"rgb{SOURCE_COLOURS[source]}", f"{source.label}, {(end - start) / episode.fps:.1f} s")
            for start, end, source in source_spans(episode)
        ]
        mark = "✓" if episode.is_success else "✗"
        rows.append((f"round {episode.round}, {episode.task} #{index} {mark}", len(episode) / episode.fps, spans))
        longest = max(longest, len(episode) / episode.fps)
    return f"<figure class='wide'>{timeline(rows, longest)}</figure>{_legend()}" if rows else ""


def _losses(run: RunData) -> str:
    lines: list[Series] = []
    offset = 0
    for name in run.names:
        rows = [row for row in run.losses[name] if "loss/flow" in row]
        if not rows:
            continue
        start = offset if name.startswith("round") else offset - rows[-1]["step"]
        lines.append(
            Series(
                _label(name), [start + row["step"] for row in rows], [row["loss/flow"] for row in rows], dashed=name.startswith("control")
            )
        )
        offset = max(offset, start + rows[-1]["step"])
    if not lines:
        return ""
    top = 1.6 * float(np.percentile([y for line in lines for y in line.y], 95))
    note = "<p>Unweighted flow-matching loss. It jumps at the start of a round because new, corrective data arrives (paper, fig. 5).</p>"
    return f"<figure>{line_chart(lines, 'loss', 'optimiser steps', 'loss', (0, top))}</figure>{note}"


def _provenance(run: RunData) -> str:
    seeds = {
        f"{name} / {task_name(env)}": f"{r.seeds[0]} to {r.seeds[-1]}"
        for name, results in run.results.items()
        for env, r in results.items()
    }
    rows = [[escape(key), value] for key, value in seeds.items()]
    config = escape(json.dumps(run.config, indent=2))
    return (
        f"<p>Regenerate this page: <code>dexhil report {escape(str(run.folder))}</code></p>{_table(('evaluation', 'seeds'), rows)}"
        f"<details><summary>configuration</summary><pre>{config}</pre></details>"
    )
