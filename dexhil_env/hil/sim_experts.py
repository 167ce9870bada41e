"""Which expert knows which task, and an expert that acts as a policy."""

import numpy as np

from dexhil_env import robot
from dexhil_env.env import DexHiLEnv
from dexhil_env.errors import ConfigError
from dexhil_env.hil.expert import Expert
from dexhil_env.hil.ik import ArmIK
from dexhil_env.hil.motion import HumanMotion, MotionConfig
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.plush import PlushTask
from dexhil_env.sim.tissue import TissueTask
from dexhil_env.types import ARM, F32, HAND, Observation


def find_twin(env: DexHiLEnv) -> SimBackend | None:
    """Return the twin of an environment: its own, or the mirror of an emulated robot's; None for a real robot."""
    backend = env.backend if isinstance(env.backend, SimBackend) else getattr(env.backend, "twin", None)
    return backend if isinstance(backend, SimBackend) else None


def sim_backend(env: DexHiLEnv) -> SimBackend:
    """Return the twin of an environment.

    Raises:
        ConfigError: the robot is real, so there is no privileged state.
    """
    twin = find_twin(env)
    if twin is None:
        raise ConfigError("the scripted expert sees the simulator's state: it works in the twin only, use a person on the robot")
    return twin


def make_expert(env: DexHiLEnv, never_close: bool = False) -> Expert:
    """Make the expert of an environment's task; ``never_close`` keeps the hand open, as a control experiment."""
    from dexhil_env.hil.experts.plush import PlushExpert
    from dexhil_env.hil.experts.tissue import TissueExpert

    backend = sim_backend(env)
    if isinstance(backend.task, PlushTask):
        return PlushExpert(backend.task, backend.model, backend.data, never_close=never_close)
    if isinstance(backend.task, TissueTask):
        return TissueExpert(backend.task, backend.model, backend.data, never_close=never_close)
    raise ConfigError(f"no expert knows the task {backend.task.name!r}; write one (dexhil_env.hil.expert.Expert)")


class ExpertPolicy:
    """The scripted expert as a policy: the source of offline demonstrations and the upper bound of every comparison.

    Args:
        env: environment whose state the expert sees.
        motion: speed limits and tremor of the demonstrator.
        never_close: keep the hand open.
    """

    def __init__(self, env: DexHiLEnv, motion: MotionConfig | None = None, never_close: bool = False) -> None:
        self._env = env
        self._ik = ArmIK(sim_backend(env).model)
        self._expert = make_expert(env, never_close)
        self._motion = HumanMotion(motion or MotionConfig(), robot.CONTROL_PERIOD_S)
        self._fresh = True

    def reset(self, seed: int | None = None) -> None:
        """Start over; with ``seed``, as a person with the habits of that seed."""
        if seed is not None:
            self._rng = np.random.default_rng((seed, 0xE))
            self._expert.reset(self._rng)
        self._fresh = True

    def act(self, observation: Observation, instruction: str) -> F32:  # noqa: ARG002  (privileged: looks at the scene instead)
        """Return absolute joint targets (19,) [rad]."""
        commanded, time_s = self._env.servo.commanded, float(sim_backend(self._env).data.time)
        if self._fresh:
            self._motion.reset(self._ik.forward(commanded[ARM]), commanded[HAND], self._rng)
            self._q, self._fresh = commanded[ARM].copy(), False
        goal = self._expert.goal(self._ik.forward(self._q), commanded[HAND], time_s)
        palm, hand = self._motion.step(goal)
        self._q = self._ik.solve(self._q, palm, max_step_rad=robot.ARM_MAX_VELOCITY * robot.CONTROL_PERIOD_S)
        return np.concatenate([self._q, hand]).astype(np.float32)
