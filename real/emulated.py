"""The settings with which the lab's drivers use an emulated robot."""

from dataclasses import replace
from typing import Any, Final

from dexhil_env.errors import ConfigError
from real.camera_sources import CameraConfig
from real.config import RealConfig, SessionConfig
from real.dexhand_config import DexHandConfig
from real.emulator.control_messages import TwinDescription
from real.emulator.emulator_config import EmulatorConfig
from real.fr3_config import FR3Config

HOME_SPEED: Final = 0.3
"""Nobody stands beside an emulated robot."""
_WAITING: Final = {"dead_man_s": 0.3, "dead_man_stop_s": 2.0}
_COLLISION: Final = {"collision_torque": 70.0, "collision_force": 150.0}
"""The twin's rigid table and fingers knock harder than a lab's: an expert's grasp of the toy gives peaks of 42 Nm at joint 2."""
_SOFT: Final[dict[str, Any]] = {
    "stiffness": (400.0, 400.0, 400.0, 400.0, 100.0, 80.0, 30.0),
    "max_error": (0.1, 0.1, 0.1, 0.1, 0.05, 0.06, 0.15),
}
"""For the same reason: with the default gains three of eight such grasps drive the wrist beyond its 12 Nm, with these none of eight."""
_ARM: Final = {"stale_hold_s": 0.25, "stale_fault_s": 0.6}
_HAND: Final = {"command_timeout_s": 0.6, "board_timeout_s": 0.7, "bus_timeout_s": 0.6, "reader_timeout_s": 1.5, "connect_timeout_s": 3.0}
_CAMERA: Final = {"stale_s": 0.5, "read_timeout_s": 1.0}
"""Time-outs of a real robot are short; a busy computer that runs robot and program at once needs more [s]."""


def emulated_config(robot: EmulatorConfig | TwinDescription, session: SessionConfig | None = None) -> RealConfig:
    """Return the settings of a running emulated robot. Time-outs are patient, and longer where the robot is slower than real time.

    Args:
        robot: its config with all addresses filled in (``TwinProcess.config``), or what ``ControlLine.describe`` says.
        session: how it is used; the control line is filled in.

    Raises:
        ConfigError: the robot does not run yet.
    """
    if not (robot.address and robot.can_path and robot.control_path):
        raise ConfigError("this emulated robot has no addresses yet; take the config of a running one: TwinProcess(...).config")
    cameras = robot.cameras if isinstance(robot, TwinDescription) else {name: robot.camera_url(name) for name in robot.cameras}
    slow, size, fps = 1.0 / robot.pace, robot.image_size, max(1, round(robot.fps * robot.pace))
    arm = FR3Config(robot.address, clock="robot", **_WAITING, **_COLLISION, **_SOFT, **_scaled(_ARM, slow, 0.9))
    hand = DexHandConfig(interface="dexhil-unix", channel=robot.can_path, **_scaled(_HAND, slow, 2.0))
    late = _scaled(_CAMERA, slow, 10.0)
    eyes = [CameraConfig(name, "opencv", url, width=size, height=size, fps=fps, **late) for name, url in cameras.items()]
    used = session or SessionConfig(home_speed=HOME_SPEED)
    return RealConfig(arm, hand, tuple(eyes), session=replace(used, emulator=robot.control_path))


def _scaled(times: dict[str, float], slow: float, most: float) -> dict[str, Any]:
    """Return time-outs [s] for a robot that is ``slow`` times slower than real time, at most ``most`` unless they are longer already."""
    return {name: min(value * slow, max(most, value)) for name, value in times.items()}
