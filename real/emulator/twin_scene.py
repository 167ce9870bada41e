"""A task of the twin behind the emulated arm: the same physics as in simulation, dragged along by a torque-controlled arm.

The arm (1 ms, torques) stands for the robot's own dynamics; the twin keeps its step, its servos and its contacts, and every 5 ms gets the
arm's position and speed as targets. All contacts are the twin's; their torques go back to the arm, so that a push against the table is
felt on the wire. Where something rigid stops the twin, its servos act as a spring between the two arms: 87 Nm at joint 2 are 0.02 rad.
"""

import logging
from typing import cast

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import SimulationError
from dexhil_env.servo import ServoMux
from dexhil_env.sim.backend import SimBackend
from dexhil_env.types import F64

logger = logging.getLogger(__name__)

SERVO_LAG_S = 0.05
"""kv / kp of the twin's arm servos (assets/fr3): aiming ahead by it, they follow a moving target without lag."""
_SHARE = 1.0 - np.exp(-robot.SERVO_PERIOD_S / SERVO_LAG_S)
"""Of the newest torque in the low pass."""


class TwinScene:
    """Drags a :class:`SimBackend` along; see :class:`real.emulator.arm_body.Scene`.

    Args:
        backend: the twin with its task; reset it, with the arm at home, before the arm moves.

    The arm feels contacts through a low pass with the time constant of the servos' lead. A twin that something stops answers a motion of
    the arm like a spring and a damper, kp + kv s; the low pass 1 / (1 + s kv / kp) leaves the spring. The damper would be too hard for an
    answer that comes 5 ms later, and the two would rattle.

    Attributes:
        problem: why the physics has stopped; "" when it runs.
    """

    def __init__(self, backend: SimBackend) -> None:
        import mujoco

        self.backend = backend
        self._mujoco = mujoco
        self._dof = np.array([backend.model.joint(name).dofadr[0] for name in robot.ARM_JOINTS])
        self._target = robot.HOME.copy()
        self.problem = ""
        self._felt = np.zeros(7)

    def follow(self, q: F64, dq: F64, hand: F64) -> F64:
        """See :meth:`real.emulator.arm_body.Scene.follow`."""
        if self.problem:
            self._felt = np.zeros(7)
            return self._felt
        lead = np.clip(q + SERVO_LAG_S * dq, robot.ARM_LOW, robot.ARM_HIGH)
        self._target = np.concatenate([lead, np.clip(hand, robot.HAND_LOW, robot.HAND_HIGH)])
        try:
            self.backend.run(cast("ServoMux", self), 1)
        except SimulationError as error:
            self.problem = str(error)
            logger.error("the scene stops, the arm goes on: %s", error)
            return np.zeros(7)
        self._felt = self._felt + _SHARE * (self._contact_torque() - self._felt)
        return self._felt

    def tick(self, _t_s: float) -> F64:
        """Stand in for the mux: the wire has decided already."""
        return self._target

    def _contact_torque(self) -> F64:
        """Torque (7,) that contacts put on the arm [Nm]; those within the hand cancel out."""
        model, data = self.backend.model, self.backend.data
        if data.ncon == 0:
            return np.zeros(7)
        contact = data.efc_type >= int(self._mujoco.mjtConstraint.mjCNSTR_CONTACT_FRICTIONLESS)
        torque = np.zeros(model.nv)
        self._mujoco.mj_mulJacTVec(model, data, torque, np.where(contact, data.efc_force, 0.0))
        return torque[self._dof]
