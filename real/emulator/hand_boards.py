"""Firmware emulator of the six boards of a DexHand021, both generations, with faults to inject. It drives any ``HandBody``.

What the real firmware does where nobody has published it (marked "guess") is kept in :class:`BoardsConfig`.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dexhil_env.types import F64
from real import dexhand_protocol as wire
from real.dexhand_protocol import CanFrame, FeedbackMode, Generation, Id, Mode, Side
from real.dexhand_replies import MotorError
from real.emulator import hand_wire
from real.emulator.hand_body import BodyState, HandBody, Mask, MotorTargets
from real.emulator.hand_wire import Motion

if TYPE_CHECKING:
    import can

STEP_S = 0.002
"""Period of the emulated firmware [s]."""
_MOVING_RAD_S = 0.05
"""A motor that is faster than this is not stalled (guess)."""


@dataclass(frozen=True)
class BoardsConfig:
    """What the emulated hand is.

    Attributes:
        side: which hand.
        generation: of the motion frames.
        firmware: version that the boards report; by default the oldest that fits the generation.
        feedback_unit_ms: unit of the feedback period on the wire, 10 (pyzlg_dexhand) or 1 (dexhand_sdk_cpp) [ms].
        stall_time_s: how long a motor must push against something before its board stops [s] (guess; the firmware has a setting).
        stall_angle: how far a motor must be behind its target to count as pushing [rad], where the body knows no torques (guess).
        safe_temperature_c: a board ignores motion above this [deg C] (firmware default).
        answers_firmware: answer the question for the firmware version.
        angle_noise: standard deviation of the reported angles [rad].
    """

    side: Side = Side.RIGHT
    generation: Generation = Generation.GEN2
    firmware: int = 0
    feedback_unit_ms: int = 10
    stall_time_s: float = 0.5
    stall_angle: float = 0.02
    safe_temperature_c: float = 55.0
    answers_firmware: bool = True
    angle_noise: float = 0.0

    @property
    def version(self) -> int:
        """Firmware version that is reported."""
        return self.firmware or (wire.BROADCAST_FIRMWARE if self.generation is Generation.GEN2 else 20000)


@dataclass
class Faults:
    """What is broken; change it while the emulator runs.

    Attributes:
        muted: boards that say nothing and hear nothing.
        silent: the whole bus is dead.
        garbage: boards that send feedback of a wrong length.
        deaf_to_clear: boards that do not let themselves be cleared.
        temperature_c: (5,) of the fingertip sensors [deg C].
    """

    muted: set[int] = field(default_factory=set[int])
    silent: bool = False
    garbage: set[int] = field(default_factory=set[int])
    deaf_to_clear: set[int] = field(default_factory=set[int])
    temperature_c: F64 = field(default_factory=lambda: np.full(5, 30.0))


class Board:
    """One board: two motors, one report."""

    def __init__(self, config: BoardsConfig, faults: Faults, index: int) -> None:
        self.config, self.faults, self.index = config, faults, index
        self.motion = Motion(Mode.ZERO_TORQUE, (False, False), (0.0, 0.0))
        self.errors = (MotorError.NONE, MotorError.NONE)
        self.mode, self.period_s, self.due_s = FeedbackMode.QUERY, 0.0, 0.0
        self.enabled, self.asked, self.hot = True, False, False
        self.clears = 0
        self._pushing_since: list[float | None] = [None, None]
        self._reported, self._watched_s = np.full(2, np.nan), 0.0

    def config_frame(self, data: bytes, now_s: float) -> list[CanFrame]:
        """Answer a config frame."""
        side, head = self.config.side, bytes(data[:2])
        if head == wire.READ_FIRMWARE and self.config.answers_firmware:
            return [hand_wire.encode_reply(side, self.index, head, self.config.version.to_bytes(2, "little"))]
        if head == wire.CLEAR_ERROR and self.index not in self.faults.deaf_to_clear:
            self.clears += 1
            self.errors = (MotorError.NONE, MotorError.NONE)
            self._pushing_since = [None, None]
            return [hand_wire.encode_reply(side, self.index, head)]
        if head == wire.FEEDBACK_CONFIG and len(data) >= 5 and data[2] in set(FeedbackMode):
            self.mode, self.enabled = FeedbackMode(data[2]), bool(data[4])
            self.period_s, self.due_s = max(data[3], 1) * self.config.feedback_unit_ms * 1e-3, now_s
            return [hand_wire.encode_reply(side, self.index, head)]
        return []

    def move(self, motion: Motion | None) -> None:
        """Take a motion command; a board with an error, or too hot, ignores it but reports."""
        if motion is None:
            return
        self.asked = self.asked or motion.feedback or (self.config.generation is Generation.GEN1 and self.mode is FeedbackMode.QUERY)
        if not any(self.errors) and not self.hot:
            self.motion = motion

    def fail(self, errors: tuple[MotorError, MotorError]) -> list[CanFrame]:
        """Stop with an error."""
        self.errors = errors
        return [hand_wire.encode_error(self.config.side, self.config.generation, self.index, errors)]

    def watch(self, position: F64, pushing: Mask | None, temperature_c: float, now_s: float) -> list[CanFrame]:
        """Look for stalled motors and for heat; ``position`` (2,) [rad], ``pushing`` (2,)."""
        was_hot, self.hot = self.hot, temperature_c >= self.config.safe_temperature_c
        frames = [hand_wire.encode_overheated(self.config.side, self.index)] if self.hot and not was_hot else []
        stalled = [MotorError.NONE, MotorError.NONE]
        for motor in range(2):
            behind = abs(self.motion.target[motor] - position[motor]) > self.config.stall_angle if pushing is None else pushing[motor]
            moving = abs(position[motor] - self._reported[motor]) > _MOVING_RAD_S * (now_s - self._watched_s)
            if not (self.motion.enabled[motor] and self.motion.mode is not Mode.ZERO_TORQUE and behind and not moving) or any(self.errors):
                self._pushing_since[motor] = None
                continue
            since = self._pushing_since[motor] = now_s if self._pushing_since[motor] is None else self._pushing_since[motor]
            if since is not None and now_s - since > self.config.stall_time_s:
                stalled[motor] = MotorError.STALL
        self._reported, self._watched_s = position.copy(), now_s
        return frames + (self.fail((stalled[0], stalled[1])) if any(stalled) else [])

    def due(self, now_s: float) -> bool:
        """Tell whether a report is to be sent now."""
        asked, self.asked = self.asked, False
        if not self.enabled or self.mode is not FeedbackMode.PERIODIC:
            return self.enabled and asked
        if now_s < self.due_s:
            return False
        self.due_s += self.period_s * (1 + int((now_s - self.due_s) / self.period_s))
        return True


class HandBoards:
    """The six boards.

    Args:
        body: what they move.
        config: what they are.

    Attributes:
        faults: what is broken.
        boards: the boards, thumb first.
    """

    def __init__(self, body: HandBody, config: BoardsConfig | None = None) -> None:
        self.body, self.config = body, config or BoardsConfig()
        self.faults = Faults()
        self.boards = [Board(self.config, self.faults, index) for index in range(6)]
        self.received = 0
        self._rng = np.random.default_rng(0)
        self._out: list[CanFrame] = []
        self._last_s: float | None = None
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    def inject(self, board: int, motor1: MotorError = MotorError.NONE, motor2: MotorError = MotorError.NONE) -> None:
        """Make a board stop with an error."""
        self._out += self.boards[board].fail((motor1, motor2))

    def receive(self, can_id: int, data: bytes, now_s: float) -> list[CanFrame]:
        """Take one frame from the bus and return the answers."""
        self.received += 1
        side, kind = self.config.side, can_id & wire.ID_MASK
        listening = [board for board in self.boards if board.index not in self.faults.muted]
        if can_id == wire.BROADCAST_ID:
            for board in listening if self.config.generation is Generation.GEN2 else []:
                board.move(hand_wire.decode_broadcast(side, board.index, data))
            return []
        addressed = [board for board in listening if board.index == wire.board_of(side, can_id)]
        if not addressed:
            return []
        if kind == Id.MOTION:
            addressed[0].move(hand_wire.decode_motion(self.config.generation, addressed[0].index, data))
        return addressed[0].config_frame(data, now_s) if kind == Id.CONFIG else []

    def step(self, now_s: float) -> list[CanFrame]:
        """Advance to ``now_s`` [s], and return what the boards say."""
        dt_s = 0.0 if self._last_s is None else now_s - self._last_s
        self._last_s = now_s
        self.body.drive(self._targets(), dt_s)
        state = self.body.read()
        frames, self._out = self._out, []
        for board in self.boards:
            motors = wire.WIRE_TO_MODEL[2 * board.index : 2 * board.index + 2]
            pushing = None if state.pushing is None else state.pushing[motors]
            spoken = board.watch(state.motor_pos[motors], pushing, self._temperature(board.index), now_s)
            if board.due(now_s):
                spoken.append(self._report(board, motors, state))
            if board.index not in self.faults.muted:
                frames += spoken
        return frames

    def _targets(self) -> MotorTargets:
        angle, current, powered = np.zeros(12), np.zeros(12), np.zeros(12, dtype=bool)
        for board in self.boards:
            motors, motion = wire.WIRE_TO_MODEL[2 * board.index : 2 * board.index + 2], board.motion
            angle[motors], current[motors] = motion.target, motion.current
            powered[motors] = np.array(motion.enabled) & (motion.mode is not Mode.ZERO_TORQUE)
        return MotorTargets(angle, powered, current)

    def _temperature(self, board: int) -> float:
        return 30.0 if board == wire.PALM else float(self.faults.temperature_c[wire.FINGER_BOARDS.index(board)])

    def _report(self, board: Board, motors: NDArray[np.integer], state: BodyState) -> CanFrame:
        config, index = self.config, board.index
        if index in self.faults.garbage:
            return CanFrame(Id.FEEDBACK + config.side + index, b"\x01\x02\x03")
        force = 0.0 if index == wire.PALM else float(state.fingertip_force[wire.FINGER_BOARDS.index(index)])
        position, current = state.motor_pos[motors], state.current[motors]
        if config.angle_noise > 0:
            position = position + self._rng.normal(0.0, config.angle_noise, 2)
        return hand_wire.encode_feedback(
            config.side, config.generation, index, position, current, force, self._temperature(index), board.errors
        )

    # ---- on a bus ----------------------------------------------------------------------------------------------------------------

    def serve(self, bus: "can.BusABC", clock: Callable[[], float] = time.monotonic) -> None:
        """Run on a bus until :meth:`stop`; ``clock`` [s] may run slower than the wall's."""
        next_s = time.monotonic()
        while not self._ending.is_set():
            self.hear(bus, max(next_s - time.monotonic(), 0.0), clock())
            now_s = time.monotonic()
            if now_s >= next_s:
                self.say(bus, self.step(clock()))
                next_s = max(next_s + STEP_S, now_s)

    def hear(self, bus: "can.BusABC", timeout_s: float, now_s: float) -> bool:
        """Wait for one frame from the bus and answer it; returns whether there was one."""
        message = bus.recv(timeout_s)
        if message is not None and not message.is_error_frame and not self.faults.silent:
            self.say(bus, self.receive(message.arbitration_id, bytes(message.data), now_s))
        return message is not None

    def say(self, bus: "can.BusABC", frames: list[CanFrame]) -> None:
        """Send frames, unless the bus is dead."""
        import can

        for frame in frames if not self.faults.silent else []:
            bus.send(can.Message(arbitration_id=frame.can_id, data=frame.data, is_fd=True, bitrate_switch=True, is_extended_id=False))

    def bus_off(self, bus: "can.BusABC") -> None:
        """Do to the host what an adapter does that leaves the bus: one error frame, then silence."""
        import can

        self.faults.silent = True
        bus.send(can.Message(arbitration_id=0x40, is_error_frame=True, is_extended_id=False, dlc=8, data=bytes(8)))

    def start(self, bus: "can.BusABC") -> None:
        """Run :meth:`serve` on a thread."""
        self._ending.clear()
        self._thread = threading.Thread(target=self.serve, args=(bus,), name="hand-boards", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; safe to call twice."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(2.0)
            self._thread = None


def serve(path: str, config: BoardsConfig | None = None, body: HandBody | None = None) -> None:
    """Run an emulated hand on the Unix-socket bus at ``path`` until the process ends; the kinematic stand-in is the default body."""
    from real.can_bus import UnixBus
    from real.emulator.hand_body import KinematicBody

    with UnixBus(path, server=True) as bus:
        HandBoards(body or KinematicBody(), config).serve(bus)
