"""The cameras of an emulated robot: pictures of the twin, drawn in a thread of its own from a copy of the physics, sent as MJPEG."""

import threading
import time
from functools import partial
from typing import Final

import mujoco

from dexhil_env.errors import ConfigError, DeviceError
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.render import renderer_for
from dexhil_env.types import U8
from real.emulator.emulator_config import EmulatorConfig
from real.emulator.mjpeg import MjpegServer

_WATCHED_S: Final = 0.5
"""A camera that nobody has asked for this long is not drawn."""
_START_S: Final = 60.0
"""How long OpenGL may take to start."""
_HEADROOM: Final = 1.25
"""The streams may run this much faster than the pictures: a stream waits for the next picture and sends it at once."""


class TwinCameras:
    """Draws and serves.

    Args:
        backend: the twin; its model is read while it is drawn, its data only in :meth:`expose`.
        config: of the robot.

    Raises:
        DeviceError: the port is taken.
    """

    def __init__(self, backend: SimBackend, config: EmulatorConfig) -> None:
        self._backend, self._config = backend, config
        self._copy = mujoco.MjData(backend.model)
        self._changed = threading.Condition()
        self._exposed, self._number = False, 0
        self._pictures: dict[str, U8] = {}
        self._asked_s = dict.fromkeys(config.cameras, -1.0)
        self._problem: Exception | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._draw, name="twin-cameras", daemon=True)
        sources = {name: partial(self._next, name) for name in config.cameras}
        fps = min(max(config.fps * config.pace * _HEADROOM, 0.1), 240.0)
        try:
            self.server = MjpegServer(sources, fps, config.address, config.camera_port, config.jpeg_quality, config.camera_noise)
        except OSError as error:
            raise DeviceError(
                f"the cameras cannot be served on {config.address}:{config.camera_port} ({error.strerror}); choose another camera_port, "
                "0 takes a free one"
            ) from error
        self.mend()
        self._thread.start()
        self._try_out()

    def _try_out(self) -> None:
        """Draw once, so that a machine without OpenGL says so now, and the first picture does not take long."""
        self._asked_s = dict.fromkeys(self._asked_s, time.monotonic())
        self.expose()
        with self._changed:
            self._changed.wait_for(lambda: self._number > 0 or self._problem is not None, _START_S)
        if self._problem is not None:
            self.close()
            raise self._problem

    def expose(self) -> None:
        """Take a picture of the scene as it is now; on the physics' thread. Skipped while the last one is still being drawn."""
        if not any(self._watched(name) for name in self._asked_s) or self._exposed:
            return
        with self._changed:
            mujoco.mj_copyData(self._copy, self._backend.model, self._backend.data)
            self._exposed = True
            self._changed.notify_all()

    def fault(self, name: str, freeze: bool | None, drop: float | None, delay_s: float | None, corrupt: bool | None) -> None:
        """Break a stream; None leaves as it is.

        Raises:
            ConfigError: there is no such camera.
        """
        if name not in self.server.faults:
            raise ConfigError(f"no camera {name!r}; there are {sorted(self.server.faults)}")
        faults = self.server.faults[name]
        faults.freeze = faults.freeze if freeze is None else freeze
        faults.drop = faults.drop if drop is None else drop
        faults.delay_s = faults.delay_s if delay_s is None else delay_s + self._own_delay_s
        faults.corrupt = faults.corrupt if corrupt is None else corrupt

    def mend(self) -> None:
        """End every fault."""
        for name in self.server.faults:
            self.fault(name, False, 0.0, 0.0, False)

    def close(self) -> None:
        """End the streams; safe to call twice."""
        self._ending = True
        with self._changed:
            self._changed.notify_all()
        self.server.close()
        self._thread.join(5.0)

    @property
    def _own_delay_s(self) -> float:
        return self._config.reality.camera_delay_s / self._config.pace

    def _watched(self, name: str) -> bool:
        return time.monotonic() - self._asked_s[name] < _WATCHED_S / self._config.pace

    def _next(self, name: str) -> U8:
        """Wait for the next picture; on a stream's thread. Without one the last is sent again, as a camera does not stop for anybody."""
        patience_s = 2.0 / (self._config.fps * self._config.pace)
        with self._changed:
            self._asked_s[name] = time.monotonic()
            number = self._number
            self._changed.wait_for(lambda: self._number != number or self._ending, patience_s)
            while name not in self._pictures and not self._ending and self._problem is None:
                self._asked_s[name] = time.monotonic()
                self._changed.wait(0.1)
        if self._problem is not None:
            raise ConnectionAbortedError(str(self._problem))
        if name not in self._pictures:
            raise ConnectionAbortedError("the robot ends")
        return self._pictures[name]

    def _draw(self) -> None:
        try:
            self._draw_until_the_end()
        except Exception as error:  # noqa: BLE001  (a robot without pictures is still a robot; the streams end, and status says why)
            with self._changed:
                self._problem = error
                self._changed.notify_all()

    def _draw_until_the_end(self) -> None:
        model, size = self._backend.model, self._config.image_size
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._exposed or self._ending)
            if self._ending:
                return
            renderer = renderer_for(model, size, size, self._backend.scene.skin)
            drawn = {name: renderer.draw(model, self._copy, model.camera(name).id) for name in self._asked_s if self._watched(name)}
            with self._changed:
                self._pictures.update(drawn)
                self._exposed, self._number = False, self._number + 1
                self._changed.notify_all()

    @property
    def problem(self) -> str:
        """Why there are no pictures; "" when all is well."""
        return "" if self._problem is None else str(self._problem)
