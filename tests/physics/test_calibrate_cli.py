"""Calibration with a robot's file, a person and devices that are made of formulas."""

import shutil
import tomllib
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from dexhil_env.assets import asset_path
from dexhil_env.errors import ConfigError, DeviceError
from dexhil_env.sim.scene import CameraConfig
from dexhil_env.transforms import from_parts, inverse
from real.calibrate import cli
from real.calibrate.boards import BOARDS
from real.calibrate.collect import Collector
from real.calibrate.lens import Lens
from real.calibrate.report import scene_camera
from real.calibrate.stored import read_calibration, replace_section, save
from real.camera_sources import CameraConfig as RealCamera
from real.config import RealConfig, load_config
from real.fr3_config import FR3Config
from tests.unit import calibration_rig as rig


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """A scene made of formulas stands still at once."""
    monkeypatch.setattr("real.calibrate.collect.STILL_S", 0.0)


# ---- the robot's file ------------------------------------------------------------------------------------------------------------


def test_a_calibration_is_written_read_and_replaced_and_nothing_else_changes(tmp_path):
    path = tmp_path / "lab.toml"
    shutil.copy(asset_path("real", "lab.toml"), path)
    before = path.read_text()
    for camera in ("front", "wrist"):
        save(rig.made(camera), path)
    assert path.read_text().startswith(before)
    save(replace(rig.made("front"), rms_px=0.9), path)
    assert path.read_text().startswith(before)
    assert path.read_text().count("[calibration.front]") == 1
    stored = load_config(path).calibration
    for camera in ("front", "wrist"):
        found = read_calibration(stored, camera)
        rig.near(found.pose, rig.TRUTH[camera], mm=0.01, deg=0.001)
        assert found.lens == rig.LENSES[camera]
        assert (found.views, found.date) == (14, date(2026, 2, 3))
    assert read_calibration(stored, "front").rms_px == 0.9
    assert read_calibration({}, "front") is None


def test_a_section_in_the_middle_is_replaced_in_place():
    text = "# mine\r\na = 1\r\n[calibration.front]  # old\r\nT = [\r\n  1, 2]\r\n\r\n# about b\r\n[b]\r\nx = 2  # keep\r\n"
    wanted = "# mine\r\na = 1\r\n[calibration.front]\r\nz = 3\r\n\r\n# about b\r\n[b]\r\nx = 2  # keep\r\n"
    assert replace_section(text, "calibration.front", ["[calibration.front]", "z = 3"]) == wanted
    assert replace_section("a = 1", "c", ["[c]"]) == "a = 1\n\n[c]\n"


def test_a_file_that_cannot_be_changed_safely_is_left_alone(tmp_path):
    path = tmp_path / "lab.toml"
    for text, message in (
        ("calibration = {front = {x = 1}}\n", "section of its own"),
        ("a = [", "cannot read"),
        ('[calibration.front]\nT = [\n[1, 2],\n]\n[arm]\naddress = "x"\n', "section of its own|other settings"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            save(rig.made(), path)
        assert path.read_text() == text
    with pytest.raises(ConfigError, match="cannot read"):
        save(rig.made(), tmp_path / "missing.toml")


@pytest.mark.parametrize(
    ("key", "value"), [("intrinsics", [1, 2, 3]), ("T_base_front", "x"), ("typo", 1), ("intrinsics", [-1.0, 1.0, 3.0, 4.0])]
)
def test_a_damaged_calibration_is_refused(key, value):
    table = tomllib.loads("\n".join(rig.made().lines()))["calibration"]
    table["front"][key] = value
    with pytest.raises(ConfigError, match=r"calibration\.front"):
        read_calibration(table, "front")


@pytest.mark.parametrize("camera", ["front", "wrist"])
def test_the_twin_gets_the_same_camera(camera):
    position, look_at, up = scene_camera(rig.made(camera))
    twin = rig.scene_pose(CameraConfig(tuple(position), tuple(look_at), tuple(up)))
    T_base_ee = from_parts(np.eye(3), np.array([0, 0, 0.11 if camera == "wrist" else 0.0]))
    rig.near(twin, T_base_ee @ rig.TRUTH[camera], mm=1e-6, deg=1e-4)
    assert rig.made("front").lens.fovy_square_deg == pytest.approx(2 * np.degrees(np.arctan(240 / 566)))


# ---- with devices, all made of formulas --------------------------------------------------------------------------------------


def robot_with(camera, lens) -> RealConfig:
    calibration = tomllib.loads("\n".join(replace(rig.made(camera), lens=lens).lines()))["calibration"]
    return RealConfig(FR3Config("x"), cameras=(RealCamera(camera, "opencv", 0),), calibration=calibration)


def desk(eye, arm, answers):
    said, replies = [], iter(answers)

    def ask(text):
        said.append(text)
        return next(replies)

    made_desk = cli.Desk(lambda config, name, stack: eye, lambda config, stack: arm, ask, said.append)
    return made_desk, said


SHARP = replace(rig.LENS, fx=850.0, fy=850.0, cx=639.5, cy=359.5, width=1280, height=720, distortion=(0.0,) * 5)
SHARP_WRIST = replace(rig.WRIST_LENS, cx=319.5, cy=239.5, distortion=(0.0,) * 5)


@pytest.mark.parametrize(("camera", "lens", "start"), [("front", SHARP, rig.FRONT_START), ("wrist", SHARP_WRIST, rig.WRIST_START)])
def test_an_arm_that_moves_by_itself_calibrates_from_pictures(camera, lens, start, monkeypatch, tmp_path):
    arm = rig.FormulaArm(start)
    eye = rig.FormulaEye(camera, lens, arm)
    table, _ = desk(eye, arm, ["", "yes"])
    found = cli.run(robot_with(camera, lens), cli.Options(camera, views=12, move=True, pictures=tmp_path), table)
    rig.near(found.pose, rig.TRUTH[camera])
    assert found.rms_px < 0.5
    assert arm.recovered == 1
    np.testing.assert_allclose(arm.q, start)
    assert len(list((tmp_path / camera).glob("*.png"))) >= 8


def test_nothing_moves_without_a_typed_yes(monkeypatch):
    arm = rig.FormulaArm(rig.FRONT_START)
    table, _ = desk(rig.FormulaEye("front", SHARP, arm), arm, ["", "y"])
    with pytest.raises(DeviceError, match="no 'yes'"):
        cli.run(robot_with("front", SHARP), cli.Options("front", move=True), table)
    assert arm.homed == []
    assert arm.recovered == 0


def test_a_person_guides_the_arm_and_bad_moments_are_not_taken(monkeypatch):
    monkeypatch.setattr("real.calibrate.collect.PATIENCE_S", 0.3)
    arm = rig.FormulaArm(rig.WRIST_START)
    eye = rig.FormulaEye("wrist", SHARP_WRIST, arm)
    moments = ["covered", "restless", *rig.POSES["wrist"][:10], "done"]
    said = []

    def ask(text):
        said.append(text)
        moment = moments[len([line for line in said if line.startswith("[")]) - 1]
        eye.covered, arm.restless = (
            isinstance(moment, str) and moment == "covered",
            0.01 * (isinstance(moment, str) and moment == "restless"),
        )
        if not isinstance(moment, str):
            arm.q = moment
        return "d" if isinstance(moment, str) and moment == "done" else ""

    table = cli.Desk(lambda config, name, stack: eye, lambda config, stack: arm, ask, said.append)
    found = cli.run(robot_with("wrist", SHARP_WRIST), cli.Options("wrist", views=30), table)
    rig.near(found.pose, rig.T_EE_WRIST)
    assert found.views == 10
    text = "\n".join(str(line) for line in said)
    assert "board is not seen" in text
    assert "the arm does not stand still" in text
    assert arm.homed == [], "the arm is only read"


def test_a_lens_is_measured_when_the_file_has_none_or_another_picture_size(monkeypatch):
    poses = iter(rig.shown(count=40))
    T_base_board = cli.board_on_table(rig.BOARD_AT)
    eye = rig.FormulaEye("front", replace(SHARP, fx=565.0, fy=565.0, cx=319.5, cy=239.5, width=640, height=480), None, "table")
    eye.pose = next(poses)

    def ask(text):
        eye.pose = next(poses) if "/12" in text else inverse(rig.T_BASE_FRONT) @ T_base_board
        return ""

    said = []
    table = cli.Desk(lambda config, name, stack: eye, lambda config, stack: pytest.fail("no arm is needed"), ask, said.append)
    found = cli.run(robot_with("front", SHARP), cli.Options("front", board_at=rig.BOARD_AT), table)
    assert found.lens.fx == pytest.approx(565.0, rel=0.01)
    rig.near(found.pose, rig.T_BASE_FRONT, mm=12.0, deg=0.8)
    assert found.lens.width == 640


@pytest.mark.parametrize("wrong", [{"camera": "wrist", "board_at": (0, 0, 0, 0)}, {"board_at": (0, 0, 0, 0), "move": True}, {"views": 3}])
def test_options_that_make_no_sense(wrong):
    with pytest.raises(ConfigError, match="--"):
        cli.Options(**wrong)


def test_a_camera_that_sends_nothing_new_is_named(monkeypatch):
    monkeypatch.setattr("real.calibrate.collect.PATIENCE_S", 0.1)
    eye = rig.FormulaEye("front", SHARP, rig.FormulaArm(rig.FRONT_START))
    old = eye.frame()
    eye.frame = lambda: old
    with pytest.raises(DeviceError, match="no new picture"):
        Collector(eye, BOARDS["hand"], lambda text: "", lambda text: None, still_s=0.0).table(1)


def test_lens_values_that_make_no_sense():
    with pytest.raises(ConfigError, match="principal point"):
        Lens(640, 480, 500.0, 500.0, 900.0, 240.0)
    with pytest.raises(ConfigError, match="fx"):
        Lens(640, 480, 0.0, 500.0, 320.0, 240.0)
