import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from agents import trainer
from agents.checkpoint import read_tensors
from agents.data import ChunkDataset
from agents.policy import load_policy
from agents.trainer import TrainConfig, learning_rate, train
from agents.vla.config import preset
from agents.weights import WeightConfig
from dexhil_env.errors import CheckpointError, ConfigError
from tests.unit.agents_fixture import demos, make_episode

CONFIG = replace(preset("debug"), shift_px=1, brightness=0.1)
FAST = TrainConfig(steps=6, batch_size=8, warmup=2, save_every=3, log_every=2, tensorboard=False, progress=False)


@pytest.fixture(scope="module")
def data():
    return ChunkDataset([*demos(3), make_episode("pppp" + "b" * 10, task=1)], CONFIG)


def weights(policy):
    return {name: value.clone() for name, value in policy.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_two_runs_are_equal_and_another_seed_differs(data, tmp_path):
    a, b = (weights(train(CONFIG, data, FAST, tmp_path / name)) for name in "ab")
    assert same(a, b)
    assert not same(a, weights(train(CONFIG, data, replace(FAST, seed=1), tmp_path / "c")))


@pytest.mark.parametrize("mode", ["stratified", "sampler", "loss"])
def test_interrupted_and_resumed_equals_uninterrupted(data, tmp_path, monkeypatch, mode):
    config = replace(FAST, weights=WeightConfig(mode=mode))
    whole = train(CONFIG, data, config, tmp_path / "whole")
    take_step = trainer.Learner.take_step

    def interrupted(self):
        if self.step == 5:
            raise KeyboardInterrupt
        return take_step(self)

    monkeypatch.setattr(trainer.Learner, "take_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, data, config, tmp_path / "cut")
    monkeypatch.setattr(trainer.Learner, "take_step", take_step)
    resumed = train(CONFIG, data, config, tmp_path / "cut")
    assert same(weights(whole), weights(resumed))
    states = [read_tensors(tmp_path / name / trainer.STATE_FILE)[0] for name in ("whole", "cut")]
    assert same(*states)
    logs = [[json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()] for name in ("whole", "cut")]
    assert [row["step"] for row in logs[1]] == [1, 2, 4, 6]
    assert logs[0][-1]["loss/flow"] == logs[1][-1]["loss/flow"]


def test_a_finished_run_is_not_trained_again(data, tmp_path, monkeypatch):
    first = train(CONFIG, data, FAST, tmp_path)
    monkeypatch.setattr(trainer.Learner, "take_step", lambda self: pytest.fail("trained again"))
    assert same(weights(first), weights(train(CONFIG, data, FAST, tmp_path)))


def test_state_of_another_run_is_refused(data, tmp_path):
    train(CONFIG, data, FAST, tmp_path)
    with pytest.raises(CheckpointError, match="another run"):
        train(CONFIG, data, replace(FAST, lr=1e-3), tmp_path)
    train(CONFIG, data, replace(FAST, lr=1e-3), tmp_path, resume=False)


def test_run_folder_tells_the_story(data, tmp_path):
    policy = train(CONFIG, data, replace(FAST, tensorboard=True), tmp_path)
    story = json.loads((tmp_path / "config.json").read_text())
    assert {"command", "git", "versions", "seed", "train", "policy", "filters"} <= set(story)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["start"]
    assert {"loss/flow", "loss/flow/demo", "loss/flow/intervention", "lr", "cpu_s"} <= set(rows[-1])
    assert list((tmp_path / "tensorboard").iterdir())
    assert same(weights(policy), weights(load_policy(tmp_path / "policy")))


def test_warm_start_keeps_statistics_and_leaves_the_given_policy_alone(data, tmp_path):
    first = train(CONFIG, ChunkDataset(demos(2), CONFIG), FAST, tmp_path / "warm")
    before = weights(first)
    second = train(first, data, replace(FAST, lr=1e-9, ema=0.0), tmp_path / "round")
    assert second.normalizer.digest() == first.normalizer.digest()
    assert same(before, weights(first))
    assert all(torch.allclose(before[name], value, atol=1e-6) for name, value in weights(second).items())
    assert data.statistics().digest() != first.normalizer.digest()


def test_average_is_what_is_exported(data, tmp_path):
    averaged = weights(train(CONFIG, data, FAST, tmp_path / "a"))
    state, _ = read_tensors(tmp_path / "a" / trainer.STATE_FILE)
    name = "model.velocity.weight"
    assert torch.equal(averaged[name], state[f"average.{name}"])
    assert not torch.equal(averaged[name], state[f"model.{name}"])
    last = weights(train(CONFIG, data, replace(FAST, ema=0.0), tmp_path / "b"))
    assert torch.equal(last[name], state[f"model.{name}"])


def test_learning_rate_rises_then_falls_to_zero():
    config = TrainConfig(steps=1000, warmup=100, lr=1.0)
    rates = [learning_rate(step, config) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0)
    assert int(np.argmax(rates)) in (99, 100)
    assert rates[-1] < 1e-5
    assert all(a >= b for a, b in pairwise(rates[100:]))


def test_training_learns_one_chunk_by_heart(tmp_path):
    data = ChunkDataset(demos(1, length=17), CONFIG)
    config = replace(FAST, steps=150, batch_size=16, lr=3e-3, warmup=10, save_every=0, log_every=10)
    policy = train(replace(CONFIG, shift_px=0, brightness=0.0), data, config, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss/flow"] < 0.35 * rows[0]["loss/flow"]
    batch = data.batch(np.array([0]))
    error = (policy.predict_action_chunk(batch) - batch["action"]).abs().mean()
    assert error < 0.1


def test_impossible_settings_are_refused(data, tmp_path):
    for change in ({"steps": 0}, {"lr": 0.0}, {"ema": 1.0}):
        with pytest.raises(ConfigError):
            replace(FAST, **change)
    with pytest.raises(ConfigError, match="cameras"):
        train(replace(CONFIG, cameras=("front",)), data, FAST, tmp_path)


def test_every_step_and_seed_draws_its_own_noise(data, tmp_path, monkeypatch):
    seeds, forward = [], trainer.VLAPolicy.forward

    def spy(self, batch, reduction="mean", generator=None):
        seeds.append(generator.initial_seed())
        return forward(self, batch, reduction, generator)

    monkeypatch.setattr(trainer.VLAPolicy, "forward", spy)
    for seed in (0, 1):
        train(CONFIG, data, replace(FAST, seed=seed, save_every=0), tmp_path / str(seed))
    assert len(set(seeds)) == len(seeds) == 2 * FAST.steps
