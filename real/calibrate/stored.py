"""Calibrations in the robot's TOML file: sections ``[calibration.front]`` and ``[calibration.wrist]``; no other line is touched."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from dexhil_env.errors import ConfigError
from dexhil_env.transforms import matrix_pose, pose_matrix
from dexhil_env.types import F64
from real.calibrate.lens import Lens
from real.calibrate.solve import CameraName
from real.config_file import check_keys, read_table, toml_value

POSE_KEY: Final[Mapping[str, str]] = {"front": "T_base_front", "wrist": "T_ee_wrist"}
_COMMON: Final = ("intrinsics", "distortion", "focal_error", "picture_size", "rms_px", "error_mm", "error_deg", "views", "date")


@dataclass(frozen=True)
class Calibration:
    """Where a camera is, and its lens.

    Attributes:
        camera: ``front`` or ``wrist``.
        pose: (4, 4) ``T_base_front`` or ``T_ee_wrist`` (``ee`` is the palm, as in the observation ``ee_pose``); the camera's frame is
            x right, y down, z forward.
        lens: its lens.
        rms_px: reprojection error [px].
        error_m, error_rad: standard error of the pose [m], [rad].
        views: how many pictures were used.
        date: when.
    """

    camera: CameraName
    pose: F64
    lens: Lens
    rms_px: float
    error_m: float
    error_rad: float
    views: int
    date: date

    def lines(self) -> list[str]:
        """The section of the file."""
        lens, pose = self.lens, matrix_pose(self.pose)
        values: dict[str, Any] = {
            POSE_KEY[self.camera]: [round(float(value), 6) for value in pose],
            "intrinsics": [round(value, 3) for value in (lens.fx, lens.fy, lens.cx, lens.cy)],
            "distortion": [round(value, 6) for value in lens.distortion],
            "focal_error": round(lens.focal_error, 5),
            "picture_size": [lens.width, lens.height],
            "rms_px": round(self.rms_px, 3),
            "error_mm": round(self.error_m * 1e3, 2),
            "error_deg": round(float(np.degrees(self.error_rad)), 3),
            "views": self.views,
            "date": self.date,
        }
        comments = {
            POSE_KEY[self.camera]: "position [m], quaternion w x y z; the camera looks along its z, x is right in the picture",
            "intrinsics": "fx, fy, cx, cy [px]",
            "distortion": "k1, k2, p1, p2, k3",
            "focal_error": "standard error of the focal length, share of it",
            "error_mm": "standard error of the pose",
        }
        lines = [f"[calibration.{self.camera}]   # written by dexhil real calibrate"]
        for key, value in values.items():
            lines.append(f"{key} = {toml_value(value)}" + (f"   # {comments[key]}" if key in comments else ""))
        return lines


def read_calibration(table: Mapping[str, Any], camera: CameraName) -> Calibration | None:
    """Make a calibration of the file's table ``calibration``; None when this camera has none.

    Raises:
        ConfigError: keys or values are wrong.
    """
    if camera not in table:
        return None
    where, key = f"[calibration.{camera}]", POSE_KEY[camera]
    values = read_table(table[camera], where)
    check_keys(values, (key, *_COMMON), where)
    try:
        pose, focal, distortion = (_numbers(values[name], count) for name, count in ((key, 7), ("intrinsics", 4), ("distortion", 5)))
        width, height = (int(value) for value in values["picture_size"])
        fx, fy, cx, cy = focal
        k1, k2, p1, p2, k3 = distortion
        lens = Lens(width, height, fx, fy, cx, cy, (k1, k2, p1, p2, k3), float(values["focal_error"]))
        error_m, error_rad = float(values["error_mm"]) * 1e-3, float(np.radians(values["error_deg"]))
        made, views, rms_px = cast("date", values["date"]), int(values["views"]), float(values["rms_px"])
        return Calibration(camera, pose_matrix(np.array(pose)), lens, rms_px, error_m, error_rad, views, made)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error!r}; remove this section and run `dexhil real calibrate` again") from error


def _numbers(values: Any, count: int) -> list[float]:
    numbers = [float(value) for value in values]
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{count} numbers are needed; got {values}")
    return numbers


def save(calibration: Calibration, path: Path) -> None:
    """Write a calibration into the robot's file, in one move; every other line stays as it is.

    Raises:
        ConfigError: the file is no TOML, or its ``calibration`` is written in a way that cannot be replaced.
    """
    section = f"calibration.{calibration.camera}"
    try:
        text = path.read_bytes().decode("utf-8")
        before = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    changed = replace_section(text, section, calibration.lines())
    try:
        after = tomllib.loads(changed)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: [{section}] cannot be added ({error}); write the calibration as a section of its own") from error
    for content in (before, after):
        cast("dict[str, Any]", content.get("calibration", {})).pop(calibration.camera, None)
        if not content.get("calibration", True):
            del content["calibration"]
    if before != after:
        raise ConfigError(f"{path}: writing [{section}] would change other settings; remove the old section by hand first")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(changed.encode())
    beside.replace(path)


def replace_section(text: str, name: str, lines: list[str]) -> str:
    """Put ``lines`` in place of section ``name`` of a TOML text, or at its end; comments behind the old section stay."""
    newline = "\r\n" if "\r\n" in text else "\n"
    old = text.splitlines(keepends=True)
    header = re.compile(rf"\s*\[\s*{re.escape(name)}\s*\]\s*(#.*)?$")
    start = next((i for i, line in enumerate(old) if header.match(line.rstrip("\r\n"))), None)
    new = [line + newline for line in lines]
    if start is None:
        gap = [newline] if old and old[-1].endswith("\n") else [newline, newline] if old else []
        return "".join([*old, *gap, *new])
    end = next((i for i in range(start + 1, len(old)) if old[i].lstrip().startswith("[")), len(old))
    while end > start + 1 and (not old[end - 1].strip() or old[end - 1].lstrip().startswith("#")):
        end -= 1
    return "".join([*old[:start], *new, *old[end:]])
