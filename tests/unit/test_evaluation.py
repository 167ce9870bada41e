import json

import pytest

from agents.collect import Quota
from agents.effort import effort_by_round
from agents.evaluate import EvalResult
from agents.showcase import telling_seeds
from agents.statistics import compare_paired, wilson_interval
from dexhil_env.errors import DatasetError
from tests.unit.helpers import make_episode


def result(success, first=100, env="DexHiL-PlushSim-v0"):
    n = len(success)
    return EvalResult(env, "p", tuple(range(first, first + n)), tuple(success), (60,) * n, (False,) * n, 1.0, {})


def test_wilson_interval_matches_published_values():
    # DexHiL paper, table I, n = 20: 19/20 and 4/20
    assert wilson_interval(19, 20) == pytest.approx((0.764, 0.991), abs=1e-3)
    assert wilson_interval(4, 20) == pytest.approx((0.081, 0.416), abs=1e-3)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_paired_comparison_counts_only_seeds_that_differ():
    first = [True] * 10 + [False] * 30
    second = [True] * 8 + [False] * 2 + [True] * 12 + [False] * 18
    pair = compare_paired(first, second)
    assert (pair.gained, pair.lost, pair.n) == (12, 2, 40)
    assert pair.difference == pytest.approx(0.25)
    assert pair.low < 0.25 < pair.high
    assert pair.p_value == pytest.approx(0.01294, abs=1e-4)  # exact binomial test of 2 out of 14
    assert compare_paired([True], [True]).p_value == 1.0
    with pytest.raises(ValueError, match="equal seeds"):
        compare_paired([True], [True, False])


def test_results_have_lerobots_keys_and_come_back_from_disk(tmp_path):
    before = result([True, False, False, True])
    before.save(tmp_path / "eval.json")
    content = json.loads((tmp_path / "eval.json").read_text())
    assert (content["n_episodes"], content["n_success"], content["pc_success"]) == (4, 2, 50.0)
    assert content["pc_success_ci95"] == pytest.approx([15.0, 85.0], abs=0.1)
    assert content["seeds"] == [100, 101, 102, 103]
    assert EvalResult.load(tmp_path / "eval.json") == before
    (tmp_path / "eval.json").write_text("{")
    with pytest.raises(DatasetError, match="not an evaluation"):
        EvalResult.load(tmp_path / "eval.json")


def test_different_seeds_are_not_compared():
    with pytest.raises(DatasetError, match="same seeds"):
        result([True, False], first=5).against(result([True, False]))


def test_the_report_films_seeds_that_the_rounds_won():
    assert telling_seeds(result([True, False, False, False]), result([True, False, True, True]), 2) == [102, 103]
    assert telling_seeds(result([True, False]), result([True, False]), 1) == [100]


def test_effort_separates_demonstrating_correcting_and_watching():
    demo = make_episode(40, round_index=0, human=slice(0, 0))
    corrected = make_episode(60, round_index=1, human=slice(20, 60))
    watched = make_episode(30, round_index=1, human=slice(0, 0))
    offline, first = effort_by_round([demo, corrected, watched])
    assert (offline.demonstration_s, offline.intervention_s, offline.watching_s) == (2.0, 0.0, 0.0)
    assert (first.intervention_s, first.watching_s) == (2.0, 2.5)
    assert (first.episodes, first.corrected, first.takeovers) == (2, 1, 1)


def test_only_successful_corrections_count():
    quota = Quota(3, "correction")
    assert quota.counts(make_episode())
    assert not quota.counts(make_episode(human=slice(0, 0)))
    assert not quota.counts(make_episode(success=False))
    assert Quota(3).counts(make_episode(human=slice(0, 0)))
