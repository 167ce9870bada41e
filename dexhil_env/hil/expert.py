"""The contract between a scripted expert and the simulated human that carries its plan out."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dexhil_env.types import F64


@dataclass(frozen=True, slots=True)
class Goal:
    """Where the expert wants arm and hand to go next.

    Attributes:
        T_base_ee: (4, 4) palm pose to move to.
        hand: (12,) motor angles to move to [rad].
        phase: name of the expert's phase, for logs.
        speed: factor on the human's speed limits, 0 to 1.
    """

    T_base_ee: F64
    hand: F64
    phase: str
    speed: float = 1.0


class Expert(Protocol):
    """Plans from privileged state, closed loop: may be asked from any state, also half way through a failing attempt."""

    def reset(self, rng: np.random.Generator) -> None:
        """Forget the present attempt; draw this person's habits (grasp offset, tempo) from ``rng``."""
        ...

    def goal(self, T_base_ee: F64, hand: F64, t_s: float) -> Goal:
        """Return the next goal, given the *commanded* palm pose (4, 4), motor targets (12,) and the time; called at 20 Hz."""
        ...
