"""Offscreen rendering: one OpenGL context per thread and image size, shared by every environment of the process."""

import hashlib
import importlib
import os
import threading
from typing import Any

import mujoco
import numpy as np

from dexhil_env.gl import render_error
from dexhil_env.types import U8

_contexts = threading.local()


def _gl_context(width: int, height: int) -> Any:
    """Make an OpenGL context of the backend that MUJOCO_GL names now, also when MuJoCo was imported before it was set."""
    name = os.environ.get("MUJOCO_GL", "").lower()
    module = importlib.import_module(f"mujoco.{name}") if name in ("egl", "osmesa", "glfw") else mujoco
    return module.GLContext(width, height)


class OffscreenRenderer:
    """Draws cameras of any model of the twin into images of one size.

    One context serves all models: none has a mesh or texture of its own. MuJoCo's list of what is to be drawn does not: it has room for the
    soft bodies of one model, and MuJoCo writes past its end for a larger one.

    Args:
        model: the model whose textures are uploaded.
        height, width: image size [px].
    """

    def __init__(self, model: mujoco.MjModel, height: int, width: int) -> None:
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._scenes: dict[bytes, mujoco.MjvScene] = {}
        self._option, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._pixels = np.empty((height, width, 3), np.uint8)
        try:
            self._gl = _gl_context(width, height)
            self._gl.make_current()
            model.vis.global_.offwidth, model.vis.global_.offheight = max(width, 64), max(height, 64)
            self._context = mujoco.MjrContext(model, int(mujoco.mjtFontScale.mjFONTSCALE_100))
            mujoco.mjr_setBuffer(int(mujoco.mjtFramebuffer.mjFB_OFFSCREEN), self._context)
        except Exception as error:
            raise render_error(error) from error

    def draw(self, model: mujoco.MjModel, data: mujoco.MjData, camera: int) -> U8:
        """Return an (H, W, 3) image of a fixed camera; fresh memory."""
        self._gl.make_current()
        self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, camera
        scene = self._scene_for(model)
        mujoco.mjv_updateScene(model, data, self._option, None, self._camera, int(mujoco.mjtCatBit.mjCAT_ALL), scene)
        mujoco.mjr_render(self._rect, scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rect, self._context)
        return np.ascontiguousarray(self._pixels[::-1])

    def _scene_for(self, model: mujoco.MjModel) -> mujoco.MjvScene:
        """Return the list for the soft bodies of this model; models with equal ones share it."""
        shape = (model.flex_dim, model.flex_vertnum, model.flex_edge, model.flex_elem, model.flex_shell, model.flex_texcoord)
        key = hashlib.sha256(b"|".join(array.tobytes() for array in shape)).digest()
        if key not in self._scenes:
            self._scenes[key] = mujoco.MjvScene(model, maxgeom=2000)
        return self._scenes[key]


def renderer_for(model: mujoco.MjModel, height: int, width: int, key: str = "") -> OffscreenRenderer:
    """Return this thread's renderer of that size, made at first use.

    ``key`` keeps apart models that cannot share a context (other meshes or textures).
    """
    cache: dict[tuple[int, int, str], OffscreenRenderer] = _contexts.__dict__.setdefault("cache", {})
    slot = (height, width, key)
    if slot not in cache:
        cache[slot] = OffscreenRenderer(model, height, width)
    return cache[slot]
