"""What an arm is like, joint by joint, from targets, torques and motion.

Two equations per joint, both linear but for a delay, with t the arm's clock:

    tau(t)      = K (x(t - L1) - q) + D (x'(t - L1) - q') + Coriolis      how the driver makes torques of targets x
    tau(t - L2) = (M q'' + C) / s + b q' / s + f sign(q') / s + c         what the torques do

The first gives stiffness K, damping D and the latency L1 from target to torque; the second viscous friction b, dry friction f, the share s
of a commanded torque that arrives, and the latency L2 from torque to motion. Positions alone could not tell b from a latency: both make
the arm late in proportion to its speed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from dexhil_env.errors import DatasetError
from dexhil_env.types import F64
from real.sysid.log import MotionLog
from real.sysid.motion import Motion, prepare
from real.sysid.regress import Fit, solve
from real.sysid.smooth import shifted

TARGET_LATENCY_S: Final = (0.0, 0.15)
TORQUE_LATENCY_S: Final = (-0.003, 0.02)
"""Ranges of the search [s]; a negative end leaves room for errors of the times."""
TIMING_S: Final = 2e-4
"""Times are good to this [s]; times stiffness it is an error of the damping, times servo damping one of the inertia."""
NOISE_SHARE: Final = 0.03
"""Largest share of noise in the power of the acceleration with which the share of the torque that arrives is believed."""
TRUSTED: Final = 0.1
"""The share of the torque that arrives is taken from the log only when its relative standard error is below this."""


@dataclass(frozen=True)
class JointFit:
    """One joint.

    Attributes:
        servo: K, D, and the latency L1.
        plant: 1/s, b/s, f/s, c, and the latency L2.
        gain_known: s was found; otherwise it was taken as 1.
        inertia: about the axis, on average [kg m^2].
    """

    servo: Fit
    plant: Fit
    gain_known: bool
    inertia: float

    @property
    def gain(self) -> float:
        """Share s of a commanded torque that arrives, as far as the model's inertia is right."""
        return 1.0 / float(self.plant.values[0])

    @property
    def gain_error(self) -> float:
        """Standard error of the share; NaN where it was taken as 1."""
        return self.gain * float(np.hypot(self.plant.errors[0] / self.plant.values[0], self.servo.values[1] * TIMING_S / self.inertia))

    @property
    def damping(self) -> float:
        """Viscous friction [Nms/rad]."""
        return float(self.plant.values[1]) * self.gain

    @property
    def damping_error(self) -> float:
        """Its standard error [Nms/rad]."""
        return self.gain * float(np.hypot(self.plant.errors[1], self.servo.values[0] * TIMING_S))

    @property
    def friction(self) -> float:
        """Dry friction [Nm]."""
        return float(self.plant.values[2]) * self.gain

    @property
    def friction_error(self) -> float:
        """Its standard error [Nm]."""
        share = self.gain_error / self.gain if self.gain_known else 0.0
        return float(np.hypot(self.gain * self.plant.errors[2], share * self.friction))


def fit_servo(motion: Motion, joint: int) -> Fit:
    """Fit how torques are made of targets: K [Nm/rad], D [Nms/rad], offset [Nm]; the delay is L1 [s]."""
    q, dq, y = motion.q[:, joint], motion.dq[:, joint], motion.torque[:, joint] - motion.velocity[:, joint]
    target, target_vel = motion.target[:, joint], motion.target_vel[:, joint]
    ones = np.ones_like(q)

    def equation(delay_s: float) -> tuple[F64, F64]:
        return np.column_stack([shifted(target, delay_s) - q, shifted(target_vel, delay_s) - dq, ones]), y

    return solve(equation, *TARGET_LATENCY_S)


def fit_plant(motion: Motion, joint: int, delay_s: float | None = None, gain: float | None = None) -> Fit:
    """Fit what torques do: 1/s, b/s [Nms/rad], f/s [Nm], offset [Nm]; the delay is L2 [s].

    Args:
        motion: of a log.
        joint: 0 to 6.
        delay_s: L2, when it is known.
        gain: s, when it is known; its coefficient is put back in front.
    """
    rows = motion.moving[:, joint] > 0.5
    body = motion.inertial[:, joint] + motion.velocity[:, joint]
    dq, sign, tau = motion.dq[:, joint], motion.sliding[:, joint], motion.torque[:, joint]
    rest = np.column_stack([dq, sign, np.ones_like(dq)])[rows]

    def equation(delay_s: float) -> tuple[F64, F64]:
        y = shifted(tau, delay_s)[rows]
        if gain is None:
            return np.column_stack([body[rows], rest]), y
        return rest, y - body[rows] / gain

    fit = solve(equation, *((delay_s, delay_s) if delay_s is not None else TORQUE_LATENCY_S))
    if gain is None:
        return fit
    return replace(fit, values=np.concatenate([[1.0 / gain], fit.values]), errors=np.concatenate([[np.nan], fit.errors]))


def pooled(values: F64, errors: F64) -> tuple[float, float]:
    """Return the mean of values with standard errors, and its standard error; one that is no better known than they agree."""
    weights = 1.0 / errors**2
    mean = float(values @ weights / weights.sum())
    spread = float(((values - mean) ** 2) @ weights / max(len(values) - 1, 1))
    return mean, float(np.sqrt(max(spread, 1.0) / weights.sum()))


def fit_arm(log: MotionLog) -> tuple[JointFit, ...]:
    """Fit every joint. All torques travel in one packet, so L2 is fitted for all joints together.

    Raises:
        DatasetError: no torques, or a joint that hardly moves.
    """
    motion = prepare(log)
    first = [_named(joint, lambda joint=joint: fit_plant(motion, joint)) for joint in range(7)]
    delay_s, error_s = pooled(np.array([fit.delay_s for fit in first]), np.array([fit.delay_error_s for fit in first]))
    fits: list[JointFit] = []
    for joint in range(7):
        servo = _named(joint, lambda joint=joint: fit_servo(motion, joint))
        inertia = float(np.linalg.norm(motion.inertial[:, joint]) / np.linalg.norm(motion.ddq[:, joint]))
        made = JointFit(servo, _fit_plant_at(motion, joint, delay_s, error_s, None), gain_known=True, inertia=inertia)
        # noise in a regressor makes its coefficient too small, and no interval shows that
        clean = motion.noise[joint] ** 2 < NOISE_SHARE * np.mean(motion.ddq[:, joint] ** 2)
        if not (clean and 0.0 < made.gain_error < TRUSTED * made.gain):
            made = replace(made, plant=_fit_plant_at(motion, joint, delay_s, error_s, 1.0), gain_known=False)
        fits.append(made)
    return tuple(fits)


def _fit_plant_at(motion: Motion, joint: int, delay_s: float, delay_error_s: float, gain: float | None) -> Fit:
    """Fit with the delay that all joints agree on; what its error does to the coefficients goes into theirs."""
    fit, other = (fit_plant(motion, joint, at_s, gain) for at_s in (delay_s, delay_s + delay_error_s))
    return replace(fit, errors=np.hypot(fit.errors, fit.values - other.values), delay_error_s=delay_error_s)


def _named(joint: int, fit: Callable[[], Fit]) -> Fit:
    try:
        return fit()
    except DatasetError as error:
        raise DatasetError(f"joint {joint + 1} of the arm: {error}") from error
