"""What a person is told about a calibration."""

from pathlib import Path

import numpy as np
from rich.table import Table

from dexhil_env.transforms import from_parts, matrix_pose
from dexhil_env.types import F64
from real.calibrate.lens import Lens
from real.calibrate.solve import Solution
from real.calibrate.stored import POSE_KEY, Calibration

GOOD_RMS_PX = 1.0
GOOD_ERROR_M = 0.003
GOOD_ERROR_RAD = float(np.radians(0.3))
HAND_BASE_TO_PALM_M = 0.11
"""From the hand's base frame to the palm, along z (assets/dexhand021)."""


def result_table(found: Solution, lens: Lens) -> Table:
    """The result beside what is good."""
    table = Table("what", "measured", "good", "verdict")
    kept = len(found.view_rms_px) - len(found.rejected)

    def add(what: str, measured: str, good: str, well: bool) -> None:
        table.add_row(what, measured, good, "OK" if well else "WARN")

    add("views used", f"{kept} of {len(found.view_rms_px)}", "all", not found.rejected)
    for number in found.rejected:
        add(f"  view {number + 1} left out", f"{found.view_rms_px[number]:.1f} px", "-", False)
    add("reprojection error", f"{found.rms_px:.2f} px", f"< {GOOD_RMS_PX:g} px", found.rms_px < GOOD_RMS_PX)
    add("standard error, position", f"{found.error_m * 1e3:.1f} mm", f"< {GOOD_ERROR_M * 1e3:g} mm", found.error_m < GOOD_ERROR_M)
    table.add_row("  of it through the lens", f"{found.lens_m * 1e3:.1f} mm", "", "")
    degrees = np.degrees((found.error_rad, GOOD_ERROR_RAD))
    add("standard error, rotation", f"{degrees[0]:.2f} deg", f"< {degrees[1]:.1g} deg", found.error_rad < GOOD_ERROR_RAD)
    x, y, z, *quaternion = matrix_pose(found.pose)
    table.add_row(POSE_KEY[found.camera], f"{x:.4f}, {y:.4f}, {z:.4f} m", "measure with a tape", "")
    table.add_row("  quaternion w x y z", ", ".join(f"{value:.4f}" for value in quaternion), "", "")
    table.add_row("  field of view, square", f"{lens.fovy_square_deg:.1f} deg", "", "")
    return table


def next_steps(found: Calibration, path: Path, *, written: bool) -> list[str]:
    """What to do now."""
    position, look_at, up = scene_camera(found)
    place = f"[calibration.{found.camera}] of {path}"
    lines = [f"written to {place}" if written else f"not written (--dry-run); it would go to {place}"]
    lines.append("Next: compare the position above with a tape measure (1 cm); then `dexhil real check`.")
    lines.append("The same camera for the twin, so that simulated pictures match:")
    numbers = ", ".join(f"({', '.join(f'{value:.4f}' for value in vector)})" for vector in (position, look_at, up))
    lines.append("  from dexhil_env.sim.scene import CameraConfig")
    lines.append(f"  {found.camera} = CameraConfig({numbers}, fovy_deg={found.lens.fovy_square_deg:.1f})")
    if found.camera == "front":
        lines.append("Then the wrist camera: dexhil real calibrate --config FILE --camera wrist")
    return lines


def scene_camera(found: Calibration) -> tuple[F64, F64, F64]:
    """Position, point looked at and up direction of the twin's camera; the wrist camera's in the hand's base frame."""
    pose = found.pose
    if found.camera == "wrist":
        pose = from_parts(np.eye(3), np.array([0.0, 0.0, HAND_BASE_TO_PALM_M])) @ pose
    return pose[:3, 3], pose[:3, 3] + 0.5 * pose[:3, 2], -pose[:3, 1]
