"""The arm's part of a log, made ready for equations: on an even grid, smoothed, with the model's torques beside."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from dexhil_env.errors import DatasetError
from dexhil_env.types import F64
from real.sysid.dynamics import ArmDynamics
from real.sysid.log import MotionLog
from real.sysid.smooth import EDGE, STEP_S, even, smooth, window

SLIDING: Final = 0.015
"""Slower than this a joint may stick, and its dry friction takes any value [rad/s]."""
TORQUE_AGE_S: Final = 0.001
"""A state shows the torque of the millisecond that led to it."""

_FOURTH_DIFFERENCE: Final = 70.0
"""Power of white noise in a fourth difference, in which nothing of a smooth motion is left."""


@dataclass(frozen=True)
class Motion:
    """A log on an even grid of 5 ms, smoothed, without its edges; an array is (N, 7) where nothing else is said.

    Attributes:
        target, target_vel: what the arm was asked for [rad], [rad/s].
        q, dq, ddq: what it did [rad], [rad/s], [rad/s^2].
        torque: what it was told to give [Nm].
        inertial, velocity: torques that the motion takes by the model [Nm].
        sliding: sign of the velocity.
        moving: 1 where a joint surely slides, in all of the window.
        noise: (7,) standard deviation of the noise in ``ddq`` [rad/s^2].
    """

    target: F64
    target_vel: F64
    q: F64
    dq: F64
    ddq: F64
    torque: F64
    inertial: F64
    velocity: F64
    sliding: F64
    moving: F64
    noise: F64


def prepare(log: MotionLog) -> Motion:
    """Bring a log onto an even grid and compute what the model says of its motion.

    Raises:
        DatasetError: the log has no torques.
    """
    if not log.has_torque:
        raise DatasetError("this log has no torques, which friction and damping are told by; record one with `dexhil real record`")
    grid_s = np.arange(max(log.time_s[0], log.state_s.min()), min(log.time_s[-1], log.state_s.max()), STEP_S)
    target = even(log.time_s, log.target[:, :7], grid_s)
    q, tau = even(log.state_s, log.arm_pos, grid_s), even(log.state_s - TORQUE_AGE_S, log.arm_torque, grid_s)
    smooth_q, dq, ddq = smooth(q), smooth(q, 1), smooth(q, 2)
    inertial, velocity = ArmDynamics(*log.mount).torques(smooth_q, dq, ddq)
    moving = np.abs(dq) > SLIDING
    # a window that has a standstill or a turn in it is not all sliding
    pure = smooth(np.where(moving, np.sign(dq), 0.0))
    whole = moving & (np.abs(pure) > 0.999)
    inside = slice(EDGE, -EDGE)
    noise = np.diff(q, 4, axis=0)[inside].std(axis=0) / np.sqrt(_FOURTH_DIFFERENCE) * float(np.linalg.norm(window(2)))
    return Motion(
        smooth(target)[inside],
        smooth(target, 1)[inside],
        smooth_q[inside],
        dq[inside],
        ddq[inside],
        smooth(tau)[inside],
        inertial[inside],
        velocity[inside],
        np.sign(dq)[inside],
        whole[inside].astype(float),
        noise,
    )
