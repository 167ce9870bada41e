"""How the motors of a hand follow: latency and time constant of each, and how often they report.

    y'(t) = (x(t - L) - y(t)) / T + c

with target x and angle y. Stiffness and friction of the motors do not show in free motion, only their ratio in T.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import DatasetError
from dexhil_env.types import F64
from real.sysid.log import MotionLog
from real.sysid.regress import Fit, solve
from real.sysid.smooth import EDGE, STEP_S, even, shifted, smooth

LATENCY_S: Final = (0.0, 0.3)
"""Range of the search [s]."""


@dataclass(frozen=True)
class MotorFit:
    """One motor.

    Attributes:
        fit: 1/T [1/s], c [rad/s], and the latency L.
        report_hz: reports of its board per second.
    """

    fit: Fit
    report_hz: float

    @property
    def lag_s(self) -> float:
        """Time constant T [s]."""
        return 1.0 / float(self.fit.values[0])

    @property
    def lag_error_s(self) -> float:
        """Its standard error [s]."""
        return float(self.fit.errors[0]) * self.lag_s**2


def fit_motor(log: MotionLog, motor: int) -> MotorFit:
    """Fit one motor, 0 to 11.

    Raises:
        DatasetError: it hardly moves.
    """
    name = robot.HAND_MOTORS[motor]
    reported_s = np.unique(log.hand_s[:, motor])
    if len(reported_s) < 2:
        raise DatasetError(f"motor {name}: its board has reported once only; is the hand connected?")
    grid_s = np.arange(max(log.time_s[0], reported_s[0]), min(log.time_s[-1], reported_s[-1]), STEP_S)
    inside = slice(EDGE, -EDGE)
    target = smooth(even(log.time_s, log.target[:, 7 + motor], grid_s))
    raw = even(log.hand_s[:, motor], log.hand_pos[:, motor], grid_s)
    angle, speed = smooth(raw), smooth(raw, 1)

    def equation(delay_s: float) -> tuple[F64, F64]:
        behind = shifted(target, delay_s) - angle
        return np.column_stack([behind, np.ones_like(behind)])[inside], speed[inside]

    try:
        fit = solve(equation, *LATENCY_S)
    except DatasetError as error:
        raise DatasetError(f"motor {name}: {error}") from error
    if fit.values[0] <= 0.0:
        raise DatasetError(f"motor {name} does not follow its target; look at the hand, then record again")
    return MotorFit(fit, 1.0 / float(np.median(np.diff(reported_s))))


def fit_hand(log: MotionLog) -> tuple[MotorFit, ...]:
    """Fit every motor.

    Raises:
        DatasetError: one hardly moves.
    """
    return tuple(fit_motor(log, motor) for motor in range(12))
