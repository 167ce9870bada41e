"""Time: a rate with absolute deadlines, a one-slot mailbox with a stamp, and a Python that keeps to them."""

import gc
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")
SWITCH_S: Final = 5e-4
"""How long Python lets one thread run while others wait [s]; the default of 5 ms is a whole servo tick."""


def be_punctual(switch_s: float = SWITCH_S) -> None:
    """Let no thread of this process keep Python for long, and no garbage collection look at what is loaded already.

    For programs that drive a robot or serve a person's devices: with PyTorch loaded a full collection takes tens of milliseconds.
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), switch_s))
    gc.collect()
    gc.freeze()


@dataclass
class Rate:
    """Keeps a loop on absolute deadlines, so that a late turn does not shift the later ones and never bursts.

    Attributes:
        period_s: loop period [s].
        missed: deadlines missed so far.
    """

    period_s: float
    missed: int = 0
    _deadline: float = field(default=0.0, repr=False)

    def reset(self) -> None:
        """Start counting now."""
        self._deadline = time.monotonic() + self.period_s

    def sleep(self) -> None:
        """Sleep until the next deadline; a missed one is counted and skipped."""
        now = time.monotonic()
        if self._deadline == 0.0:
            self._deadline = now + self.period_s
        if now > self._deadline:
            behind = int((now - self._deadline) / self.period_s) + 1
            self.missed += behind
            self._deadline += behind * self.period_s
            return
        time.sleep(self._deadline - now)
        self._deadline += self.period_s


class Pace:
    """Spreads the ticks of simulated time over wall time. A short delay is made up for, a long one (rendering a film, a debugger) is not.

    Args:
        period_s: distance of the ticks [s].
        slack_s: longest delay that is made up for [s].

    Attributes:
        dropped_s: delay that was not made up for, in all [s].
    """

    def __init__(self, period_s: float, slack_s: float = 0.05) -> None:
        self._period_s, self._slack_s = period_s, slack_s
        self.reset()

    def reset(self) -> None:
        """Start counting at the next tick."""
        self._deadline: float | None = None
        self.dropped_s = 0.0

    def wait(self) -> None:
        """Wait until the next tick is due."""
        now = time.monotonic()
        self._deadline = now if self._deadline is None else self._deadline + self._period_s
        behind = now - self._deadline
        if behind < 0.0:
            time.sleep(-behind)
        elif behind > self._slack_s:
            self.dropped_s += behind
            self._deadline = now


class Latest(Generic[T]):
    """One-slot mailbox between threads: holds the newest value and its time stamp; readers never wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item: tuple[T, int] | None = None

    def put(self, value: T, t_ns: int) -> None:
        """Replace the value; ``t_ns`` is the time at which it was true [ns]."""
        with self._lock:
            self._item = (value, t_ns)

    def get(self, now_ns: int | None = None, max_age_ns: int | None = None) -> tuple[T, int] | None:
        """Return (value, stamp), or None when empty or older than ``max_age_ns`` at ``now_ns``."""
        with self._lock:
            item = self._item
        if item is not None and now_ns is not None and max_age_ns is not None and now_ns - item[1] > max_age_ns:
            return None
        return item

    def clear(self) -> None:
        """Forget the value."""
        with self._lock:
            self._item = None
