"""Choose an OpenGL backend before MuJoCo is imported, and explain a broken one."""

import importlib
import os
import sys

from dexhil_env.errors import RenderError

HINT = (
    "Rendering needs OpenGL. On a machine without a screen install EGL or OSMesa (Debian/Ubuntu: `apt-get install libegl1 libgl1-mesa-dri` "
    "or `libosmesa6`) and set MUJOCO_GL=egl or MUJOCO_GL=osmesa before Python starts. `dexhil doctor` tests each backend. "
    "State-only environments need no OpenGL: gym.make(id, cameras=())."
)


_PROBLEM = "DEXHIL_GL_PROBLEM"
"""Environment variable that remembers, also for worker processes, why OpenGL was switched off."""


def choose_backend() -> None:
    """Set ``MUJOCO_GL=egl`` on a Linux machine without a display, unless the user chose a backend.

    MuJoCo refuses to be imported with a broken backend. State-only work needs no OpenGL, so it is switched off then, and the reason is
    given when something is to be drawn.
    """
    headless = not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if sys.platform.startswith("linux") and headless:
        os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        importlib.import_module("mujoco")
    except (RuntimeError, AttributeError, ImportError, OSError) as error:
        os.environ[_PROBLEM] = f"MUJOCO_GL={os.environ.get('MUJOCO_GL', '(unset)')}: {error}"
        os.environ["MUJOCO_GL"] = "disable"
        importlib.import_module("mujoco")


def render_error(cause: BaseException) -> RenderError:
    """Wrap whatever OpenGL raised into an error that says what to do."""
    why = os.environ.get(_PROBLEM) or f"MUJOCO_GL={os.environ.get('MUJOCO_GL', '(unset)')}: {cause}"
    return RenderError(f"could not render with {why}. {HINT}")
