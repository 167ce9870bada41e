"""``dexhil cube ...``: print it, calibrate the camera that sees it, and look how well it is followed."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from dexhil_env.errors import ConfigError
from dexhil_env.transforms import rotvec
from real.aruco_cube import make_cube_tracker, write_lens
from real.calibrate.boards import BOARDS
from real.calibrate.collect import Collector
from real.calibrate.lens import fit_lens
from real.calibrate.sheet import write_page
from real.camera_sources import CameraConfig
from real.cameras import Camera
from real.cube.device import CubeDevice, CubeReading
from real.cube.net import make_net
from real.cube.overlay import Film
from real.cube.shape import CubeShape

LENS_VIEWS = 12


def print_net(out: Path = Path("cube.pdf"), edge_mm: float = 56.0, dpi: int = 300) -> None:
    """Write the cube as a page to print, cut and fold, at true scale.

    Args:
        out: file; .pdf, .svg or .png.
        edge_mm: edge of the cube; 56 mm is what fits on A4.
        dpi: resolution of a PNG.
    """
    if edge_mm > 60.0:
        raise ConfigError(f"--edge-mm {edge_mm:g} does not fit on A4; 60 is the largest")
    write_page(make_net(CubeShape(edge_mm / 1e3)), out, dpi)
    console = Console()
    console.print(f"{out}: cube of {edge_mm:g} mm on A4 landscape.", markup=False, highlight=False)
    console.print("Next: print it at 100 %, check the ruler, glue it on card and fold it. Then: dexhil cube show", markup=False)


def calibrate(camera: str = "0", out: Path = Path("lens.json"), square_mm: float | None = None) -> None:
    """Measure the lens of the camera that sees the cube; optional, a typical lens only stretches the depth.

    Args:
        camera: index of ``/dev/videoN``, or a URL.
        out: file for the lens.
        square_mm: edge of a square of the board as it was printed (dexhil real board), when its ruler does not measure 100 mm.
    """
    board = BOARDS["table"].measured(None if square_mm is None else square_mm / 1e3)
    with Camera(_config(camera)) as eye:
        height, width = eye.frame().image.shape[:2]
        fit = fit_lens(Collector(eye, board, input, Console().print).lens(LENS_VIEWS), (width, height))
    write_lens(fit.lens, out)
    Console().print(f"{out}: fx {fit.lens.fx:.1f} px +- {fit.lens.focal_error:.1%}, error {fit.rms_px:.2f} px")


def show(camera: str = "0", lens: Path | None = None, edge_mm: float = 56.0, seconds: float = 0.0, video: Path | None = None) -> None:
    """Follow the cube and show how well it is seen, until Ctrl-C.

    Args:
        camera: index of ``/dev/videoN``, or a URL.
        lens: file of dexhil cube calibrate.
        edge_mm: edge of the cube as it was printed.
        seconds: stop after so long; 0 goes on.
        video: also write what the camera sees, with the cube's axes drawn in.
    """
    tracker = make_cube_tracker(lens, edge_mm)
    with Camera(_config(camera)) as eye, CubeDevice(eye, tracker) as device, Film(video, tracker) as film, Live() as live:
        begun = time.monotonic()
        try:
            while not seconds or time.monotonic() - begun < seconds:
                reading = device.read(time.monotonic_ns())
                live.update(_table(device, reading, time.monotonic() - begun))
                film.add(eye.frame(), reading)
                time.sleep(1 / 30)
        except KeyboardInterrupt:
            pass


def _config(camera: str) -> CameraConfig:
    return CameraConfig("cube", "opencv", int(camera) if camera.isdigit() else camera)


def _table(device: CubeDevice, reading: CubeReading | None, elapsed_s: float) -> Table:
    table = Table("state", "tags", "error [px]", "x y z [mm]", "turn [deg]", "pictures/s", "found")
    rates = f"{device.pictures / max(elapsed_s, 1e-3):.0f}", f"{device.found / max(device.pictures, 1):.0%}"
    if reading is None:
        table.add_row("not seen yet: show an edge, so that two faces are in view", "", "", "", "", *rates)
        return table
    place = " ".join(f"{value:7.1f}" for value in 1e3 * reading.T_cam_cube[:3, 3])
    turn = " ".join(f"{value:6.1f}" for value in np.degrees(rotvec(reading.T_cam_cube[:3, :3])))
    table.add_row(reading.state.value, str(reading.tags), f"{reading.rms_px:.2f}", place, turn, *rates)
    return table


COMMANDS: dict[str, Callable[..., Any]] = {"print": print_net, "calibrate": calibrate, "show": show}
