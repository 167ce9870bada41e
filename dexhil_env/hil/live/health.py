"""How well devices and commands keep their rates, in wall time."""

import time
from collections import deque
from typing import Any

import numpy as np

from dexhil_env.hil.live.inbox import Stamped
from dexhil_env.hil.live.messages import ARM_DEVICES, HAND_DEVICES
from dexhil_env.types import Command

_KEPT = 4096


class Health:
    """Rates and ages of one episode. One thread writes, others may read.

    Attributes:
        unused: readings that were no hand, or for which there is no retargeter.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new episode."""
        self._arrivals: dict[str, deque[int]] = {}
        self._ages: dict[str, deque[float]] = {}
        self._commands: dict[str, list[float]] = {"arm": [], "hand": []}
        self._stamps = {"arm": 0, "hand": 0}
        self.unused = 0

    def hear(self, stamped: Stamped) -> None:
        """A message has been heard now."""
        kind = stamped.message["type"]
        self._arrivals.setdefault(kind, deque(maxlen=60)).append(stamped.t_ns)
        limb = "arm" if kind in ARM_DEVICES else "hand" if kind in HAND_DEVICES else "other"
        self._ages.setdefault(limb, deque(maxlen=_KEPT)).append((time.monotonic_ns() - stamped.t_ns) / 1e6)

    def command(self, command: Command) -> None:
        """A command is in force at this tick."""
        for limb, stamp in (("arm", command.t_arm_ns if command.arm is not None else 0), ("hand", command.t_hand_ns)):
            if stamp and stamp != self._stamps[limb]:
                self._stamps[limb] = stamp
                self._commands[limb].append(time.monotonic())

    def devices(self) -> dict[str, dict[str, float]]:
        """Return rate [Hz] and age [ms] of every kind of message, now."""
        now = time.monotonic_ns()
        found: dict[str, dict[str, float]] = {}
        for kind, stamps in list(self._arrivals.items()):
            recent = [stamp for stamp in list(stamps) if now - stamp < 2e9]
            span_s = (recent[-1] - recent[0]) / 1e9 if len(recent) > 1 else 0.0
            rate_hz = (len(recent) - 1) / span_s if span_s > 0 else 0.0
            found[kind] = {"hz": round(rate_hz, 1), "age_ms": round((now - stamps[-1]) / 1e6, 1)}
        return found

    def facts(self) -> dict[str, Any]:
        """Return JSON-serialisable facts: ages of messages when they were heard [ms], rates of commands [Hz]."""
        ages = {limb: {"p50": _quantile(values, 0.5), "p99": _quantile(values, 0.99)} for limb, values in self._ages.items()}
        rates = {f"{limb}_hz": _rate(times) for limb, times in self._commands.items() if len(times) > 10}
        return {"age_ms": ages, "unused": self.unused, **rates}


def _quantile(values: deque[float], share: float) -> float:
    return round(float(np.quantile(list(values), share)), 2)


def _rate(times: list[float]) -> float:
    """Rate of the commands of one limb; pauses between takeovers are left out."""
    gaps = np.diff(times)
    driving = gaps[gaps < 0.2]
    return round(float(len(driving) / driving.sum()), 1) if len(driving) and driving.sum() > 0 else 0.0
