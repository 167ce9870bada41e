"""The Gymnasium environment: a robot backend and a task. Nothing here knows whether the robot is simulated."""

import copy
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import gymnasium as gym
import numpy as np

from dexhil_env import robot
from dexhil_env.backend import RobotBackend
from dexhil_env.clock import Pace, Rate
from dexhil_env.errors import ActionError, ConfigError
from dexhil_env.servo import PeriodReport, ServoMux
from dexhil_env.spaces import action_space, make_observation, observation_space
from dexhil_env.task import Task
from dexhil_env.types import F32, U8, Evaluation, Observation, RobotState, Source, Verdict

RenderMode = Literal["rgb_array", "human"]
RewardType = Literal["sparse", "dense"]
_ROUNDING = 1e-5


@dataclass(frozen=True)
class EnvState:
    """A saved environment; see :meth:`DexHiLEnv.save_state`."""

    backend: Any
    servo: ServoMux
    rng: dict[str, Any]
    counters: tuple[bool, int, bool]


class DexHiLEnv(gym.Env[Observation, F32]):
    """Arm-and-hand manipulation at 20 Hz.

    Args:
        backend: the robot.
        task: the scene, its instruction and its judgement.
        reward_type: ``"sparse"`` (1 at success) or ``"dense"`` (the task's progress in [0, 1]).
        render_mode: ``"rgb_array"``, ``"human"`` or None.
        realtime: keep :meth:`step` at 20 Hz of wall time; in the twin each servo tick has its own moment.

    ``measured`` is the last measurement, for displays.

    ``fresh_images`` = False leaves the last images in the observations of :meth:`step` instead of rendering; a caller that will not look
    at them saves time. :meth:`reset` turns it on again.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": round(1 / robot.CONTROL_PERIOD_S)}

    def __init__(
        self,
        backend: RobotBackend,
        task: Task,
        reward_type: RewardType = "sparse",
        render_mode: RenderMode | None = None,
        realtime: bool = False,
    ) -> None:
        if reward_type not in ("sparse", "dense"):
            raise ConfigError(f"reward_type must be 'sparse' or 'dense'; got {reward_type!r}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(f"render_mode must be one of {self.metadata['render_modes']} or None; got {render_mode!r}")
        self.backend, self.task = backend, task
        self.reward_type, self.render_mode, self.realtime = reward_type, render_mode, realtime
        self.servo = ServoMux(limiter=backend.limiter())
        self.action_space = action_space()
        self.observation_space = cast("gym.Space[Observation]", observation_space(backend.cameras, backend.image_size))
        self.fresh_images = True
        self._images: dict[str, U8] = {}
        self._rate = Rate(robot.CONTROL_PERIOD_S)
        self._pace = Pace(robot.SERVO_PERIOD_S) if realtime and hasattr(backend, "pace") else None
        if self._pace is not None:
            backend.pace = self._pace  # pyright: ignore[reportAttributeAccessIssue]
        self._ended = True
        self._interventions, self._was_human = 0, False
        self.evaluation = Evaluation()
        self.measured: RobotState | None = None

    @property
    def instruction(self) -> str:
        """The task in words, as the policy hears it."""
        return self.task.instruction

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Bring the robot home and lay the scene anew.

        Args:
            seed: the same seed gives the same episode, bit for bit, in any process.
            options: passed to the task's reset; see the task.

        Returns:
            observation and info; info has the same keys as after :meth:`step`.
        """
        super().reset(seed=seed)
        self.fresh_images = True
        self.servo.reset(robot.HOME)
        self.backend.reset(self.np_random)
        self.task.reset(self.np_random, options or {})
        self.servo.begin(robot.HOME)
        self._ended = False
        self._interventions, self._was_human = 0, False
        self._rate.reset()
        if self._pace is not None:
            self._pace.reset()
        state = self.measured = self.backend.state()
        self.evaluation = self.task.evaluate()
        info = self._info(state, self.evaluation, self.servo.report, np.asarray(robot.HOME, dtype=np.float32))
        return self._observe(state), info

    def step(self, action: F32) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Run one control period (50 ms).

        Args:
            action: (19,) absolute joint targets [rad] within ``action_space``.

        Raises:
            ActionError: wrong shape or type, not finite, or outside the joint ranges.
            RobotStopped: the robot has stopped (not in the twin); the episode is over, look at the robot and call ``backend.recover()``.
        """
        if self._ended:
            raise ActionError("step() was called on an episode that is over (or was never started); call reset() first")
        wanted = self._checked(action)
        self.servo.begin(wanted)
        self.backend.run(self.servo, self.servo.control_ticks)
        if self.realtime and self._pace is None:
            self._rate.sleep()
        state = self.measured = self.backend.state()
        evaluation = self.evaluation = self.task.evaluate()
        reward = float(evaluation.success) if self.reward_type == "sparse" else evaluation.progress
        ended, discarded = evaluation.success or evaluation.failure, evaluation.verdict is Verdict.DISCARD
        self._ended = ended or discarded
        if self.render_mode == "human":
            self.render()
        info = self._info(state, evaluation, self.servo.report, np.array(action, dtype=np.float32))
        return self._observe(state), reward, ended, discarded and not ended, info

    def _checked(self, action: F32) -> np.ndarray:
        values = np.asarray(action)
        if values.shape != (robot.ACTION_DIM,) or values.dtype.kind not in "fiu":
            raise ActionError(
                f"an action is {robot.ACTION_DIM} joint targets [rad] (7 arm joints, 12 hand motors); "
                f"got shape {values.shape}, type {values.dtype}"
            )
        values = values.astype(np.float64)
        if not np.isfinite(values).all():
            names = [robot.ACTION_NAMES[i] for i in np.flatnonzero(~np.isfinite(values))]
            raise ActionError(f"an action must be finite; got NaN or infinity in {names}")
        outside = np.flatnonzero((values < robot.LOW - _ROUNDING) | (values > robot.HIGH + _ROUNDING))
        if outside.size:
            i = int(outside[0])
            raise ActionError(
                f"action[{i}] ({robot.ACTION_NAMES[i]}) = {values[i]:.4f} rad is outside [{robot.LOW[i]}, {robot.HIGH[i]}]; "
                "clip to env.action_space first: np.clip(a, env.action_space.low, env.action_space.high)"
            )
        return values

    def _observe(self, state: RobotState) -> Observation:
        assert isinstance(self.observation_space, gym.spaces.Dict)
        stale = self._images and not self.fresh_images
        self._images = {name: image.copy() for name, image in self._images.items()} if stale else self.backend.images()
        return make_observation(state, self._images, self.observation_space)

    def _info(self, state: RobotState, evaluation: Evaluation, report: PeriodReport, policy_action: F32) -> dict[str, Any]:
        human = report.source != Source.POLICY
        self._interventions += human and not self._was_human
        self._was_human = human
        return {
            "instruction": self.task.instruction,
            "is_success": evaluation.success,
            "is_failure": evaluation.failure,
            "progress": evaluation.progress,
            "applied_action": report.applied.astype(np.float32),
            "policy_action": policy_action,
            "is_intervention": human,
            "intervention_source": report.source.label,
            "intervention_id": self._interventions if human else 0,
            "is_handover": report.blending,
            "handovers": tuple(asdict(handover) for handover in report.handovers),
            "verdict": evaluation.verdict.value,
            "t_obs_ns": round(state.time_s * 1e9),
            "t_arm_ns": report.t_arm_ns,
            "t_hand_ns": report.t_hand_ns,
            "ages_s": self.backend.ages(),
            **evaluation.metrics,
        }

    def render(self) -> U8 | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a (480, 640, 3) picture of the front camera, or refresh the interactive viewer."""
        if self.render_mode is None:
            gym.logger.warn("render() needs render_mode='rgb_array' or 'human'; pass it to gym.make")
            return None
        picture = getattr(self.backend, "picture", None)
        if self.render_mode == "rgb_array" and picture is not None:
            return picture("front", 480, 640)
        show = getattr(self.backend, "show", None)
        if show is not None:
            show()
        return None

    def save_state(self) -> EnvState:
        """Save physics, task, servo and random state; a restored environment continues bit for bit.

        A person's devices are not part of it: detach the operator, or save it beside.
        """
        save = getattr(self.backend, "save_state", None)
        if save is None:
            raise ConfigError("this robot cannot be saved: only the twin has a state that can be restored")
        counters = (self._ended, self._interventions, self._was_human)
        return EnvState(save(), self._servo_memory(), copy.deepcopy(dict(self.np_random.bit_generator.state)), counters)

    def restore_state(self, state: EnvState) -> Observation:
        """Go back to a saved state and return its observation."""
        self.backend.restore_state(state.backend)  # pyright: ignore[reportAttributeAccessIssue,reportUnknownMemberType]
        operator = self.servo.operator
        self.servo = copy.deepcopy(state.servo)
        self.servo.operator = operator
        self._ended, self._interventions, self._was_human = state.counters
        self.np_random.bit_generator.state = copy.deepcopy(state.rng)
        return self._observe(self.backend.state())

    def _servo_memory(self) -> ServoMux:
        operator, self.servo.operator = self.servo.operator, None
        memory = copy.deepcopy(self.servo)
        self.servo.operator = operator
        return memory

    def close(self) -> None:
        """Release the robot."""
        self.backend.close()
