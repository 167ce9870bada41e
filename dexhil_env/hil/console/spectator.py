"""Pictures for the console, drawn and packed on a thread of its own, so that the robot's loop does not wait for them."""

import io
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import mujoco
import numpy as np

from dexhil_env.env import DexHiLEnv
from dexhil_env.hil.sim_experts import find_twin
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.render import renderer_for
from dexhil_env.types import F64, U8

HEIGHT = WIDTH = 400
"""Size of the pictures [px]: square, as the policy sees them."""
QUALITY: Final = 82
"""JPEG quality of the pictures; about 17 kB each."""
MIN_PERIOD_S: Final = 0.045

Show = Callable[[list[bytes], dict[str, Any]], None]
"""Called with the JPEG pictures and what belongs to them."""


def jpeg(picture: U8) -> bytes:
    """Pack a picture (H, W, 3)."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


class Spectator:
    """Draws the cameras of an environment: the twin from a copy of its state, a robot from its newest pictures.

    Args:
        env: what is shown.
        cameras: their names.
        show: called on this object's thread.
    """

    def __init__(self, env: DexHiLEnv, cameras: tuple[str, ...], show: Show) -> None:
        self._env, self.cameras, self._show = env, cameras, show
        backend = env.backend
        self._twin = backend if isinstance(backend, SimBackend) else None
        self._points = find_twin(env)
        self._data = mujoco.MjData(self._twin.model) if self._twin is not None else None
        self._wake, self._ending = threading.Event(), False
        self._busy = False
        self._marks: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._loop, name="spectator", daemon=True)
        self._thread.start()

    @property
    def free(self) -> bool:
        """Whether the last state has been drawn."""
        return not self._busy

    def offer(self, target: F64 | None = None) -> None:
        """Take the present state if the last one has been drawn; ``target`` (4, 4) is where the palm is commanded."""
        if self._busy:
            return
        self._busy = True
        if self._twin is not None:
            mujoco.mj_copyData(self._data, self._twin.model, self._twin.data)
        self._target = target
        self._wake.set()

    def close(self) -> None:
        """End the thread."""
        self._ending = True
        self._wake.set()
        self._thread.join(5.0)

    def _loop(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._ending:
                return
            began = time.monotonic()
            pictures = [jpeg(self._picture(name)) for name in self.cameras]
            self._show(pictures, self._notes())
            took = time.monotonic() - began
            time.sleep(max(MIN_PERIOD_S - took, took))  # on a busy machine the robot's loop comes first
            self._busy = False

    def _picture(self, name: str) -> U8:
        if self._twin is None:
            draw: Callable[[str, int, int], U8] = getattr(self._env.backend, "picture")  # noqa: B009  (not in the contract of a robot)
            return draw(name, HEIGHT, WIDTH)
        model = self._twin.model
        assert self._data is not None
        return renderer_for(model, HEIGHT, WIDTH, self._twin.scene.skin).draw(model, self._data, model.camera(name).id)

    def _notes(self) -> dict[str, Any]:
        """Where the palm is and where it is commanded, as shares of the front picture."""
        if self._twin is None or self._data is None or self._target is None or "front" not in self.cameras:
            return {}
        camera = self._twin.model.camera("front")
        actual = self._data.site("ee").xpos
        return {"marks": [self._project(camera, point) for point in (self._target[:3, 3], actual)]}

    def _project(self, camera: Any, point: F64) -> list[float]:
        assert self._data is not None
        local = self._data.cam_xmat[camera.id].reshape(3, 3).T @ (point - self._data.cam_xpos[camera.id])
        scale = 0.5 / (np.tan(np.radians(camera.fovy[0]) / 2) * max(-local[2], 1e-3))
        return [round(float(0.5 + local[0] * scale * HEIGHT / WIDTH), 4), round(float(0.5 - local[1] * scale), 4)]
