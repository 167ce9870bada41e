"""Servo ticks on the arm's clock, and how well they were kept: periods, late ticks, ages, waits."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

POLL_S: Final = 0.001
"""How often a clock that is not the wall's is asked while waiting [s]."""
WATCH_S: Final = 0.004
"""How often the robot is looked at while waiting [s]."""


class Pacer:
    """Deadlines at a fixed distance on any clock. A late turn shifts the later ones: it is never made up for in a burst.

    Args:
        now: the clock [s].
        period_s: distance of the deadlines [s].
        wall: the clock is ``time.monotonic``, so that one sleep suffices.

    Attributes:
        late: turns that came more than a period late.
    """

    def __init__(self, now: Callable[[], float], period_s: float, wall: bool = True) -> None:
        self._now, self._period_s, self._wall = now, period_s, wall
        self._deadline: float | None = None
        self.late = 0

    def restart(self) -> None:
        """Let the next turn begin at once."""
        self._deadline = None

    def wait(self, watch: Callable[[], None]) -> float:
        """Wait for the next deadline.

        Args:
            watch: called now and then while waiting; it ends the wait by raising.

        Returns:
            The deadline [s]: deadlines are evenly spaced even where turns are not.
        """
        now = self._now()
        if self._deadline is None:
            self._deadline = now
        else:
            self._deadline += self._period_s
        if now - self._deadline > self._period_s:
            self.late += 1
            self._deadline = now
        watched = time.monotonic()
        while (left := self._deadline - self._now()) > 0.0:
            time.sleep(left if self._wall else min(left, POLL_S))
            if time.monotonic() - watched > WATCH_S:
                watch()
                watched = time.monotonic()
        return self._deadline


class TimingLog:
    """What is remembered of one episode's timing.

    Args:
        now: the arm's clock [s].

    Attributes:
        begun: when every control period began [s].
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.restart()

    def restart(self) -> None:
        """A new episode."""
        self.begun: list[float] = []
        self._ages: dict[str, list[float]] = {}
        self._began_wall, self._began = time.monotonic(), self._now()
        self.holds = 0
        self.held_s = 0.0
        self.late_ticks = 0
        self.worst_success = 1.0

    def begin_period(self) -> None:
        """A control period begins: its first target is about to be sent."""
        self.begun.append(self._now())

    def note_ages(self, ages: Mapping[str, float]) -> None:
        """Remember how old the samples of an observation were [s]."""
        for name, age in ages.items():
            self._ages.setdefault(name, []).append(age)

    def summary(self) -> dict[str, Any]:
        """Return JSON-serialisable facts: periods [ms] on the arm's clock, late ticks, waits [s], ages [ms], real-time factor."""
        periods = 1e3 * np.diff(self.begun)
        wall_s = max(time.monotonic() - self._began_wall, 1e-9)
        return {
            "steps": len(self.begun),
            "period_ms": _spread(periods),
            "late_ticks": self.late_ticks,
            "holds": self.holds,
            "held_s": round(self.held_s, 3),
            "age_ms": {name: _spread(1e3 * np.array(values)) for name, values in self._ages.items()},
            "packet_success_min": round(self.worst_success, 3),
            "real_time_factor": round((self._now() - self._began) / wall_s, 3),
        }


def _spread(values: "np.ndarray[Any, np.dtype[np.float64]]") -> dict[str, float]:
    if not len(values):
        return {}
    p50, p99 = np.quantile(values, (0.5, 0.99))
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(float(values.max()), 2)}
