"""What stands between a command and the motors of the hand: range, speed, and fingers that must not close further. Pure."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from dexhil_env.types import F64
from real.dexhand_config import DexHandConfig
from real.dexhand_protocol import HAND_HIGH, HAND_LOW, PALM, WIRE_TO_MODEL

Mask = NDArray[np.bool_]


def board_motors(board: int) -> list[int]:
    """Return the places of a board's two motors in ``robot.HAND_MOTORS``, motor 1 first."""
    return [int(index) for index in WIRE_TO_MODEL[2 * board : 2 * board + 2]]


class TargetGuard:
    """Makes the target that is sent from the goal that is asked for.

    The target stays in the range of the motors and never moves faster than ``max_velocity``. A stalled motor is opened by ``back_off``
    and does not close again until its goal has been below that angle once; the other motor of the same finger does not close either.
    """

    def __init__(self, config: DexHandConfig) -> None:
        self._step = config.max_velocity * config.period_s
        self._back_off = config.back_off
        self.target: F64 = HAND_LOW.copy()
        self._cap: F64 = HAND_HIGH.copy()
        self._stalled: Mask = np.zeros(12, dtype=bool)

    @property
    def stalled(self) -> Mask:
        """(12,) motors that stalled and must not close."""
        return self._stalled.copy()

    def anchor(self, measured: F64) -> None:
        """Start from where the motors are, (12,) [rad], with every finger free."""
        self.target = np.clip(measured, HAND_LOW, HAND_HIGH)
        self._cap = HAND_HIGH.copy()
        self._stalled = np.zeros(12, dtype=bool)

    def step(self, goal: F64 | None) -> F64:
        """Advance by one period towards ``goal`` (12,) [rad], None to hold, and return the target (12,) [rad] to send (a fresh array)."""
        if goal is not None:
            self._let_go(goal)
        wanted = np.clip(np.minimum(self.target if goal is None else goal, self._cap), HAND_LOW, HAND_HIGH)
        self.target = np.clip(wanted, self.target - self._step, self.target + self._step)
        return self.target.copy()

    def block(self, motor: int, measured: F64) -> None:
        """Take a motor as stalled at ``measured`` (12,) [rad]: open it a little, and stop closing its finger."""
        self._stalled[motor] = True
        self._cap[motor] = max(min(self._cap[motor], measured[motor] - self._back_off), HAND_LOW[motor])
        for other in self._finger(motor):
            if other != motor:
                self._cap[other] = min(self._cap[other], self.target[other])

    def backed_off(self, board: int) -> bool:
        """Tell whether the targets of a board have reached their caps, so that it may go on."""
        return all(self.target[motor] <= self._cap[motor] + 1e-9 for motor in board_motors(board))

    @staticmethod
    def _finger(motor: int) -> list[int]:
        for board in range(6):
            motors = board_motors(board)
            if motor in motors:
                return [motor] if board == PALM else motors  # the palm's motors belong to different joints of the hand
        raise AssertionError(motor)

    def _let_go(self, goal: F64) -> None:
        for motor in np.flatnonzero(self._stalled & (goal <= self._cap + 1e-6)):
            self._stalled[motor] = False
            finger = self._finger(int(motor))
            if not self._stalled[finger].any():
                self._cap[finger] = HAND_HIGH[finger]


class ClearBudget:
    """Rations the frames that let a board go on after an error: not too close together, and only so many in a minute."""

    def __init__(self, per_minute: int, interval_s: float) -> None:
        self._per_minute, self._interval_s = per_minute, interval_s
        self._sent: list[deque[float]] = [deque() for _ in range(6)]

    def exhausted(self, board: int, now_s: float) -> bool:
        """Tell whether this board has used up its minute."""
        sent = self._sent[board]
        while sent and now_s - sent[0] > 60.0:
            sent.popleft()
        return len(sent) >= self._per_minute

    def take(self, board: int, now_s: float) -> bool:
        """Tell whether a frame may be sent now, and count it."""
        sent = self._sent[board]
        if self.exhausted(board, now_s) or (sent and now_s - sent[-1] < self._interval_s):
            return False
        sent.append(now_s)
        return True
