"""How the twin's robot is made to move as a certain real one does: what ``dexhil real identify`` measures and the scene takes."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, cast

import mujoco
import numpy as np

from dexhil_env import robot
from dexhil_env.errors import ConfigError, check_ranges
from dexhil_env.limits import Limiter
from dexhil_env.types import F64

Seven = tuple[float, float, float, float, float, float, float]
SECTION: Final = "tuning"
"""Table of a TOML file that holds the values."""
_ARM: Final[dict[str, tuple[float, float]]] = {
    "arm_stiffness": (1.0, 20000.0),
    "arm_servo_damping": (0.0, 2000.0),
    "arm_lead_s": (0.0, 1.0),
    "arm_damping": (0.0, 200.0),
    "arm_friction": (0.0, 50.0),
}
_HAND: Final[dict[str, tuple[float, float]]] = {"hand_lag_s": (0.01, 1.0)}
_SCALARS: Final[dict[str, tuple[float, float]]] = {"arm_latency_s": (0.0, 0.5), "hand_latency_s": (0.0, 0.5)}
_SHARES: Final[dict[str, tuple[float, float]]] = {"arm_speed": (0.01, 1.0), "arm_acceleration": (0.01, 1.0)}
_LINEAR: Final = 1
"""MuJoCo's code of linear interpolation between the samples of a delayed command."""


@dataclass(frozen=True)
class RobotTuning:
    """Parameters of the twin's robot; None, a latency of 0 and a share of 1 keep the model as it is in ``assets``.

    Attributes:
        arm_stiffness: of the servos of the arm's joints, 7 numbers [Nm/rad].
        arm_servo_damping: torque of the servos per velocity, 7 numbers [Nms/rad].
        arm_lead_s: the servos aim ahead of a moving target by this, 7 numbers [s]; servo damping / stiffness feeds all of the target's
            velocity forward, so that they follow without lag.
        arm_damping: viscous friction of the joints, 7 numbers [Nms/rad].
        arm_friction: dry friction of the joints, 7 numbers [Nm].
        arm_latency_s: from a target to the arm's servos [s].
        hand_latency_s: from a target to the hand's servos [s].
        hand_lag_s: time constant with which the motors of the hand follow, 12 numbers [s].
        arm_speed: share of the FR3's velocity limits that targets of the arm keep, such as ``[arm] speed`` of a robot's settings.
        arm_acceleration: ... and of its acceleration limits.
    """

    arm_stiffness: Sequence[float] | None = None
    arm_servo_damping: Sequence[float] | None = None
    arm_lead_s: Sequence[float] | None = None
    arm_damping: Sequence[float] | None = None
    arm_friction: Sequence[float] | None = None
    arm_latency_s: float = 0.0
    hand_latency_s: float = 0.0
    hand_lag_s: Sequence[float] | None = None
    arm_speed: float = 1.0
    arm_acceleration: float = 1.0

    def __post_init__(self) -> None:
        for names, count in ((_ARM, 7), (_HAND, 12)):
            for name, bounds in names.items():
                values = getattr(self, name)
                if values is not None:
                    object.__setattr__(self, name, _numbers(name, values, count, bounds))
        check_ranges(self, _SCALARS, "RobotTuning.", "s")
        check_ranges(self, _SHARES, "RobotTuning.")

    @property
    def lead_s(self) -> F64 | None:
        """(7,) lead of the arm's servos [s], None when there is none."""
        return None if self.arm_lead_s is None else np.array(self.arm_lead_s)

    def limiter(self) -> Limiter:
        """Return the limits that every target keeps."""
        velocity, acceleration = robot.MAX_VELOCITY.copy(), robot.MAX_ACCELERATION.copy()
        velocity[robot.ARM] *= self.arm_speed
        acceleration[robot.ARM] *= self.arm_acceleration
        return Limiter(max_velocity=velocity, max_acceleration=acceleration)

    def apply(self, spec: mujoco.MjSpec) -> None:
        """Set the parameters in a scene that is not compiled yet and has its time step."""
        for i, name in enumerate(robot.ARM_JOINTS):
            joint, servo = spec.joint(name), spec.actuator(name)
            if self.arm_damping is not None:
                joint.damping[0] = self.arm_damping[i]
            if self.arm_friction is not None:
                joint.frictionloss = self.arm_friction[i]
            stiffness = servo.gainprm[0] if self.arm_stiffness is None else self.arm_stiffness[i]
            damping = -servo.biasprm[2] if self.arm_servo_damping is None else self.arm_servo_damping[i]
            _set_servo(servo, stiffness, damping)
            _delay(spec, servo, self.arm_latency_s)
        for i, name in enumerate(robot.HAND_MOTORS):
            servo = spec.actuator(name)
            if self.hand_lag_s is not None:
                _set_lag(spec, name, self.hand_lag_s[i])
            _delay(spec, servo, self.hand_latency_s)
        if self.arm_lead_s is not None:
            spec.nuserdata = 7  # the last target of the arm: part of the physics state, so that a restored one goes on bit for bit

    def rest(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Let the commands that are on their way be those of a robot at rest at home."""
        for i in range(len(robot.HOME)):
            if count := int(model.actuator_history[i, 0]):
                mujoco.mj_initCtrlHistory(model, data, i, None, np.full((count, 1), robot.HOME[i]))
        if self.arm_lead_s is not None:
            data.userdata[:7] = robot.ARM_HOME

    @classmethod
    def load(cls, path: str | Path) -> "RobotTuning":
        """Read the table ``[tuning]`` of a TOML file, such as ``dexhil real identify`` writes.

        Raises:
            ConfigError: there is no such file or table, or a key or value is wrong.
        """
        try:
            content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"cannot read the tuning from {path}: {error}; `dexhil real identify` writes one") from error
        table = content.get(SECTION)
        if not isinstance(table, dict):
            raise ConfigError(f"{path} has no table [{SECTION}]; `dexhil real identify` writes one")
        values, allowed = cast("dict[str, Any]", table), [field.name for field in fields(cls)]
        if unknown := sorted(set(values) - set(allowed)):
            raise ConfigError(f"{path} [{SECTION}]: unknown key {unknown[0]!r}; allowed: {', '.join(allowed)}")
        try:
            return cls(**values)
        except (ConfigError, TypeError) as error:
            raise ConfigError(f"{path} [{SECTION}]: {error}") from error

    def toml(self) -> str:
        """Return the table as TOML, without what keeps the model as it is."""
        lines = [f"[{SECTION}]"]
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                numbers = ", ".join(f"{number:.6g}" for number in cast("tuple[float, ...]", value))
                lines.append(f"{field.name} = [{numbers}]")
            elif value != field.default:
                lines.append(f"{field.name} = {value:.6g}")
        return "\n".join(lines) + "\n"


def _numbers(name: str, values: Any, count: int, bounds: tuple[float, float]) -> tuple[float, ...]:
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        array = np.full(0, np.nan)
    low, high = bounds
    if array.shape != (count,) or not ((array >= low) & (array <= high)).all():
        raise ConfigError(f"RobotTuning.{name} needs {count} numbers in [{low}, {high}]; got {values!r}")
    return tuple(float(value) for value in array)


def _set_servo(servo: mujoco.MjsActuator, stiffness: float, damping: float) -> None:
    servo.gainprm[0], servo.biasprm[1], servo.biasprm[2] = stiffness, -stiffness, -damping


def _set_lag(spec: mujoco.MjSpec, motor: str, lag_s: float) -> None:
    """Give a motor its time constant: (servo damping + friction of the joints that it moves) / stiffness.

    A quicker motor than the model's gets more stiffness, so that it stays as well damped; the largest torque is the same.
    """
    servo = spec.actuator(motor)
    friction = sum(ratio * ratio * float(spec.joint(joint).damping[0]) for joint, ratio in robot.COUPLING[motor])
    stiffness, usual_s = servo.gainprm[0], (friction - servo.biasprm[2]) / servo.gainprm[0]
    stiffness *= max(1.0, (usual_s / lag_s) ** 2)
    _set_servo(servo, stiffness, max(lag_s * stiffness - friction, 0.0))


def _delay(spec: mujoco.MjSpec, servo: mujoco.MjsActuator, latency_s: float) -> None:
    if latency_s > 0.0:
        servo.delay, servo.interp = latency_s, _LINEAR
        servo.nsample = int(np.ceil(latency_s / spec.option.timestep)) + 2
