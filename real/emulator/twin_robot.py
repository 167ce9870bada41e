"""An emulated robot with a task of the twin: FCI, CAN bus, cameras and control line of one physics, in one loop.

One turn of the loop is a millisecond of robot time: a cycle of the arm, every fifth one a step of the scene and of the hand's boards, and
between two of them whatever the control line asks for. A frozen control box does not stop hand and cameras: they are other devices.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from dexhil_env.errors import ConfigError, DeviceError
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.make import make_task
from dexhil_env.sim.randomise import LooksConfig
from real.emulator.arm_body import FOLLOW_TICKS, PERIOD_S, MujocoArm
from real.emulator.control_server import ControlServer
from real.emulator.emulator_config import EmulatorConfig
from real.emulator.fci import FciServer
from real.emulator.fci_config import FciConfig
from real.emulator.hand_boards import BoardsConfig, HandBoards
from real.emulator.twin_control import TwinControl
from real.emulator.twin_hand import TwinHand
from real.emulator.twin_referee import TwinReferee
from real.emulator.twin_scene import TwinScene

if TYPE_CHECKING:
    from real.can_bus import UnixBus
    from real.emulator.twin_cameras import TwinCameras

_CATCH_UP_S = 0.03
"""The scene takes its time in steps, and the machine may be shared: delays up to this must not slow the robot's clock down."""
_Part = TypeVar("_Part")
_SLOW_TICKS = 250
"""Cycles between two looks at the wall clock and at what else is slow."""


class TwinRobot:
    """The robot; :meth:`serve` runs it in this thread until :meth:`end`.

    Args:
        config: what it is. Address and socket paths must be given; :class:`real.emulator.twin_process.TwinProcess` finds free ones.

    Attributes:
        config: the same, with the port of the cameras filled in.

    Raises:
        ConfigError: an address is missing, or the task has no such option.
        DeviceError: address, port or path are taken.
        RenderError: the cameras need OpenGL, which does not work here.
    """

    def __init__(self, config: EmulatorConfig) -> None:
        if not (config.address and config.can_path and config.control_path):
            raise ConfigError("TwinRobot needs address, can_path and control_path; use TwinProcess, which finds free ones")
        self._closing: list[Callable[[], None]] = []
        self._ticks, self._frame_due_s = 0, 0.0
        self._marks: deque[tuple[float, int]] = deque(maxlen=5)
        self._running = True
        self.config = config
        self.cameras: TwinCameras | None = None
        try:
            self._build(config)
        except BaseException:
            self.close()
            raise

    def _build(self, config: EmulatorConfig) -> None:
        reality = config.reality
        looks = LooksConfig() if config.randomise_visuals is True else config.randomise_visuals or None
        backend = SimBackend(make_task(config.task, **config.task_options), (), config.image_size, looks=looks)
        scene = TwinScene(backend)
        self.arm = MujocoArm(scene=scene, reality=reality, seed=config.seed)
        self.hand = TwinHand(backend, reality.hand_gain, reality.hand_latency_s)
        self.boards = HandBoards(self.hand, BoardsConfig(stall_time_s=config.hand_stall_s, angle_noise=reality.encoder_noise))
        self.referee = TwinReferee(scene, self.arm)
        self.referee.lay_with(np.random.default_rng(config.seed), {})
        fci = FciConfig(config.address, config.pace, config.patience_s, _CATCH_UP_S, seed=config.seed)
        self.server = self._opened(FciServer(self.arm, fci), FciServer.close)
        self.bus = self._opened(_open_bus(config.can_path), lambda bus: bus.shutdown())
        if config.cameras:
            from real.emulator.twin_cameras import TwinCameras

            self.cameras = self._opened(TwinCameras(backend, config), TwinCameras.close)
            self.config = replace(config, camera_port=self.cameras.server.port)
        # last: who reaches the control line reaches everything
        handlers = TwinControl(self).handlers()
        self._line = self._opened(ControlServer(config.control_path, handlers), ControlServer.close)

    def _opened(self, part: _Part, close: Callable[[_Part], None]) -> _Part:
        self._closing.append(lambda: close(part))
        return part

    @property
    def rtf(self) -> float:
        """Robot seconds per second of wall time, over the last second."""
        if len(self._marks) < 2:
            return 0.0
        (wall, cycles), (wall_now, cycles_now) = self._marks[0], self._marks[-1]
        return (cycles_now - cycles) * PERIOD_S / max(wall_now - wall, 1e-9)

    def serve(self, keep_going: Callable[[], bool] = lambda: True) -> None:
        """Run until :meth:`end`, or until ``keep_going``, asked every quarter of a second, says no."""
        self._keep_going = keep_going
        self.server.serve(self._turn)

    def end(self) -> None:
        """Let :meth:`serve` return."""
        self._running = False

    def close(self) -> None:
        """Leave every wire; safe to call twice."""
        while self._closing:
            self._closing.pop()()

    def _turn(self) -> bool:
        """Keep the other devices alive, between two cycles of the arm."""
        self._ticks += 1
        self._line.work()
        if self._ticks % FOLLOW_TICKS == 0:
            self._serve_hand()
            self._expose()
        if self._ticks % _SLOW_TICKS == 0:
            self._marks.append((time.monotonic(), self.server.box.time_ms))
            self._running = self._running and self._keep_going()
        return self._running

    def _serve_hand(self) -> None:
        now_s = self._ticks * PERIOD_S
        while self.boards.hear(self.bus, 0.0, now_s):
            pass
        self.boards.say(self.bus, self.boards.step(now_s))
        self.arm.hand_target = self.hand.target

    def _expose(self) -> None:
        now_s = self._ticks * PERIOD_S
        if self.cameras is not None and now_s >= self._frame_due_s:
            self._frame_due_s = max(self._frame_due_s + 1 / self.config.fps, now_s - 1 / self.config.fps)
            self.cameras.expose()

    def __enter__(self) -> "TwinRobot":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _open_bus(path: str) -> "UnixBus":
    import can

    from real.can_bus import UnixBus

    try:
        return UnixBus(path, server=True)
    except can.CanInitializationError as error:
        raise DeviceError(f"{error}; end the robot that uses this can_path, or choose another") from error
