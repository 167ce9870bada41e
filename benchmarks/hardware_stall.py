"""How soon a stalled finger is known."""

import contextlib
import threading
import time
from typing import Final, cast

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import DeviceError
from dexhil_env.types import F64
from real.backend import RealBackend

STALLED: Final = "ff_mcp"
STANDS_RAD_S: Final = 0.05
"""A motor that is slower stands; the emulated firmware's own bound."""
_REPORTS_S: Final = 0.02
"""Two reports of a board [s]."""


class Stall(threading.Thread):
    """Watches a motor: since when it stands although it gives its full torque, and when the driver knows that it is stalled.

    Attributes:
        noticed_ms: from the one to the other [ms]; None while there is no stall.
        opened_rad: how far the driver has opened the motor in the second after that [rad].
    """

    def __init__(self, backend: RealBackend) -> None:
        super().__init__(daemon=True)
        self._backend, self.noticed_ms, self.opened_rad = backend, cast("float | None", None), 0.0

    def run(self) -> None:
        """Watch until the motor has stalled, for five seconds at most."""
        motor, begin, rows = robot.HAND_MOTORS.index(STALLED), time.monotonic(), list[tuple[float, float, float]]()
        while (now := time.monotonic()) - begin < 5.0:
            with contextlib.suppress(DeviceError):
                state = self._backend.hand.state()
                rows.append((now, abs(float(state.current[motor])), float(state.motor_pos[motor])))
                if state.stalled[motor]:
                    self.noticed_ms = 1e3 * (now - _at_rest_since(np.array(rows)))
                    time.sleep(1.0)
                    self.opened_rad = rows[-1][2] - float(self._backend.hand.state().motor_pos[motor])
                    return
            time.sleep(0.005)


def _at_rest_since(rows: F64) -> float:
    """Return since when [s] a motor gives its full torque and moves no more; ``rows`` (N, 3): time [s], current [A], angle [rad]."""
    time_s, current, angle = rows.T
    pushing = time_s[np.argmax(current >= 0.999 * current.max())]
    before = np.interp(time_s - _REPORTS_S, time_s, angle)
    moved = time_s[np.abs(angle - before) > STANDS_RAD_S * _REPORTS_S]
    return float(max(pushing, moved.max(initial=time_s[0])))
