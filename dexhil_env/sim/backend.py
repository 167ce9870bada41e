"""The twin: MuJoCo behind the :class:`dexhil_env.backend.RobotBackend` contract."""

import logging
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from dexhil_env import robot
from dexhil_env.clock import Pace
from dexhil_env.errors import ConfigError, SimulationError
from dexhil_env.gl import render_error
from dexhil_env.limits import Limiter
from dexhil_env.servo import ServoMux
from dexhil_env.sim.randomise import Looks, LooksConfig
from dexhil_env.sim.render import renderer_for
from dexhil_env.sim.scene import SceneConfig, build_model
from dexhil_env.sim.task import SimTask
from dexhil_env.types import F64, U8, RobotState

logger = logging.getLogger(__name__)

_BAD = tuple(int(getattr(mujoco.mjtWarning, f"mjWARN_{name}")) for name in ("BADQPOS", "BADQVEL", "BADQACC"))
_FLEX_CONTACT_FORCE = np.zeros(6)


def _log_warning(message: str) -> None:
    """Send MuJoCo's warnings to the log instead of the terminal.

    A flex solve that stops just above its tolerance is reported as a singular inertia; it is harmless and goes to DEBUG. Divergence is
    checked after every control period and raises :class:`SimulationError`.
    """
    harmless = "effective-metric" in message
    logger.log(logging.DEBUG if harmless else logging.WARNING, "MuJoCo: %s", message)


@dataclass(frozen=True)
class PhysicsState:
    """Everything that decides how the twin goes on, bit for bit.

    Attributes:
        integration: ``mjSTATE_INTEGRATION`` vector.
        task: the task's state outside of ``mjData``.
        looks: colours, lights and cameras.
    """

    integration: F64
    task: F64
    looks: F64


class SimBackend:
    """A MuJoCo scene with the robot and one task.

    Args:
        task: brings the objects.
        cameras: names of the cameras to render.
        image_size: square image size [px].
        scene: mount, cameras, skin.
        looks: how the looks vary between episodes; None keeps them.

    Attributes:
        pace: spreads the servo ticks over wall time, so that a person's key need not wait for the next period; None runs freely.
    """

    def __init__(
        self,
        task: SimTask,
        cameras: tuple[str, ...] = (),
        image_size: int = 128,
        scene: SceneConfig | None = None,
        looks: LooksConfig | None = None,
    ) -> None:
        self.task, self.cameras, self.image_size = task, cameras, image_size
        self.scene = scene or SceneConfig()
        mujoco.set_mju_user_warning(_log_warning)
        self.model = build_model(task, self.scene)
        self.data = mujoco.MjData(self.model)
        known = tuple(self.model.camera(i).name for i in range(self.model.ncam))
        for name in cameras:
            if name not in known:
                raise ConfigError(f"unknown camera {name!r}; this scene has {known}")
        self._substeps = round(robot.SERVO_PERIOD_S / self.model.opt.timestep)
        if abs(self._substeps * self.model.opt.timestep - robot.SERVO_PERIOD_S) > 1e-9:
            raise ConfigError(f"the physics step must divide {robot.SERVO_PERIOD_S} s; got {self.model.opt.timestep} s")
        self._lead_s = self.scene.tuning.lead_s if self.scene.tuning is not None else None
        self._looks = Looks(self.model, looks)
        self._viewer: Any = None
        self.pace: Pace | None = None
        self._find_indices()
        task.bind(self.model, self.data)

    def _find_indices(self) -> None:
        model = self.model
        names = (*robot.ARM_JOINTS, *robot.HAND_MOTORS)
        found = tuple(model.actuator(i).name for i in range(model.nu))
        if found != names:
            raise ConfigError(f"actuators must be {names}; got {found}")
        motors = [robot.COUPLING[motor][0][0] for motor in robot.HAND_MOTORS]
        self._arm_qpos = np.array([model.joint(name).qposadr[0] for name in robot.ARM_JOINTS])
        self._arm_dof = np.array([model.joint(name).dofadr[0] for name in robot.ARM_JOINTS])
        self._hand_qpos = np.array([model.joint(name).qposadr[0] for name in motors])
        self._joint_qpos = np.array([model.joint(name).qposadr[0] for name in robot.HAND_JOINTS])
        self._site = model.site("ee").id
        self._finger_of_geom = np.full(model.ngeom + 1, -1)
        for finger in range(5):
            body = model.body(f"r_f_link{finger + 1}_4").id
            self._finger_of_geom[:-1][model.geom_bodyid == body] = finger

    def reset(self, rng: np.random.Generator) -> None:
        """Put the robot at rest at its home pose and draw the looks; the task lays its objects afterwards."""
        self._looks.draw(rng)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self._arm_qpos] = robot.ARM_HOME
        self.data.qpos[self._joint_qpos] = robot.coupling_matrix() @ robot.HAND_HOME
        self.data.ctrl[:] = robot.HOME
        if self.scene.tuning is not None:
            self.scene.tuning.rest(self.model, self.data)
        mujoco.mj_forward(self.model, self.data)

    def run(self, servo: ServoMux, ticks: int) -> None:
        """Run servo periods of simulated time."""
        data, model = self.data, self.model
        for _ in range(ticks):
            if self.pace is not None:
                self.pace.wait()
            data.ctrl[:] = servo.tick(data.time)
            if self._lead_s is not None:
                self._aim_ahead()
            mujoco.mj_step(model, data, self._substeps)
        # mj_step leaves positions of sites and flex vertices one step behind qpos; observations need them fresh
        mujoco.mj_kinematics(model, data)
        mujoco.mj_flex(model, data)
        mujoco.mj_camlight(model, data)
        if any(data.warning[kind].number for kind in _BAD):
            raise SimulationError(
                f"the physics diverged at t = {data.time:.3f} s (NaN or huge values); reset the environment. "
                "Please report the seed and the actions: this must not happen."
            )

    def _aim_ahead(self) -> None:
        """Move the arm's targets on by what they will do within the lead."""
        data = self.data
        target = data.ctrl[robot.ARM].copy()
        data.ctrl[robot.ARM] = target + self._lead_s * (target - data.userdata[:7]) / robot.SERVO_PERIOD_S
        data.userdata[:7] = target

    def state(self) -> RobotState:
        """Read the joints, the palm pose and the fingertip forces."""
        data = self.data
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, data.site_xmat[self._site])
        return RobotState(
            time_s=float(data.time),
            arm_joint_pos=data.qpos[self._arm_qpos],
            arm_joint_vel=data.qvel[self._arm_dof],
            hand_motor_pos=data.qpos[self._hand_qpos],
            fingertip_force=self._fingertip_force(),
            ee_pose=np.concatenate([data.site_xpos[self._site], quat if quat[0] >= 0 else -quat]),
        )

    def ages(self) -> dict[str, float]:
        """Return zeros: the twin is read at the very moment."""
        return dict.fromkeys(("arm", "hand", *self.cameras), 0.0)

    def limiter(self) -> Limiter:
        """Return the limits of the joints, as the scene's tuning has them."""
        return Limiter() if self.scene.tuning is None else self.scene.tuning.limiter()

    def _fingertip_force(self) -> F64:
        """Sum of contact force magnitudes on each distal link (5,) [N], thumb first."""
        total = np.zeros(5)
        data = self.data
        if data.ncon == 0:
            return total
        fingers = self._finger_of_geom[data.contact.geom]  # flex sides carry geom -1: the last entry, no finger
        for index in np.flatnonzero((fingers >= 0).any(axis=1)):
            mujoco.mj_contactForce(self.model, data, int(index), _FLEX_CONTACT_FORCE)
            force = float(np.linalg.norm(_FLEX_CONTACT_FORCE[:3]))
            for finger in fingers[index]:
                if finger >= 0:
                    total[finger] += force
        return total

    def images(self) -> dict[str, U8]:
        """Render every camera."""
        return {name: self.picture(name, self.image_size, self.image_size) for name in self.cameras}

    def picture(self, camera: str, height: int, width: int) -> U8:
        """Render one camera at any size, (height, width, 3)."""
        renderer = renderer_for(self.model, height, width, self.scene.skin)
        return renderer.draw(self.model, self.data, self.model.camera(camera).id)

    def show(self) -> None:
        """Open or refresh the interactive viewer (needs a screen)."""
        from mujoco import viewer

        if self._viewer is None:
            try:
                self._viewer = viewer.launch_passive(self.model, self.data)
            except Exception as error:
                raise render_error(error) from error
        self._viewer.sync()

    def save_state(self) -> PhysicsState:
        """Copy the physics state."""
        kind = int(mujoco.mjtState.mjSTATE_INTEGRATION)
        vector = np.empty(mujoco.mj_stateSize(self.model, kind))
        mujoco.mj_getState(self.model, self.data, vector, kind)
        return PhysicsState(vector, np.array(self.task.extra_state(), dtype=float), self._looks.state())

    def restore_state(self, state: PhysicsState) -> None:
        """Go back to a saved state; continues bit for bit."""
        self._looks.restore(state.looks)
        self.task.set_extra_state(state.task)
        mujoco.mj_setState(self.model, self.data, state.integration, int(mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_forward(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, state.integration, int(mujoco.mjtState.mjSTATE_INTEGRATION))

    def close(self) -> None:
        """Close the viewer; rendering contexts belong to the process."""
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None
