"""What was identified, one row per parameter, with its 95 % interval beside the twin's own value."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dexhil_env import robot
from dexhil_env.types import F64
from real.sysid.arm_fit import JointFit, pooled
from real.sysid.hand_fit import MotorFit
from real.sysid.regress import SIGMAS


@dataclass(frozen=True)
class Estimate:
    """One parameter.

    Attributes:
        name: what it is.
        joint: of which joint or motor; "" for all of a limb.
        value: the estimate, in ``unit``; NaN when the log cannot tell.
        half_width: half of its 95 % interval.
        twin: what the twin has without tuning; NaN where it has no such thing.
        condition: condition number of the equation it comes from; NaN for a mean.
        note: what has to be known about it.
    """

    name: str
    joint: str
    value: float
    half_width: float
    unit: str
    twin: float = float("nan")
    condition: float = float("nan")
    note: str = ""


def arm_latency(arm: tuple[JointFit, ...]) -> tuple[float, float]:
    """Return the arm's latency from target to motion and its standard error [s]: of all joints together."""
    fits = [fit.servo for fit in arm]
    to_torque, error = pooled(np.array([fit.delay_s for fit in fits]), np.array([fit.delay_error_s for fit in fits]))
    return to_torque + arm[0].plant.delay_s, float(np.hypot(error, arm[0].plant.delay_error_s))


def hand_latency(hand: tuple[MotorFit, ...]) -> tuple[float, float]:
    """Return the hand's latency from target to motion and its standard error [s]: of all motors together."""
    return pooled(np.array([fit.fit.delay_s for fit in hand]), np.array([fit.fit.delay_error_s for fit in hand]))


def arm_estimates(arm: tuple[JointFit, ...] | None) -> list[Estimate]:
    """Return the arm's rows; none for an arm that did not move."""
    if arm is None:
        return []
    twin = _twin_arm()
    made: list[Estimate] = []
    for i, (name, fit) in enumerate(zip(robot.ARM_JOINTS, arm, strict=True)):
        servo, plant = fit.servo, fit.plant
        slow = "" if fit.gain_known else "torque gain taken as 1"
        rows = (
            ("dry friction", fit.friction, fit.friction_error, "Nm", twin["friction"][i], plant.condition, slow),
            ("viscous damping", fit.damping, fit.damping_error, "Nms/rad", twin["damping"][i], plant.condition, slow),
            (
                "torque gain",
                fit.gain if fit.gain_known else float("nan"),
                fit.gain_error,
                "",
                1.0,
                plant.condition,
                "by the model's inertia",
            ),
            ("stiffness", servo.values[0], servo.errors[0], "Nm/rad", twin["stiffness"][i], servo.condition, "of commanded torque"),
            ("servo damping", servo.values[1], servo.errors[1], "Nms/rad", twin["servo"][i], servo.condition, "of commanded torque"),
        )
        for what, value, error, unit, usual, condition, note in rows:
            made.append(Estimate(what, name, float(value), SIGMAS * float(error), unit, usual, condition, note))
    total, error = arm_latency(arm)
    inner = arm[0].plant
    made.append(Estimate("latency, target to motion", "arm", 1e3 * total, SIGMAS * 1e3 * error, "ms"))
    made.append(Estimate("  of it torque to motion", "arm", 1e3 * inner.delay_s, SIGMAS * 1e3 * inner.delay_error_s, "ms"))
    return made


def hand_estimates(hand: tuple[MotorFit, ...] | None, twin: tuple[MotorFit, ...] | None) -> list[Estimate]:
    """Return the hand's rows, beside what the same equation says of the twin; none for a hand that did not move."""
    if hand is None or twin is None:
        return []
    made = [
        Estimate("time constant", name, 1e3 * fit.lag_s, SIGMAS * 1e3 * fit.lag_error_s, "ms", 1e3 * same.lag_s, fit.fit.condition)
        for name, fit, same in zip(robot.HAND_MOTORS, hand, twin, strict=True)
    ]
    total, error = hand_latency(hand)
    rates = np.array([fit.report_hz for fit in hand])
    made.append(Estimate("latency, target to motion", "hand", 1e3 * total, SIGMAS * 1e3 * error, "ms", 1e3 * hand_latency(twin)[0]))
    made.append(Estimate("reports per second", "hand", float(np.median(rates)), float(np.ptp(rates) / 2), "Hz"))
    return made


def _twin_arm() -> dict[str, list[float]]:
    """Return the twin's own values, by kind."""
    model = _model()
    dofs = [int(model.joint(name).dofadr[0]) for name in robot.ARM_JOINTS]
    servos = [int(model.actuator(name).id) for name in robot.ARM_JOINTS]
    return {
        "friction": [float(model.dof_frictionloss[i]) for i in dofs],
        "damping": [float(model.dof_damping[i]) for i in dofs],
        "stiffness": [float(model.actuator_gainprm[i, 0]) for i in servos],
        "servo": [-float(model.actuator_biasprm[i, 2]) for i in servos],
    }


def twin_hand_lag() -> F64:
    """Return the time constants (12,) [s] of the twin's motors by their definition in ``RobotTuning``."""
    model = _model()
    lags: list[float] = []
    for name in robot.HAND_MOTORS:
        servo = int(model.actuator(name).id)
        friction = sum(ratio**2 * float(model.dof_damping[int(model.joint(joint).dofadr[0])]) for joint, ratio in robot.COUPLING[name])
        lags.append((friction - float(model.actuator_biasprm[servo, 2])) / float(model.actuator_gainprm[servo, 0]))
    return np.array(lags)


def _model() -> Any:
    from dexhil_env.sim.scene import SceneConfig, build_spec

    return build_spec(SceneConfig()).compile()
