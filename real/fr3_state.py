"""What the FR3 measures, and what of it must end a motion."""

import time
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from dexhil_env.types import F64
from real.fr3_config import FR3Config
from real.fr3_link import error_names

SETTLING_S: Final = 0.5
"""After the start of a motion the success rate is not judged for this long: its window of 100 packets fills first."""


@dataclass(frozen=True, slots=True)
class ArmState:
    """What the arm measured.

    Attributes:
        q: (7,) [rad].
        dq: (7,) [rad/s].
        tau_ext: (7,) external torque as the arm estimates it [Nm].
        mode: of the arm: Idle, Move, Reflex, UserStopped, Guiding, ...
        errors: names of the arm's present errors.
        robot_time_s: the arm's clock [s].
        stamp_ns: when it was read (``time.monotonic_ns``).
        age_s: how long the arm's clock has stood still [s].
        success_rate: share of the last 100 packets that came in time; 0 while no motion runs.
        tau_d: (7,) torque that the arm was last told to give, without gravity [Nm].
    """

    q: F64
    dq: F64
    tau_ext: F64
    mode: str
    errors: tuple[str, ...]
    robot_time_s: float
    stamp_ns: int
    age_s: float
    success_rate: float
    tau_d: F64 = field(default_factory=lambda: np.zeros(7))


def make_state(raw: Any, before: ArmState | None) -> ArmState:
    """Make a state of franky's; the age counts from the last one with another robot time."""
    now, time_s = time.monotonic_ns(), float(raw.time.to_sec())
    age = 0.0 if before is None or time_s != before.robot_time_s else before.age_s + (now - before.stamp_ns) * 1e-9
    q, dq, tau, tau_d = (np.array(values, dtype=float) for values in (raw.q, raw.dq, raw.tau_ext_hat_filtered, raw.tau_J_d))
    errors = error_names(raw.current_errors)
    return ArmState(q, dq, tau, raw.robot_mode.name, errors, time_s, now, age, float(raw.control_command_success_rate), tau_d)


def judge(state: ArmState, moved_s: float, config: FR3Config) -> str | None:
    """Return what must end the motion, in words, or None.

    Args:
        state: newest state.
        moved_s: how long our motion has been running [s]; 0 when none is.
        config: limits.
    """
    if state.age_s > config.stale_fault_s:
        return f"no news from the arm for {config.stale_fault_s:g} s (its clock stands still)"
    if state.mode == "UserStopped":
        return "user stop pressed"
    if state.mode == "Reflex":
        return f"reflex of the arm: {', '.join(state.errors) or 'unknown'}"
    return _judge_motion(state, config) if moved_s > SETTLING_S else None


def _judge_motion(state: ArmState, config: FR3Config) -> str | None:
    if state.mode != "Move":
        return f"the arm left the motion and is in mode {state.mode}"
    if state.success_rate < config.min_success:
        return f"only {state.success_rate:.0%} of the packets arrive in time (allowed {config.min_success:.0%})"
    return None
