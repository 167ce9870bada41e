"""Choose an OpenGL backend before MuJoCo is imported, and explain a broken one."""

import os
import sys

from dexhil_env.errors import RenderError

HINT = (
    "Rendering needs OpenGL. On a machine without a screen install EGL or OSMesa (Debian/Ubuntu: `apt-get install libegl1 libgl1-mesa-dri` "
    "or `libosmesa6`) and set MUJOCO_GL=egl or MUJOCO_GL=osmesa before Python starts. `dexhil doctor` tests each backend. "
    "State-only environments need no OpenGL: gym.make(id, cameras=())."
)


def choose_backend() -> None:
    """Set ``MUJOCO_GL=egl`` on a Linux machine without a display, unless the user chose a backend."""
    headless = not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if sys.platform.startswith("linux") and headless:
        os.environ.setdefault("MUJOCO_GL", "egl")


def render_error(cause: BaseException) -> RenderError:
    """Wrap whatever OpenGL raised into an error that says what to do."""
    return RenderError(f"could not render with MUJOCO_GL={os.environ.get('MUJOCO_GL', '(unset)')}: {cause}. {HINT}")
