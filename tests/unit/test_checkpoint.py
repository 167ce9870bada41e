import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.checkpoint import CONFIG, NORMALIZER, WEIGHTS
from agents.normalize import Normalizer, VectorStats
from agents.policy import VLAPolicy, load_policy
from agents.simple import HoldPolicy, RandomPolicy
from agents.vla.config import preset
from dexhil_env.errors import CheckpointError, ConfigError, DatasetError
from dexhil_env.robot import HIGH, HOME, LOW

CONF = preset("debug")


def normalizer(config=CONF, scale=1.0):
    rows = np.random.default_rng(0).normal(size=(100, config.state_dim)) * scale
    return Normalizer(VectorStats.of(rows), VectorStats.of(rows[:, :19]))


def make_policy(config=CONF, **kwargs):
    torch.manual_seed(0)
    return VLAPolicy(config, normalizer(config), **kwargs).eval()


def observation(seed=0, size=48):
    rng = np.random.default_rng(seed)
    image = lambda: rng.integers(0, 255, (size, size, 3), dtype=np.uint8)  # noqa: E731
    return {
        "arm_joint_pos": HOME[:7].astype(np.float32),
        "hand_motor_pos": HOME[7:].astype(np.float32),
        "arm_joint_vel": np.zeros(7, np.float32),
        "fingertip_force": rng.random(5).astype(np.float32),
        "ee_pose": rng.random(7).astype(np.float32),
        "image_front": image(),
        "image_wrist": image(),
    }


@pytest.fixture
def folder(tmp_path):
    return make_policy().save(tmp_path / "policy")


def test_round_trip_acts_bit_for_bit(folder):
    policy, again = make_policy(), load_policy(folder)
    for p in (policy, again):
        p.reset(seed=5)
    for step in range(20):
        assert np.array_equal(policy.act(observation(step), "go"), again.act(observation(step), "go"))
    assert sorted(path.name for path in folder.iterdir()) == sorted([CONFIG, NORMALIZER, WEIGHTS])


def test_same_seed_same_actions_other_seed_other_actions():
    policy = make_policy()
    actions = []
    for seed in (1, 1, 2):
        policy.reset(seed=seed)
        actions.append(np.stack([policy.act(observation(t), "go") for t in range(12)]))
    assert np.array_equal(actions[0], actions[1])
    assert not np.array_equal(actions[0], actions[2])


def test_actions_are_float32_targets_inside_the_joint_ranges():
    policy = make_policy()
    policy.action_scale.mul_(100)
    for t in range(9):
        action = policy.act(observation(t), "go")
        assert action.shape == (19,)
        assert action.dtype == np.float32
        assert (action >= LOW.astype(np.float32)).all()
        assert (action <= HIGH.astype(np.float32)).all()


def test_chunk_is_executed_then_renewed_and_reset_flushes_it(monkeypatch):
    policy = make_policy(n_exec=3)
    calls = []
    infer = policy.infer
    monkeypatch.setattr(policy, "infer", lambda obs: calls.append(1) or infer(obs))
    for t in range(7):
        policy.act(observation(t), "go")
    assert len(calls) == 3
    policy.reset()
    policy.act(observation(), "go")
    assert len(calls) == 4


def test_infer_speaks_openpi_and_the_observation_is_unchanged():
    obs = observation() | {"prompt": "go"}
    before = {key: np.copy(value) for key, value in obs.items()}
    assert make_policy().infer(obs)["actions"].shape == (16, 19)
    assert all(np.array_equal(obs[key], before[key]) for key in obs)
    del obs["image_wrist"]
    with pytest.raises(DatasetError, match="image_wrist"):
        make_policy().infer(obs)
    del obs["ee_pose"]
    with pytest.raises(DatasetError, match="ee_pose"):
        make_policy().infer(obs)


def test_lerobot_methods():
    policy = make_policy()
    batch = {f"observation.images.{c}": torch.rand(3, 3, 32, 32) for c in CONF.cameras}
    batch |= {"observation.state": torch.randn(3, 31), "task": ["a", "b", "c"]}
    assert policy.predict_action_chunk(batch).shape == (3, 16, 19)
    one = {key: value[:1] for key, value in batch.items()}
    assert policy.select_action(one).shape == (1, 19)
    batch |= {"action": torch.randn(3, 16, 19), "action_is_pad": torch.zeros(3, 16, dtype=torch.bool)}
    loss, parts = policy.train()(batch, reduction="none", generator=torch.Generator().manual_seed(0))
    mean, _ = policy(batch, generator=torch.Generator().manual_seed(0))
    assert loss.shape == parts["flow"].shape == (3,)
    assert torch.allclose(loss.mean(), mean)


@pytest.mark.parametrize("name", [CONFIG, NORMALIZER, WEIGHTS])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "garbage"])
def test_damaged_folder_is_refused(folder, name, damage):
    path = folder / name
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"truncated": data[: len(data) // 2], "empty": b"", "garbage": b"\x80\x04" + data[::-1]}[damage])
    with pytest.raises(CheckpointError, match=name.split(".")[0]):
        load_policy(folder)


@pytest.mark.parametrize(("key", "value", "text"), [
    ("action_names", ["elbow.pos"], "elbow.pos"), ("state_names", ["smell"], "smell"), ("cameras", ["top", "front"], "top"),
    ("image_size", 7, "image_size"), ("format", 99, "format"),
])  # fmt: skip
def test_changed_interface_is_refused_and_named(folder, key, value, text):
    stored = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(stored | {key: value}))
    with pytest.raises(CheckpointError, match=text):
        load_policy(folder)


def test_mismatch_with_what_is_asked_for(folder):
    assert load_policy(folder, like=CONF, normalizer=normalizer()).config == CONF
    with pytest.raises(CheckpointError, match="wrist"):
        load_policy(folder, like=replace(CONF, cameras=("front",)))
    with pytest.raises(CheckpointError, match="image_size: checkpoint 32, wanted 64"):
        load_policy(folder, like=replace(CONF, image_size=64))
    with pytest.raises(CheckpointError, match=r"arm_joint_vel\.0"):
        load_policy(folder, like=replace(CONF, state_keys=(*CONF.state_keys, "arm_joint_vel")))
    with pytest.raises(CheckpointError, match="warm-up statistics"):
        load_policy(folder, normalizer=normalizer(scale=2.0))


def test_statistics_changed_behind_the_weights(folder):
    (folder / NORMALIZER).write_text(normalizer(scale=1.01).to_json())
    with pytest.raises(CheckpointError, match="statistics"):
        load_policy(folder)


def test_weights_of_another_size_are_refused(folder, tmp_path):
    other = make_policy(replace(CONF, und_width=32)).save(tmp_path / "other")
    (folder / WEIGHTS).write_bytes((other / WEIGHTS).read_bytes())
    with pytest.raises(CheckpointError, match="shape"):
        load_policy(folder)


def test_n_exec_must_fit_the_chunk():
    with pytest.raises(ConfigError, match="n_exec"):
        make_policy(n_exec=17)


def test_simple_policies():
    obs = observation()
    assert np.allclose(HoldPolicy().act(obs, "go"), HOME, atol=1e-6)
    a, b = RandomPolicy(1), RandomPolicy(1)
    assert np.array_equal(a.act(obs, "go"), b.act(obs, "go"))
    assert not np.array_equal(a.act(obs, "go"), a.act(obs, "go"))
