"""From a log to the parameters of the twin's robot, each with its interval, and to a twin that moves like the robot."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import DatasetError
from dexhil_env.sim.tuning import RobotTuning
from dexhil_env.types import F64
from real.sysid.arm_fit import JointFit, fit_arm
from real.sysid.compare import Difference, common_delay, compare
from real.sysid.estimates import Estimate, arm_estimates, arm_latency, hand_estimates, hand_latency, twin_hand_lag
from real.sysid.hand_fit import MotorFit, fit_hand
from real.sysid.log import MotionLog
from real.sysid.replay import Track, measured, replay

MOVED_RAD: Final = 0.05
"""A part of the robot of which nothing moved this far is not identified."""
_CORRECTIONS: Final = 2
_LAG_RANGE_S: Final = (0.02, 0.5)


@dataclass(frozen=True)
class Identification:
    """What a log says.

    Attributes:
        estimates: every parameter.
        tuning: of a twin that moves like this robot.
        before, after: robot against the twin as it is and against the tuned one.
        arm, hand: the fits, None for a limb that did not move.
        tracks: motions of the robot, of the twin as it is, and of the tuned one.
    """

    estimates: tuple[Estimate, ...]
    tuning: RobotTuning
    before: Difference
    after: Difference
    arm: tuple[JointFit, ...] | None
    hand: tuple[MotorFit, ...] | None
    tracks: tuple[Track, Track, Track]


def identify(log: MotionLog) -> Identification:
    """Identify what moved in a log.

    Raises:
        DatasetError: nothing moved, or not enough of it, or the torques are missing.
    """
    reach = np.ptp(log.target, axis=0)
    arm = fit_arm(log) if reach[robot.ARM].max() > MOVED_RAD else None
    hand = fit_hand(log) if reach[robot.HAND].max() > MOVED_RAD else None
    if arm is None and hand is None:
        raise DatasetError(f"nothing moves more than {MOVED_RAD} rad in this log; record an excitation with `dexhil real record`")
    real, plain = measured(log), replay(log)
    same = fit_hand(_as_log(plain, log)) if hand is not None else None
    tuning = _tuning(arm, hand, same)
    tuned = replay(log, tuning)
    for _ in range(_CORRECTIONS):
        # the twin's steps, and the filters that both sides have in front, make it early or late by a few ms: found by trying
        tuning = _corrected(tuning, compare(real, tuned, log.mount), arm is not None, hand is not None)
        tuned = replay(log, tuning)
    estimates = (*arm_estimates(arm), *hand_estimates(hand, same))
    before, after = (compare(real, twin, log.mount) for twin in (plain, tuned))
    return Identification(estimates, tuning, before, after, arm, hand, (real, plain, tuned))


def _as_log(twin: Track, log: MotionLog) -> MotionLog:
    """Return a log as if the twin's hand had answered its targets."""
    return replace(log, hand_s=np.tile(twin.time_s[:, None], (1, 12)), hand_pos=twin.pos[:, robot.HAND])


def _tuning(arm: tuple[JointFit, ...] | None, hand: tuple[MotorFit, ...] | None, same: tuple[MotorFit, ...] | None) -> RobotTuning:
    tuning = RobotTuning()
    if arm is not None:
        servo = np.array([fit.servo.values[:2] for fit in arm])
        gain = np.array([fit.gain if fit.gain_known else 1.0 for fit in arm])
        tuning = replace(
            tuning,
            arm_stiffness=_plain(gain * servo[:, 0], 1.0),
            arm_servo_damping=_plain(gain * servo[:, 1]),
            arm_lead_s=_plain(servo[:, 1] / servo[:, 0]),
            arm_damping=_plain([fit.damping for fit in arm]),
            arm_friction=_plain([fit.friction for fit in arm]),
            arm_latency_s=max(arm_latency(arm)[0], 0.0),
        )
    if hand is not None and same is not None:
        # the twin's motors have inertia, which the equation has not: what it says of both is compared
        slower = np.array([fit.lag_s / twin.lag_s for fit, twin in zip(hand, same, strict=True)])
        lags = np.clip(twin_hand_lag() * slower, *_LAG_RANGE_S)
        later_s = hand_latency(hand)[0] - hand_latency(same)[0]
        tuning = replace(tuning, hand_lag_s=_plain(lags), hand_latency_s=max(later_s, 0.0))
    return tuning


def _plain(values: F64 | list[float], lowest: float = 0.0) -> tuple[float, ...]:
    return tuple(max(float(value), lowest) for value in values)


def _corrected(tuning: RobotTuning, found: Difference, arm: bool, hand: bool) -> RobotTuning:
    latency = tuning.arm_latency_s + (common_delay(found, robot.ARM) if arm else 0.0)
    hand_latency_s = tuning.hand_latency_s + (common_delay(found, robot.HAND) if hand else 0.0)
    return replace(tuning, arm_latency_s=float(np.clip(latency, 0.0, 0.5)), hand_latency_s=float(np.clip(hand_latency_s, 0.0, 0.5)))
