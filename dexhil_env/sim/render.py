"""Offscreen rendering: one OpenGL context per thread and image size, shared by every environment of the process."""

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

    The scenes hold primitives and flexes only (no mesh or texture of a task of its own), so that one context serves all of them.

    Args:
        model: the model whose textures are uploaded.
        height, width: image size [px].
    """

    def __init__(self, model: mujoco.MjModel, height: int, width: int) -> None:
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._scene = mujoco.MjvScene(model, maxgeom=2000)
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
        mujoco.mjv_updateScene(model, data, self._option, None, self._camera, int(mujoco.mjtCatBit.mjCAT_ALL), self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rect, self._context)
        return np.ascontiguousarray(self._pixels[::-1])


def renderer_for(model: mujoco.MjModel, height: int, width: int, key: str = "") -> OffscreenRenderer:
    """Return this thread's renderer of that size, made at first use.

    ``key`` keeps apart models that cannot share a context (other meshes or textures).
    """
    cache: dict[tuple[int, int, str], OffscreenRenderer] = _contexts.__dict__.setdefault("cache", {})
    slot = (height, width, key)
    if slot not in cache:
        cache[slot] = OffscreenRenderer(model, height, width)
    return cache[slot]
