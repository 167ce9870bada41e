"""The robot behind the environment: FR3, DexHand021 and cameras as a :class:`dexhil_env.backend.RobotBackend`.

Nothing moves until an episode begins: :meth:`RealBackend.reset` brings the robot home, the first step starts to track. Whatever goes wrong
ends in a standing robot and a :class:`RobotStopped`; it stays stopped until a person calls :meth:`RealBackend.recover`.
"""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dexhil_env import robot
from dexhil_env.clock import be_punctual
from dexhil_env.errors import ActionError, DeviceError, DexHiLError, RobotStopped
from dexhil_env.leaving import on_sigterm
from dexhil_env.limits import Limiter
from dexhil_env.servo import ServoMux
from dexhil_env.types import F64, U8, RobotState
from real.cameras import Camera
from real.config import RealConfig
from real.dexhand import DexHand
from real.fr3 import FR3
from real.homing import Homing
from real.kinematics import Kinematics
from real.limiter import SafeLimiter
from real.pacing import Pacer, TimingLog
from real.safety import Event, State
from real.senses import Senses
from real.supervisor import Supervisor
from real.workspace import Workspace

if TYPE_CHECKING:
    from dexhil_env.sim.backend import SimBackend

logger = logging.getLogger(__name__)

_KEEP_ALIVE_S: Final = 0.01


class RealBackend:
    """One robot, connected.

    Args:
        config: the robot.
        cameras: names of the cameras in the observation, of ``config.cameras``.
        image_size: square image size [px].

    Attributes:
        twin: mirror of an emulated robot's scene, for experts that see everything; None for a real robot.
        safety: state and history.
        closers: called once at the end of :meth:`close`, for what belongs to this robot.

    Raises:
        ConfigError: a package is missing, or there is no such camera.
        DeviceError, DeviceTimeout: something does not answer; what was opened is closed again.
    """

    def __init__(self, config: RealConfig, cameras: tuple[str, ...] = (), image_size: int = 128) -> None:
        self.config, self.cameras, self.image_size = config, tuple(cameras), image_size
        self.twin: SimBackend | None = None
        self.closers: list[Callable[[], None]] = []
        self.arm, self.hand = FR3(config.arm), DexHand(config.hand)
        self._supervisor = Supervisor(self.arm, self.hand)
        self.safety = self._supervisor.safety
        eyes = {name: Camera(config.camera(name)) for name in self.cameras}
        session = config.session
        kinematics = Kinematics(session.mount_yaw_deg, session.mount_offset_m)
        self._senses = Senses(self.arm, self.hand, eyes, kinematics, session.without_touch)
        self._workspace = Workspace(config.workspace, Kinematics(session.mount_yaw_deg, session.mount_offset_m))
        self._homing = Homing(self.arm, self.hand, self._workspace, kinematics, session, self._supervisor.check)
        self._pacer = Pacer(self.arm.now, robot.SERVO_PERIOD_S, config.arm.clock == "wall")
        self._limiter: SafeLimiter | None = None
        self._closed = False
        self._begun = 0
        self._start_s: float | None = 0.0
        self._target: F64 = robot.HOME.copy()
        self._connect()

    # ---- life --------------------------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        try:
            self.arm.connect()
            self.hand.connect()
            for eye in self._senses.eyes.values():
                eye.connect()
        except BaseException:
            self.close()
            raise
        self.timing = TimingLog(self.arm.now)
        on_sigterm()
        be_punctual()
        self._supervisor.start()

    def close(self) -> None:
        """Let the robot stand, and hang up; safe to call twice, in any state."""
        if self._closed:
            return
        self._closed = True
        self._supervisor.close()
        for end in (self.arm.close, self.hand.close, *(eye.close for eye in self._senses.eyes.values()), *reversed(self.closers)):
            try:
                end()
            except DexHiLError as error:
                logger.warning("while closing the robot: %s", error)

    def limiter(self) -> Limiter:
        """Return a target filter with the workspace, and with speeds that the arm follows without lag."""
        self._limiter = SafeLimiter(self._workspace, self.config.arm, self.config.hand.max_velocity)
        self._limiter.fingers = self._fingers
        return self._limiter

    def _fingers(self) -> F64 | None:
        return self.hand.state().motor_pos if self.safety.state in (State.RUN, State.HOLD) else None

    # ---- an episode --------------------------------------------------------------------------------------------------------------

    def reset(self, rng: np.random.Generator) -> None:
        """Bring the robot home, slowly; nothing tracks afterwards. The scene is the task's business, so ``rng`` is left alone.

        Raises:
            RobotStopped: the robot has stopped and nobody has recovered it.
            DeviceError: it cannot go home, or does not arrive; the text says what to do.
        """
        del rng
        self.safety.refuse_stopped()
        self._supervisor.rest("the episode is over", gently=True)
        with self._supervisor.occupied():
            self._supervisor.check()
            try:
                self._homing.run()
            except DeviceError:
                self._supervisor.check()  # the robot's own stop, which a person clears, or only no way home?
                raise
            self.safety.tell(Event.HOMED, "the robot is at home")
        self._begun = len(self.safety.history)
        self._start_s, self._supervisor.paused = None, ""
        self._pacer.restart()
        self._pacer.late = 0
        self.timing.restart()
        if self._limiter is not None:
            self._limiter.held.clear()

    def run(self, servo: ServoMux, ticks: int) -> None:
        """Run servo periods on the arm's clock.

        Raises:
            RobotStopped: something went wrong, or a person has stopped the robot; it stands.
        """
        with self._supervisor.occupied():
            try:
                self._run(servo, ticks)
            except RobotStopped:
                raise
            except BaseException as error:
                self.rest(f"{type(error).__name__} in the program")
                raise
        self.timing.late_ticks = self._pacer.late

    def rest(self, reason: str) -> None:
        """End the episode where it is: arm and hand hold. A robot that has stopped already stays stopped, for its own reason."""
        self._supervisor.pause(reason)

    def _run(self, servo: ServoMux, ticks: int) -> None:
        check = self._supervisor.check
        if self.safety.state is not State.RUN:
            self._begin(servo)
        for tick in range(ticks):
            self._wait_for_news(servo)
            t_s = self._pacer.wait(check)
            check()
            if tick == 0:
                self.timing.begin_period()
            self._target = servo.tick(t_s - self._start_clock())
            self._send(t_s)

    def _begin(self, servo: ServoMux) -> None:
        """Start to track: the first target is where the robot is."""
        self._supervisor.check()
        if self.safety.state is State.IDLE:
            raise RobotStopped(f"the robot stands ({self._supervisor.paused or 'no episode runs'}); call reset() to begin an episode")
        error = np.abs(servo.commanded[robot.ARM] - self.arm.state().q)
        if error.max() > self.config.session.start_error:
            i = int(error.argmax())
            raise RobotStopped(
                f"the first target of {robot.ARM_JOINTS[i]} is {error[i]:.3f} rad from where it is, more than start_error = "
                f"{self.config.session.start_error} rad; the arm has moved since reset(): call it again"
            )
        self._start_clock()
        try:
            self.arm.start()
            self.hand.start()
            self.safety.tell(Event.RUN, "the first step")
        except DexHiLError:
            self._supervisor.halt()  # perhaps somebody has stopped the robot just now
            raise
        self._pacer.restart()

    def _send(self, t_s: float) -> None:
        """Send the present target."""
        try:
            self.arm.command(self._target[robot.ARM], max(round(t_s * 1e9), 1))
            self.hand.command(self._target[robot.HAND], time.monotonic_ns())
        except (DeviceError, ActionError) as error:
            self._supervisor.check()
            self._supervisor.stop(Event.FAULT, f"arm: {error}")
            self.safety.refuse_stopped()

    def _wait_for_news(self, servo: ServoMux) -> None:
        """Stand still while pictures or the arm's states are late; stop when that lasts."""
        late = self._senses.late()
        if not late:
            return
        self.safety.tell(Event.LATE, "; ".join(late))
        self.timing.holds += 1
        if isinstance(servo.limiter, SafeLimiter):
            servo.limiter.pause()
        self._target, since = servo.commanded.copy(), time.monotonic()
        while late:
            self._supervisor.check()
            waited = time.monotonic() - since
            if waited > self.config.session.hold_s:
                self._supervisor.stop(Event.FAULT, *(f"{text} (for {waited:.1f} s)" for text in late))
                self.safety.refuse_stopped()
            self._send(self.arm.now())
            time.sleep(_KEEP_ALIVE_S)
            late = self._senses.late()
        self.timing.held_s += time.monotonic() - since
        self.safety.tell(Event.RESUME, "the news are fresh again")
        self._pacer.restart()

    def facts(self) -> dict[str, Any]:
        """Return JSON-serialisable facts of the present episode: timing, changes of state, what the workspace held back."""
        held = dict(self._limiter.held) if self._limiter is not None else {}
        since = [str(step) for step in self.safety.history[self._begun :]]
        return {**self.timing.summary(), "held_by_workspace": held, "transitions": since}

    # ---- observing ---------------------------------------------------------------------------------------------------------------

    def state(self) -> RobotState:
        """Take the newest sample of every source, all at this moment; at the beginning of an episode, wait for new pictures first."""
        if self._start_s is None:
            self._senses.await_pictures()
        state = self._senses.sample(self._start_clock())
        if self.safety.state is State.RUN:
            self.timing.note_ages(self._senses.ages)
            self.timing.worst_success = min(self.timing.worst_success, self.arm.state().success_rate or 1.0)
        return state

    def _start_clock(self) -> float:
        """Return when the episode began, on the arm's clock [s]; the first who asks begins it."""
        if self._start_s is None:
            self._start_s = self.arm.now()
        return self._start_s

    def ages(self) -> dict[str, float]:
        """Return how old every source's sample was in the last :meth:`state` [s]; of the hand, its oldest board's."""
        return dict(self._senses.ages)

    def images(self) -> dict[str, U8]:
        """Return the pictures of the last :meth:`state`, the middle square of each."""
        return self._senses.images(self.image_size)

    def picture(self, camera: str, height: int, width: int) -> U8:
        """Return one camera's newest picture in any shape, (height, width, 3).

        Raises:
            DeviceError: that camera is not open.
        """
        return self._senses.picture(camera, height, width)

    # ---- stopping ----------------------------------------------------------------------------------------------------------------

    def estop(self, reason: str) -> None:
        """Stop now, from any thread; :meth:`recover` ends it. A program's stop, no substitute for the arm's user stop."""
        self._supervisor.stop(Event.STOP, reason)

    def recover(self) -> None:
        """Clear a stop, because a person has looked at the robot and asks for it; nothing moves. Call ``reset()`` next.

        Raises:
            DeviceError: the cause is still there; the robot stays stopped.
        """
        self._supervisor.recover()
