"""Who lays and judges the scene of an emulated robot: the twin's own task, so that a success means what it means in simulation."""

from typing import Any, Final

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import ConfigError, DeviceError, SimulationError
from dexhil_env.types import Evaluation
from real.emulator.arm_body import MujocoArm
from real.emulator.control_messages import pack_physics
from real.emulator.twin_scene import TwinScene

ARM_AT_HOME: Final = 0.02
"""How far the arm may be from home when a scene is laid [rad]."""
HAND_AT_HOME: Final = 0.1
"""How far a motor of the hand may be from open when a scene is laid [rad]."""
_GENERATORS: Final = ("PCG64", "PCG64DXSM", "Philox", "SFC64", "MT19937")


def generator_of(state: dict[str, Any]) -> np.random.Generator:
    """Return a random generator in a state that came as ``rng.bit_generator.state``.

    Raises:
        ConfigError: it is no such state.
    """
    name = state.get("bit_generator")
    if name not in _GENERATORS:
        raise ConfigError(f"rng_state must be the state of one of numpy's generators {_GENERATORS}; got {name!r}")
    bits = getattr(np.random, name)()
    try:
        bits.state = state
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"rng_state is not a state of {name}: {error!r}; pass rng.bit_generator.state as it is") from error
    return np.random.Generator(bits)


class TwinReferee:
    """Lays and judges.

    Args:
        scene: the twin with its task.
        arm: the arm that drags it along.
    """

    def __init__(self, scene: TwinScene, arm: MujocoArm) -> None:
        self.scene, self.backend, self._arm = scene, scene.backend, arm
        self.laid = 0
        self._evaluation = Evaluation()
        model = self.backend.model
        joints = [model.joint(name) for name in robot.HAND_JOINTS]
        self._hand_qpos = np.array([joint.qposadr[0] for joint in joints])
        self._hand_dof = np.array([joint.dofadr[0] for joint in joints])
        self._arm_qpos = np.array([model.joint(name).qposadr[0] for name in robot.ARM_JOINTS])
        self._arm_dof = np.array([model.joint(name).dofadr[0] for name in robot.ARM_JOINTS])

    @property
    def lag(self) -> float:
        """Largest difference between the arm and the arm of the scene [rad]."""
        return float(np.abs(self.backend.data.qpos[self._arm_qpos] - self._arm.joint_pos).max())

    def lay(self, rng_state: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        """See :meth:`real.emulator.control_line.ControlLine.lay`."""
        self._refuse_unless_home()
        rng = generator_of(rng_state)
        self.lay_with(rng, options)
        return {"rng_state": dict(rng.bit_generator.state)}

    def lay_with(self, rng: np.random.Generator, options: dict[str, Any]) -> None:
        """Do what a reset in simulation does, bit for bit; then put the robot where it is."""
        backend, data = self.backend, self.backend.data
        hand = data.qpos[self._hand_qpos], data.qvel[self._hand_dof], data.ctrl[robot.HAND]
        backend.reset(rng)
        backend.task.reset(rng, options)
        data.qpos[self._arm_qpos], data.qvel[self._arm_dof] = self._arm.joint_pos, self._arm.joint_vel
        data.ctrl[robot.ARM] = self._arm.joint_pos
        if np.isfinite(hand[0]).all() and np.isfinite(hand[1]).all():
            data.qpos[self._hand_qpos], data.qvel[self._hand_dof], data.ctrl[robot.HAND] = hand
        self._forward()
        self.scene.problem, self._evaluation, self.laid = "", Evaluation(), self.laid + 1

    def judge(self) -> dict[str, Any]:
        """See :meth:`real.emulator.control_line.ControlLine.judge`."""
        if self.scene.problem:
            raise SimulationError(self.scene.problem)
        self._evaluation = self.backend.task.evaluate()
        return self.peek()

    def peek(self) -> dict[str, Any]:
        """See :meth:`real.emulator.control_line.ControlLine.peek`."""
        e = self._evaluation
        evaluation = {"success": bool(e.success), "failure": bool(e.failure), "progress": float(e.progress), "metrics": e.metrics}
        physics = pack_physics(self.backend.save_state())
        return {"evaluation": evaluation, "time_s": float(self.backend.data.time), "physics": physics}

    def _refuse_unless_home(self) -> None:
        away = np.abs(self._arm.joint_pos - robot.ARM_HOME)
        if away.max() > ARM_AT_HOME:
            joint = robot.ARM_JOINTS[int(away.argmax())]
            raise DeviceError(
                f"a scene is laid with the arm at home; {joint} is {away.max():.3f} rad away, allowed {ARM_AT_HOME}: home the arm first"
            )
        away = np.abs(self.backend.state().hand_motor_pos - robot.HAND_HOME)
        if away.max() > HAND_AT_HOME:
            motor = robot.HAND_MOTORS[int(away.argmax())]
            raise DeviceError(
                f"a scene is laid with the hand open; {motor} stands at {away.max():.3f} rad, allowed {HAND_AT_HOME}: open the hand first"
            )

    def _forward(self) -> None:
        import mujoco

        mujoco.mj_forward(self.backend.model, self.backend.data)
