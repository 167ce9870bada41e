"""The paper's devices as an operator: a camera that sees the cube for the arm, a glove for the hand, a key or a foot pedal to take over."""

import time
from pathlib import Path

from dexhil_env.hil.live.glove import ADDRESS, GloveLink
from dexhil_env.hil.live.person import Retarget
from dexhil_env.hil.live.terminal import TerminalOperator
from dexhil_env.hil.live.wish import LiveConfig
from dexhil_env.transforms import matrix_pose
from real.aruco_cube import make_cube_tracker
from real.cameras import Camera, CameraConfig
from real.cube.device import CubeDevice
from real.cube.film import FilmEye
from real.cube.tracker import Sighting


def open_eye(camera: str) -> Camera | FilmEye:
    """Open the camera that sees the cube.

    Args:
        camera: index of ``/dev/videoN``, the file of a film, or a URL.

    Raises:
        DexHiLError: it cannot be opened.
    """
    if Path(camera).is_file():
        return FilmEye(camera)
    return Camera(CameraConfig("cube", "opencv", int(camera) if camera.isdigit() else camera)).connect()


class ArucoGloveOperator(TerminalOperator):
    """See the module's text. Camera and glove have threads of their own; the keys are those of the terminal.

    Args:
        config: how the person is treated.
        folder: where device streams are written; None writes none.
        retarget: turns the glove's keypoints into motor angles.
        camera: see :func:`open_eye`.
        lens: file of ``dexhil cube calibrate``; without it a typical lens is assumed, which only stretches the depth.
        cube_mm: edge of the cube as it was printed [mm].
        glove: HOST:PORT on which the glove's datagrams arrive (:mod:`dexhil_env.hil.live.glove`).
        pedal: input device of a foot pedal; the space bar does without.

    Raises:
        DexHiLError: there is no terminal, no such camera or pedal, or the address is taken.
    """

    def __init__(
        self,
        config: LiveConfig | None = None,
        *,
        folder: str | None = None,
        retarget: Retarget | None = None,
        camera: str = "0",
        lens: str | None = None,
        cube_mm: float = 56.0,
        glove: str = ADDRESS,
        pedal: str | None = None,
    ) -> None:
        self._eye, self._glove = open_eye(camera), GloveLink(glove)
        self._cube = CubeDevice(self._eye, make_cube_tracker(lens, cube_mm), self._see)
        super().__init__(config, folder=folder, name="aruco-glove", retarget=retarget, pedal=pedal)
        self._cube.start()
        self._glove.start(self._heard)

    def _see(self, sighting: Sighting, t_ns: int) -> None:
        self._heard.put({"type": "cube", "pose": matrix_pose(sighting.T_cam_cube).tolist()}, t_ns)

    def status(self) -> str:
        """Return mode, how well the cube is seen, and how the glove speaks."""
        now_ns = time.monotonic_ns()
        refused = f", {self._glove.refused} refused ({self._glove.reason})" if self._glove.refused else ""
        unused = f", {self.health.unused} not like this hand" if self.health.unused else ""
        return f"{self.mode:6}  {self._cube_now(now_ns)}  {self._glove_now(now_ns)}{refused}{unused}"

    def _cube_now(self, now_ns: int) -> str:
        if self._cube.problem is not None:
            return f"camera failed: {self._cube.problem}"
        reading = self._cube.read(now_ns)
        return "cube not seen yet" if reading is None else f"cube {reading.state.value}, {reading.tags} tags"

    def _glove_now(self, now_ns: int) -> str:
        if not self._glove.accepted:
            return f"no glove on port {self._glove.port}"
        silent_s = (now_ns - self._glove.t_ns) * 1e-9
        if silent_s > self.config.stale_s:
            return f"glove silent for {silent_s:.0f} s"
        return f"glove {self.health.devices().get('keypoints', {}).get('hz', 0.0):.0f} Hz"

    def close(self) -> None:
        """Let camera, glove and terminal go."""
        super().close()
        self._cube.close()
        self._glove.close()
        self._eye.close()
