"""One measured number and the limit that it must keep."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """A line of the table.

    Attributes:
        name: what was measured.
        value: the number; None when it could not be measured.
        unit: its unit.
        at_least: lower limit, if there is one.
        at_most: upper limit, if there is one.
        note: how it was measured, or why it was not.
    """

    name: str
    value: float | None
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def limit(self) -> str:
        """The limit in words."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else ""

    @property
    def verdict(self) -> str:
        """``pass``, ``FAIL``, ``skipped``, or nothing where there is no limit."""
        if self.value is None:
            return "skipped"
        if self.at_least is None and self.at_most is None:
            return ""
        low = self.at_least is None or self.value >= self.at_least
        return "pass" if low and (self.at_most is None or self.value <= self.at_most) else "FAIL"


def cpu_s(work: Callable[[], object]) -> float:
    """CPU time of a call, all its threads together [s]: on a busy machine it says more than wall time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def wall_s(work: Callable[[], object]) -> float:
    """Wall time of a call [s]."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
