"""Time: a rate with absolute deadlines, and a one-slot mailbox with a stamp."""

import threading
import time
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


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
