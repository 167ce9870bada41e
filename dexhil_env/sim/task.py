"""A task of the twin: objects in the scene, a reset that lays them, a judgement of the physics state."""

from typing import Any, Protocol

import mujoco
import numpy as np

from dexhil_env.types import Evaluation


class SimTask(Protocol):
    """A :class:`dexhil_env.task.Task` that brings its own objects into a MuJoCo scene.

    Attributes:
        timestep_s: physics step; divides the servo period.
    """

    name: str
    instruction: str
    timestep_s: float

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics in :class:`Evaluation`."""
        ...

    def add_to(self, spec: mujoco.MjSpec) -> None:
        """Add objects and set the solver options that this task needs."""
        ...

    def bind(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Look up ids once after compilation."""
        ...

    def reset(self, rng: np.random.Generator, options: dict[str, Any]) -> None:
        """Lay the objects; may step the physics to let them settle."""
        ...

    def evaluate(self) -> Evaluation:
        """Judge the present state; called once per control period (20 Hz)."""
        ...

    def extra_state(self) -> np.ndarray:
        """Whatever the task holds outside ``mjData`` (success timers, model edits), as float64, for exact save and restore."""
        ...

    def set_extra_state(self, state: np.ndarray) -> None:
        """Restore what :meth:`extra_state` returned."""
        ...
