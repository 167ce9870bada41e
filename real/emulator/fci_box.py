"""The control box of an emulated FR3: modes, motions, errors and limits, without sockets.

One :meth:`ControlBox.tick` is one millisecond of robot time. The box answers requests as an FR3 does: an abort shows its error bits in a
state first and answers the pending Move after it.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dexhil_env import robot
from dexhil_env.types import F64
from real.emulator import fci_wire as wire
from real.emulator.arm_body import ArmBody, ArmReading
from real.emulator.fci_state import StateFrame
from real.emulator.fci_wire import Command, Controller, ErrorBit, Generator, MoveStatus, RecoveryStatus, RobotMode, Status
from real.emulator.fr3_limits import PERIOD_S, TOUCH, LimitCheck
from real.emulator.fr3_urdf import fr3_urdf

logger = logging.getLogger(__name__)

MAX_LOST: Final = 20
"""Packets lost in a row that stop the robot (Franka Control Interface documentation)."""
RATE_WINDOW: Final = 100
"""Cycles behind ``control_command_success_rate`` (libfranka's robot_state.h)."""
START_TOLERANCE: Final = 0.02
"""How far the first commanded position may be from the arm [rad]; ours, the maker publishes none."""
_GENERATORS: Final = (Generator.JOINT_POSITION, Generator.JOINT_VELOCITY, Generator.NONE)


class ControlBox:
    """State machine of the robot.

    Args:
        body: the arm.
        enforce: stop the motion when a limit is broken; False only records it.

    Attributes:
        check: limits and the worst values seen.
        events: (robot time [ms], what happened), in order.
        load_mass: mass announced with SetLoad [kg].
    """

    def __init__(self, body: ArmBody, enforce: bool = True) -> None:
        self.body, self.check = body, LimitCheck(enforce)
        self.events: deque[tuple[int, str]] = deque(maxlen=1000)
        self.mode = RobotMode.IDLE
        self.errors: set[int] = set()
        self.time_ms, self.load_mass = 0, 0.0
        self.answering = False
        self.torque_limit, self.force_limit = np.full(7, 20.0), np.full(6, 30.0)
        self._frame = StateFrame()
        self._reading = body.read()
        self.q_d, self.tau_d = self._reading.q.copy(), np.zeros(7)
        self._move = 0
        self.controller, self.generator = Controller.OTHER, Generator.NONE
        self._answered: deque[bool] = deque(maxlen=RATE_WINDOW)
        self._lost = 0
        self._pending: list[bytes] = []
        self._urdf = fr3_urdf().encode()
        self._handlers: dict[int, Callable[[int, bytes], bytes]] = {
            Command.MOVE: self._start,
            Command.STOP_MOVE: self._stop,
            Command.AUTOMATIC_ERROR_RECOVERY: self._recover,
            Command.GET_ROBOT_MODEL: lambda number, _: wire.status_reply(Command.GET_ROBOT_MODEL, number, 0, self._urdf),
        }

    @property
    def moving(self) -> bool:
        """A motion runs."""
        return self.mode == RobotMode.MOVE

    @property
    def success_rate(self) -> float:
        """Share of the last cycles of the motion that the client answered in time; 0 while nothing moves."""
        return sum(self._answered) / max(len(self._answered), 1) if self.moving else 0.0

    @property
    def dq_d(self) -> F64:
        """(7,) velocity of the motion generator [rad/s]."""
        return self.check.dq_d

    @property
    def ddq_d(self) -> F64:
        """(7,) acceleration of the motion generator [rad/s^2]."""
        return self.check.ddq_d

    def request(self, command: int, number: int, payload: bytes) -> bytes:
        """Answer a request; the answer that closes a Move follows from :meth:`tick`."""
        if len(payload) < wire.REQUEST_SIZE[Command(command)]:
            bad = MoveStatus.INVALID_ARGUMENT if command == Command.MOVE else Status.INVALID_ARGUMENT
            return wire.status_reply(command, number, bad)
        handler = self._handlers.get(command)
        return handler(number, payload) if handler else wire.status_reply(command, number, self._set(command, payload))

    def tick(self, command: NDArray[np.void] | None) -> tuple[bytes, list[bytes]]:
        """Live one millisecond.

        Args:
            command: (1,) of ``fci_wire.COMMAND`` that answers the last state, None when none came in time.

        Returns:
            The state to send, and the replies to send after it.
        """
        self.time_ms += 1
        torque = None
        if self.moving:
            self._take(command)
            if self.controller == Controller.EXTERNAL and self.moving:
                torque = self.tau_d
        self.body.step(torque, self.q_d)
        self._reading = self.body.read()
        if torque is not None:
            self.q_d = self._reading.q.copy()  # where it holds when the torques end
        if self.moving:
            self._watch(self._reading)
        replies, self._pending = self._pending, []
        return self._frame.pack(self, self._reading), replies

    def reflex(self, bit: int) -> None:
        """Stop with an error, as a collision or a broken limit does."""
        self.errors.add(int(bit))
        logger.info("reflex at %d ms: %s", self.time_ms, wire.ERROR_NAMES[bit])
        self._end(RobotMode.REFLEX, MoveStatus.REFLEX_ABORTED, wire.ERROR_NAMES[bit])

    def user_stop(self, pressed: bool) -> None:
        """Press or release the user stop."""
        if pressed:
            self._end(RobotMode.USER_STOPPED, MoveStatus.PREEMPTED_BY_SAFETY, "user stop")
        elif self.mode == RobotMode.USER_STOPPED:
            self.mode = RobotMode.REFLEX if self.errors else RobotMode.IDLE
            self.events.append((self.time_ms, "user stop released"))

    def client_gone(self) -> None:
        """The connection broke; a running motion lacks its packets and ends in a reflex."""
        if self.moving:
            self._move = 0
            self.reflex(ErrorBit.COMMUNICATION_CONSTRAINTS_VIOLATION)

    def _start(self, number: int, payload: bytes) -> bytes:
        controller, generator = np.frombuffer(payload[:8], "<u4")
        status = MoveStatus.STARTED
        if self.mode == RobotMode.USER_STOPPED:
            status = MoveStatus.REJECTED_BY_SAFETY
        elif self.mode != RobotMode.IDLE:
            status = MoveStatus.NOT_POSSIBLE
        elif controller > Controller.EXTERNAL or generator not in _GENERATORS:
            status = MoveStatus.INVALID_ARGUMENT  # Cartesian generators are not emulated: the driver stays in joint space
        else:
            self.controller, self.generator = Controller(controller), Generator(generator)
            self.mode, self._move, self._lost, self.answering = RobotMode.MOVE, number, 0, False
            self.tau_d = np.zeros(7)
            self._answered.clear()
            self.check.start()
        self.events.append((self.time_ms, f"move {status.name.lower()}"))
        return wire.status_reply(Command.MOVE, number, status)

    def _stop(self, number: int, _: bytes) -> bytes:
        if self.moving:
            self._end(RobotMode.IDLE, MoveStatus.PREEMPTED, "stop")
        return wire.status_reply(Command.STOP_MOVE, number, Status.SUCCESS)

    def _recover(self, number: int, _: bytes) -> bytes:
        status = RecoveryStatus.SUCCESS
        if self.mode == RobotMode.USER_STOPPED:
            status = RecoveryStatus.REJECTED_BY_SAFETY
        elif self.moving:
            status = RecoveryStatus.NOT_POSSIBLE
        else:
            self.errors.clear()
            self.mode = RobotMode.IDLE
        self.events.append((self.time_ms, f"recovery {status.name.lower()}"))
        return wire.status_reply(Command.AUTOMATIC_ERROR_RECOVERY, number, status)

    def _set(self, command: int, payload: bytes) -> Status:
        """Take a parameter; refused while a motion runs, as on the robot."""
        if self.moving:
            return Status.NOT_POSSIBLE
        if command == Command.SET_COLLISION_BEHAVIOR:
            values = wire.doubles(payload)
            self.torque_limit, self.force_limit = values[21:28].copy(), values[46:52].copy()
        elif command == Command.SET_LOAD:
            self.load_mass = float(wire.doubles(payload)[0])
        self._frame.set(command, payload)
        return Status.SUCCESS

    def _take(self, command: NDArray[np.void] | None) -> None:
        """Use the command of this cycle, or bridge its loss."""
        if command is None and not self.answering:
            return  # the client has not seen yet that its motion began
        self.answering = True
        self._answered.append(command is not None)
        self._lost = 0 if command is not None else self._lost + 1
        if self._lost >= MAX_LOST:
            self.reflex(ErrorBit.COMMUNICATION_CONSTRAINTS_VIOLATION)
        elif command is None:
            self._bridge()
        elif command["motion_generation_finished"][0] or command["torque_command_finished"][0]:
            self._end(RobotMode.IDLE, MoveStatus.SUCCESS, "finished")
        else:
            self._apply(command)

    def _apply(self, command: NDArray[np.void]) -> None:
        if self.controller == Controller.EXTERNAL:
            tau = command["tau_J_d"][0].copy()
            bit = self.check.torque(tau)
            if bit is None:
                self.tau_d = tau
        elif self.generator == Generator.JOINT_POSITION:
            bit = self._lead((command["q_c"][0] - self.q_d) / PERIOD_S)
        else:
            bit = self._lead(command["dq_c"][0].copy())
        if bit is not None:
            self.reflex(bit)

    def _lead(self, dq: F64) -> ErrorBit | None:
        """Move the desired position with ``dq`` (7,) [rad/s] for one cycle."""
        if len(self._answered) == 1 and (np.abs(dq) * PERIOD_S > START_TOLERANCE).any():
            return ErrorBit.JOINT_POSITION_MOTION_GENERATOR_START_POSE_INVALID
        bit = self.check.velocity(self.q_d, dq)
        q_d = self.q_d + dq * PERIOD_S
        if bit is None and self.check.enforce and ((q_d < robot.ARM_LOW) | (q_d > robot.ARM_HIGH)).any():
            bit = ErrorBit.JOINT_MOTION_GENERATOR_POSITION_LIMITS_VIOLATION
        if bit is None:
            self.q_d = q_d
        return bit

    def _bridge(self) -> None:
        """A command is missing: torques repeat, a motion goes on with its last acceleration."""
        if self.controller != Controller.EXTERNAL:
            dq = self.check.dq_d + self.check.ddq_d * PERIOD_S
            self.check.dq_d = dq
            self.q_d = np.clip(self.q_d + dq * PERIOD_S, robot.ARM_LOW, robot.ARM_HIGH)

    def _watch(self, reading: ArmReading) -> None:
        """Range, velocity and collisions of the moving arm."""
        bit = self.check.measured(reading.q, reading.dq, bool(np.abs(reading.tau_ext).max() > TOUCH))
        if bit is None and (np.abs(reading.tau_ext) > self.torque_limit).any():
            bit = ErrorBit.JOINT_REFLEX
        if bit is None and (np.abs(reading.wrench) > self.force_limit).any():
            bit = ErrorBit.CARTESIAN_REFLEX
        if bit is not None:
            self.reflex(bit)

    def _end(self, mode: RobotMode, status: MoveStatus, why: str) -> None:
        """End a motion if one runs, stand still, and go to ``mode``."""
        if self.moving and self._move:
            self._pending.append(wire.status_reply(Command.MOVE, self._move, status))
        self.events.append((self.time_ms, why))
        self.mode, self._move, self.controller, self.generator = mode, 0, Controller.OTHER, Generator.NONE
        self.check.dq_d = self.check.ddq_d = np.zeros(7)
        self.tau_d = np.zeros(7)
