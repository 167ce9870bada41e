"""An evaluation is done once: its result is kept in a file and read back from there."""

import pytest

from agents import evaluate as module
from agents.evaluate import EvalResult, evaluate_once
from agents.job import Job


@pytest.fixture
def done(monkeypatch):
    """Evaluations that were really done, by their seeds."""
    calls = []

    def evaluate(job, seeds, *_):
        calls.append(tuple(seeds))
        won = tuple(seed % 2 == 0 for seed in seeds)
        return EvalResult(job.env_id, job.policy, tuple(seeds), won, (7,) * len(won), (False,) * len(won), 1.0, {})

    monkeypatch.setattr(module, "evaluate", evaluate)
    return calls


def test_it_is_done_once_and_anew_for_other_seeds(done, tmp_path):
    path, job = tmp_path / "eval.json", Job("DexHiL-PlushSim-v0", "expert")
    first = evaluate_once(path, job, range(4))
    assert first.success == (True, False, True, False)
    assert evaluate_once(path, job, range(4)) == first == EvalResult.load(path)
    assert done == [(0, 1, 2, 3)]
    assert evaluate_once(str(path), job, [0, 1, 2]).seeds == (0, 1, 2)
    assert done == [(0, 1, 2, 3), (0, 1, 2)]
    assert EvalResult.load(path).seeds == (0, 1, 2)
