"""Tables of what a study found, and the list of all its tables."""

from collections.abc import Callable

from agents.failure_modes import CAUSES
from agents.statistics import wilson_interval
from agents.study import bookkeeping
from agents.study.arms import EXPERT, WARMUP
from agents.study.labour import labour
from agents.study.modes import mode_counts
from agents.study.paper import PAPER, PAPER_LABOUR_MIN, PAPER_TRIALS
from agents.study.results import REFERENCE, Evaluation, Study
from agents.study.stats import difference, pooled_rate, signed
from agents.study.table import NOTHING, Table, found_of, places, round_name, tasks
from dexhil_env.registration import task_name


def success(study: Study) -> Table:
    """Success of every arm after every round."""
    rows: list[tuple[str, ...]] = []
    for arm, r in (*places(study), (EXPERT, 0)):
        rates = [pooled_rate(study, arm, r, env_ids) for _, env_ids in tasks(study)]
        if not any(rates):
            continue
        cells = [
            f"{rate.n_success}/{rate.n} = {100 * rate.rate:.0f} % [{100 * rate.low:.0f}, {100 * rate.high:.0f}]" if rate else NOTHING
            for rate in rates
        ]
        count = len(next(rate for rate in rates if rate).by_seed)
        rows.append((study.title(arm), round_name(r), *cells, found_of(count, 1 if arm == EXPERT else len(study.seeds))))
    header = ("arm", "round", *(name for name, _ in tasks(study)), "training seeds")
    return Table(header, tuple(rows), "Successes / episodes, rate and 95 % Wilson interval [%], pooled over training seeds.")


def paper(study: Study) -> Table:
    """The paper's table I above ours."""
    rows: list[tuple[str, ...]] = []
    for env_id in study.env_ids:
        name = task_name(env_id)
        for arm in study.main_arms:
            wins = PAPER.get(name, {}).get(arm, ())
            theirs = [_percent(k, PAPER_TRIALS) for k in wins][: study.rounds + 1]
            rates = [pooled_rate(study, arm, r, (env_id,)) for r in range(study.rounds + 1)]
            ours = [_percent(rate.n_success, rate.n) if rate else NOTHING for rate in rates]
            rows.append((name, study.title(arm), "paper", *theirs, *("-" for _ in range(study.rounds + 1 - len(theirs)))))
            rows.append((name, study.title(arm), "twin", *ours))
    header = ("task", "arm", "from", "warm-up", *(f"round {r}" for r in range(1, study.rounds + 1)))
    return Table(header, tuple(rows), _paper_labour(study))


def _percent(n_success: int, n: int) -> str:
    low, high = wilson_interval(n_success, n)
    return f"{100 * n_success / n:.0f} [{100 * low:.0f}, {100 * high:.0f}] n = {n}"


def _paper_labour(study: Study) -> str:
    ours = [labour(study, arm, study.rounds) for arm in (REFERENCE, "baseline")]
    text = " against ".join(f"{spent.hands_on_min:.1f}" if spent else NOTHING for spent in ours)
    there, base = PAPER_LABOUR_MIN
    return (
        "Success in % and 95 % Wilson interval. Human minutes, DexHiL against Baseline: "
        f"paper, to round 3: {there:.0f} against {base:.0f} (ratio {there / base:.2f}); twin, to round {study.rounds}: {text}."
    )


def differences(study: Study) -> Table:
    """Every arm minus DexHiL, and every arm minus the warm-up, in the last round."""
    rows: list[tuple[str, ...]] = []
    pairs = [(REFERENCE, arm) for arm in study.arms if arm != REFERENCE] + [(WARMUP, arm) for arm in study.arms]
    for first, second in pairs:
        found = difference(study, first, second, study.last_round)
        if found is None:
            continue
        single = [difference(study, first, second, study.last_round, env_ids) for _, env_ids in tasks(study)[:-1]]
        pair = found.pair
        rows.append((
            f"{study.title(second)} minus {study.title(first)}", *(f"{d.text}, p {_p_value(d.pair.p_value)}" if d else "-" for d in single),
            f"**{signed(100 * found.difference)}**", found.interval, found.interval_given, f"{pair.gained} / {pair.lost}",
            _p_value(pair.p_value), str(pair.n), found_of(len(found.seeds), len(study.seeds)),
        ))  # fmt: skip
    header = (
        "difference", *(name for name, _ in tasks(study)[:-1]), "all", "95 %, seeds drawn", "95 %, given the policies", "gained / lost",
        "McNemar p", "pairs", "seeds",
    )  # fmt: skip
    note = (
        f"Points after round {study.last_round}. Pairs share training seed, task and scene. Seeds drawn (also the interval of a single "
        "task): hierarchical bootstrap over training and evaluation seeds, tasks weighed equally. Given the policies: evaluation seeds "
        "only, as is the exact McNemar test. p values are not corrected for the number of comparisons."
    )
    return Table(header, tuple(rows), note)


def _p_value(p: float) -> str:
    return f"{p:.2g}" if p >= 0.001 else "< 0.001"


def time_to_success(study: Study) -> Table:
    """Mean time of the successful episodes."""
    rows: list[tuple[str, ...]] = []
    for arm, r in (*places(study), (EXPERT, 0)):
        cells: list[str] = []
        for env_id in study.env_ids:
            items = [e for (e,) in study.evaluations(arm, r, (env_id,)).values()]
            times = [seconds for e in items for seconds in _times(e)]
            cells.append(f"{sum(times) / len(times):.1f} s (n = {len(times)})" if times else "-")
        if set(cells) != {"-"}:
            rows.append((study.title(arm), round_name(r), *cells))
    return Table(("arm", "round", *map(task_name, study.env_ids)), tuple(rows), "Mean over the successful episodes only.")


def _times(evaluation: Evaluation) -> list[float]:
    return [steps / 20 for steps, won in zip(evaluation.steps, evaluation.success, strict=True) if won]


def modes(study: Study) -> Table:
    """How the episodes of the last round ended."""
    counts = {
        (env_id, arm): found
        for env_id in study.env_ids
        for arm in (WARMUP, *study.arms)
        if (found := mode_counts(study, arm, study.last_round, env_id))
    }
    names = list(dict.fromkeys(name for found in counts.values() for name in found))
    rows = tuple(
        (task_name(env_id), study.title(arm), *(str(found[name]) if name in found else "-" for name in names))
        for (env_id, arm), found in counts.items()
    )
    causes = {word: [name for name in names if CAUSES.get(name) == word] for word in ("bad contact", "discoordination")}
    known = "; ".join(f"{cause}: {', '.join(words)}" for cause, words in causes.items() if words)
    note = f"Episodes after round {study.last_round}, training seeds pooled."
    note += f" The paper's names: {known}." if known else ""
    return Table(("task", "arm", *names), rows, note)


def alarms(study: Study) -> Table:
    """How often the simulated human would have taken over from its own kind."""
    rows: list[tuple[str, ...]] = []
    for seed in study.seeds:
        cell = study.cell(EXPERT, 0, seed)
        for env_id, found in cell.alarms.items() if cell else ():
            raised = [alarm for alarm in found if alarm]
            low, high = wilson_interval(len(raised), len(found))
            why = ", ".join(f"{reason} {raised.count(reason)}" for reason in sorted(set(raised)))
            rows.append((task_name(env_id), f"{len(raised)}/{len(found)} [{100 * low:.0f}, {100 * high:.0f}] %", why))
    return Table(("task", "false alarms", "reasons"), tuple(rows), "The simulated human watches an expert; every alarm is a false one.")


TABLES: dict[str, Callable[[Study], Table]] = {
    "status": bookkeeping.status,
    "arms": bookkeeping.arms,
    "success": success,
    "paper": paper,
    "differences": differences,
    "labour": bookkeeping.labour_minutes,
    "takeovers": bookkeeping.takeovers,
    "alarms": alarms,
    "time": time_to_success,
    "failures": modes,
    "training": bookkeeping.training,
    "cost": bookkeeping.cost,
    "seeds": bookkeeping.seeds,
}
"""Every table by the name of its block in the documentation."""
