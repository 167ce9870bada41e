"""Seven numbers instead of nineteen: how the palm moves and how far the hand closes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import gymnasium as gym
import numpy as np

from dexhil_env import robot
from dexhil_env.env import DexHiLEnv
from dexhil_env.episode import STATE_KEYS
from dexhil_env.errors import ConfigError
from dexhil_env.hil.experts import plush, tissue
from dexhil_env.hil.ik import ArmIK
from dexhil_env.hil.sim_experts import sim_backend
from dexhil_env.spaces import make_observation
from dexhil_env.transforms import from_parts, from_rotvec, rotvec
from dexhil_env.types import ARM, F32, F64, HAND, Observation

SPEEDS: Final = np.array([0.35, 0.35, 0.35, 2.0, 2.0, 2.0, 1.5])
"""What an action of 1 means: palm velocity [m/s], turn rate [rad/s], share of the closing way [1/s]; as fast as the simulated human."""
HOLD: Final = 3
"""Control periods that one action lasts (0.15 s): as often as a person decides, and a way to the goal of some twenty actions."""
STEP: Final = SPEEDS * robot.CONTROL_PERIOD_S
WORKSPACE: Final = (np.array([0.25, -0.42, 0.02]), np.array([0.85, 0.42, 0.60]))
"""Where the palm may go [m]."""
TURNS: Final = (np.array([-1.2, -0.6, -1.4]), np.array([0.3, 0.7, 2.5]))
"""How the palm may be turned: rotation vector from home, in the base frame [rad]; what the expert uses of both tasks, and a margin.
Without it, a learner that is still exploring turns the palm upwards and stays there."""
HANDS: Final = {"plush": (plush.OPEN, plush.CLOSED), "tissue": (tissue.OPEN, tissue.SQUEEZE)}
"""Open and closed hand (12,) of each task [rad]; the learner goes from one to the other and back."""
OBJECTS: Final = {
    "plush": ("toy_x_m", "toy_y_m", "toy_centre_height_m", "toy_yaw_rad"),
    "tissue": ("pack_x_m", "pack_y_m", "edge_height_m", "pack_yaw_rad"),
}
"""Which of a task's numbers say where its object is: x, y, height above the table [m], yaw [rad]."""


@dataclass(frozen=True)
class Shaping:
    """The reward, on top of the task's dense progress in [0, 1] (docs/environments.md).

    Potential-based shaping (Ng et al., 1999) leaves the best policy what it is: ``gamma * P(s') - P(s)`` with ``P = scale * progress``.

    Attributes:
        scale: of the potential.
        success: reward of a success.
        per_step: cost of an action's time.
        gamma: discount; the learner's.
    """

    scale: float = 10.0
    success: float = 10.0
    per_step: float = 0.05
    gamma: float = 0.98

    def __call__(self, before: float, after: float, *, success: bool, over: bool) -> float:
        """Return the reward of a step from progress ``before`` to ``after``."""
        potential = 0.0 if over else self.gamma * self.scale * after
        return potential - self.scale * before + self.success * success - self.per_step


class PalmControl(gym.Wrapper[Any, F32, Any, F32]):
    """The task for a learner: state and what the task measures in the twin, in; palm velocity, turn rate and closing, out.

    Args:
        env: an environment of the twin.
        shaping: the reward.

    Raises:
        ConfigError: the environment is not the twin's, or its task has no grasp here.
    """

    def __init__(self, env: gym.Env[Any, F32], shaping: Shaping | None = None) -> None:
        super().__init__(env)
        twin = env.unwrapped
        if not isinstance(twin, DexHiLEnv) or twin.task.name not in HANDS:
            raise ConfigError(f"palm control knows the tasks {sorted(HANDS)} of the twin; got {env}")
        self.twin, self.shaping = twin, shaping or Shaping()
        self._open, self._way = HANDS[twin.task.name][0], HANDS[twin.task.name][1] - HANDS[twin.task.name][0]
        self._ik = ArmIK(sim_backend(twin).model)
        self._home = self._ik.forward(robot.ARM_HOME)[:3, :3]
        self._metrics: tuple[str, ...] = twin.task.metric_names
        assert isinstance(twin.observation_space, gym.spaces.Dict)
        widths = [int(np.prod(twin.observation_space[key].shape or ())) for key in STATE_KEYS]
        size = sum(widths) + self._described(dict.fromkeys(self._metrics, 0.0)).size + 7
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)  # pyright: ignore[reportAttributeAccessIssue]
        self.action_space = gym.spaces.Box(-1.0, 1.0, (7,), np.float32)  # pyright: ignore[reportAttributeAccessIssue]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[F32, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.follow()
        self._progress = float(info["progress"])
        return self.see(observation, info), info

    @property
    def palm(self) -> F64:
        """(4, 4) where the palm is commanded."""
        return self._palm.copy()

    def follow(self) -> None:
        """Go on from where the robot is commanded, e.g. after somebody else has driven it."""
        commanded = self.twin.servo.commanded
        self._q = commanded[ARM].copy()
        self._palm = self._ik.forward(self._q)
        self._closed = self._closing(commanded[HAND])

    def step(self, action: F32) -> tuple[F32, float, bool, bool, dict[str, Any]]:
        """Move palm and hand for HOLD control periods."""
        return self.run(lambda: action)

    def run(self, choose: Callable[[], F32]) -> tuple[F32, float, bool, bool, dict[str, Any]]:
        """Take the time of one action, but ask ``choose`` for one (7,) at every control period; returns what :meth:`step` does."""
        self.follow()
        terminated = truncated = False
        observation, info = cast("Observation", {}), dict[str, Any]()
        for _ in range(HOLD):
            observation, _, terminated, truncated, info = self.env.step(self.targets(choose()))
            if terminated or truncated:
                break
        progress = float(info["progress"])
        reward = self.shaping(self._progress, progress, success=bool(info["is_success"]), over=terminated)
        self._progress = progress
        return self.see(observation, info), reward, terminated, truncated, info

    def targets(self, action: F32) -> F32:
        """Turn an action (7,) into joint targets (19,) [rad]; the palm goes where the arm can follow."""
        move = STEP * np.clip(np.asarray(action, dtype=float), -1.0, 1.0)
        place = np.clip(self._palm[:3, 3] + move[:3], *WORKSPACE)
        turned = np.clip(rotvec(from_rotvec(move[3:6]) @ self._palm[:3, :3] @ self._home.T), *TURNS)
        wanted = from_parts(from_rotvec(turned) @ self._home, place)
        self._q = self._ik.solve(self._q, wanted, max_step_rad=robot.ARM_MAX_VELOCITY * robot.CONTROL_PERIOD_S)
        self._palm = self._ik.forward(self._q)
        self._closed = float(np.clip(self._closed + move[6], 0.0, 1.0))
        joints = np.concatenate([self._q, self._open + self._closed * self._way])
        return np.clip(joints, robot.LOW, robot.HIGH).astype(np.float32)

    def action_towards(self, T_base_ee: F64, hand: F64) -> F32:
        """Return the action (7,) that goes towards a palm pose (4, 4) and a hand (12,) [rad] as far as one period allows."""
        move = np.concatenate([T_base_ee[:3, 3] - self._palm[:3, 3], rotvec(T_base_ee[:3, :3] @ self._palm[:3, :3].T)])
        closing = self._closing(hand) - self._closed
        return np.clip(np.append(move, closing) / STEP, -1.0, 1.0).astype(np.float32)

    def _closing(self, hand: F64) -> float:
        """Share of the way from open to closed that is nearest to a hand (12,) [rad]."""
        return float(np.clip((hand - self._open) @ self._way / (self._way @ self._way), 0.0, 1.0))

    def see(self, observation: Observation, info: dict[str, Any]) -> F32:
        """Return what the learner sees: the robot, what the task measures, the object from the palm, how far the hand is told to close."""
        parts = [np.ravel(observation[key]) for key in STATE_KEYS]
        return np.concatenate([*parts, self._described(info), self._from_palm(info), [self._closed]]).astype(np.float32)

    def _from_palm(self, metrics: dict[str, Any]) -> F64:
        """Where the object is [m] and which way it is turned, in the palm's frame (6,)."""
        x, y, height, yaw = (float(metrics[name]) for name in OBJECTS[self.twin.task.name])
        to_palm = self._palm[:3, :3].T
        return np.concatenate([to_palm @ (np.array([x, y, height]) - self._palm[:3, 3]), to_palm @ [np.cos(yaw), np.sin(yaw), 0.0]])

    def see_now(self) -> F32:
        """Return what the learner sees of the present state, whoever has driven until now."""
        self.follow()
        evaluation, state = self.twin.evaluation, self.twin.backend.state()
        space = self.twin.observation_space
        assert isinstance(space, gym.spaces.Dict)
        plain = gym.spaces.Dict({key: space[key] for key in STATE_KEYS})
        return self.see(make_observation(state, {}, plain), evaluation.metrics)

    def _described(self, metrics: dict[str, Any]) -> F64:
        """Task metrics in order; angles as sine and cosine."""
        values = [(name, float(metrics[name])) for name in self._metrics]
        return np.concatenate([[np.sin(value), np.cos(value)] if name.endswith("_rad") else [value] for name, value in values])
