"""The way home: open the hand, take the arm up if the straight way is blocked, move slowly, and look whether it has arrived."""

import time
from collections.abc import Callable
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import DeviceError
from dexhil_env.hil.ik import ArmIK
from dexhil_env.types import F64
from real.config import SessionConfig
from real.dexhand import DexHand
from real.fr3 import FR3
from real.kinematics import Kinematics
from real.workspace import Workspace

DETOURS: Final = ((0.0, 0.15), (0.0, 0.05), (0.3, 0.1), (0.3, 0.0), (0.6, 0.1), (0.7, 0.0), (0.5, -0.1), (0.9, 0.1), (0.0, -0.1))
"""Where the palm goes first when the straight way home is blocked, one after the other until a way is free: this share of the way home,
and so far up [m]."""
ARRIVED_RAD: Final = 0.015
HAND_ARRIVED_RAD: Final = 0.09
"""Ours; a little inside of what an emulated robot wants before it lays a scene."""
_HAND_TICK_S: Final = 0.01
_HAND_WAIT_S: Final = 1.5
_IDLE_WAIT_S: Final = 2.0
_IK_ROUNDS: Final = 20


class Homing:
    """Brings arm and hand home.

    Args:
        arm, hand: connected drivers.
        workspace, kinematics: where the robot may be.
        session: speeds.
        check: raises when something is wrong; called all the time.
    """

    def __init__(
        self, arm: FR3, hand: DexHand, workspace: Workspace, kinematics: Kinematics, session: SessionConfig, check: Callable[[], None]
    ) -> None:
        self._arm, self._hand, self._workspace, self._session, self._check = arm, hand, workspace, session, check
        self._ik = ArmIK(kinematics.model)

    def run(self) -> None:
        """Go home. Tracking has ended before; afterwards the arm holds and the hand holds.

        Raises:
            DeviceError: there is no safe way, or something does not arrive; the robot stands.
        """
        self._open_hand(must_arrive=False)
        for q in self._way():
            self._move(q)
        self._open_hand(must_arrive=True)

    def _pose(self, q: F64) -> F64:
        return np.concatenate([q, self._hand.state().motor_pos])

    def _way(self) -> list[F64]:
        """Return the poses (7,) of the arm on the way home [rad]."""
        q = self._arm.state().q
        if np.abs(q - robot.ARM_HOME).max() < ARRIVED_RAD:
            return []
        if self._free(q, robot.ARM_HOME):
            return [robot.ARM_HOME]
        for share, lift_m in DETOURS:
            via = self._via(q, share, lift_m)
            if self._free(q, via) and self._free(via, robot.ARM_HOME):
                return [via, robot.ARM_HOME]
        found = self._workspace.filter(self._pose(q), self._pose(robot.ARM_HOME), self._hand.state().motor_pos)
        raise DeviceError(
            f"there is no safe way home from here ({found.reason}); guide the arm to a free place over the table by hand, or correct the "
            "workspace in the settings, then call reset() again"
        )

    def _free(self, start: F64, end: F64) -> bool:
        fingers = self._hand.state().motor_pos
        return self._workspace.filter(self._pose(start), self._pose(end), fingers).share == 1.0

    def _via(self, q: F64, share: float, lift_m: float) -> F64:
        """Return the joints (7,) [rad] with which the palm is this share of the way home and so much higher."""
        goal, home = self._ik.forward(q), self._ik.forward(robot.ARM_HOME)
        goal[:3, 3] += share * (home[:3, 3] - goal[:3, 3]) + (0.0, 0.0, lift_m)
        via = q
        for _ in range(_IK_ROUNDS):
            via = self._ik.solve(via, goal, max_step_rad=np.full(7, 0.1))
        return np.clip(via, self._workspace.low[robot.ARM], self._workspace.high[robot.ARM])

    def _move(self, q: F64) -> None:
        self._arm.home(q, self._session.home_speed, self._check)
        deadline = time.monotonic() + _IDLE_WAIT_S
        while self._arm.state().mode == "Move" and time.monotonic() < deadline:  # the news of the end come a little later
            time.sleep(_HAND_TICK_S)
        self._check()
        missing = np.abs(self._arm.state().q - q)
        if missing.max() > ARRIVED_RAD:
            i = int(missing.argmax())
            raise DeviceError(f"the arm has not arrived: {robot.ARM_JOINTS[i]} lacks {missing[i]:.3f} rad; look at it, then reset() again")

    def _open_hand(self, must_arrive: bool) -> None:
        """Lead the motors home at their homing speed, as far as the table lets them."""
        hand, arm = self._hand, self._arm.state().q
        if (
            np.abs(hand.state().motor_pos - robot.HAND_HOME).max() < ARRIVED_RAD
            and np.abs(hand.target - robot.HAND_HOME).max() < ARRIVED_RAD
        ):
            return
        hand.start()
        try:
            target, last = hand.target, self._arm.now()
            waited = 0.0
            while waited < _HAND_WAIT_S:
                time.sleep(_HAND_TICK_S)
                self._check()
                now = self._arm.now()
                step, last = self._session.hand_home_speed * (now - last), now
                wanted = np.clip(robot.HAND_HOME, target - step, target + step)
                moved = self._workspace.filter(np.concatenate([arm, target]), np.concatenate([arm, wanted])).target[robot.HAND]
                stands = np.abs(moved - target).max() < 1e-6
                waited = waited + step / self._session.hand_home_speed if stands else 0.0
                target = moved
                hand.command(target, time.monotonic_ns())
                if stands and np.abs(hand.state().motor_pos - target).max() < ARRIVED_RAD:
                    break
        finally:
            hand.stop()
        missing = np.abs(hand.state().motor_pos - robot.HAND_HOME)
        if must_arrive and missing.max() > HAND_ARRIVED_RAD:
            i = int(missing.argmax())
            raise DeviceError(
                f"the hand has not opened: {robot.HAND_MOTORS[i]} lacks {missing[i]:.2f} rad; free the finger, then call reset() again"
            )
