"""Settings of one robot, in one file: arm, hand, cameras, workspace. ``assets/real/lab.toml`` is a commented example."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from dexhil_env.errors import ConfigError, check_ranges
from dexhil_env.store.files import write_whole
from real.camera_sources import CameraConfig
from real.config_file import changed_fields, check_keys, read_section, read_table, toml_lines
from real.dexhand_config import DexHandConfig
from real.fr3_config import FR3Config
from real.workspace import WorkspaceConfig

_SECTIONS: Final = ("arm", "hand", "workspace", "cameras", "calibration", "session")


@dataclass(frozen=True)
class SessionConfig:
    """How the robot is used.

    Attributes:
        emulator: path of the control line of an emulated robot; "" for a real one.
        home_speed: the arm's share of its limits on the way home, at most 0.3.
        hand_home_speed: of the motors on the way home [rad/s].
        hold_s: a camera (or the arm) may fail to send news for this long while the robot stands still and waits; then it stops [s].
        start_error: the first target of an episode may be this far from where the arm is [rad].
        without_touch: a fingertip sensor that has never given a reading counts as 0 N instead of an error.
        mount_yaw_deg: rotation of the hand about the flange's axis [deg].
        mount_offset_m: thickness of the adapter between flange and hand [m].
    """

    emulator: str = ""
    home_speed: float = 0.1
    hand_home_speed: float = 1.0
    hold_s: float = 2.0
    start_error: float = 0.1
    without_touch: bool = False
    mount_yaw_deg: float = 180.0
    mount_offset_m: float = 0.0

    def __post_init__(self) -> None:
        ranges = {
            "home_speed": (0.01, 0.3),
            "hand_home_speed": (0.05, 4.0),
            "hold_s": (0.0, 60.0),
            "start_error": (0.01, 0.3),
            "mount_yaw_deg": (-360.0, 360.0),
            "mount_offset_m": (0.0, 0.1),
        }
        check_ranges(self, ranges)


@dataclass(frozen=True)
class RealConfig:
    """One robot.

    Attributes:
        arm: how the FR3 is reached and driven.
        hand: how the DexHand021 is reached and driven.
        cameras: the cameras, ``front`` and ``wrist``.
        workspace: where palm and fingers may go.
        session: how the robot is used.
        calibration: what ``dexhil real calibrate`` has measured, as it stands in the file.
    """

    arm: FR3Config
    hand: DexHandConfig = field(default_factory=DexHandConfig)
    cameras: tuple[CameraConfig, ...] = ()
    workspace: WorkspaceConfig = field(default_factory=WorkspaceConfig)
    session: SessionConfig = field(default_factory=SessionConfig)
    calibration: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        names = [camera.name for camera in self.cameras]
        if len(set(names)) != len(names):
            raise ConfigError(f"every camera needs a name of its own; got {names}")
        if self.workspace.joint_margin < self.arm.joint_margin:
            raise ConfigError(
                f"workspace joint_margin must be at least arm joint_margin, {self.arm.joint_margin} rad, or the arm would not follow its "
                f"targets there; got {self.workspace.joint_margin}"
            )

    @property
    def emulator(self) -> str:
        """Path of the control line of an emulated robot; "" for a real one."""
        return self.session.emulator

    def camera(self, name: str) -> CameraConfig:
        """Return the settings of one camera.

        Raises:
            ConfigError: there is none of that name.
        """
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise ConfigError(f"unknown camera {name!r}; this robot has {tuple(camera.name for camera in self.cameras)}")


def load_config(path: str | Path) -> RealConfig:
    """Read a robot's settings from a TOML file.

    Raises:
        ConfigError: the file is missing or not TOML, or a key or value is wrong; the text names file, section and key.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the robot's settings from {path}: {error}; copy assets/real/lab.toml to begin with") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from error
    check_keys(content, _SECTIONS, str(path))
    if "arm" not in content:
        raise ConfigError(f"{path}: section [arm] is missing; it needs at least the address of the control box")
    cameras = content.get("cameras", [])
    if not isinstance(cameras, list):
        raise ConfigError(f"{path}: cameras must be a list of tables, one [[cameras]] for each")
    tables = cast("list[Any]", cameras)
    made = tuple(read_section(CameraConfig, table, f"{path} [[cameras]] {i + 1}") for i, table in enumerate(tables))
    try:
        return RealConfig(
            arm=read_section(FR3Config, content["arm"], f"{path} [arm]"),
            hand=read_section(DexHandConfig, content.get("hand", {}), f"{path} [hand]"),
            cameras=made,
            workspace=read_section(WorkspaceConfig, content.get("workspace", {}), f"{path} [workspace]"),
            session=read_section(SessionConfig, content.get("session", {}), f"{path} [session]"),
            calibration=dict(read_table(content.get("calibration", {}), f"{path} [calibration]")),
        )
    except ConfigError as error:
        raise ConfigError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from error


def write_config(config: RealConfig, path: str | Path) -> None:
    """Write a robot's settings as a TOML file that :func:`load_config` reads back; what is at its default is left out."""
    lines = ["# Settings of one robot; what is not named here is at its default (assets/real/lab.toml explains every key)."]
    for name in ("session", "arm", "hand", "workspace"):
        table = changed_fields(getattr(config, name))
        if table or name == "arm":
            lines += ["", *toml_lines(table, name)]
    for camera in config.cameras:
        lines += ["", "[[cameras]]", *toml_lines(changed_fields(camera))]
    if config.calibration:
        lines += ["", *toml_lines(config.calibration, "calibration")]
    text = "\n".join(lines) + "\n"
    write_whole(Path(path), lambda beside: _fill(beside, text))


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
