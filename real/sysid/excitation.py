"""Motions that show what a robot is like: bounded, smooth, around home. A plan is an array of targets, one row every 5 ms.

The arm: sums of sines (inertia, viscous friction, delay) and slow triangles (dry friction, which only the sign of the velocity decides).
The hand: ramps and steps. Numbers are ours: inside the limits that the driver keeps (35 % of the FR3's velocity,
30 % of its acceleration), so that every target passes unchanged.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dexhil_env import robot
from dexhil_env.errors import ConfigError
from dexhil_env.servo import min_jerk
from dexhil_env.types import F64

ARM_REACH: Final = np.array([0.16, 0.09, 0.16, 0.10, 0.16, 0.12, 0.16])
"""Largest distance of an arm joint from home [rad]; with all of them at once the palm stays 0.2 m above the table."""
ARM_SPEED: Final = 0.8
ARM_ACCELERATION: Final = 2.7
"""Of every joint, at most [rad/s], [rad/s^2]."""
HAND_REACH: Final = np.array([0.5, 0.4, 0.4, 0.2, *(0.5,) * 8])
"""Largest opening angle of a motor [rad]: the fingers stay clear of each other."""
HAND_RAMP: Final = 0.6
"""[rad/s]"""
_TRIANGLE_SPEEDS: Final = (0.05, 0.12)
_TRIANGLE_TURN_S: Final = 0.25
_REST_S: Final = 0.4
_FADE_S: Final = 1.0
_HIGHEST_HZ: Final = 2.2
_TONES: Final = 5
_SHORTEST_S: Final = 6.0


def arm_plan(duration_s: float = 30.0, scale: float = 1.0, seed: int = 0) -> F64:
    """Return targets (N, 19) [rad] that excite the arm: two thirds sines, one third triangles; the hand stays open.

    Args:
        duration_s: at least 6 s; 30 s or more for good intervals.
        scale: of the distances from home, in (0, 1].
        seed: of the phases.

    Raises:
        ConfigError: an argument is not allowed.
    """
    _check(duration_s, scale)
    sines = _sines(duration_s * 2 / 3, np.random.default_rng(seed))
    parts = [sines, *(_triangles(duration_s / 6, speed) for speed in _TRIANGLE_SPEEDS)]
    return _framed(scale * np.concatenate(parts), robot.ARM)


def hand_plan(duration_s: float = 20.0, scale: float = 1.0) -> F64:
    """Return targets (N, 19) [rad] that excite the motors of the hand: ramps and steps, neighbours one after the other.

    Raises:
        ConfigError: an argument is not allowed.
    """
    _check(duration_s, scale)
    count = _ticks(duration_s)
    time_s = np.arange(count) * robot.SERVO_PERIOD_S
    period_s = 3.0
    shares = np.empty((count, 12))
    for motor, reach in enumerate(HAND_REACH):
        phase_s = (time_s + period_s * (motor % 4) / 4) % period_s
        ramp = np.minimum(phase_s * HAND_RAMP / reach, 1.0)
        shares[:, motor] = np.where(
            phase_s < 0.4 * period_s, ramp, np.where(phase_s < 0.6 * period_s, 0.2, np.where(phase_s < 0.8 * period_s, 0.9, 0.0))
        )
    shares[time_s > duration_s - _REST_S] = 0.0
    begin = np.minimum(time_s / _FADE_S, 1.0)[:, None]
    return _framed(scale * HAND_REACH * shares * begin, robot.HAND)


def both_plan(duration_s: float = 50.0, scale: float = 1.0, seed: int = 0) -> F64:
    """Return targets (N, 19) [rad] for the arm (three fifths of the time) and then the hand."""
    return np.concatenate([arm_plan(duration_s * 0.6, scale, seed), hand_plan(duration_s * 0.4, scale)])


def _check(duration_s: float, scale: float) -> None:
    if not _SHORTEST_S <= duration_s <= 600.0:
        raise ConfigError(f"an excitation lasts {_SHORTEST_S:g} to 600 s; got {duration_s}")
    if not 0.0 < scale <= 1.0:
        raise ConfigError(f"scale must lie in (0, 1]; got {scale}")


def _ticks(duration_s: float) -> int:
    return round(duration_s / robot.SERVO_PERIOD_S)


def _framed(offset: F64, part: slice) -> F64:
    """Add distances from home (N, n) [rad] to home, with a rest before and behind."""
    rest = np.zeros((_ticks(_REST_S), offset.shape[1]))
    moved = np.concatenate([rest, offset, rest])
    plan = np.tile(robot.HOME, (len(moved), 1))
    plan[:, part] += moved
    return plan


def _sines(duration_s: float, rng: np.random.Generator) -> F64:
    """Sums of sines (N, 7) [rad], faded in and out; every joint has tones of its own."""
    count = _ticks(duration_s)
    time_s = np.arange(count) * robot.SERVO_PERIOD_S
    out = np.empty((count, 7))
    for joint, reach in enumerate(ARM_REACH):
        # the same distance between the tones for all joints, and no tone twice: what one joint does to another averages out
        tones = np.linspace(0.15, _HIGHEST_HZ, _TONES) + 0.02 * joint
        rate = 2 * np.pi * tones
        wave = np.sin(np.outer(time_s, rate) + rng.uniform(0, 2 * np.pi, _TONES)) @ (1.0 / rate)
        out[:, joint] = wave * _largest(wave, reach)
    fade = np.array([min_jerk(t) for t in np.minimum(time_s, time_s[::-1]) / _FADE_S])
    return out * fade[:, None]


def _largest(wave: F64, reach: float) -> float:
    """Return the factor with which a motion just keeps distance, speed and acceleration, with a tenth in hand for the fades."""
    speed = np.gradient(wave, robot.SERVO_PERIOD_S)
    limits = ((wave, reach), (speed, ARM_SPEED), (np.gradient(speed, robot.SERVO_PERIOD_S), ARM_ACCELERATION))
    return 0.9 * min(limit / float(np.abs(values).max()) for values, limit in limits)


def _triangles(duration_s: float, speed: float) -> F64:
    """Triangles (N, 7) [rad] at one speed [rad/s], with rounded corners that keep the acceleration small."""
    time_s = np.arange(_ticks(duration_s)) * robot.SERVO_PERIOD_S
    width = _ticks(_TRIANGLE_TURN_S)
    kernel = np.hanning(width + 2)[1:-1]
    out = np.empty((len(time_s), 7))
    for joint, reach in enumerate(ARM_REACH):
        quarter_s = min((0.5 + 0.06 * joint) * reach / speed, duration_s / 8)
        corner = speed * _triangle(np.pad(time_s, width, mode="edge"), quarter_s)
        out[:, joint] = np.convolve(corner, kernel / kernel.sum(), "same")[width:-width]
    fade_s = np.clip(duration_s / 8, _REST_S, _FADE_S)
    fade = np.array([min_jerk(t) for t in np.minimum(time_s, time_s[::-1]) / fade_s])
    return out * fade[:, None]


def _triangle(time_s: NDArray[np.floating[Any]], quarter_s: float) -> NDArray[np.floating[Any]]:
    """Return a triangle of slope 1 [s] that begins at 0, goes up, and has a period of four quarters."""
    return quarter_s - np.abs((time_s + 3.0 * quarter_s) % (4.0 * quarter_s) - 2.0 * quarter_s)
