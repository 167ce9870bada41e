"""What an emulated robot is: its task, its addresses, its pace, and how it differs from the twin."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dexhil_env.errors import ConfigError, check_ranges
from dexhil_env.sim.randomise import LooksConfig

PATH_MAX: Final = 100
"""Longest path of a Unix socket that every system takes."""
_CAMERAS: Final = ("front", "wrist")


@dataclass(frozen=True)
class RealityConfig:
    """How the emulated robot differs from the twin that policies were trained in; the default is no difference.

    A study of the way from simulation to a robot trains in the twin and evaluates on a perturbed emulated robot.

    Attributes:
        arm_friction: factor on the dry friction of the arm's joints.
        arm_damping: factor on the viscous friction of the arm's joints.
        arm_torque: factor on the torque that the arm makes of a commanded one.
        arm_latency_s: from a commanded torque to the motors, on top of the wire [s]; in whole milliseconds. It is inside of the
            client's control loop, which a few milliseconds make rattle.
        hand_gain: factor on stiffness and damping of the hand's servos.
        hand_latency_s: from a motion frame to the motors, on top of the wire [s].
        camera_delay_s: from the picture to its sending, on top of rendering and packing [s].
        encoder_noise: standard deviation of measured arm and hand angles [rad]; the arm's velocities get 100 1/s times as much.
    """

    arm_friction: float = 1.0
    arm_damping: float = 1.0
    arm_torque: float = 1.0
    arm_latency_s: float = 0.0
    hand_gain: float = 1.0
    hand_latency_s: float = 0.0
    camera_delay_s: float = 0.0
    encoder_noise: float = 0.0

    def __post_init__(self) -> None:
        bounds = {
            "arm_friction": (0.0, 10.0),
            "arm_damping": (0.0, 20.0),
            "arm_torque": (0.5, 1.5),
            "arm_latency_s": (0.0, 0.01),
            "hand_gain": (0.2, 5.0),
            "hand_latency_s": (0.0, 0.5),
            "camera_delay_s": (0.0, 1.0),
            "encoder_noise": (0.0, 0.005),
        }
        check_ranges(self, bounds, "RealityConfig.")


@dataclass(frozen=True)
class EmulatorConfig:
    """An emulated robot with a task of the twin behind true wires.

    Attributes:
        task: ``"plush"`` or ``"tissue"``.
        task_options: fields of the task's config, such as ``randomise_physics``.
        address: loopback address of the arm's control box; "" takes a free one.
        can_path: socket of the hand's CAN bus; "" makes one in a private folder.
        control_path: socket of the control line; "" makes one in a private folder.
        camera_port: port of the cameras on ``address``; 0 takes a free one.
        cameras: cameras that can be watched; ``()`` needs no OpenGL.
        image_size: side of the square pictures [px].
        fps: pictures per second of robot time.
        camera_noise: standard deviation of the sensor noise [0 to 255]; without any a still scene looks like a frozen camera.
        jpeg_quality: 1 to 100.
        pace: robot seconds per second of wall time, at most 1.
        patience_s: how long a cycle of the arm waits for the client's answer before it counts as lost [s]; 0 is the real robot, more
            keeps a busy machine from raising communication errors.
        hand_stall_s: how long a motor of the hand must give its full torque without moving before its board stops [s]. The firmware has
            a setting for it whose value nobody has published; a firm grip of the toy is at full torque as well.
        randomise_visuals: vary lights, colours and cameras from one laid scene to the next.
        reality: how the robot differs from the twin.
        seed: of noise and packet loss.
    """

    task: str = "plush"
    task_options: dict[str, Any] = field(default_factory=dict[str, Any])
    address: str = ""
    can_path: str = ""
    control_path: str = ""
    camera_port: int = 0
    cameras: tuple[str, ...] = _CAMERAS
    image_size: int = 128
    fps: float = 30.0
    camera_noise: float = 2.0
    jpeg_quality: int = 95
    pace: float = 1.0
    patience_s: float = 0.05
    hand_stall_s: float = 3.0
    randomise_visuals: bool | LooksConfig = False
    reality: RealityConfig = RealityConfig()
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "cameras", tuple(self.cameras))
        if unknown := [name for name in self.cameras if name not in _CAMERAS]:
            raise ConfigError(f"unknown camera {unknown}; the twin has {_CAMERAS}")
        for name in ("can_path", "control_path"):
            path = getattr(self, name)
            if len(path.encode()) > PATH_MAX:
                raise ConfigError(f"{name} is the path of a Unix socket, at most {PATH_MAX} characters; got {len(path)}: {path!r}")
            if path and not Path(path).absolute().parent.is_dir():
                raise ConfigError(f"{name}: the folder {str(Path(path).absolute().parent)!r} does not exist; make it first")
        bounds = {
            "camera_port": (0, 65535),
            "image_size": (16, 1024),
            "fps": (1.0, 120.0),
            "camera_noise": (0.0, 50.0),
            "jpeg_quality": (1, 100),
            "pace": (0.01, 1.0),
            "patience_s": (0.0, 1.0),
            "hand_stall_s": (0.02, 60.0),
        }
        check_ranges(self, bounds, "EmulatorConfig.")

    def camera_url(self, name: str) -> str:
        """Return where a camera can be watched, also with a browser.

        Raises:
            ConfigError: there is no such camera, or no port yet: take the config of a running robot.
        """
        if name not in self.cameras or not self.camera_port:
            raise ConfigError(f"no stream of camera {name!r}; there are {self.cameras} on port {self.camera_port} (0: not started)")
        return f"http://{self.address}:{self.camera_port}/{name}"
