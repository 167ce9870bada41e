"""Hand retargeting without training: frames of reference, converters, profile, inference, guard, losses."""

import itertools

import numpy as np
import pytest
import torch

from agents.retarget import losses
from agents.retarget.gestures import GESTURES, pinch_poses, random_poses, single
from agents.retarget.human import AVERAGE, HIGH, LOW, fit_shape, keypoints, pose_keypoints
from agents.retarget.kinematics import Posed, segment_distance
from agents.retarget.network import HandNetwork
from dexhil_env import robot
from dexhil_env.errors import ConfigError
from dexhil_env.hil.retarget import keypoints as kp
from dexhil_env.hil.retarget.features import REACH_MAX_M, REACH_MIN_M, contact_distance, excess, gate, nearness, reach
from dexhil_env.hil.retarget.keypoints import HandFrame, canonical
from dexhil_env.hil.retarget.kinematics import FLEXION_MAX_RAD, forward, tips
from dexhil_env.hil.retarget.network import Network, parameter_names
from dexhil_env.hil.retarget.profile import Profile
from dexhil_env.hil.retarget.retargeter import LEARN_FRAMES, HandTracker, Retargeter, shipped_weights
from dexhil_env.transforms import from_rotvec

RNG = np.random.default_rng(0)
OPEN, FIST = (pose_keypoints(AVERAGE, GESTURES[name][None])[0] for name in ("open", "fist"))


@pytest.fixture(scope="module")
def poses():
    return pose_keypoints(AVERAGE, random_poses(40, np.random.default_rng(1)))


def profile():
    return Profile.from_bones(AVERAGE.bones_m)


def test_canonical_is_idempotent_and_does_not_care_for_the_sensors_frame(poses):
    once = canonical(poses)
    np.testing.assert_allclose(canonical(once), once, atol=1e-12)
    turn, shift = from_rotvec(np.array([0.3, -2.0, 1.1])), np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(canonical(poses @ turn.T + shift), once, atol=1e-12)
    assert (np.abs(once[:, 0]) < 1e-12).all()
    assert (once[:, 9, 2] > 0.08).all()  # z points to the middle finger
    assert (once[:, 5, 1] > 0).all()  # y to the thumb
    assert FIST[8, 0] > OPEN[8, 0]  # a finger flexes towards +x


def test_a_left_hand_is_a_mirrored_right_hand(poses):
    mirrored = poses * np.array([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(canonical(mirrored, left=True), canonical(poses), atol=1e-12)
    assert not np.allclose(canonical(mirrored), canonical(poses), atol=1e-3)


def test_every_source_gives_the_same_hand():
    openxr = np.zeros((26, 3))
    order = [1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15, 17, 18, 19, 20, 22, 23, 24, 25]
    openxr[order] = OPEN
    sources = (
        kp.from_openxr(openxr, 1.5), kp.from_webxr(openxr[1:], 1.5), kp.from_mediapipe(OPEN, 1.5), kp.from_manus(openxr[1:], 1.5),
        kp.from_manus(np.vstack([openxr[1:], np.ones((1, 3))]), 1.5),
    )  # fmt: skip
    for frame in sources:
        np.testing.assert_allclose(frame.keypoints, OPEN, atol=1e-12)
        assert frame.t_s == 1.5
    with pytest.raises(ConfigError, match="OpenXR"):
        kp.from_openxr(OPEN, 0.0)


def test_recordings_are_checked(tmp_path):
    good = tmp_path / "good.npy"
    np.save(good, np.tile(OPEN, (5, 1, 1)))
    np.testing.assert_allclose(kp.load_recording(good)[2], OPEN, atol=1e-12)
    for name, content in (("mm", 1000 * np.tile(OPEN, (5, 1, 1))), ("shape", np.zeros((5, 20, 3)))):
        np.save(tmp_path / f"{name}.npy", content)
        with pytest.raises(ConfigError):
            kp.load_recording(tmp_path / f"{name}.npy")
    with pytest.raises(ConfigError, match="does not exist"):
        kp.load_recording(tmp_path / "none.npy")


def test_flexion_counts_all_joints_of_a_finger():
    np.testing.assert_allclose(np.rad2deg(kp.flexion(FIST)), 82 + 100 + 62, atol=1.0)
    assert np.rad2deg(kp.flexion(OPEN)).max() < 10


def test_torch_numpy_and_fast_kinematics_agree_and_gradients_are_right():
    motors = RNG.uniform(robot.HAND_LOW, robot.HAND_HIGH, (30, 12))
    points, posed = forward(motors), Posed(torch.as_tensor(motors, dtype=torch.float32))
    np.testing.assert_allclose(posed.tips, points.tips, atol=1e-6)
    np.testing.assert_allclose(posed.roots, points.roots, atol=1e-6)
    np.testing.assert_allclose(torch.stack(posed.capsules(), 3), points.capsules, atol=1e-6)
    np.testing.assert_allclose(tips(motors), points.tips, atol=1e-12)
    np.testing.assert_allclose(tips(motors, 1), points.tips[:, :1], atol=1e-12)
    variable = torch.as_tensor(motors[:1], dtype=torch.float32).requires_grad_()
    Posed(variable).tips.sum().backward()
    step = 1e-5 * np.eye(12)
    numeric = (forward(motors[0] + step).tips.sum((1, 2)) - forward(motors[0] - step).tips.sum((1, 2))) / 2e-5
    np.testing.assert_allclose(variable.grad[0], numeric, atol=1e-5)


def test_reach_of_the_robot_is_that_of_its_kinematics():
    closed, straight = forward(robot.HAND_HIGH), forward(robot.HAND_LOW)
    np.testing.assert_allclose(np.linalg.norm(closed.tips - closed.roots, axis=-1)[1:], REACH_MIN_M, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(straight.tips - straight.roots, axis=-1)[1:], REACH_MAX_M, atol=1e-9)
    assert np.rad2deg(FLEXION_MAX_RAD) == pytest.approx(223.45, abs=0.01)


def test_distance_of_segments_against_a_dense_search():
    ends = RNG.normal(size=(40, 4, 3))
    t = np.linspace(0, 1, 201)
    for p0, p1, q0, q1 in ends:
        one, other = p0 + t[:, None] * (p1 - p0), q0 + t[:, None] * (q1 - q0)
        dense = np.linalg.norm(one[:, None] - other[None], axis=-1).min()
        exact = float(segment_distance(*(torch.as_tensor(point) for point in (p0, p1, q0, q1))))
        assert dense - 0.02 <= exact <= dense + 1e-6


def test_a_straight_finger_asks_for_a_straight_one_and_a_fist_for_a_closed_one():
    known = profile()
    assert np.linalg.norm(reach(OPEN, known), axis=-1)[1:].min() > 10 * REACH_MAX_M * 0.985
    distance = np.linalg.norm(kp.root_to_tip(FIST), axis=-1)
    fist = Profile(known.bones_m, known.dmax_m, np.where(np.arange(5) == 0, known.dmin_m, distance), known.contact_m)
    np.testing.assert_allclose(np.linalg.norm(reach(FIST, fist), axis=-1)[1:], 10 * REACH_MIN_M, rtol=1e-6)
    human, asked = kp.root_to_tip(FIST), reach(FIST, fist)
    np.testing.assert_allclose(np.cross(human, asked), 0, atol=1e-9)  # only the length changes


def test_features_do_not_know_the_size_of_the_hand(poses):
    small, large = (Profile.from_bones(scale * AVERAGE.bones_m) for scale in (0.85, 1.15))
    np.testing.assert_allclose(reach(0.85 * poses, small), reach(1.15 * poses, large), atol=1e-9)


def test_contact_is_flat_monotonic_and_gated():
    over = np.linspace(0, 0.1, 200)
    wanted = contact_distance(over)
    assert wanted[0] == 0
    assert wanted[4] < 0.25 * over[4]
    assert (np.diff(wanted) > 0).all()
    assert gate(np.array([0.0, 0.02, 0.05])).tolist() == pytest.approx([1.0, gate(np.array([0.02]))[0], 0.0])
    weight = nearness(np.array([0.001, 0.001, 0.03, 0.09]))
    assert weight[0] == weight[1] > 20
    assert weight[1] > 10 * weight[2]
    assert weight[2] >= weight[3] >= 1


def test_numpy_inference_is_the_torch_network(poses):
    torch.manual_seed(0)
    network = HandNetwork()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    known = profile()
    vectors, over = excess(poses, known)
    parts = [part.astype(np.float32) for part in (reach(poses, known), vectors, nearness(over), gate(np.abs(over) / 3))]
    for correct in (True, False):
        with torch.no_grad():
            expected = network(*(torch.as_tensor(part) for part in parts), correct=correct).numpy()
        np.testing.assert_allclose(Network(network.arrays(), correct=correct)(*parts), expected, atol=1e-5)
    assert set(network.arrays()) == set(parameter_names())


def test_missing_or_wrong_weights_are_refused():
    weights = shipped_weights()
    with pytest.raises(ConfigError, match=r"finger\.w0"):
        Network({name: value for name, value in weights.items() if name != "finger.w0"})
    with pytest.raises(ConfigError, match=r"thumb\.b0"):
        Network(weights | {"thumb.b0": np.zeros((1, 1, 3), np.float32)})


def test_shipped_weights_open_close_and_pinch():
    retargeter = Retargeter.load()
    opened, closed = retargeter(OPEN), Retargeter.load(profile())(FIST)
    assert opened[4:].max() < 0.15
    assert closed[4:].min() > 0.9
    pinch = pinch_poses(AVERAGE, single(0, 1), np.random.default_rng(0), 0.004, iterations=60)
    frame = pose_keypoints(AVERAGE, pinch)
    known = profile()
    known = Profile(known.bones_m, known.dmax_m, known.dmin_m, np.full(4, 0.004))
    tip = forward(Retargeter.load(known).batch(frame)[0]).tips
    assert np.linalg.norm(tip[1] - tip[0]) < 0.010


def test_commands_stay_within_the_motors_ranges_whatever_comes_in():
    wild = RNG.normal(0, 0.2, (200, 21, 3))
    motors = Retargeter.load(profile()).batch(wild)
    assert (motors >= robot.HAND_LOW).all()
    assert (motors <= robot.HAND_HIGH + 1e-6).all()


def test_one_frame_and_a_batch_are_the_same(poses):
    retargeter = Retargeter.load(profile())
    np.testing.assert_allclose(retargeter(poses[3]), retargeter.batch(poses)[3], atol=1e-6)
    assert not np.allclose(retargeter.batch(poses), Retargeter.load(profile(), paper=True).batch(poses))


def test_an_unknown_hand_is_measured_on_the_way():
    retargeter = Retargeter.load()
    for _ in range(LEARN_FRAMES + 5):
        retargeter(1.1 * OPEN + RNG.normal(0, 0.0002, OPEN.shape))
    np.testing.assert_allclose(retargeter.profile.bones_m, 1.1 * AVERAGE.bones_m, rtol=0.01)
    frozen = retargeter.profile
    retargeter(0.8 * OPEN)
    assert retargeter.profile is frozen


def test_profile_survives_the_disk_and_refuses_nonsense(tmp_path):
    known = Profile(
        AVERAGE.bones_m, np.full(5, 0.09), np.full(5, 0.03), np.full(4, 0.005), {"residual.b0": np.ones((1, 1, 64), np.float32)}
    )
    known.save(tmp_path / "p.npz")
    again = Profile.load(tmp_path / "p.npz")
    np.testing.assert_array_equal(again.contact_m, known.contact_m)
    np.testing.assert_array_equal(again.weights["residual.b0"], known.weights["residual.b0"])
    with pytest.raises(ConfigError, match="does not exist"):
        Profile.load(tmp_path / "other.npz")
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(ConfigError, match="not a hand profile"):
        Profile.load(tmp_path / "bad.npz")
    with pytest.raises(ConfigError, match="dmin"):
        Profile(AVERAGE.bones_m, np.full(5, 0.09), np.full(5, 0.08), np.full(4, 0.005))


def test_the_guard_holds_the_last_command_and_limits_the_speed():
    tracker = HandTracker(Retargeter.load(profile()))
    frame = lambda points, tick: HandFrame(points, tick / 90)  # noqa: E731
    first = tracker.update(frame(OPEN, 0))
    gap, longer, jump = OPEN.copy(), OPEN.copy(), OPEN + np.array([0.0, 0.0, 0.2])  # the last keeps its bones
    gap[3, 1] = np.nan
    longer[8] += [0, 0, 0.01]
    for tick, bad in enumerate((gap, longer, jump), start=1):
        np.testing.assert_array_equal(tracker.update(frame(bad, tick)), first)
    assert tracker.refused == 3
    commands = [tracker.update(frame(FIST, tick)) for tick in range(4, 60)]
    speed = np.abs(np.diff([first, *commands], axis=0))
    assert speed[1:].max() <= robot.HAND_MAX_VELOCITY.max() / 90 + 1e-9
    np.testing.assert_allclose(commands[-1], Retargeter.load(profile())(FIST), atol=1e-6)


def test_a_tracker_starts_from_the_last_target_and_opens_when_it_never_saw_a_hand():
    tracker = HandTracker(Retargeter.load(profile()))
    np.testing.assert_array_equal(tracker.update(HandFrame(np.full((21, 3), np.nan), 0.0)), robot.HAND_HOME)
    tracker.reset(robot.HAND_HIGH)
    np.testing.assert_array_equal(tracker.update(HandFrame(OPEN, 0.0)), robot.HAND_HIGH)
    assert np.abs(tracker.update(HandFrame(OPEN, 1 / 90)) - robot.HAND_HIGH).max() <= 4 / 90 + 1e-9


def test_losses_have_finite_gradients_at_contact():
    motors = torch.zeros(3, 12, requires_grad=True)
    posed = Posed(motors)
    zero, over = torch.zeros(3, 4, 3), torch.zeros(3, 4)
    loss = losses.kin_loss(posed, zero, torch.ones(3, 4)) + losses.pinch_loss(posed, over)
    loss = loss + losses.contact_loss(posed.gaps(), zero, over) + losses.clear_loss(posed.gaps())
    loss = (
        loss
        + losses.reach_loss(posed, motors, torch.zeros(3, 5, 3))
        + losses.direction_loss(posed.tips[:, 0], posed.tips[:, 0], zero[:, 0])
    )
    loss.backward()
    assert torch.isfinite(motors.grad).all()
    with pytest.raises(ConfigError):
        losses.LossWeights(pinch=-1.0)


def test_the_human_hand_keeps_its_bones_and_its_pinches_touch():
    poses = random_poses(50, RNG)
    points = pose_keypoints(AVERAGE, poses)
    np.testing.assert_allclose(kp.bone_lengths(points), np.tile(AVERAGE.bones_m, (50, 1, 1)), atol=1e-9)
    assert ((poses >= LOW) & (poses <= HIGH)).all()
    np.testing.assert_allclose(fit_shape(points).palm_m, AVERAGE.palm_m, atol=1e-9)
    pinch = pinch_poses(AVERAGE, np.repeat(np.eye(4, dtype=bool)[:3], 2, axis=0), RNG, 0.005)
    distance = [np.linalg.norm(frame[8 + 4 * (row // 2)] - frame[4]) for row, frame in enumerate(pose_keypoints(AVERAGE, pinch))]
    np.testing.assert_allclose(distance, 0.005, atol=0.003)
    for a, b in itertools.pairwise(GESTURES.values()):
        assert not np.allclose(a, b)
    assert keypoints(AVERAGE, torch.zeros(2, 21)).shape == (2, 21, 3)
