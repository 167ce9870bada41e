"""What stands behind the emulated control box: an arm that takes torques or joint positions, 1 ms at a time."""

from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from dexhil_env import robot
from dexhil_env.types import F64
from real.emulator.emulator_config import RealityConfig

PERIOD_S: Final = 1e-3
FOLLOW_TICKS: Final = round(robot.SERVO_PERIOD_S / PERIOD_S)
_EXTERNAL_FILTER: Final = 0.1
"""Share of the newest value in the filtered external torque, 10 ms time constant; ours, the robot's filter is not published."""
_SERVO_LAG_S: Final = 0.05
"""kv / kp of the arm's servos in assets/fr3: aiming ahead by it cancels the servo's lag behind a moving target."""
_NOISE_RATE: Final = 100.0
"""Noise of the measured velocity per noise of the measured angle [1/s]; ours."""
_NO_LOAD: Final = 0.05
"""External torque below which no wrench is computed [Nm]."""


@dataclass(frozen=True, slots=True)
class ArmReading:
    """What the sensors of the arm say.

    Attributes:
        q: (7,) [rad].
        dq: (7,) [rad/s].
        tau: (7,) link-side torque, gravity included [Nm].
        tau_ext: (7,) torque from outside, filtered [Nm].
        wrench: (6,) force [N] and moment [Nm] at the flange that explains ``tau_ext``, base frame.
        flange: (4, 4) pose of the flange in the base.
    """

    q: F64
    dq: F64
    tau: F64
    tau_ext: F64
    wrench: F64
    flange: F64


class ArmBody(Protocol):
    """An arm that the emulated control box can move."""

    def read(self) -> ArmReading:
        """Return the newest reading; fresh memory."""
        ...

    def step(self, tau: F64 | None, q_d: F64) -> None:
        """Advance 1 ms under a torque (7,) [Nm] that gravity is added to, or, when it is None, held at ``q_d`` (7,) [rad]."""
        ...

    def push(self, torque: F64) -> None:
        """From now on somebody pushes with these joint torques (7,) [Nm]; zeros end it."""
        ...


class Scene(Protocol):
    """A slower simulation that the arm drags along, such as a task of the twin."""

    def follow(self, q: F64, dq: F64, hand: F64) -> F64:
        """Run one servo period (5 ms) with arm (7,) and hand motors (12,) led there; return the torque (7,) it puts on the arm [Nm]."""
        ...


class MujocoArm:
    """FR3 with DexHand021 over the table in MuJoCo at 1 ms, without a task.

    The arm's servos are switched off while torques are commanded and on (stiff, as the robot's own controller) while it holds or follows
    positions. Gravity is compensated, joint friction is not: both as on the robot.

    Args:
        q: (7,) pose at the start [rad].
        scene: a simulation to drag along; it gets the arm every 5 ms and its contact torques act on this arm, which has none of its own.
        reality: friction, torque, latency and noise other than the model's.
        seed: of the noise.
    """

    def __init__(self, q: F64 = robot.ARM_HOME, scene: Scene | None = None, reality: RealityConfig | None = None, seed: int = 0) -> None:
        import mujoco

        from dexhil_env.sim.scene import SceneConfig, build_spec

        spec = build_spec(SceneConfig())
        spec.option.timestep = PERIOD_S
        if scene is not None:
            spec.option.disableflags = int(spec.option.disableflags) | int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
        self._mujoco = mujoco
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self._qpos = np.array([self.model.joint(name).qposadr[0] for name in robot.ARM_JOINTS])
        self._dof = np.array([self.model.joint(name).dofadr[0] for name in robot.ARM_JOINTS])
        motors = [robot.COUPLING[motor][0][0] for motor in robot.HAND_MOTORS]
        self._hand_qpos = np.array([self.model.joint(name).qposadr[0] for name in motors])
        self._site = self.model.site("flange").id
        self._gain = self.model.actuator_gainprm[:7].copy(), self.model.actuator_biasprm[:7].copy()
        self._reality, self._rng = reality or RealityConfig(), np.random.default_rng(seed)
        self.model.dof_frictionloss[self._dof] *= self._reality.arm_friction
        self.model.dof_damping[self._dof] *= self._reality.arm_damping
        self._on_the_way = deque([np.zeros(7)] * round(self._reality.arm_latency_s / PERIOD_S))
        self._servo_on = True
        self._last_q_d = np.array(q, dtype=float)
        self._push, self._from_scene, self._external = np.zeros(7), np.zeros(7), np.zeros(7)
        self._scene, self._ticks = scene, 0
        self.hand_target = robot.HAND_HOME.copy()
        self.data.qpos[self._qpos] = self.data.ctrl[:7] = q
        mujoco.mj_forward(self.model, self.data)

    @property
    def joint_pos(self) -> F64:
        """(7,) true angles of the arm [rad]."""
        return self.data.qpos[self._qpos]

    @property
    def joint_vel(self) -> F64:
        """(7,) true velocities of the arm [rad/s]."""
        return self.data.qvel[self._dof]

    @property
    def hand_motor_pos(self) -> F64:
        """(12,) angles of the hand's motors [rad]."""
        return self.data.qpos[self._hand_qpos]

    def step(self, tau: F64 | None, q_d: F64) -> None:
        """See :meth:`ArmBody.step`."""
        self._use_servo(tau is None)
        data = self.data
        data.ctrl[:7], data.ctrl[7:19] = q_d + _SERVO_LAG_S * (q_d - self._last_q_d) / PERIOD_S, self.hand_target
        self._last_q_d = q_d
        data.qfrc_applied[self._dof] = self._push + self._from_scene + self._motor_torque(tau)
        self._mujoco.mj_step(self.model, data)
        self._external += _EXTERNAL_FILTER * (self._outside() - self._external)
        self._ticks += 1
        if self._scene is not None and self._ticks % FOLLOW_TICKS == 0:
            self._from_scene = self._scene.follow(data.qpos[self._qpos], data.qvel[self._dof], self.hand_target)

    def push(self, torque: F64) -> None:
        """See :meth:`ArmBody.push`."""
        self._push = np.asarray(torque, dtype=float)

    def read(self) -> ArmReading:
        """See :meth:`ArmBody.read`; the flange pose is that of the last step's beginning, 1 ms ago."""
        data, dof = self.data, self._dof
        flange = np.eye(4)
        flange[:3, :3] = data.site_xmat[self._site].reshape(3, 3)
        flange[:3, 3] = data.site_xpos[self._site]
        own = data.qfrc_applied[dof] - self._push - self._from_scene
        tau = data.qfrc_actuator[dof] + data.qfrc_gravcomp[dof] + own
        q, dq = data.qpos[self._qpos], data.qvel[dof]
        if (noise := self._reality.encoder_noise) > 0:
            q = q + self._rng.normal(0.0, noise, 7)
            dq = dq + self._rng.normal(0.0, noise * _NOISE_RATE, 7)
        return ArmReading(q, dq, tau, self._external.copy(), self._wrench(), flange)

    def _motor_torque(self, tau: F64 | None) -> F64:
        """Torque (7,) that the motors make now of the commanded ones [Nm]; None ends the motion and what is on the way."""
        if tau is None:
            self._on_the_way = deque(np.zeros(7) for _ in self._on_the_way)
            return np.zeros(7)
        self._on_the_way.append(tau * self._reality.arm_torque)
        return self._on_the_way.popleft()

    def _use_servo(self, on: bool) -> None:
        if on == self._servo_on:
            return
        gain, bias = self._gain
        self.model.actuator_gainprm[:7], self.model.actuator_biasprm[:7] = (gain, bias) if on else (0.0, 0.0)
        self._servo_on = on

    def _outside(self) -> F64:
        """Torque (7,) that contacts and people put on the arm [Nm]."""
        total = self._push + self._from_scene
        data = self.data
        if data.ncon == 0:
            return total
        contact = data.efc_type >= int(self._mujoco.mjtConstraint.mjCNSTR_CONTACT_FRICTIONLESS)
        torque = np.zeros(self.model.nv)
        self._mujoco.mj_mulJacTVec(self.model, data, torque, np.where(contact, data.efc_force, 0.0))
        return total + torque[self._dof]

    def _wrench(self) -> F64:
        if np.abs(self._external).max() < _NO_LOAD:
            return np.zeros(6)
        jacobian = np.zeros((6, self.model.nv))
        self._mujoco.mj_jacSite(self.model, self.data, jacobian[:3], jacobian[3:], self._site)
        wrench, *_ = np.linalg.lstsq(jacobian[:, self._dof].T, self._external, rcond=None)
        return wrench.astype(np.float64)
