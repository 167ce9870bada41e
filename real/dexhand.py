"""Driver of the DexHand021 hand: one thread writes at 100 Hz, one reads; a fault makes the hand hold until a person recovers it.

``connect()`` finds the boards and moves nothing; ``start()`` holds the fingers where they are and follows ``command()`` from then on;
``stop()`` holds; ``close()`` ends, in any state. The fingers go limp only on ``release()``.

Python-can is imported when a bus is opened.
"""

import atexit
import logging
import threading
import time
from types import TracebackType
from typing import Self

import numpy as np

from dexhil_env.clock import Latest, Rate
from dexhil_env.errors import ActionError, DeviceError, DeviceTimeout
from dexhil_env.types import F64
from real import dexhand_setup as setup
from real.dexhand_config import DexHandConfig
from real.dexhand_guard import ClearBudget, TargetGuard
from real.dexhand_link import HandLink
from real.dexhand_monitor import HandMonitor, HandState
from real.dexhand_protocol import BOARDS, CanFrame, Drive, Generation, Mode, broadcast_frame, clear_error_frame, motion_frames

__all__ = ["DexHand", "DexHandConfig", "HandState"]

log = logging.getLogger(__name__)


class DexHand:
    """One hand.

    Args:
        config: how it is reached and driven.

    Attributes:
        feedback_period_s: measured when connecting [s].
    """

    def __init__(self, config: DexHandConfig) -> None:
        self.config = config
        self.feedback_period_s = 0.0
        self._monitor = HandMonitor(config)
        self._link = HandLink(config, self._monitor)
        self._lock = self._link.lock
        self._guard = TargetGuard(config)
        self._budget = ClearBudget(config.clears_per_minute, config.clear_interval_s)
        self._goal: Latest[F64] = Latest()
        self._writer: threading.Thread | None = None
        self._ending = threading.Event()
        self._running = False
        self._connected = False

    # ---- life --------------------------------------------------------------------------------------------------------------------

    def connect(self) -> Self:
        """Open the bus, find the six boards, set and measure how often they report. Nothing moves.

        Raises:
            ConfigError: python-can is missing.
            DeviceError: the bus cannot be opened, or the boards do not fit the configuration.
            DeviceTimeout: boards do not answer.
        """
        if self._connected:
            raise DeviceError("this hand is connected already; close() it first")
        with self._lock:
            self._monitor.forget()
            self._monitor.firmware.clear()
            self._link.generation = self.config.generation
        try:
            self._open()
        except BaseException:
            self._link.close()
            raise
        self._connected = True
        atexit.register(self.close)
        log.info("hand connected: firmware %s, reports every %.1f ms", self._monitor.firmware, self.feedback_period_s * 1e3)
        return self

    def _open(self) -> None:
        self._link.open()
        if self._link.generation is None:
            self._link.generation = setup.detect_generation(self._link)
        self.feedback_period_s = setup.set_feedback(self._link)
        with self._lock:
            self._monitor.restart_clock(time.monotonic_ns())

    def start(self) -> None:
        """Hold the fingers where they are, and follow :meth:`command` from now on.

        Raises:
            DeviceError: not connected, or there is a fault.
        """
        self._require_connected()
        with self._lock:
            if self._monitor.faults:
                raise DeviceError(f"the hand has faults, call recover() first: {self.faults()}")
            fresh = self._writer is None or not self._writer.is_alive()
            if fresh:  # otherwise the hand holds already, perhaps an object: keep that target
                self._guard.anchor(self._monitor.motor_pos)
            self._goal.clear()
            self._running = True
        if fresh:
            self._ending.clear()
            self._writer = threading.Thread(target=self._write_loop, name="dexhand-writer", daemon=True)
            self._writer.start()

    def stop(self) -> None:
        """Hold the fingers where their targets are; commands have no effect until :meth:`start`. Works at any time."""
        with self._lock:
            self._running = False

    def release(self) -> None:
        """Stop, and let the fingers go limp (zero torque): a held object falls.

        Raises:
            DeviceError: not connected.
        """
        self._require_connected()
        self._end_writer()
        generation = self._link.generation or Generation.GEN1
        self._link.send(*motion_frames(self.config.side, generation, Drive(Mode.ZERO_TORQUE), np.zeros(12)))

    def recover(self) -> None:
        """Forget faults after a person has looked at the hand: reopen a lost bus, clear the boards' errors. The hand holds.

        Raises:
            DeviceError: there are still faults; the text names them.
            DeviceTimeout: the boards stay silent.
        """
        self._require_connected()
        self.stop()
        if self._link.lost:
            self._reopen()
        setup.clear_errors(self._link)
        with self._lock:
            self._monitor.forget()
            self._monitor.restart_clock(time.monotonic_ns())
            self._budget = ClearBudget(self.config.clears_per_minute, self.config.clear_interval_s)
        setup.settle(self._link)
        with self._lock:
            self._guard.anchor(self._monitor.motor_pos)
            if self._monitor.faults:
                raise DeviceError(f"the hand cannot recover: {self.faults()}")
        log.info("hand recovered; start() lets it move again")

    def _reopen(self) -> None:
        self._end_writer()
        self._link.close()
        with self._lock:
            self._monitor.forget()
        try:
            self._open()
        except (DeviceError, DeviceTimeout):
            self._link.fault("bus-gone", "the bus could not be opened again; check adapter, cable and power, then recover()")
            raise

    def close(self) -> None:
        """End the threads and give the bus back; safe to call twice. The fingers keep their last target."""
        atexit.unregister(self.close)
        if self.config.release_on_close and self._writer is not None:
            self.release()
        self._end_writer()
        self._link.close()
        self._connected = False

    def _require_connected(self) -> None:
        if not self._connected:
            raise DeviceError("the hand is not connected; call connect() first")

    def __enter__(self) -> Self:
        return self if self._connected else self.connect()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ---- use ---------------------------------------------------------------------------------------------------------------------

    @property
    def generation(self) -> Generation | None:
        """Generation of the motion frames; None until it is known."""
        return self._link.generation

    @property
    def firmware(self) -> dict[int, int]:
        """Firmware version by board, of the boards that were asked."""
        with self._lock:
            return dict(self._monitor.firmware)

    @property
    def running(self) -> bool:
        """Commands are followed: started, not stopped, no fault."""
        with self._lock:
            return self._running and not self._monitor.faults

    @property
    def target(self) -> F64:
        """(12,) last target sent [rad]."""
        with self._lock:
            return self._guard.target.copy()

    def command(self, motors: F64, stamp_ns: int) -> None:
        """Ask for a pose. It is followed while :attr:`running`, within range and speed, until it is ``command_timeout_s`` old.

        Args:
            motors: (12,) motor targets in the order of ``robot.HAND_MOTORS`` [rad].
            stamp_ns: when it was made, ``time.monotonic_ns()``.

        Raises:
            ActionError: not twelve finite numbers.
        """
        values = np.array(motors, dtype=float)
        if values.shape != (12,) or not np.isfinite(values).all():
            raise ActionError(f"a hand command is 12 finite motor angles [rad] in the order of robot.HAND_MOTORS; got {motors!r}")
        self._goal.put(values, stamp_ns)

    def state(self) -> HandState:
        """Return the newest measurement.

        Raises:
            DeviceError: not every board has reported yet.
        """
        with self._lock:
            if not self._monitor.complete:
                raise DeviceError("the hand has not reported yet; call connect() first")
            return self._monitor.state(time.monotonic_ns(), self._guard.stalled, self.warnings())

    def faults(self) -> list[str]:
        """Return what made the hand hold, each as ``"kind: text"``; it stays until :meth:`recover`."""
        with self._lock:
            self._link.check_reader(time.monotonic_ns())
            return list(self._monitor.faults.values())

    def warnings(self) -> list[str]:
        """Return what deserves attention but does not stop the hand."""
        now_ns = time.monotonic_ns()
        with self._lock:
            texts = self._monitor.warnings(now_ns)
            newest = self._goal.get()
            if self._running and newest is not None and now_ns - newest[1] > self.config.command_timeout_s * 1e9:
                texts.append(f"command-late: the newest command is {(now_ns - newest[1]) * 1e-9:.2f} s old; the hand holds")
        return texts

    # ---- writing -----------------------------------------------------------------------------------------------------------------

    def _write_loop(self) -> None:
        rate = Rate(self.config.period_s)
        try:
            while not self._ending.is_set():
                self._write_once(time.monotonic_ns())
                rate.sleep()
        except Exception as error:
            self._link.fault("writer", f"the writing thread ended: {error!r}; close() and connect() anew")
            raise

    def _write_once(self, now_ns: int) -> None:
        with self._lock:
            self._link.check_reader(now_ns)
            clears = self._handle_stalls(now_ns)
            newest = self._goal.get(now_ns, round(self.config.command_timeout_s * 1e9))
            target = self._guard.step(newest[0] if newest is not None and self.running else None)
        if not self._link.lost:
            self._link.send(*self._motion(target), *clears)

    def _motion(self, target: F64) -> tuple[CanFrame, ...]:
        if self._link.generation is Generation.GEN2:
            return (broadcast_frame(self.config.side, self.config.drive, target),)
        return motion_frames(self.config.side, Generation.GEN1, self.config.drive, target)

    def _handle_stalls(self, now_ns: int) -> list[CanFrame]:
        """Open stalled fingers a little; return the frames that let their boards go on."""
        measured, now_s = self._monitor.motor_pos, now_ns * 1e-9
        for motor in {*self._monitor.stalled_motors(), *self._monitor.over_current(now_ns)}:
            self._guard.block(motor, measured)
        clears: list[CanFrame] = []
        for board in self._monitor.stalled_boards():
            if not self._guard.backed_off(board):
                continue
            if self._budget.take(board, now_s):
                self._monitor.note_cleared(board)
                clears.append(clear_error_frame(self.config.side, board))
            elif self._budget.exhausted(board, now_s):
                times = self.config.clears_per_minute
                self._link.fault(
                    f"stall-limit {BOARDS[board]}", f"stalled more than {times} times a minute; free the finger, then recover()"
                )
        return clears

    def _end_writer(self) -> None:
        self.stop()
        self._ending.set()
        if self._writer is not None and self._writer is not threading.current_thread():
            self._writer.join(1.0)
        self._writer = None
