"""The methods that are compared: ours, the paper's two stages, ablations, and peers (in ``agents.retarget.peers``)."""

import time
from dataclasses import dataclass

import numpy as np

from agents.retarget.metrics import Method
from dexhil_env.hil.retarget.profile import Profile
from dexhil_env.hil.retarget.retargeter import Retargeter
from dexhil_env.types import F64


@dataclass(frozen=True)
class Entry:
    """A column of the table.

    Attributes:
        name: short, for table and picture.
        run: consecutive frames -> motors.
        single: one frame (21, 3) -> motors (12,), for the latency; None where there is no such path.
        slow: milliseconds per frame; it is judged on fewer.
    """

    name: str
    run: Method
    single: Method | None = None
    slow: bool = False

    def latency_ms(self, keypoints: F64) -> tuple[float, float]:
        """Return median and 99 % of the time per frame [ms], frame by frame."""
        if self.single is None:
            return float("nan"), float("nan")
        for frame in keypoints[:20]:
            self.single(frame)
        times: list[float] = []
        for frame in keypoints:
            start = time.perf_counter_ns()
            self.single(frame)
            times.append((time.perf_counter_ns() - start) / 1e6)
        return float(np.median(times)), float(np.percentile(times, 99))


def ours(profile: Profile) -> list[Entry]:
    """Return our retargeting with stage 3, without it, and without this person's calibration."""
    entries: list[Entry] = []
    unknown = Profile.from_bones(profile.bones_m)
    for name, known, paper in (("ours", profile, False), ("two stages", profile, True), ("uncalibrated", unknown, False)):
        retargeter = Retargeter.load(known, paper=paper)
        entries.append(Entry(name, retargeter.batch, retargeter))
    return entries
