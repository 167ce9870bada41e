import numpy as np
import pytest

from dexhil_env import robot
from dexhil_env.hil.hand_map import HandAnchor
from dexhil_env.hil.mapping import ArmAnchor
from dexhil_env.transforms import from_parts, from_rotvec, inverse, matrix_pose, pose_matrix, quat_matrix, rotvec


def random_pose(rng):
    return from_parts(from_rotvec(rng.normal(size=3)), rng.normal(size=3))


@pytest.mark.parametrize("seed", range(5))
def test_eq3_leaves_the_palm_where_it_was_at_the_takeover(seed):
    rng = np.random.default_rng(seed)
    anchor = ArmAnchor(random_pose(rng))
    palm, cube = random_pose(rng), random_pose(rng)
    anchor.anchor(palm, cube)
    assert np.allclose(anchor.ee_pose(cube), palm, atol=1e-12)
    moved = random_pose(rng)
    assert np.allclose(anchor.cube_pose(anchor.ee_pose(moved)), moved, atol=1e-9)


def test_eq3_with_the_mount_turned_by_90_deg():
    # the palm's x axis is the cube's y axis: moving the cube along its own y moves the palm along its own x
    T_cube_ee = from_parts(from_rotvec(np.array([0, 0, np.pi / 2])), np.zeros(3))
    anchor = ArmAnchor(T_cube_ee)
    palm = from_parts(from_rotvec(np.array([0.3, -0.2, 0.9])), np.array([0.5, 0.1, 0.3]))
    anchor.anchor(palm, np.eye(4))
    moved = anchor.ee_pose(from_parts(np.eye(3), np.array([0, 0.1, 0])))
    assert np.allclose((inverse(palm) @ moved)[:3, 3], [0.1, 0, 0], atol=1e-12)


def test_transforms_round_trip():
    rng = np.random.default_rng(0)
    for _ in range(20):
        pose = random_pose(rng)
        assert np.allclose(pose_matrix(matrix_pose(pose)), pose, atol=1e-12)
        assert np.allclose(pose @ inverse(pose), np.eye(4), atol=1e-12)
        vector = rng.normal(size=3)
        vector *= min(1.0, 3.0 / np.linalg.norm(vector))
        assert np.allclose(rotvec(from_rotvec(vector)), vector, atol=1e-9)
    assert np.allclose(quat_matrix(np.array([1.0, 0, 0, 1.0])), [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)


def test_the_hand_does_not_move_while_the_person_holds_still():
    rng = np.random.default_rng(1)
    anchor = HandAnchor()
    q0, r0 = np.full(12, 0.2), np.full(12, 0.25)
    q0[1], r0[1] = 1.0, 0.2
    anchor.anchor(q0, r0)
    assert np.allclose(anchor.motors(r0), q0)
    drift = [np.abs(anchor.motors(r0 + rng.normal(0, 0.005, 12)) - q0).max() for _ in range(300)]
    assert max(drift) < 0.03 * 4 + 1e-9


def test_the_person_reaches_both_ends_of_the_range_and_converges_to_the_own_angles():
    anchor = HandAnchor()
    q0, r0 = robot.HAND_HIGH * 0.8, robot.HAND_HIGH * 0.2
    anchor.anchor(q0, r0)
    path = np.linspace(r0, robot.HAND_LOW, 50)
    for r in path:
        out = anchor.motors(r)
    assert np.abs(out - robot.HAND_LOW).max() < 0.02
    for r in np.linspace(robot.HAND_LOW, robot.HAND_HIGH, 200):
        out = anchor.motors(r)
    assert np.abs(out - robot.HAND_HIGH).max() < 0.02


def test_the_hand_map_is_continuous():
    anchor = HandAnchor()
    anchor.anchor(robot.HAND_HIGH * 0.7, robot.HAND_HIGH * 0.3)
    before = anchor.motors(robot.HAND_HIGH * 0.3)
    for share in np.linspace(0.3, 1.0, 400):
        after = anchor.motors(robot.HAND_HIGH * share)
        assert np.abs(after - before).max() < 0.03
        before = after
