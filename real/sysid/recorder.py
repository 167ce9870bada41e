"""Records a motion of a robot: drives it through a plan and writes down what was sent and what came back, all on the arm's clock."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dexhil_env import robot
from dexhil_env.errors import DatasetError
from dexhil_env.servo import ServoMux
from dexhil_env.types import F64
from real.backend import RealBackend
from real.dexhand import DexHand
from real.dexhand_guard import board_motors
from real.dexhand_protocol import BOARDS
from real.fr3_state import ArmState
from real.sysid.log import MotionLog

_TICKS: Final = round(robot.CONTROL_PERIOD_S / robot.SERVO_PERIOD_S)
_HAND_TICKS: Final = 2
"""The hand reports at 100 Hz; asking more often would only keep its reading thread waiting."""
_SETTLE_S: Final = 0.3


class PlanServo(ServoMux):
    """Stands in for the mux: a fixed plan, through the same limiter as every other target.

    Args:
        plan: (N, 19) targets, one per tick [rad].
        hand: read at every other tick.
        **options: of the mux.

    Attributes:
        sent: (``time.monotonic_ns``, target) of every tick.
        felt: (report times (12,) [ns], angles (12,)) of the hand at every other tick.
    """

    def __init__(self, plan: F64, hand: DexHand, **options: Any) -> None:
        super().__init__(**options)
        self._plan, self._hand, self._next = plan, hand, 0
        self.sent: list[tuple[int, F64]] = []
        self.felt: list[tuple[NDArray[np.int64], F64]] = []

    def tick(self, t_s: float) -> F64:
        """Return the next target of the plan (19,) [rad]; at its end it stays."""
        del t_s
        target = self.limiter.step(self._plan[min(self._next, len(self._plan) - 1)])
        self._next += 1
        if self._next % _HAND_TICKS == 0:
            self._feel()
        self.sent.append((time.monotonic_ns(), target))
        return target

    def _feel(self) -> None:
        """Write down what the hand has reported."""
        state, seen_ns = self._hand.state(), np.empty(12, dtype=np.int64)
        for board in range(len(BOARDS)):
            seen_ns[board_motors(board)] = state.seen_ns[board]
        self.felt.append((seen_ns, state.motor_pos))


def record(backend: RealBackend, plan: F64, facts: dict[str, Any] | None = None, watch: Callable[[float], object] = float) -> MotionLog:
    """Bring the robot home, drive it through a plan, let it stand, and return the log.

    Args:
        backend: connected; nobody else drives it. Cameras are not needed.
        plan: (N, 19) targets, one every 5 ms [rad]; the first near home. It passes the limits and the workspace filter.
        facts: said in the log besides what is known anyway.
        watch: called now and then with the share that is done.

    Raises:
        RobotStopped: the robot has stopped; it stands.
    """
    backend.reset(np.random.default_rng(0))
    states: list[ArmState] = []
    servo = PlanServo(plan, backend.hand, limiter=backend.limiter())
    servo.reset(np.concatenate([backend.arm.state().q, backend.hand.target]))
    backend.arm.on_state = states.append
    periods = -(-(len(plan) + round(_SETTLE_S / robot.SERVO_PERIOD_S)) // _TICKS)
    try:
        for period in range(periods):
            backend.run(servo, _TICKS)
            watch((period + 1) / periods)
    finally:
        backend.arm.on_state = None
    return _assemble(servo, states, {**_facts(backend), **(facts or {})})


def _assemble(servo: PlanServo, states: list[ArmState], facts: dict[str, Any]) -> MotionLog:
    """Bring every stamp onto the arm's clock."""
    clock = np.array([state.robot_time_s for state in states])
    if len(clock) < 2:
        raise DatasetError("the arm was not heard during the motion; nothing was recorded")
    first: list[int] = np.unique(clock, return_index=True)[1].tolist()
    fresh = [states[i] for i in first]
    origin_ns, start_s = fresh[0].stamp_ns, fresh[0].robot_time_s
    stamps = np.array([(state.stamp_ns - origin_ns) * 1e-9 for state in fresh])
    times = clock[first] - start_s
    # the program's clock against the arm's, piece by piece: an emulated arm may be slow, and not evenly so
    sent_s = _on_arm_clock(np.array([(t_ns - origin_ns) * 1e-9 for t_ns, _ in servo.sent]), stamps, times)
    felt_s = _on_arm_clock(np.array([(seen_ns - origin_ns) * 1e-9 for seen_ns, _ in servo.felt], dtype=float), stamps, times)
    kept = np.concatenate([[True], np.diff(np.maximum.accumulate(sent_s)) > 0.0])
    return MotionLog(
        sent_s[kept],
        np.array([target for _, target in servo.sent])[kept],
        times,
        np.array([state.q for state in fresh]),
        np.array([state.dq for state in fresh]),
        np.array([state.tau_d for state in fresh]),
        np.array([state.tau_ext for state in fresh]),
        felt_s,
        np.array([angles for _, angles in servo.felt]),
        facts,
    )


def _on_arm_clock(wall_s: F64, stamps: F64, times: F64) -> F64:
    """Return the arm's time at moments of the program's clock [s]; beyond the ends both run alike."""
    inside = np.interp(wall_s, stamps, times)
    return inside + np.minimum(wall_s - stamps[0], 0.0) + np.maximum(wall_s - stamps[-1], 0.0)


def _facts(backend: RealBackend) -> dict[str, Any]:
    config = backend.config
    return {
        "source": "emulated robot" if config.emulator else "robot",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "mount_yaw_deg": config.session.mount_yaw_deg,
        "mount_offset_m": config.session.mount_offset_m,
        "stiffness": list(config.arm.stiffness),
        "hand_mass": config.arm.hand_mass,
        "timing": {name: value for name, value in backend.facts().items() if name != "transitions"},
    }
