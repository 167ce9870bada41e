"""What the hand has told us, and what is wrong with it. Pure: it is fed with replies and with the time."""

import logging
import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dexhil_env.types import F64
from real.dexhand_config import DexHandConfig
from real.dexhand_guard import board_motors
from real.dexhand_protocol import BOARDS, CLEAR_ERROR, FINGER_BOARDS, WIRE_TO_MODEL
from real.dexhand_replies import (
    Acknowledged,
    ErrorReport,
    Feedback,
    Firmware,
    Malformed,
    MotorError,
    Overheated,
    Reply,
    StartUp,
    WarningReport,
)

log = logging.getLogger(__name__)

MALFORMED_PER_S = 5
"""More nonsense than this within a second is a fault; CAN frames carry a checksum, so it means another firmware, not noise."""
WARNING_LASTS_S = 5.0
_FINGER_OF_BOARD = {board: finger for finger, board in enumerate(FINGER_BOARDS)}


@dataclass(frozen=True, slots=True)
class HandState:
    """What the hand measures.

    Attributes:
        t_ns: arrival of the oldest of the six reports in this state, ``time.monotonic_ns`` [ns].
        motor_pos: (12,) motor angles in the order of ``robot.HAND_MOTORS`` [rad].
        fingertip_force: (5,) magnitude of the contact force, thumb first [N]; NaN until a sensor has given a sound reading.
        current: (12,) [A]; the maker does not document its sign.
        temperature_c: (5,) of the fingertip sensors, thumb first [deg C]; NaN like the force.
        age_s: (6,) time since the report of each board, thumb, palm, index ... [s].
        seen_ns: (6,) arrival of each board's report, ``time.monotonic_ns`` [ns].
        stalled: (12,) motors that the driver keeps from closing.
        errors: what is wrong now, in words: faults first, then warnings.
    """

    t_ns: int
    motor_pos: F64
    fingertip_force: F64
    current: F64
    temperature_c: F64
    age_s: F64
    seen_ns: tuple[int, ...]
    stalled: NDArray[np.bool_]
    errors: tuple[str, ...]


class HandMonitor:
    """Memory of the six boards.

    Attributes:
        faults: what is wrong and stays wrong until :meth:`forget`, by kind; the hand holds while there is any.
        firmware: version by board.
        counts: reports by board since the beginning.
        errors: error bits by board, motor 1 and motor 2; a board with any ignores motion.
        watching: raise faults about silence (off while connecting).
    """

    def __init__(self, config: DexHandConfig) -> None:
        self._config = config
        self.faults: dict[str, str] = {}
        self.firmware: dict[int, int] = {}
        self.counts = [0] * 6
        self.errors = [(MotorError.NONE, MotorError.NONE)] * 6
        self.watching = False
        self._motor_pos, self._current = np.full(12, math.nan), np.zeros(12)
        self._force, self._temperature_c = np.full(5, math.nan), np.full(5, math.nan)
        self._seen_ns, self._touch_ns, self._over_since_ns = [0] * 6, [0] * 5, [0] * 12
        self._excused_ns = [0] * 6
        self._cleared = [False] * 6
        self._malformed: deque[int] = deque(maxlen=MALFORMED_PER_S + 1)
        self._warned: dict[str, int] = {}

    @property
    def complete(self) -> bool:
        """Every board has reported."""
        return all(self.counts)

    @property
    def motor_pos(self) -> F64:
        """(12,) newest motor angles [rad]."""
        return self._motor_pos.copy()

    def fault(self, kind: str, text: str) -> None:
        """Latch a fault; the first text of a kind stays."""
        if kind not in self.faults:
            self.faults[kind] = f"{kind}: {text}"
            log.warning("the hand holds: %s", self.faults[kind])

    def forget(self) -> None:
        """Forget faults and warnings; errors of the boards stay until they are cleared."""
        self.faults.clear()
        self._warned.clear()
        self._malformed.clear()

    def restart_clock(self, now_ns: int) -> None:
        """Count silence from now on."""
        self._seen_ns, self._touch_ns, self._excused_ns = [now_ns] * 6, [now_ns] * 5, [0] * 6
        self.watching = True

    def excuse(self, away_ns: int) -> None:
        """Do not count so much of every board's present silence [ns]: nobody listened then."""
        self._excused_ns = [excused + away_ns for excused in self._excused_ns]

    def note_cleared(self, board: int) -> None:
        """A clear-error frame was sent: believe a report without error bits, even when the answer gets lost."""
        self._cleared[board] = True

    def feed(self, reply: Reply, now_ns: int) -> None:
        """Take in one reply."""
        board, name = reply.board, BOARDS[reply.board]
        match reply:
            case Feedback():
                self._feedback(reply, now_ns)
            case ErrorReport():
                self.errors[board] = reply.errors
                self._cleared[board] = False
            case Acknowledged():
                if reply.command == CLEAR_ERROR and reply.ok:
                    self.errors[board] = (MotorError.NONE, MotorError.NONE)
            case Overheated():
                self.fault(f"overheated {name}", "the board reports that it is too hot; let it cool down, then recover()")
            case WarningReport():
                self._warned[f"warning {name}: the board warns (hall limit or hot), {reply.raw.hex(' ')}"] = now_ns
            case Firmware():
                self.firmware[board] = reply.version
            case StartUp():
                if self.watching:
                    self.fault(f"restarted {name}", "the board has restarted; check the power supply, then recover()")
            case Malformed():
                self._malformed.append(now_ns)
                if len(self._malformed) > MALFORMED_PER_S and now_ns - self._malformed[0] < 1e9:
                    self.fault("bad-frames", f"{name}: {reply.reason}; check generation and side in the configuration")

    def _feedback(self, reply: Feedback, now_ns: int) -> None:
        board = reply.board
        self._seen_ns[board], self._excused_ns[board] = now_ns, 0
        self.counts[board] += 1
        motors = board_motors(board)
        self._motor_pos[motors] = reply.position
        self._current[motors] = reply.current
        for motor, current in zip(motors, reply.current, strict=True):
            if abs(current) <= self._config.current_trip:
                self._over_since_ns[motor] = 0
            elif self._over_since_ns[motor] == 0:
                self._over_since_ns[motor] = now_ns
        if any(reply.errors) or self._cleared[board]:
            self.errors[board] = reply.errors
            self._cleared[board] = self._cleared[board] and not any(reply.errors)
        if reply.tactile is not None:
            finger = _FINGER_OF_BOARD[board]
            self._touch_ns[finger] = now_ns
            self._force[finger], self._temperature_c[finger] = reply.tactile.force, reply.tactile.temperature_c
            self._check_temperature(finger)

    def _check_temperature(self, finger: int) -> None:
        temperature_c, limit = float(self._temperature_c[finger]), self._config.max_temperature_c
        if temperature_c >= limit:
            name = BOARDS[FINGER_BOARDS[finger]]
            self.fault(f"hot {name}", f"{temperature_c:.0f} deg C, allowed below {limit:.0f}; let it cool down, then recover()")

    def over_current(self, now_ns: int) -> list[int]:
        """Return the motors whose current has been above ``current_trip`` for ``current_trip_s``, and start to count anew."""
        limit_ns = self._config.current_trip_s * 1e9
        tripped = [motor for motor, since in enumerate(self._over_since_ns) if since and now_ns - since > limit_ns]
        for motor in tripped:
            self._over_since_ns[motor] = now_ns
        return tripped

    def stalled_motors(self) -> list[int]:
        """Return the motors (places in ``robot.HAND_MOTORS``) whose board reports a stall or an overload."""
        bits = [error for pair in self.errors for error in pair]
        return [int(WIRE_TO_MODEL[i]) for i, error in enumerate(bits) if error & (MotorError.STALL | MotorError.OVERLOAD)]

    def stalled_boards(self) -> list[int]:
        """Return the boards that wait to be cleared, and whose errors clearing mends."""
        mended = MotorError.STALL | MotorError.OVERLOAD
        return [board for board, pair in enumerate(self.errors) if any(pair) and not any(error & ~mended for error in pair)]

    def check(self, now_ns: int) -> None:
        """Look for silence and for errors that no clearing mends. Call it when everything that has arrived was fed."""
        if self.watching:
            self._check_silence(now_ns)
        for board, pair in enumerate(self.errors):
            if any(error & (MotorError.HALL | MotorError.PARAMETER) for error in pair):
                what = ", ".join(f"motor {i + 1} {error!s}" for i, error in enumerate(pair) if error)
                self.fault(f"motor-error {BOARDS[board]}", f"{what}; look at the finger, then recover()")

    def _check_silence(self, now_ns: int) -> None:
        ages_s = [(now_ns - seen - excused) * 1e-9 for seen, excused in zip(self._seen_ns, self._excused_ns, strict=True)]
        if min(ages_s) > self._config.bus_timeout_s:
            self.fault("bus-gone", f"no board has reported for {min(ages_s):.2f} s; check adapter, cable and power, then recover()")
        if "bus-gone" in self.faults or "bus-off" in self.faults:
            return
        for board, age_s in enumerate(ages_s):
            if age_s > self._config.board_timeout_s:
                limit = self._config.board_timeout_s
                self.fault(
                    f"board-stale {BOARDS[board]}", f"no report for {age_s:.2f} s, allowed {limit} s; check its cable, then recover()"
                )

    def warnings(self, now_ns: int) -> list[str]:
        """Return what deserves attention but does not stop the hand."""
        self._warned = {text: t_ns for text, t_ns in self._warned.items() if now_ns - t_ns < WARNING_LASTS_S * 1e9}
        texts = list(self._warned)
        for board, pair in enumerate(self.errors):
            texts += [f"error {BOARDS[board]}: motor {i + 1} {error!s}" for i, error in enumerate(pair) if error]
        if self.watching:
            texts += [
                f"tactile {BOARDS[FINGER_BOARDS[finger]]}: no sound reading; the force is old"
                for finger, t_ns in enumerate(self._touch_ns)
                if now_ns - t_ns > self._config.board_timeout_s * 1e9
            ]
        return texts

    def state(self, now_ns: int, stalled: NDArray[np.bool_], warnings: list[str]) -> HandState:
        """Return the newest measurement of every board, with what the driver adds to it."""
        return HandState(
            t_ns=min(self._seen_ns),
            motor_pos=self._motor_pos.copy(),
            fingertip_force=self._force.copy(),
            current=self._current.copy(),
            temperature_c=self._temperature_c.copy(),
            age_s=(now_ns - np.array(self._seen_ns)) * 1e-9,
            seen_ns=tuple(self._seen_ns),
            stalled=stalled,
            errors=(*self.faults.values(), *warnings),
        )
