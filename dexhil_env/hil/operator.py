"""What the wrapper needs of a person, simulated or real."""

from typing import Protocol

import numpy as np

from dexhil_env.env import DexHiLEnv
from dexhil_env.types import F64, Command, Verdict


class Operator(Protocol):
    """Watches an episode, takes arm and hand over, gives them back, and judges."""

    def reset(self, env: DexHiLEnv, rng: np.random.Generator) -> None:
        """A new episode starts."""
        ...

    def watch(self, t_s: float, commanded: F64) -> None:
        """Look at the scene once per control period, before the policy's action is carried out; may engage or release."""
        ...

    def poll(self, t_s: float, commanded: F64) -> Command:
        """Return what the person asks for at this servo tick."""
        ...

    def verdict(self) -> Verdict:
        """Return the person's judgement; ``NONE`` while the episode goes on."""
        ...

    def facts(self) -> dict[str, object]:
        """Return JSON-serialisable facts of the episode for the record (alarms, reasons, reaction times)."""
        ...
