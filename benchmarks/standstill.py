"""When did the computer itself stand still? A virtual machine's host may take all of its processors away for tens of milliseconds.

One watcher per processor sleeps for 2 ms at a time, before every other program where the system lets it (SCHED_FIFO). What keeps **all**
of them from running at the same moment is no program of this computer.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from types import TracebackType
from typing import Final

PERIOD_S: Final = 0.002
LATE_S: Final = 0.003
"""A watcher that wakes this much later than it wanted has stood still [s]."""
_PRIORITY: Final = 50

Interval = tuple[float, float]


class Standstills:
    """Context manager that watches the computer.

    Attributes:
        intervals: when it stood still, in order, on ``time.monotonic`` [s]; known at the end.
        first: the watchers came before every other program.
    """

    intervals: list[Interval]
    first: bool

    def __enter__(self) -> "Standstills":
        self._watchers = [
            subprocess.Popen([sys.executable, "-m", "benchmarks.standstill", str(cpu)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for cpu in sorted(os.sched_getaffinity(0))
        ]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        seen = [json.loads(watcher.communicate()[0]) for watcher in self._watchers]
        self.first = all(each["first"] for each in seen)
        self.intervals = together([[(begin, end) for begin, end in each["late"]] for each in seen])


def together(lists: list[list[Interval]]) -> list[Interval]:
    """Return when all of some lists of intervals hold at once; each list is in order and without overlaps."""
    common = lists[0]
    for other in lists[1:]:
        both = [(max(a, c), min(b, d)) for a, b in common for c, d in other]
        common = [(begin, end) for begin, end in both if begin < end]
    return common


def touched(span: Interval, intervals: list[Interval]) -> bool:
    """Whether one of the intervals lies in a span, or overlaps it."""
    return any(begin < span[1] and end > span[0] for begin, end in intervals)


def _watch(cpu: int) -> None:
    """Watch one processor until stdin ends, and print what was seen."""
    os.sched_setaffinity(0, {cpu})
    first = False
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
        first = True
    late, due = list[Interval](), time.monotonic()
    while True:
        due += PERIOD_S
        if select.select([sys.stdin], [], [], max(due - time.monotonic(), 0.0))[0]:
            break
        now = time.monotonic()
        if now - due > LATE_S:
            late.append((due, now))
            due = now
    print(json.dumps({"first": first, "late": late}))


if __name__ == "__main__":
    _watch(int(sys.argv[1]))
