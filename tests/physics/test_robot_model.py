"""The robot of the twin: kinematics against the makers' tables, masses, coupling, gravity compensation, cheap to draw."""

import sys
import types

import mujoco
import numpy as np
import pytest

from dexhil_env import robot
from dexhil_env.assets import asset_path
from dexhil_env.errors import AssetError, ConfigError
from dexhil_env.sim.scene import CameraConfig, SceneConfig, build_model


class EmptyTable:
    name, timestep_s = "empty", 0.005

    def add_to(self, spec):
        pass


@pytest.fixture(scope="module")
def model():
    return build_model(EmptyTable(), SceneConfig())


def posed(model, arm=robot.ARM_HOME, motors=robot.HAND_HOME):
    data = mujoco.MjData(model)
    set_pose(model, data, arm, motors)
    return data


def set_pose(model, data, arm, motors):
    for name, value in zip(robot.ARM_JOINTS, arm, strict=True):
        data.joint(name).qpos[0] = value
    for name, value in zip(robot.HAND_JOINTS, robot.coupling_matrix() @ motors, strict=True):
        data.joint(name).qpos[0] = value
    data.ctrl[:] = np.concatenate([arm, motors])
    mujoco.mj_forward(model, data)


def fr3_flange(q):
    """Forward kinematics from Franka's published (modified) Denavit-Hartenberg table."""
    a, d = (0, 0, 0, 0.0825, -0.0825, 0, 0.088), (0.333, 0, 0.316, 0, 0.384, 0, 0)
    alpha = np.array([0, -1, 1, 1, -1, 1, 1]) * np.pi / 2
    T = np.eye(4)
    for ai, di, al, th in zip(a, d, alpha, q, strict=True):
        ca, sa, ct, st = np.cos(al), np.sin(al), np.cos(th), np.sin(th)
        T = T @ np.array([[ct, -st, 0, ai], [st * ca, ct * ca, -sa, -di * sa], [st * sa, ct * sa, ca, di * ca], [0, 0, 0, 1]])
    return T @ np.block([[np.eye(3), np.array([[0], [0], [0.107]])], [np.zeros((1, 3)), np.ones((1, 1))]])


def test_flange_pose_equals_frankas_dh_table(model):
    rng = np.random.default_rng(0)
    data = mujoco.MjData(model)
    for _ in range(20):
        q = rng.uniform(robot.ARM_LOW, robot.ARM_HIGH)
        set_pose(model, data, q, robot.HAND_HOME)
        expected = fr3_flange(q)
        np.testing.assert_allclose(data.site("flange").xpos, expected[:3, 3], atol=1e-9)
        np.testing.assert_allclose(data.site("flange").xmat.reshape(3, 3), expected[:3, :3], atol=1e-9)


def test_hand_points_and_axes_in_its_own_frame(model):
    data = posed(model)
    base = data.body("right_hand_base")
    R = base.xmat.reshape(3, 3)
    inside = lambda point: R.T @ (point - base.xpos)  # noqa: E731
    assert inside(data.site("tip_3").xpos)[2] == pytest.approx(0.2934, abs=1e-4)  # 173.4 + 17 + 43 + 25 + 35 mm
    np.testing.assert_allclose(inside(data.site("ee").xpos), [0, 0, 0.11], atol=1e-9)
    np.testing.assert_allclose(data.site("ee").xmat.reshape(3, 3), R, atol=1e-9)
    np.testing.assert_allclose(R.T @ data.joint("r_f_joint1_1").xaxis, [-0.22, 0.208, -0.953], atol=2e-3)
    for finger in "2345":
        np.testing.assert_allclose(R.T @ data.joint(f"r_f_joint{finger}_2").xaxis, [0, 1, 0], atol=1e-4)
    assert inside(data.site("tip_2").xpos)[1] > 0.03  # the index is on the +y side
    bent = posed(model, motors=np.where(np.arange(12) == 4, 1.0, 0.0))
    toward_palm = R.T @ (bent.site("tip_2").xpos - data.site("tip_2").xpos)
    assert toward_palm[0] > 0.05  # flexion goes to the palm's side, +x


def test_mount_turns_the_hand_about_the_flange(model):
    turned = build_model(EmptyTable(), SceneConfig(mount_yaw_deg=90, mount_offset_m=0.02))
    for scene, yaw, offset in ((model, 180, 0.0), (turned, 90, 0.02)):
        data = posed(scene)
        flange, base = data.site("flange"), data.body("right_hand_base")
        R = flange.xmat.reshape(3, 3)
        np.testing.assert_allclose(R.T @ (base.xpos - flange.xpos), [0, 0, offset], atol=1e-9)
        x = (R.T @ base.xmat.reshape(3, 3))[:, 0]
        np.testing.assert_allclose(x, [np.cos(np.radians(yaw)), np.sin(np.radians(yaw)), 0], atol=1e-9)


def test_masses(model):
    mass = {model.body(i).name: model.body_mass[i] for i in range(model.nbody)}
    arm = sum(value for name, value in mass.items() if name.startswith("fr3"))
    hand = sum(value for name, value in mass.items() if not name.startswith("fr3") and name != "world")
    assert arm == pytest.approx(2.3966 + 15.4948, abs=1e-3)  # link 0 and links 1 to 7 of franka_description [kg]
    assert hand == pytest.approx(1.0, abs=0.002)


def test_order_limits_and_forces_of_the_motors(model):
    assert tuple(model.actuator(i).name for i in range(model.nu)) == (*robot.ARM_JOINTS, *robot.HAND_MOTORS)
    np.testing.assert_allclose(model.actuator_ctrlrange, np.stack([robot.LOW, robot.HIGH], axis=1))
    np.testing.assert_allclose(model.actuator_forcerange[:7, 1], robot.ARM_MAX_TORQUE)
    np.testing.assert_allclose(model.actuator_forcerange[7:, 1], 1.0)
    for name, low, high in zip(robot.ARM_JOINTS, robot.ARM_LOW, robot.ARM_HIGH, strict=True):
        np.testing.assert_allclose(model.joint(name).range, [low, high])
    for motor, high in zip(robot.HAND_MOTORS, robot.HAND_HIGH, strict=True):
        for joint, ratio in robot.COUPLING[motor]:
            np.testing.assert_allclose(model.joint(joint).range, [0, ratio * high])


def test_one_motor_moves_its_joints_in_the_ratio_of_the_hand(model):
    motors = np.array([0.3, 0.2, 0.3, 0.25, 0.6, 0.5, 0.4, 0.7, 0.8, 0.3, 0.5, 0.6])
    data = posed(model, motors=np.zeros(12))
    data.ctrl[7:] = motors
    mujoco.mj_step(model, data, 300)
    reached = np.array([data.joint(robot.COUPLING[name][0][0]).qpos[0] for name in robot.HAND_MOTORS])
    joints = np.array([data.joint(name).qpos[0] for name in robot.HAND_JOINTS])
    np.testing.assert_allclose(reached, motors, atol=0.01)
    np.testing.assert_allclose(joints, robot.coupling_matrix() @ reached, atol=0.005)


@pytest.mark.parametrize("arm", [robot.ARM_HOME, np.add(robot.ARM_HOME, [0.4, 0.7, -0.3, 0.3, 0.2, -0.4, 0.5])])
def test_gravity_is_compensated(model, arm):
    def static_error(scene):
        data = posed(scene, arm)
        mujoco.mj_step(scene, data, 200)
        return np.abs([data.joint(name).qpos[0] - value for name, value in zip(robot.ARM_JOINTS, arm, strict=True)]).max()

    heavy = build_model(EmptyTable(), SceneConfig())
    heavy.body_gravcomp[:] = 0.0
    assert static_error(model) < np.radians(0.02)
    assert static_error(heavy) > np.radians(0.1)  # the control: without compensation the servo sags


def test_nothing_touches_at_home(model):
    assert posed(model).ncon == 0


def test_fingers_meet_thumb_and_table_but_not_each_other(model):
    data = posed(model, motors=np.array([0.9, 1.0, 0.6, 0, 1.2, 0.6, 1.2, 0.6, 1.2, 0.6, 1.2, 0.6]))
    names = {frozenset((model.geom(int(a)).name.split("_")[0], model.geom(int(b)).name.split("_")[0])) for a, b in data.contact.geom}
    assert any("thumb" in pair for pair in names)
    assert all("thumb" in pair for pair in names)
    low = posed(model, arm=np.add(robot.ARM_HOME, [0, 0.75, 0, 0, 0, 0, 0]))
    touched = {model.geom(int(g)).name for pair in low.contact.geom for g in pair}
    assert "table" in touched
    assert any("distal" in name for name in touched)


def test_the_scene_is_cheap_to_draw(model):  # 14,000 triangles: 2 ms for a pair of 128 px images on one core
    quality = model.vis.quality
    slices, stacks, quads = quality.numslices, quality.numstacks, quality.numquads
    disk = slices + 2 * slices * (stacks - 1)
    tube = 2 * slices * stacks
    cost = {
        mujoco.mjtGeom.mjGEOM_CYLINDER: tube + 2 * disk,
        mujoco.mjtGeom.mjGEOM_CAPSULE: tube + 2 * slices * (2 * stacks - 1),
        mujoco.mjtGeom.mjGEOM_BOX: 12 * quads**2,
        mujoco.mjtGeom.mjGEOM_PLANE: 2 * quads**2,
    }
    visible = [int(model.geom_type[i]) for i in range(model.ngeom) if model.geom_group[i] < 3]
    assert sum({int(key): value for key, value in cost.items()}[kind] for kind in visible) < 15_000
    assert quality.shadowsize == 0
    assert not model.light_castshadow.any()


def test_cameras_look_where_they_are_told(model):
    data = posed(model)
    camera = SceneConfig().front
    toward = np.subtract(camera.look_at_m, camera.position_m)
    np.testing.assert_allclose(-data.camera("front").xmat.reshape(3, 3)[:, 2], toward / np.linalg.norm(toward), atol=1e-6)
    assert data.camera("front").xmat.reshape(3, 3)[2, 1] > 0.5  # up is up


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SceneConfig(mount_offset_m=-0.1),
        lambda: SceneConfig(skin="gold"),
        lambda: SceneConfig(offsamples=3),
        lambda: CameraConfig((0, 0, 1), (0, 0, 0)),
        lambda: CameraConfig((0, 1, 1), (0, 0, 0), fovy_deg=0),
    ],
)
def test_wrong_scenes_are_refused(wrong):
    with pytest.raises(ConfigError, match="must"):
        wrong()


FAKE_FR3 = """<mujoco><compiler meshdir="meshes"/><asset><material name="white" rgba="1 1 1 1"/><mesh file="link_a.obj"/></asset><worldbody>
<body name="base"><body name="fr3_link0"><geom type="mesh" mesh="link_a" material="white" group="2"/>
<geom type="box" size=".1 .1 .1" group="3"/></body></body></worldbody></mujoco>"""
TETRAHEDRON = "v 0 0 0\nv .1 0 0\nv 0 .1 0\nv 0 0 .1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"


def fake_menagerie(folder, broken=False):
    (folder / "meshes").mkdir()
    (folder / "meshes" / "link_a.obj").write_text(TETRAHEDRON)
    (folder / "fr3.xml").write_text(FAKE_FR3)

    class Robot:
        def spec(self, entry):
            if broken:
                raise OSError("no network")
            return mujoco.MjSpec.from_file(str(folder / f"{entry}.xml"))

    return types.SimpleNamespace(get=lambda name: Robot(), MenagerieError=RuntimeError)


def test_meshes_of_another_package_change_the_looks_and_not_the_physics(model, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", fake_menagerie(tmp_path))
    dressed = build_model(EmptyTable(), SceneConfig(skin="menagerie"))
    arm = [
        i for i in range(dressed.ngeom) if dressed.body(int(dressed.geom_bodyid[i])).name.startswith("fr3") and dressed.geom_group[i] == 2
    ]
    assert [int(dressed.geom_type[i]) for i in arm] == [int(mujoco.mjtGeom.mjGEOM_MESH)]
    np.testing.assert_array_equal(dressed.body_mass, model.body_mass)
    np.testing.assert_array_equal(dressed.geom_contype.sum(), model.geom_contype.sum())


def test_a_skin_that_cannot_be_had_is_explained(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", fake_menagerie(tmp_path, broken=True))
    with pytest.raises(AssetError, match="no network"):
        build_model(EmptyTable(), SceneConfig(skin="menagerie"))
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", None)
    with pytest.raises(ConfigError, match="pip install"):
        build_model(EmptyTable(), SceneConfig(skin="menagerie"))


def test_a_missing_model_file_is_named():
    assert asset_path("fr3", "fr3.xml").is_file()
    with pytest.raises(AssetError, match="nowhere"):
        asset_path("fr3", "nowhere.xml")
