"""What an environment needs of a task: a scene laid anew, and a judgement."""

from typing import Any, Protocol

import numpy as np

from dexhil_env.types import Evaluation


class Task(Protocol):
    """A goal in words, a way to lay the scene, and the one definition of success."""

    name: str
    instruction: str

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics in :class:`Evaluation`."""
        ...

    def reset(self, rng: np.random.Generator, options: dict[str, Any]) -> None:
        """Lay the scene; the robot is at home already."""
        ...

    def evaluate(self) -> Evaluation:
        """Judge the present state; called once per control period."""
        ...
