"""Where a person looks from, and the kinematics that an operator needs, for the twin and for a robot."""

import mujoco
import numpy as np

from dexhil_env.env import DexHiLEnv
from dexhil_env.hil.ik import ArmIK
from dexhil_env.hil.sim_experts import find_twin
from dexhil_env.sim.scene import SceneConfig, build_spec
from dexhil_env.types import F64


def arm_kinematics(env: DexHiLEnv) -> ArmIK:
    """Return the inverse kinematics of an environment's arm: of the twin's model, else of the mounting that the robot reports."""
    twin = find_twin(env)
    if twin is not None:
        return ArmIK(twin.model)
    session = getattr(getattr(env.backend, "config", None), "session", None)
    mount = {} if session is None else {"mount_yaw_deg": session.mount_yaw_deg, "mount_offset_m": session.mount_offset_m}
    spec: mujoco.MjSpec = build_spec(SceneConfig(**mount))
    return ArmIK(spec.compile())


def view_axes(env: DexHiLEnv) -> F64:
    """Return (3, 3) columns right, away and up of somebody who looks at the front camera's picture, in the robot base frame; up is +z."""
    twin = find_twin(env)
    scene = twin.scene if twin is not None else SceneConfig()
    right = scene.front.rotation[:, 0] * [1.0, 1.0, 0.0]
    right /= np.linalg.norm(right)
    up = np.array([0.0, 0.0, 1.0])
    return np.column_stack([right, np.cross(up, right), up])
