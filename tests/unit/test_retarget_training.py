"""Training and calibration of the retargeting, at the smallest size that shows something."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.retarget.calibrate import clean, measure
from agents.retarget.data import Features, Frames
from agents.retarget.gestures import GESTURES, random_poses
from agents.retarget.human import AVERAGE, pose_keypoints
from agents.retarget.kinematics import Posed
from agents.retarget.losses import reach_loss
from agents.retarget.metrics import BARS, score, score_sweep
from agents.retarget.network import HandNetwork
from agents.retarget.train import TrainConfig, train_correction, train_fingers, train_thumb
from dexhil_env.errors import ConfigError
from dexhil_env.hil.retarget.keypoints import TIPS
from dexhil_env.hil.retarget.kinematics import forward
from dexhil_env.hil.retarget.network import STAGE_ONE
from dexhil_env.hil.retarget.profile import Profile


@pytest.fixture(scope="module")
def frames():
    return Frames.of(pose_keypoints(AVERAGE, random_poses(300, np.random.default_rng(0))), Profile.from_bones(AVERAGE.bones_m))


def test_later_stages_leave_the_earlier_ones_alone(frames):
    torch.manual_seed(0)
    network, rng = HandNetwork(), np.random.default_rng(0)
    config = TrainConfig(fingers=3, thumb=3, correct=3, batch=32)
    before = network.arrays()
    train_thumb(network, frames, config, rng)
    after_thumb = network.arrays()
    train_correction(network, frames, config, rng)
    after_all = network.arrays()
    changed = lambda a, b: {name.split(".")[0] for name in a if not np.array_equal(a[name], b[name])}  # noqa: E731
    assert changed(before, after_thumb) == {"residual"}
    assert changed(after_thumb, after_all) == {"correct"}
    assert not changed(before, after_all) & set(STAGE_ONE)


def test_stage_one_learns_eq_1(frames):
    torch.manual_seed(0)
    network = HandNetwork()
    features = frames.features()

    def loss():
        with torch.no_grad():
            motors = network.base(features.reach)
            return float(reach_loss(Posed(motors), motors, features.reach))

    untrained = loss()
    train_fingers(network, frames, TrainConfig(fingers=60, batch=64), np.random.default_rng(0))
    assert loss() < 0.2 * untrained


def test_balanced_frames_prefer_what_is_rare():
    points = np.tile(pose_keypoints(AVERAGE, GESTURES["open"][None]), (100, 1, 1))
    points[0] = pose_keypoints(AVERAGE, GESTURES["spread"][None])[0]
    weight = Frames.of(points, Profile.from_bones(AVERAGE.bones_m)).balanced().weight
    assert weight[0] == pytest.approx(99**0.5 * weight[1])
    assert isinstance(Frames.of(points, Profile.from_bones(AVERAGE.bones_m)).features(), Features)


def recording(*names):
    """Half a second of each: named gestures, "pinchN", or "circle" for the thumb."""
    parts = []
    for name in names:
        points = pose_keypoints(AVERAGE, GESTURES["open" if name.startswith(("pinch", "circle")) else name][None])
        points = np.tile(points, (45, 1, 1))
        if name.startswith("pinch"):
            finger = int(name[-1])
            points = np.tile(pinches()[finger], (45, 1, 1))
        if name == "circle":
            angles = np.tile(GESTURES["open"], (45, 1))
            angles[:, 0] += 0.5 * np.sin(np.linspace(0, 6, 45))
            points = pose_keypoints(AVERAGE, angles)
        parts.append(points)
    return np.concatenate(parts)


_PINCHES: dict[int, np.ndarray] = {}


def pinches():
    from agents.retarget.gestures import pinch_poses

    if not _PINCHES:
        poses = pinch_poses(AVERAGE, np.eye(4, dtype=bool), np.random.default_rng(1), 0.005, iterations=60)
        _PINCHES.update(enumerate(pose_keypoints(AVERAGE, poses)))
    return _PINCHES


WHOLE = ("open", "spread", "fist", "pinch0", "pinch1", "pinch2", "pinch3", "circle")


def test_a_calibration_measures_the_hand():
    profile = measure(clean(recording(*WHOLE)))
    np.testing.assert_allclose(profile.bones_m, AVERAGE.bones_m, rtol=1e-3)
    np.testing.assert_allclose(profile.dmax_m, AVERAGE.bones_m.sum(1), rtol=0.02)
    np.testing.assert_allclose(profile.contact_m, 0.005, atol=0.003)
    fist = pose_keypoints(AVERAGE, GESTURES["fist"][None])[0]
    np.testing.assert_allclose(profile.dmin_m[1:], np.linalg.norm(fist[TIPS[1:]] - fist[[5, 9, 13, 17]], axis=-1), rtol=0.01)


@pytest.mark.parametrize(("left_out", "word"), [("fist", "fist"), ("pinch2", "ring pinch"), ("pinch0", "index pinch")])
def test_a_calibration_without_a_gesture_is_refused(left_out, word):
    part = clean(recording(*(name for name in WHOLE if name != left_out)))
    with pytest.raises(ConfigError, match=word):
        measure(part)
    assert measure(part, strict=False).dmin_m.shape == (5,)


def test_unusable_frames_are_dropped_and_too_few_are_refused():
    points = recording(*WHOLE)
    points[3, 4] = np.nan
    points[10, 8] *= 1.5
    assert len(clean(points)) == len(points) - 2
    points[20, 8] = points[20, 7] + 1.3 * (points[20, 8] - points[20, 7])
    assert len(clean(points)) == len(points) - 3
    assert len(clean(points, strict=False)) == len(points) - 2
    with pytest.raises(ConfigError, match="usable"):
        clean(np.full((300, 21, 3), np.nan))


def test_metrics_of_a_perfect_and_of_a_stuck_hand():
    rng = np.random.default_rng(0)
    motors = np.cumsum(rng.normal(0, 0.02, (200, 12)), axis=0).clip(0, 0.3)
    points = forward(motors)
    human = np.zeros((200, 21, 3))
    human[:, [1, 5, 9, 13, 17]], human[:, TIPS] = points.roots, points.tips  # a person with the robot's own fingers
    reach = np.full(5, 0.1030776)
    profile = replace(Profile.from_bones(AVERAGE.bones_m), dmax_m=reach, dmin_m=reach * 0.0504882 / 0.1030776)
    perfect, stuck = score(human, motors, profile, 30.0), score(human, np.zeros_like(motors), profile, 30.0)
    assert perfect["direction_deg"] < 0.01
    assert perfect["extension_error"] < 1e-4
    assert perfect["motion_cos"] > 0.99
    assert stuck["direction_deg"] > 3
    assert stuck["extension_error"] > 0.003
    assert np.isnan(perfect["pinch_mm"])
    assert {bar.key: bar for bar in BARS}["direction_deg"].met(perfect["direction_deg"]) is True
    assert {bar.key: bar for bar in BARS}["motion_cos"].met(0.5) is False
    assert BARS[0].met(float("nan")) is None


def test_a_hand_that_snaps_shut_has_a_large_gain():
    profile = Profile.from_bones(AVERAGE.bones_m)
    human = np.tile(pose_keypoints(AVERAGE, GESTURES["open"][None]), (40, 1, 1))
    human[:, 8] = human[:, 4] + np.linspace(0.06, 0.005, 40)[:, None] * np.array([0, 0, 1.0])
    smooth = np.linspace(0, 1, 40)[:, None] * np.full(12, 0.5)
    snap = np.where(np.arange(40)[:, None] > 30, 0.5, 0.0) * np.ones(12)
    assert score_sweep(human, snap, 0, profile)["sweep_gain"] > 5 * score_sweep(human, smooth, 0, profile)["sweep_gain"]
