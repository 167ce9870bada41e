"""``dexhil doctor``: does this machine have what DexHiL needs, and if not, what to do."""

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata

from rich.console import Console
from rich.table import Table

from dexhil_env.errors import RenderError
from dexhil_env.gl import HINT

PACKAGES = {
    "mujoco": "4.0", "gymnasium": "1.2", "numpy": "2.0", "pyarrow": "17", "av": "14", "torch": "2.6",
    "scipy": "1.13", "transformers": "5.0", "safetensors": "0.5", "stable-baselines3": "2.7", "lerobot-doctor": "0.2",
}  # fmt: skip
OPTIONAL = ("scipy", "transformers", "stable-baselines3", "lerobot-doctor", "torch", "safetensors")
_RENDER = (
    "import dexhil_env, mujoco, numpy as np\n"
    "from dexhil_env.sim.render import OffscreenRenderer\n"
    'm = mujoco.MjModel.from_xml_string(\'<mujoco><worldbody><light pos="0 0 3"/><camera name="c" pos="0 0 2"/>'
    '<geom size=".3"/></worldbody></mujoco>\')\n'
    "d = mujoco.MjData(m); mujoco.mj_forward(m, d)\n"
    "assert OffscreenRenderer(m, 64, 64).draw(m, d, 0).std() > 0\n"
)


def doctor() -> None:
    """Check versions, OpenGL, processors, disk and devices of this machine, and say what to do about what is missing."""
    table = Table("check", "found", "verdict")
    problems = [*_versions(table), *_rendering(table), *_machine(table)]
    Console().print(table)
    for problem in problems:
        print(f"- {problem}")
    if any("must" in problem for problem in problems):
        raise RenderError("this machine is not ready: see the list above")
    print("Ready." if not problems else "Ready, with the remarks above.")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in version.split("+", maxsplit=1)[0].split(".")[:2])


def _versions(table: Table) -> list[str]:
    problems: list[str] = []
    table.add_row("Python", platform.python_version(), "ok")
    for name, least in PACKAGES.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            table.add_row(name, "-", "missing")
            need = "is needed for learning or testing" if name in OPTIONAL else "must be installed"
            problems.append(f"{name} {need}: pip install 'dexhil[agents]' (or '[dev]' for everything)")
            continue
        good = _number(found) >= _number(least)
        table.add_row(name, found, "ok" if good else f"older than {least}")
        if not good:
            problems.append(f"{name} must be at least {least}: pip install -U {name}")
    return problems


def _rendering(table: Table) -> list[str]:
    working: list[str] = []
    for backend in ("egl", "osmesa", "glfw"):
        if backend == "glfw" and not (os.environ.get("DISPLAY") or sys.platform == "darwin"):
            table.add_row("OpenGL glfw", "no display", "skipped")
            continue
        environment = {**os.environ, "MUJOCO_GL": backend}
        try:
            result = subprocess.run([sys.executable, "-c", _RENDER], env=environment, capture_output=True, timeout=60, check=False)
            good = result.returncode == 0
        except subprocess.TimeoutExpired:
            good = False
        table.add_row(f"OpenGL {backend}", "draws" if good else "fails", "ok" if good else "-")
        working += [backend] * good
    if not working:
        return [f"OpenGL must work for camera images. {HINT}"]
    chosen = os.environ.get("MUJOCO_GL", working[0])
    return [] if chosen in working else [f"MUJOCO_GL={chosen} does not draw here; set MUJOCO_GL={working[0]}"]


def _machine(table: Table) -> list[str]:
    problems: list[str] = []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    table.add_row("processors", str(cores), "ok")
    free = shutil.disk_usage(".").free / 2**30
    table.add_row("free disk", f"{free:.0f} GiB", "ok" if free > 2 else "little")
    if free <= 2:
        problems.append("less than 2 GiB of disk is free; recordings stop when it is full (finished episodes are safe)")
    try:
        import torch

        device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none (the CPU is enough for the tiny policy)"
        table.add_row("GPU", device, "ok")
    except ImportError:
        pass
    return problems
