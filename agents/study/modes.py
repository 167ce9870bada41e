"""How episodes ended."""

from agents.study.results import Evaluation, Study

SUCCESS, IMPOSSIBLE, TIMEOUT, OTHER = "success", "task lost", "out of time", "other"
LARGEST = 8
"""Modes that are told apart; rarer ones are counted together."""


def words(evaluation: Evaluation) -> tuple[str, ...]:
    """Return a word per episode; without recorded modes, what success and failure alone tell."""
    if evaluation.modes:
        return evaluation.modes
    pairs = zip(evaluation.success, evaluation.failures, strict=True)
    return tuple(SUCCESS if won else IMPOSSIBLE if lost else TIMEOUT for won, lost in pairs)


def task_modes(study: Study, env_id: str) -> list[str]:
    """Return the modes of a task in all arms and rounds: success first, then by frequency."""
    times: dict[str, int] = {}
    for cell in study.cells.values():
        for word in words(cell.evaluation[env_id]) if env_id in cell.evaluation else ():
            times[word] = times.get(word, 0) + 1
    return sorted(times, key=lambda word: (word != SUCCESS, -times[word], word))


def mode_counts(study: Study, arm: str, round_index: int, env_id: str) -> dict[str, int]:
    """Return mode -> episodes, pooled over training seeds, in the order of :func:`task_modes`; empty without evaluations."""
    found = [word for (e,) in study.evaluations(arm, round_index, (env_id,)).values() for word in words(e)]
    if not found:
        return {}
    names = task_modes(study, env_id)
    counts = {name: found.count(name) for name in names[:LARGEST]}
    rest = len(found) - sum(counts.values())
    return {**counts, OTHER: rest} if names[LARGEST:] else counts
