import numpy as np
import pytest

from agents.statistics import wilson_interval
from agents.study.labour import gain_per_minute, labour, labour_ratio, supervision
from agents.study.modes import mode_counts
from agents.study.results import load_study
from agents.study.stats import bootstrap, difference, pooled_rate, signed
from dexhil_env.errors import DatasetError
from tests.unit.study_fixture import ENVS, make_study, write_study


def load(tmp_path, content=None):
    return load_study(write_study(tmp_path, content))


def at(content, arm, round_index, seed):
    return next(c for c in content["cells"] if (c["arm"], c["round"], c["seed"]) == (arm, round_index, seed))


def test_bootstrap_has_the_known_variance_of_seeds():
    # within a cell every pair is equal, so only the draw of training seeds moves the mean
    counts = np.array([[[40, 0, 0]] * 2, [[0, 0, 40]] * 2, [[0, 40, 0]] * 2])
    draws = bootstrap(counts, 20_000)
    assert draws.mean() == pytest.approx(0.0, abs=0.02)
    assert draws.var() == pytest.approx((2 / 3) / 3, rel=0.03)  # population variance of (1, 0, -1) over 3 seeds
    assert np.ptp(bootstrap(counts, 500, draw_seeds=False)) == 0.0


def test_bootstrap_has_the_known_variance_of_scenes():
    counts = np.array([[[10, 5, 25], [0, 20, 20]], [[8, 8, 24], [5, 5, 30]]])
    shares = counts / 40
    within = shares[..., 0] + shares[..., 1] - (shares[..., 0] - shares[..., 1]) ** 2
    draws = bootstrap(counts, 20_000, draw_seeds=False)
    assert draws.var() == pytest.approx(within.sum() / 40 / 4**2, rel=0.03)
    assert draws.mean() == pytest.approx((5 / 40 - 20 / 40) / 4, abs=0.003)


def test_tasks_weigh_the_same_whatever_their_episodes():
    counts = np.array([[[10, 0, 0], [0, 0, 990]]])
    assert bootstrap(counts, 100).tolist() == [0.5] * 100


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(150):
        gained = np.clip(0.3 + rng.normal(0, 0.08, 10), 0.05, 0.6)  # training seeds differ
        counts = np.array([[rng.multinomial(25, (g, 0.2, 0.8 - g)) for _ in range(2)] for g in gained])
        low, high = np.quantile(bootstrap(counts, 200), (0.025, 0.975))
        hits += low <= 0.1 <= high
    assert 0.88 <= hits / 150 <= 1.0


def test_an_arm_does_not_differ_from_itself(tmp_path):
    found = difference(load(tmp_path), "dexhil", "dexhil", 3, resamples=100)
    assert found is not None
    assert (found.difference, found.low, found.high, found.low_given, found.high_given) == (0.0,) * 5
    assert (found.pair.n, found.pair.p_value, found.seeds) == (120, 1.0, (0, 1, 2))


def test_difference_is_the_mean_over_tasks_and_counts_pairs(tmp_path):
    content = make_study()
    study = load(tmp_path, content)
    found = difference(study, "baseline", "dexhil", 3, resamples=400)
    assert found is not None
    rates = {arm: [np.mean(at(content, arm, 3, s)["evaluation"][e]["success"]) for s in range(3) for e in ENVS] for arm in study.arms}
    assert found.difference == pytest.approx(np.mean(rates["dexhil"]) - np.mean(rates["baseline"]))
    assert found.pair.gained - found.pair.lost == round(found.difference * 120)
    assert found.low < found.low_given + 0.05
    assert found.low < found.difference < found.high
    one = difference(study, "baseline", "dexhil", 3, (ENVS[1],), resamples=400)
    assert one is not None
    assert one.pair.n == 60
    assert found.text == f"{signed(100 * found.difference)} {found.interval}"


def test_seeds_that_only_one_arm_has_are_left_out_and_unpaired_scenes_refused(tmp_path):
    content = make_study()
    content["cells"].remove(at(content, "dagger", 3, 1))
    found = difference(load(tmp_path, content), "dexhil", "dagger", 3, resamples=50)
    assert found is not None
    assert found.seeds == (0, 2)
    at(content, "dagger", 3, 2)["evaluation"][ENVS[0]]["seeds"][0] = 7
    with pytest.raises(DatasetError, match=r"dexhil and dagger, round 3, training seed 2.* 2 seeds without partner"):
        difference(load(tmp_path, content), "dexhil", "dagger", 3, resamples=50)
    content["cells"] = [c for c in content["cells"] if c["arm"] != "dagger"]
    assert difference(load(tmp_path, content), "dexhil", "dagger", 3) is None


def test_rates_pool_the_seeds_that_have_every_task(tmp_path):
    content = make_study()
    del at(content, "dexhil", 2, 1)["evaluation"][ENVS[0]]
    study = load(tmp_path, content)
    both, single = pooled_rate(study, "dexhil", 2), pooled_rate(study, "dexhil", 2, (ENVS[1],))
    assert both is not None
    assert single is not None
    assert (both.n, list(both.by_seed), single.n) == (80, [0, 2], 60)
    assert (both.low, both.high) == wilson_interval(both.n_success, 80)
    assert study.missing() == [("dexhil", 2, 1)]
    assert pooled_rate(study, "dexhil", 0) == pooled_rate(study, "baseline", 0) == pooled_rate(study, "warmup", 0)
    content["config"]["every_round"] = ["dexhil"]
    assert load(tmp_path, content).evaluated_rounds("dagger") == (0, 3)


def test_labour_is_cumulative_and_charges_borrowed_data(tmp_path):
    study = load(tmp_path)
    start, ours, theirs = labour(study, "dexhil", 0), labour(study, "dexhil", 3), labour(study, "baseline", 3)
    assert start is not None
    assert ours is not None
    assert theirs is not None
    # two tasks: 30 demonstrations of 5 s, then per round 10 corrections of 3 s with 6 s of watching, or 10 demonstrations of 5 s
    assert (start.hands_on_min, ours.hands_on_min, ours.total_min, theirs.hands_on_min) == pytest.approx((5.0, 8.0, 14.0, 10.0))
    assert labour(study, "dagger", 3) == ours
    assert labour(study, "control", 3) == labour(study, "warmup", 0)
    assert labour_ratio(study, "dexhil", "baseline", 3) == pytest.approx(0.8)
    assert labour_ratio(study, "dexhil", "baseline", 3, watching=True) == pytest.approx(1.4)
    before, after = pooled_rate(study, "warmup", 0), pooled_rate(study, "dexhil", 3)
    assert before is not None
    assert after is not None
    assert gain_per_minute(study, "dexhil", 3) == pytest.approx(100 * (after.rate - before.rate) / 3.0)
    assert gain_per_minute(study, "control", 3) is None


def test_supervision_tells_who_needed_help(tmp_path):
    content = make_study()
    for seed in range(3):
        facts = {"attempts": 20, "corrected": 10, "alone": 6, "failed": 3, "takeovers": 15, "reasons": {"b": 4, "a": 4, "c": 7}}
        at(content, "dexhil", 1, seed)["collection"][ENVS[0]] = facts
    found = supervision(load(tmp_path, content), "dexhil", 1, (ENVS[0],))
    assert found is not None
    assert found.intervention_rate == pytest.approx(13 / 20)
    assert list(found.reasons.items()) == [("c", 21), ("a", 12), ("b", 12)]
    assert supervision(load(tmp_path, content), "baseline", 1) is None


def test_modes_fall_back_on_what_every_evaluation_knows(tmp_path):
    content = make_study()
    entry = at(content, "dexhil", 3, 0)["evaluation"][ENVS[0]]
    content["cells"] = [c for c in content["cells"] if c["seed"] == 0 and c["arm"] == "dexhil" and c["round"] == 3]
    entry.pop("modes")
    entry["success"], entry["failures"] = [True] * 5 + [False] * 15, [False] * 17 + [True] * 3
    counts = mode_counts(load(tmp_path, content), "dexhil", 3, ENVS[0])
    assert list(counts.items()) == [("success", 5), ("out of time", 12), ("task lost", 3)]


def test_what_is_no_study_is_refused(tmp_path):
    content = make_study()
    at(content, "dexhil", 1, 0)["evaluation"][ENVS[0]]["success"].pop()
    with pytest.raises(DatasetError, match="different lengths"):
        load(tmp_path, content)
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(DatasetError, match="not a study"):
        load_study(tmp_path)
    with pytest.raises(DatasetError, match=r"nowhere.* not a study"):
        load_study(tmp_path / "nowhere")
