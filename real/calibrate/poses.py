"""Arm poses that make a calibration well determined: the hand tilted and turned about one point, inside the workspace."""

from dataclasses import replace
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.hil.ik import ArmIK
from dexhil_env.transforms import from_parts, from_rotvec, rotvec
from dexhil_env.types import F64
from real.calibrate.solve import CameraName
from real.kinematics import Kinematics
from real.workspace import Workspace, WorkspaceConfig

_TILTS: Final = (
    (0, 0, 0), (28, 0, 0), (-28, 0, 0), (0, 28, 0), (0, -28, 0), (0, 0, 40), (0, 0, -40), (22, 22, 0), (-22, 22, 20),
    (22, -22, -20), (-22, -22, 0), (28, 0, 30), (-28, 0, -30), (0, 28, -30), (0, -28, 30), (15, 15, 25), (-15, 15, -25), (15, -15, 45),
)  # fmt: skip
"""Rotation vectors in the palm's frame [deg]. Ours: about 20 deg rms about each axis."""
_SHIFT_M: Final = {"front": (0.12, 0.12, 0.12), "wrist": (0.04, 0.04, 0.08)}
"""In the palm's frame. The board on the hand has to wander over the front camera's picture; the wrist camera wanders by tilting about the
board, but without near and far views a wrong size of the squares would look like another place of the camera."""
_SHARES: Final = (1.0, 0.7, 0.45)
"""A pose that cannot be reached is tried again with less of its tilt and shift."""
_MAX_MISS_M: Final = 0.02
_MAX_MISS_RAD: Final = 0.1
_MAX_STEP_RAD: Final = 1.2


TIP_CLEARANCE_M: Final = 0.05
"""While calibrating, the fingertips stay so far above the table [m]; nothing is to be grasped."""


def free_space(config: WorkspaceConfig, kinematics: Kinematics) -> Workspace:
    """The robot's workspace without the table's neighbourhood."""
    return Workspace(replace(config, tip_clearance_m=max(config.tip_clearance_m, TIP_CLEARANCE_M)), kinematics)


def poses_around(camera: CameraName, q: F64, hand: F64, ik: ArmIK, workspace: Workspace, seed: int = 0) -> list[F64]:
    """Return joint angles (7,) [rad] around ``q``, each reachable from ``q`` and back without leaving the workspace.

    Args:
        camera: ``front`` tilts the hand about its palm, ``wrist`` about the point of the table in front of the palm.
        q: (7,) where the arm is, the board being in the middle of the picture [rad].
        hand: (12,) hand motors [rad].
        ik: of the arm up to the palm.
        workspace: poses outside are left out.
        seed: of the small shifts.
    """
    T, rng = ik.forward(q), np.random.default_rng(seed)
    pivot = T[:3, 3] + (T[:3, 2] * _distance_to_table(T, workspace.config.table_m) if camera == "wrist" else 0.0)
    found: list[F64] = []
    for tilt in _TILTS:
        shift = T[:3, :3] @ (np.array(_SHIFT_M[camera]) * rng.uniform(-1.0, 1.0, 3))
        for share in _SHARES:
            turn = T[:3, :3] @ from_rotvec(share * np.radians(tilt)) @ T[:3, :3].T
            goal = from_parts(turn @ T[:3, :3], pivot + turn @ (T[:3, 3] - pivot) + share * shift)
            reached = _reach(ik, q, goal)
            if reached is not None and _way_is_free(q, reached, hand, workspace):
                found.append(reached)
                break
    return found


def _distance_to_table(T: F64, table_m: float) -> float:
    """How far the table is in front of the fingers [m], 0.15 to 0.6; 0.3 when they do not point at it."""
    down = -float(T[2, 2])
    return float(np.clip((T[2, 3] - table_m) / down, 0.15, 0.6)) if down > 0.2 else 0.3


def _reach(ik: ArmIK, q: F64, goal: F64) -> F64 | None:
    found = ik.solve(q, goal, iterations=60)
    T = ik.forward(found)
    miss_m, miss_rad = np.linalg.norm(T[:3, 3] - goal[:3, 3]), np.linalg.norm(rotvec(T[:3, :3].T @ goal[:3, :3]))
    far = np.abs(found - q).max() > _MAX_STEP_RAD
    return None if far or miss_m > _MAX_MISS_M or miss_rad > _MAX_MISS_RAD else found


def _way_is_free(q: F64, goal: F64, hand: F64, workspace: Workspace) -> bool:
    start, end = np.zeros(robot.ACTION_DIM), np.zeros(robot.ACTION_DIM)
    start[robot.ARM], end[robot.ARM] = q, goal
    start[robot.HAND] = end[robot.HAND] = hand
    return not workspace.filter(start, end, hand).reason
