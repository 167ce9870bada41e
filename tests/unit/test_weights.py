import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from agents import flow
from agents.sampling import AnchorSampler
from agents.weights import FrameClass, WeightConfig, anchor_weights, class_shares
from dexhil_env.errors import ConfigError

MODES = ("stratified", "sampler", "loss")


def classes_of(demo, human, rollout):
    return np.repeat([0, 1, 2], [demo, human, rollout])


@pytest.mark.parametrize("counts", [(90, 9, 0), (60, 10, 30), (0, 5, 95), (500, 120, 40)])
def test_eq_7(counts):
    classes = classes_of(*counts)
    shares = class_shares(classes, WeightConfig())
    n = sum(counts)
    assert shares.target[FrameClass.INTERVENTION] == pytest.approx(0.5)
    assert shares.weight[FrameClass.INTERVENTION] == pytest.approx(0.5 * n / counts[1])
    rest = shares.weight[[c for c in (0, 2) if counts[c]]]
    assert np.allclose(rest, 0.5 / (1 - counts[1] / n))
    assert anchor_weights(classes, shares).mean() == pytest.approx(1.0, abs=1e-12)


def test_no_intervention_means_uniform():
    assert np.allclose(anchor_weights(classes_of(5, 0, 3), class_shares(classes_of(5, 0, 3), WeightConfig())), 1.0)


def test_weights_only_increase_unless_told_otherwise():
    classes = classes_of(10, 30, 0)
    assert class_shares(classes, WeightConfig()).weight.tolist() == [1.0, 1.0, 0.0]
    assert class_shares(classes, WeightConfig(only_increase=False)).weight[1] == pytest.approx(0.5 / 0.75)
    assert class_shares(classes, WeightConfig(scheme="iwr")).weight[1] == pytest.approx(0.5 / 0.75)


def test_a_rare_class_is_clipped_with_a_warning(caplog):
    classes = classes_of(990, 10, 0)
    with caplog.at_level(logging.WARNING):
        shares = class_shares(classes, WeightConfig())
    assert "clipped" in caplog.text
    assert shares.weight[1] == pytest.approx(20.0)
    assert anchor_weights(classes, shares).mean() == pytest.approx(1.0)


def test_sirius_keeps_demonstrations_and_refuses_negative_weights():
    shares = class_shares(classes_of(30, 10, 60), WeightConfig(scheme="sirius"))
    assert shares.weight.tolist() == pytest.approx([1.0, 5.0, 0.2 / 0.6])
    with pytest.raises(ConfigError, match="sirius"):
        class_shares(classes_of(60, 10, 30), WeightConfig(scheme="sirius"))


def test_table_names_every_class():
    table = class_shares(classes_of(90, 10, 0), WeightConfig()).table()
    assert all(kind.name.lower() in table for kind in FrameClass)
    assert "5.00" in table


@pytest.mark.parametrize("scheme", ["dexhil", "iwr", "sirius"])
@pytest.mark.parametrize(("batch", "target"), [(32, 0.5), (7, 0.3), (10, 0.05)])
def test_all_modes_have_the_same_expected_gradient(scheme, batch, target):
    """Exact: sum over anchors of (probability of being drawn) x (loss weight) x gradient."""
    classes = classes_of(20, 3, 60)
    gradient = np.random.default_rng(0).normal(size=(len(classes), 4)) + classes[:, None]
    config = WeightConfig(target=target, scheme=scheme)
    wanted = (anchor_weights(classes, class_shares(classes, config))[:, None] * gradient).mean(0)
    for mode in MODES:
        sampler = AnchorSampler(classes, batch, replace(config, mode=mode))
        assert sampler.probability.sum() == pytest.approx(1.0)
        weights = sampler._wanted / sampler.probability
        assert np.allclose(((sampler.probability * weights)[:, None] * gradient).sum(0), wanted), mode


@pytest.mark.parametrize("mode", MODES)
def test_drawn_batches_follow_the_stated_probability(mode):
    classes = classes_of(20, 4, 16)
    sampler = AnchorSampler(classes, 8, WeightConfig(mode=mode))
    counts, weighted = np.zeros(len(classes)), 0.0
    for step in range(2000):
        picked, weight = sampler.batch(step)
        np.add.at(counts, picked, 1 / 16000)
        weighted += (weight * (classes[picked] == 1)).sum() / 16000
    assert np.abs(counts - sampler.probability).max() < 0.006
    assert weighted == pytest.approx(0.5, abs=0.02)


def test_stratified_batches_hold_the_quota_exactly():
    classes = classes_of(100, 7, 30)
    sampler = AnchorSampler(classes, 32, WeightConfig())
    assert all((classes[sampler.batch(step)[0]] == 1).sum() == 16 for step in range(20))


def test_a_stratum_is_used_up_before_it_repeats():
    sampler = AnchorSampler(classes_of(12, 0, 0), 5, WeightConfig())
    drawn = np.concatenate([sampler.batch(step)[0] for step in range(12)])
    assert all(sorted(epoch) == list(range(12)) for epoch in drawn.reshape(5, 12))


def test_batches_depend_on_seed_rank_and_step_only():
    classes = classes_of(50, 10, 0)
    make = lambda **kw: AnchorSampler(classes, 8, WeightConfig(), **kw)  # noqa: E731
    a, b = make(seed=1), make(seed=1)
    later = b.batch(37)[0]
    for step in range(37):
        a.batch(step)
    assert np.array_equal(a.batch(37)[0], later)
    assert not np.array_equal(make(seed=2).batch(37)[0], later)
    assert not np.array_equal(make(seed=1, rank=1).batch(37)[0], later)


def learnt_mean(config):
    """Fit a tiny flow to one observation with 90 labels A = -1 and 10 labels B = +1; return the mean generated action."""
    torch.manual_seed(0)
    classes = classes_of(90, 10, 0)
    label = torch.tensor(np.where(classes == 1, 1.0, -1.0), dtype=torch.float32)[:, None, None]
    net = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.SiLU(), torch.nn.Linear(64, 64), torch.nn.SiLU(), torch.nn.Linear(64, 1))
    velocity = lambda x, t: net(torch.cat([x, t[:, None, None]], -1))  # noqa: E731
    sampler = AnchorSampler(classes, 128, config)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for step in range(500):
        picked, weight = sampler.batch(step)
        action, noise, time = label[picked], torch.randn(128, 1, 1), flow.sample_time((128,))
        error = flow.masked_error(
            velocity(flow.interpolate(noise, action, time), time), flow.target_velocity(noise, action), torch.ones(1, 1, 1)
        )
        optimizer.zero_grad()
        (error * torch.from_numpy(weight)).mean().backward()
        optimizer.step()
    with torch.no_grad():
        sample = flow.euler(velocity, torch.randn(4000, 1, 1), 20)
    return float((sample > 0).float().mean())


def test_contradicting_labels():
    """Offline data say A nine times in ten; with P* = 0.5 the corrections' B is generated half the time, unweighted it is not."""
    assert learnt_mean(WeightConfig(mode="none")) < 0.2
    assert learnt_mean(WeightConfig(mode="stratified")) > 0.4
    assert learnt_mean(WeightConfig(mode="stratified", target=0.8)) > 0.7
