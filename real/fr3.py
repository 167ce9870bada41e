"""Driver of the Franka FR3: joint set points in, joint impedance control out, and nobody has to watch it.

One long-lived joint impedance tracker (torques, 1 kHz, in franky's C++ thread) follows a reference that one thread makes from the set
points, every time that a second thread has read the arm (250 Hz). Both watch: an arm that stops answering, a caller that stops asking,
a reflex, a user stop or a bad line ends the motion and leaves the arm holding. This software is no substitute for the arm's user stop.
"""

import atexit
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.clock import Rate
from dexhil_env.errors import ActionError, DeviceError
from dexhil_env.types import F64
from real.fr3_aim import Aim, bounded_velocity
from real.fr3_config import FR3Config
from real.fr3_faults import Faults
from real.fr3_link import FrankaLink, LinkLost
from real.fr3_state import SETTLING_S, ArmState, judge, make_state

__all__ = ["FR3", "ArmState", "FR3Config"]

logger = logging.getLogger(__name__)

STATE_PERIOD_S: Final = 0.004
MAX_HOMING_SPEED: Final = 0.3
"""Above this share of the limits the planner's motions trip the FR3's jerk limit (measured on an emulated arm)."""
BRAKE_S: Final = 0.8
"""From full speed the reference stands after half a second; an arm that does not is stopped after this long [s]."""
STANDING: Final = 0.02
"""Slower than this the arm stands [rad/s]."""
ENDING_S: Final = 0.5
"""A stop takes libfranka 0.2 s; after this long a motion that goes on is not ours [s]."""


class FR3:
    """The arm. Use it as a context manager, or call :meth:`close`: every way out leaves the arm holding.

    Attributes:
        on_state: called with every state that is read, on the reading thread; must return at once.
    """

    def __init__(self, config: FR3Config) -> None:
        self.config = config
        self._link: FrankaLink | None = None
        self._state: ArmState | None = None
        self._stiffness = np.array(config.stiffness)
        self._faults = Faults()
        self._threads: list[threading.Thread] = []
        self._alive = False
        self._news = threading.Event()
        self._tracking = False
        self._motion = threading.RLock()
        self._started_s = 0.0
        self._warned = False
        self.on_state: Callable[[ArmState], object] | None = None

    @property
    def running(self) -> bool:
        """The arm follows set points."""
        return self._tracking

    @property
    def holding(self) -> bool:
        """The reference stands still because set points or states are late; both may come back."""
        return self._tracking and self._aim.holding

    def connect(self) -> None:
        """Open the connection and configure the arm (load, collision thresholds); nothing moves.

        Raises:
            ConfigError: franky is not installed.
            DeviceTimeout, DeviceError: no arm, or it refuses; within 3 s.
        """
        if self._link is not None:
            return
        link, cfg = FrankaLink(self.config), self.config
        self._aim = Aim(cfg, link.low, link.high)
        self._state = make_state(link.read(), None)
        self._link, self._alive = link, True
        self._faults.clear()
        self._threads = [threading.Thread(target=loop, name=loop.__name__, daemon=True) for loop in (self._watch, self._drive)]
        for thread in self._threads:
            thread.start()
        atexit.register(self.close)
        logger.info("arm at %s connected, mode %s", cfg.address, self._state.mode)

    def start(self) -> None:
        """Begin to track; the first target is where the arm is.

        Raises:
            DeviceError: faults are pending, or the arm is not ready to move.
        """
        link = self._connected()
        self._let_end()
        with self._motion:
            if self._tracking:
                return
            self._faults.refuse()
            state = self.state()
            if state.mode != "Idle":
                raise DeviceError(f"the arm is in mode {state.mode}; it must be Idle: release the user stop, then call recover()")
            self._aim.begin(state.q)
            link.track(self._stiffness)
            self._started_s, self._warned = time.monotonic(), False
            self._tracking = True

    def _let_end(self) -> None:
        """Wait a moment for the end of a motion that is over for libfranka, but not yet in the newest state."""
        deadline = time.monotonic() + ENDING_S
        while not (self._tracking or self._faults) and self.state().mode == "Move" and time.monotonic() < deadline:
            time.sleep(0.005)

    def command(self, q: F64, stamp_ns: int) -> None:
        """Give a set point.

        Args:
            q: (7,) [rad].
            stamp_ns: when it was made, on any steady clock; the reference reaches it one period after that of the set point before.

        Raises:
            ActionError: wrong shape, not finite, or farther than ``max_jump`` from the one before; the arm goes on as before.
            DeviceError: the arm does not track; the text says why.
        """
        values = np.asarray(q, dtype=float)
        if values.shape != (7,) or not np.isfinite(values).all():
            raise ActionError(f"a set point of the arm is 7 finite joint angles [rad]; got {q!r}")
        if not self._tracking:
            self._faults.refuse()
            raise DeviceError("the arm does not follow set points; call start() first")
        self._aim.ask(values, stamp_ns, self.now())

    def state(self) -> ArmState:
        """Newest state; never waits.

        Raises:
            DeviceError: not connected.
        """
        state = self._state
        if state is None:
            raise DeviceError("the arm is not connected; call connect() first")
        return replace(state, age_s=state.age_s + (time.monotonic_ns() - state.stamp_ns) * 1e-9)

    def now(self) -> float:
        """Time that set points live in [s]: the arm's own, which a slow or standing emulated arm makes slow or standing, or the wall's.

        Raises:
            DeviceError: not connected.
        """
        return self.state().robot_time_s if self.config.clock == "robot" else time.monotonic()

    def faults(self) -> list[str]:
        """What went wrong since the last :meth:`recover`, oldest first; empty when all is well."""
        return list(self._faults.texts)

    def brake(self) -> None:
        """Come to rest within the reference's limits and wait for it, for a :meth:`stop` that jerks nothing; no more than BRAKE_S."""
        if not self._tracking:
            return
        self._aim.rest(self.now())
        deadline = time.monotonic() + min(BRAKE_S, 0.8 * self.config.dead_man_stop_s)
        while self._tracking and np.abs(self.state().dq).max() > STANDING and time.monotonic() < deadline:
            time.sleep(STATE_PERIOD_S)

    def stop(self) -> None:
        """End the motion at once; the arm holds. Safe at any time, from any thread."""
        with self._motion:
            link, tracked = self._link, self._tracking
            self._tracking = False
            if link is None:
                return
            try:
                link.stop()
            except DeviceError as error:
                self._faults.note_end(error)
            if tracked:
                logger.info("arm stopped")

    def recover(self) -> None:
        """Clear faults and errors of the arm, on request only; the arm stays where it is. Opens a lost connection again.

        Raises:
            DeviceError: the arm refuses (user stop) or stays in error.
        """
        self.stop()
        if any(not thread.is_alive() for thread in self._threads):
            self._reconnect()
        try:
            self._clear()
        except LinkLost:  # just now: the watching thread has not noticed yet
            self._reconnect()
            self._clear()

    def _reconnect(self) -> None:
        self.close()
        self.connect()

    def _clear(self) -> None:
        """Clear the errors of the arm and wait until it is ready."""
        with self._motion:
            link = self._connected()
            link.recover()
            deadline = time.monotonic() + 1.0
            while (state := self.state()).mode != "Idle" or state.age_s > self.config.stale_hold_s:
                if time.monotonic() > deadline:
                    raise DeviceError(f"the arm is in mode {state.mode} {list(state.errors)} after recovery; see Franka Desk")
                time.sleep(0.01)
            link.configure(self.config)
            self._faults.clear()

    def home(self, q: F64, speed: float = 0.1, watch: Callable[[], None] = lambda: None) -> None:
        """Move to ``q`` (7,) [rad] with the arm's planner and wait for the end; tracking ends before.

        Args:
            q: target [rad].
            speed: share of the arm's velocity, acceleration and jerk limits, at most 0.3.
            watch: called all the time; what it raises ends the motion.
        """
        link, target = self._connected(), np.asarray(q, dtype=float)
        if not self._aim.contains(target) or not 0.0 < speed <= MAX_HOMING_SPEED:
            raise ActionError(f"home() takes 7 angles inside the joint ranges and a speed in (0, {MAX_HOMING_SPEED}]; got {q!r}, {speed}")
        self.stop()
        self._faults.refuse()
        with self._faults.noting():
            link.move(target, speed)
        try:
            while link.in_control:
                watch()
                if self._faults:
                    self.stop()
                time.sleep(0.01)
        except BaseException:
            self.stop()
            raise
        self._faults.refuse()
        with self._faults.noting():
            link.join()

    def close(self) -> None:
        """Stop, and leave the arm holding; safe to call twice."""
        self.stop()
        self._alive = False
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(2.5)
        if self._link is not None:
            self._link.close()
        self._threads, self._link, self._state = [], None, None
        atexit.unregister(self.close)

    def _connected(self) -> FrankaLink:
        if self._link is None:
            raise DeviceError("the arm is not connected; call connect() first")
        return self._link

    def _fault(self, text: str) -> None:
        self._faults.note(text)
        self.stop()

    def _watch(self) -> None:
        """Thread: read the arm."""
        link, rate = self._connected(), Rate(STATE_PERIOD_S)
        while self._alive:
            try:
                self._state = state = make_state(link.read(), self._state)
            except Exception as error:  # noqa: BLE001 - whatever it is, the arm can no longer be read; told as a fault, the thread ends
                self._faults.note(f"connection to the arm lost ({error})")
                self._tracking = False
                return
            self._news.set()
            if (tell := self.on_state) is not None:
                tell(state)
            rate.sleep()

    def _drive(self) -> None:
        """Thread: judge the state and lead the tracker."""
        link, last = self._connected(), self.now()
        try:
            while self._alive:
                self._news.wait(robot.SERVO_PERIOD_S)  # as soon as the arm's clock has gone on: a target that lags behind it is a pull back
                self._news.clear()
                now = self.now()
                dt, last = now - last, now
                with self._motion:
                    self._judge()
                if self._tracking:
                    self._lead(link, dt, now)
        except DeviceError:
            if self._alive:
                raise
        except Exception as error:
            self._fault(f"the driver failed ({error!r})")
            raise

    def _lead(self, link: FrankaLink, dt: float, now: float) -> None:
        state = self.state()
        q, dq = self._aim.tick(dt, now, state.q, state.age_s)
        if self._tracking:
            link.set_target(q, bounded_velocity(q, dq, state.q, state.dq, self._stiffness))
        if self._aim.silent_s(now) > self.config.dead_man_stop_s:
            self._fault(f"no set point for {self.config.dead_man_stop_s:g} s")

    def _judge(self) -> None:
        """End the motion if the state asks for it."""
        state = self.state()
        moved_s = time.monotonic() - self._started_s if self._tracking else 0.0
        if trouble := judge(state, moved_s, self.config):
            self._fault(trouble)
        elif moved_s > SETTLING_S and state.success_rate < self.config.warn_success and not self._warned:
            self._warned = True
            logger.warning("arm: only %.0f %% of the packets arrive in time", 100 * state.success_rate)

    def __enter__(self) -> "FR3":
        self.connect()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
