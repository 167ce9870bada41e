"""Tables about how a study was made: progress, arms, human time, supervision, training, cost, seeds."""

from collections.abc import Sequence

from agents.study.arms import EXPERT, WARMUP
from agents.study.labour import gain_per_minute, labour, labour_ratio, recorded, supervision
from agents.study.results import Study
from agents.study.table import NOTHING, Table, found_of, number, places, round_name
from dexhil_env.registration import task_name


def status(study: Study) -> Table:
    """What is evaluated and what is missing."""
    missing = study.missing()
    planned = {place: len(study.seeds) for place in places(study)}
    rows: list[tuple[str, ...]] = []
    for arm, r in planned:
        lacking = [str(seed) for a, number, seed in missing if (a, number) == (arm, r)]
        if lacking:
            rows.append((study.title(arm), round_name(r), ", ".join(lacking)))
    total = sum(planned.values())
    note = f"{total - len(missing)} of {total} policies are evaluated."
    if not rows:
        return Table(("policies evaluated", "planned"), ((str(total), str(total)),), "The study is complete.")
    return Table(("arm", "round", "training seeds still missing"), tuple(rows), note)


def arms(study: Study) -> Table:
    """What is compared."""
    rows = [(study.title(arm), study.notes[arm], _source(study, arm)) for arm in study.arms]
    return Table(("arm", "what it is", "recordings"), tuple(rows))


def _source(study: Study, arm: str) -> str:
    cells = [cell for (name, _, _), cell in study.cells.items() if name == arm]
    if not cells:
        return NOTHING
    if any(cell.data_from != arm for cell in cells):
        return f"of {study.title(cells[0].data_from)}"
    return "own" if any(recorded(study, arm, cell.round, cell.seed) for cell in cells) else "none new"


def labour_minutes(study: Study) -> Table:
    """Cumulative human minutes and what they bought."""
    rows: list[tuple[str, ...]] = []
    for arm, r in places(study):
        spent = labour(study, arm, r)
        if spent is None:
            continue
        times = (spent.demonstration_min, spent.intervention_min, spent.watching_min, spent.hands_on_min)
        ratios = [labour_ratio(study, arm, "baseline", r, watching) if r else None for watching in (False, True)]
        gains = [gain_per_minute(study, arm, r, watching) for watching in (False, True)]
        rows.append((
            study.title(arm), round_name(r), *map(number, times), *(number(ratio, 2) for ratio in ratios), *map(number, gains),
            found_of(len(spent.seeds), len(study.seeds)),
        ))  # fmt: skip
    header = (
        "arm", "round", "demonstrating", "correcting", "watching", "hands-on", "hands-on / Baseline", "with watching / Baseline",
        "points / hands-on min", "points / min with watching", "seeds",
    )  # fmt: skip
    note = (
        "Cumulative minutes of the simulated human, all tasks, mean over training seeds. Hands-on: demonstrating and correcting, as the "
        "paper counts. Points: success gained over the warm-up per minute spent since. An arm on another arm's data is charged for it."
    )
    return Table(header, tuple(rows), note)


def takeovers(study: Study) -> Table:
    """What happened under supervision, round by round; arms without recordings of their own are left out."""
    rows: list[tuple[str, ...]] = []
    for arm in study.arms:
        for r in range(1, study.rounds + 1):
            for env_id in study.env_ids:
                found = supervision(study, arm, r, (env_id,)) if _records(study, arm, r) else None
                if found is None:
                    continue
                unaided = found.attempts - found.alone - found.corrected - found.failed
                counts = (found.attempts, found.alone, found.corrected, found.failed, unaided, found.takeovers)
                why = ", ".join(f"{reason} {times}" for reason, times in found.reasons.items())
                share = f"{100 * found.intervention_rate:.0f} %"
                rows.append((
                    study.title(arm), str(r), task_name(env_id), *map(str, counts), share, why, found_of(len(found.seeds), len(study.seeds))
                ))  # fmt: skip
    header = (
        "arm", "round", "task", "attempts", "succeeded alone", "corrected", "correction failed", "failed unaided", "takeovers",
        "needed a takeover", "reasons", "seeds",
    )  # fmt: skip
    return Table(header, tuple(rows), "Summed over training seeds; a round lasts until enough corrections have succeeded.")


def _records(study: Study, arm: str, round_index: int) -> bool:
    return any(cell.collection for seed in study.seeds if (cell := study.cell(arm, round_index, seed)))


def training(study: Study) -> Table:
    """What every round trained on, and its loss."""
    rows: list[tuple[str, ...]] = []
    kinds = list(dict.fromkeys(kind for cell in study.cells.values() for kind in cell.training.anchors))
    for arm, r in places(study):
        found = [cell.training for seed in study.seeds if (cell := study.cell(arm, r, seed)) and cell.training.steps]
        if not found:
            continue
        anchors = [f"{sum(t.anchors.get(kind, 0) for t in found) / len(found):.0f}" for kind in kinds]
        shares = [_mean([part.get("intervention") for part in parts]) for parts in ([t.share for t in found], [t.target for t in found])]
        loss = [_mean([t.first_loss for t in found]), _mean([t.last_loss for t in found])]
        numbers = (*(number(share, 2) for share in shares), *(number(value, 4) for value in loss))
        rows.append((study.title(arm), round_name(r), str(found[0].steps), *anchors, *numbers))
    header = (
        "arm", "round", "steps", *(f"{kind} anchors" for kind in kinds), "P(intervention)", "P*(intervention)", "first loss", "last loss",
    )  # fmt: skip
    return Table(header, tuple(rows), "Means over training seeds.")


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def cost(study: Study) -> Table:
    """Processor hours by arm."""
    stages = ("collect", "train", "evaluate")
    rows: list[tuple[str, ...]] = []
    totals = [0.0, 0.0, 0.0]
    for arm in (WARMUP, EXPERT, *study.arms):
        cells = [cell for (name, _, _), cell in study.cells.items() if name == arm]
        hours = [sum(cell.cpu_s.get(stage, 0.0) for cell in cells) / 3600 for stage in stages]
        totals = [a + b for a, b in zip(totals, hours, strict=True)]
        if cells:
            rows.append((study.title(arm), str(len(cells)), *(f"{h:.2f}" for h in hours), f"{sum(hours):.2f}"))
    if rows:
        rows.append(("**all**", f"**{len(study.cells)}**", *(f"**{h:.2f}**" for h in (*totals, sum(totals)))))
    return Table(("arm", "cells", *(f"{stage} [CPU h]" for stage in stages), "sum [CPU h]"), tuple(rows))


def seeds(study: Study) -> Table:
    """Training seeds and evaluation seeds of every arm and task, with episode counts; rounds that agree share a row."""
    rounds: dict[tuple[str, ...], list[str]] = {}
    for arm, r in (*places(study), (EXPERT, 0)):
        for env_id in study.env_ids:
            found = study.evaluations(arm, r, (env_id,))
            if found:
                spans = sorted({_span(e.seeds) for (e,) in found.values()})
                counts = ", ".join(str(len(e.seeds)) for (e,) in found.values())
                row = (study.title(arm), task_name(env_id), ", ".join(map(str, found)), "; ".join(spans), counts)
                rounds.setdefault(row, []).append(round_name(r))
    rows = tuple((row[0], ", ".join(numbers), *row[1:]) for row, numbers in rounds.items())
    return Table(("arm", "rounds", "task", "training seeds", "evaluation seeds", "episodes per training seed"), rows)


def _span(values: Sequence[int]) -> str:
    if list(values) == list(range(values[0], values[0] + len(values))):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values))
