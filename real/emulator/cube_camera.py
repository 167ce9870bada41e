"""A camera that films the printed cube, drawn by MuJoCo: for tests, benchmarks and rehearsals without a camera."""

from dataclasses import dataclass
from typing import Any, Final

import mujoco
import numpy as np

from dexhil_env.errors import ConfigError
from dexhil_env.transforms import matrix_pose
from dexhil_env.types import F64, U8
from real.calibrate.lens import Lens
from real.cube.shape import FACES, MODULES, CubeShape, pattern
from real.optional import require

_TEXEL: Final = 16
"""Texture pixels of a module."""
_CAMERA: Final = np.diag([1.0, -1.0, -1.0, 1.0])
"""OpenCV's camera frame (y down, z forward) in MuJoCo's (y up, z backward)."""
_SKIN: Final = (0.85, 0.62, 0.50, 1.0)


@dataclass(frozen=True)
class CubeCameraConfig:
    """What the camera is like.

    Attributes:
        width, height: of the picture [px].
        fovy_deg: field of view, up and down.
        blur_px: standard deviation of the lens's blur.
        noise: standard deviation of the pixel noise [grey values].
        samples: multisampling; more is smoother and slower.
    """

    width: int = 640
    height: int = 480
    fovy_deg: float = 45.0
    blur_px: float = 0.7
    noise: float = 3.0
    samples: int = 4

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 64 or not 5.0 <= self.fovy_deg <= 120.0:
            raise ConfigError(f"pictures need at least 64 px and 5 to 120 deg; got {self}")

    @property
    def lens(self) -> Lens:
        """The lens that a perfect calibration would find."""
        focal = self.height / 2 / np.tan(np.radians(self.fovy_deg) / 2)
        return Lens(self.width, self.height, focal, focal, (self.width - 1) / 2, (self.height - 1) / 2)


class CubeCamera:
    """Films the cube in front of a cluttered wall.

    Args:
        config: of the camera.
        shape: the cube.
        occluded: a thumb and a finger hold the cube by two edges and cover parts of the tags.
        rng: source of the wall's clutter and of the noise.
    """

    def __init__(
        self, config: CubeCameraConfig | None = None, shape: CubeShape | None = None, *, occluded: bool = False, rng: np.random.Generator
    ) -> None:
        self.config, self.shape, self._rng = config or CubeCameraConfig(), shape or CubeShape(), rng
        self.model = _scene(self.config, self.shape, occluded, rng)
        self._data = mujoco.MjData(self.model)
        self._renderer = mujoco.Renderer(self.model, self.config.height, self.config.width)
        self._option = mujoco.MjvOption()

    def film(self, poses: F64) -> U8:
        """Take a picture (H, W, 3), RGB, exposed while the cube goes through ``poses`` (K, 4, 4), each ``T_cam_cube``."""
        cv2: Any = require("cv2", "real")
        light = np.zeros((self.config.height, self.config.width, 3))
        for pose in poses:
            self._data.mocap_pos[0], self._data.mocap_quat[0] = np.split(matrix_pose(_CAMERA @ pose), [3])
            mujoco.mj_forward(self.model, self._data)
            self._renderer.update_scene(self._data, "eye", self._option)
            light += self._renderer.render()
        image = light / len(poses)
        if self.config.blur_px > 0.0:
            image = cv2.GaussianBlur(image, (0, 0), self.config.blur_px)
        image = image + self.config.noise * self._rng.standard_normal(image.shape)
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)

    def close(self) -> None:
        """Release the graphics."""
        self._renderer.close()


def _scene(config: CubeCameraConfig, shape: CubeShape, occluded: bool, rng: np.random.Generator) -> mujoco.MjModel:
    spec = mujoco.MjSpec()
    spec.visual.global_.offwidth, spec.visual.global_.offheight = config.width, config.height
    spec.visual.quality.offsamples = config.samples
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.5] * 3, [0.5] * 3
    spec.visual.headlight.specular = [0.0] * 3
    spec.visual.map.znear, spec.visual.map.zfar = 0.01, 20.0
    spec.stat.extent = 1.0
    spec.worldbody.add_camera(name="eye", fovy=config.fovy_deg)
    for _ in range(40):
        colour, place = [*rng.uniform(0, 1, 3), 1.0], [*rng.uniform(-1.6, 1.6, 2), rng.uniform(-2.6, -2.2)]
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=place, size=rng.uniform(0.03, 0.3, 3), rgba=colour)
    cube = spec.worldbody.add_body(name="cube", mocap=True)
    for index in range(len(FACES)):
        _add_face(spec, cube, shape, index)
    if occluded:
        _add_fingers(cube, shape)
    return spec.compile()


def _add_face(spec: mujoco.MjSpec, cube: mujoco.MjsBody, shape: CubeShape, index: int) -> None:
    """A pyramid from the cube's centre whose base carries the tag, texel by texel; MuJoCo has no flat meshes."""
    name, half = FACES[index], shape.edge_m / 2
    pixels = np.kron(np.where(pattern(index), 10, 245), np.ones((_TEXEL, _TEXEL))).astype(np.uint8)
    side = MODULES * _TEXEL
    texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=side, height=side, nchannel=3)
    texture.data = np.repeat(pixels[:, :, None], 3, 2).tobytes()
    material = spec.add_material(name=name)
    material.textures[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = name
    corners = np.array([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0], [0, 0, half]])
    face = shape.faces[index]
    mesh = spec.add_mesh(name=name, inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL)
    mesh.uservert = (corners @ face[:3, :3].T + face[:3, 3]).ravel()
    mesh.usertexcoord = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0])
    mesh.userface = np.array([0, 2, 1, 0, 3, 2, 0, 1, 4, 1, 2, 4, 2, 3, 4, 3, 0, 4])
    cube.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=name)


def _add_fingers(cube: mujoco.MjsBody, shape: CubeShape) -> None:
    """A thumb over an edge of the front and a finger behind, as a hand holds a cube from below."""
    half = shape.edge_m / 2
    for x, y in ((-0.45, -1.0), (0.5, 1.0)):
        ends = np.array([x * half, y * (half + 0.009), -2.5 * half, x * half, y * (half + 0.006), -0.35 * half])
        cube.add_geom(type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=ends, size=[0.009, 0, 0], rgba=_SKIN)
