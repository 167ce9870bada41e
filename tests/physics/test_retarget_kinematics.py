"""The closed-form kinematics of the retargeting against the hand of the twin in MuJoCo."""

import mujoco
import numpy as np
import pytest

from dexhil_env import robot
from dexhil_env.hil.retarget.kinematics import FINGERS, PALM_M, PALM_RADIUS_M, RADIUS_M, forward
from dexhil_env.sim.scene import SceneConfig, build_spec

POINT_TOLERANCE_M = 1e-5
LINKS = ("proximal", "middle", "distal")


@pytest.fixture(scope="module")
def twin():
    model = build_spec(SceneConfig()).compile()
    return model, mujoco.MjData(model)


def pose(twin, motors):
    model, data = twin
    for name, value in zip(robot.HAND_JOINTS, robot.coupling_matrix() @ motors, strict=True):
        data.joint(name).qpos[0] = value
    mujoco.mj_kinematics(model, data)
    base = data.body("right_hand_base")
    return lambda point: base.xmat.reshape(3, 3).T @ (point - base.xpos)


def random_motors(count):
    return np.random.default_rng(0).uniform(robot.HAND_LOW, robot.HAND_HIGH, (count, 12))


def test_tips_and_roots_are_where_mujoco_puts_them(twin):
    _, data = twin
    for motors in random_motors(50):
        inside, points = pose(twin, motors), forward(motors)
        for finger in range(5):
            np.testing.assert_allclose(points.tips[finger], inside(data.site(f"tip_{finger + 1}").xpos), atol=POINT_TOLERANCE_M)
            np.testing.assert_allclose(points.roots[finger], inside(data.body(f"r_f_link{finger + 1}_2").xpos), atol=POINT_TOLERANCE_M)


def test_capsules_are_those_of_the_model(twin):
    model, data = twin
    for motors in random_motors(20):
        inside, points = pose(twin, motors), forward(motors)
        for finger, name in enumerate(FINGERS):
            for link, part in enumerate(LINKS):
                geom = data.geom(f"{name}_{part}")
                radius, half = model.geom(f"{name}_{part}").size[:2]
                centre, axis = inside(geom.xpos), points.capsules[finger, link, 1] - points.capsules[finger, link, 0]
                np.testing.assert_allclose(points.capsules[finger, link].mean(0), centre, atol=POINT_TOLERANCE_M)
                assert np.linalg.norm(axis) == pytest.approx(2 * half, abs=POINT_TOLERANCE_M)
                assert radius == RADIUS_M[link]
                along = inside(geom.xpos + geom.xmat.reshape(3, 3)[:, 2]) - centre
                assert abs(along @ axis) == pytest.approx(np.linalg.norm(axis), abs=POINT_TOLERANCE_M)


def test_palm_capsules_are_those_of_the_model(twin):
    model, data = twin
    inside = pose(twin, robot.HAND_HOME)
    for index, ends in enumerate(PALM_M):
        np.testing.assert_allclose(ends.mean(0), inside(data.geom(f"palm_{index + 1}").xpos), atol=POINT_TOLERANCE_M)
        radius, half = model.geom(f"palm_{index + 1}").size[:2]
        assert (radius, 2 * half) == (PALM_RADIUS_M, pytest.approx(np.linalg.norm(ends[1] - ends[0])))


def test_a_batch_is_the_same_as_one_by_one():
    motors = random_motors(6).reshape(2, 3, 12)
    np.testing.assert_allclose(forward(motors).tips[1, 2], forward(motors[1, 2]).tips, atol=1e-12)
