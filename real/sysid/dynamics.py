"""What torque a motion of the arm takes by the model of the twin, friction and gravity left out."""

from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.types import F64
from real.kinematics import shapeless_robot

_EVERY: Final = 2
"""The inertia changes slowly: it is computed every other row."""


class ArmDynamics:
    """Rigid-body dynamics of the arm with the hand on it, fingers straight and at rest.

    Args:
        mount_yaw_deg: rotation of the hand about the flange's axis [deg].
        mount_offset_m: thickness of the adapter [m].
    """

    def __init__(self, mount_yaw_deg: float = 180.0, mount_offset_m: float = 0.0) -> None:
        import mujoco

        spec = shapeless_robot(mount_yaw_deg, mount_offset_m)
        spec.option.gravity = np.zeros(3)
        self._mujoco, self.model = mujoco, spec.compile()
        self._data = mujoco.MjData(self.model)
        self._qpos = np.array([self.model.joint(name).qposadr[0] for name in robot.ARM_JOINTS])
        self._dof = np.array([self.model.joint(name).dofadr[0] for name in robot.ARM_JOINTS])

    def torques(self, q: F64, dq: F64, ddq: F64) -> tuple[F64, F64]:
        """Return inertial torques M(q) ddq and velocity torques C(q, dq) dq, each (N, 7) [Nm]."""
        inertial, velocity = np.empty_like(q), np.empty_like(q)
        mass = np.zeros((7, 7))
        for row in range(len(q)):
            if row % _EVERY == 0:
                mass, velocity[row] = self._at(q[row], dq[row])
            else:
                velocity[row] = velocity[row - 1]
            inertial[row] = mass @ ddq[row]
        return inertial, velocity

    def _at(self, q: F64, dq: F64) -> tuple[F64, F64]:
        """Return inertia matrix (7, 7) and velocity torques (7,) of one state."""
        model, data, mj = self.model, self._data, self._mujoco
        data.qpos[self._qpos], data.qvel[self._dof] = q, dq
        mj.mj_fwdPosition(model, data)
        mj.mj_fwdVelocity(model, data)
        full = np.zeros((model.nv, model.nv))
        mj.mj_fullM(model, data, full)
        return full[np.ix_(self._dof, self._dof)], data.qfrc_bias[self._dof].copy()
