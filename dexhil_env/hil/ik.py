"""Inverse kinematics of the arm: damped least squares with an active set of joint limits (DexHiL paper, eq. 4)."""

import mujoco
import numpy as np

from dexhil_env import robot
from dexhil_env.errors import ConfigError
from dexhil_env.transforms import from_parts, rotvec
from dexhil_env.types import F64

DAMPING = 0.02
"""Damping of the least-squares inverse [m and rad mixed, dimensionless in the usual way]."""
MAX_NULLSPACE_STEP_RAD = 0.02
"""Bound on the posture correction of one iteration, so that the elbow swings smoothly."""


def _arm_only(model: mujoco.MjModel, site: str) -> mujoco.MjModel:
    """Copy the chain from the world to ``site`` into a model of its own: seven hinges and nothing to collide."""
    if mujoco.mj_name2id(model, int(mujoco.mjtObj.mjOBJ_SITE), site) < 0:
        raise ConfigError(f"the model has no site {site!r}; the scene must carry the robot of assets/")
    chain: list[int] = []
    body = int(model.site(site).bodyid[0])
    while body > 0:
        chain.append(body)
        body = int(model.body_parentid[body])
    spec = mujoco.MjSpec()
    parent = spec.worldbody
    for index in reversed(chain):
        child = parent.add_body(pos=model.body_pos[index], quat=model.body_quat[index], mass=1.0, inertia=[1.0, 1.0, 1.0])
        child.explicitinertial = True
        for joint in range(model.body_jntadr[index], model.body_jntadr[index] + model.body_jntnum[index]):
            if model.joint(joint).name in robot.ARM_JOINTS:
                child.add_joint(type=mujoco.mjtJoint.mjJNT_HINGE, axis=model.jnt_axis[joint], pos=model.jnt_pos[joint])
        parent = child
    source = model.site(site)
    parent.add_site(name="ee", pos=source.pos, quat=source.quat)
    arm = spec.compile()
    if arm.nq != len(robot.ARM_JOINTS):
        raise ConfigError(f"site {site!r} must hang on all {len(robot.ARM_JOINTS)} arm joints; found {arm.nq}")
    return arm


class ArmIK:
    """Forward and inverse kinematics of the seven arm joints up to the palm.

    Args:
        model: the scene; only the chain up to ``site`` is used.
        site: site whose pose is controlled.
        posture: (7,) posture that the redundant joint is pulled towards [rad].
        posture_gain: share of the posture error that one iteration removes inside the null space; 0.3 keeps the elbow on one
            branch over the whole table.
    """

    def __init__(self, model: mujoco.MjModel, site: str = "ee", posture: F64 = robot.ARM_HOME, posture_gain: float = 0.3) -> None:
        self._model = _arm_only(model, site)
        self._data = mujoco.MjData(self._model)
        self._posture, self._gain = np.asarray(posture, dtype=float), posture_gain
        self._jacobian = np.zeros((6, 7))

    def forward(self, q: F64) -> F64:
        """Return ``T_base_ee`` (4, 4) of the joint angles ``q`` (7,) [rad]."""
        self._data.qpos[:] = q
        mujoco.mj_kinematics(self._model, self._data)
        return from_parts(self._data.site_xmat[0].reshape(3, 3).copy(), self._data.site_xpos[0].copy())

    def solve(self, q: F64, T_base_ee: F64, iterations: int = 5, max_step_rad: F64 | None = None) -> F64:
        """Move the joints towards a palm pose.

        Args:
            q: (7,) joints to start from [rad].
            T_base_ee: (4, 4) wanted palm pose.
            iterations: Gauss-Newton steps.
            max_step_rad: (7,) bound on the change of each joint in this call; the step is scaled as a whole.

        Returns:
            (7,) joint angles [rad] within the joint ranges.
        """
        start = np.asarray(q, dtype=float)
        q = start.copy()
        for _ in range(iterations):
            q = self._iterate(q, T_base_ee)
        if max_step_rad is not None:
            excess = float(np.max(np.abs(q - start) / max_step_rad))
            if excess > 1.0:
                q = start + (q - start) / excess
        return q

    def _iterate(self, q: F64, T_base_ee: F64) -> F64:
        current = self.forward(q)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_jacSite(self._model, self._data, self._jacobian[:3], self._jacobian[3:], 0)
        error = np.concatenate([T_base_ee[:3, 3] - current[:3, 3], rotvec(T_base_ee[:3, :3] @ current[:3, :3].T)])
        free = np.ones(7, dtype=bool)
        step = np.zeros(7)
        for _ in range(3):
            step = self._damped_step(error, self._posture - q, free)
            outward = ((q + step > robot.ARM_HIGH) | (q + step < robot.ARM_LOW)) & free
            if not outward.any():
                break
            free &= ~outward
        return np.minimum(np.maximum(q + step, robot.ARM_LOW), robot.ARM_HIGH)

    def _damped_step(self, error: F64, posture_error: F64, free: np.ndarray) -> F64:
        jacobian = self._jacobian * free
        gram = jacobian @ jacobian.T
        gram[np.diag_indices(6)] += DAMPING**2
        pull = np.clip(self._gain * posture_error, -MAX_NULLSPACE_STEP_RAD, MAX_NULLSPACE_STEP_RAD) * free
        return jacobian.T @ np.linalg.solve(gram, error - jacobian @ pull) + pull
