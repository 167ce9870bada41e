"""``dexhil real board`` and ``dexhil real calibrate``."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from dexhil_env import robot
from dexhil_env.errors import ConfigError, DeviceError
from dexhil_env.hil.ik import ArmIK
from dexhil_env.transforms import from_parts, from_rotvec
from dexhil_env.types import F64
from real.calibrate.boards import BOARDS, Board
from real.calibrate.collect import Arm, Collector, Eye
from real.calibrate.lens import Lens, fit_lens
from real.calibrate.poses import free_space, poses_around
from real.calibrate.report import next_steps, result_table
from real.calibrate.sheet import write_sheet
from real.calibrate.solve import CameraName, Solution, solve_arm, solve_table
from real.calibrate.stored import Calibration, read_calibration, save
from real.cameras import Camera
from real.config import RealConfig, load_config
from real.fr3 import FR3
from real.kinematics import Kinematics

LENS_VIEWS: Final = 12
TABLE_VIEWS: Final = 5
SPEED: Final = 0.05
"""Share of the arm's limits with which it moves by itself."""


def show(text: str | Table) -> None:
    """Print a line or a table as it is."""
    Console().print(text, markup=False, highlight=False, soft_wrap=isinstance(text, str))


@dataclass
class Desk:
    """Devices and the person, so that a test can take their places.

    Attributes:
        open_eye: opens the camera of that name.
        open_arm: opens the arm; nothing moves.
        ask: shows a text and waits for a line.
        say: shows a text.
    """

    open_eye: Callable[[RealConfig, str, ExitStack], Eye] = lambda config, name, stack: stack.enter_context(Camera(config.camera(name)))
    open_arm: Callable[[RealConfig, ExitStack], Arm] = lambda config, stack: stack.enter_context(FR3(config.arm))
    ask: Callable[[str], str] = input
    say: Callable[[str | Table], None] = show


def board(kind: Literal["table", "hand"] = "table", out: Path = Path("board.pdf"), dpi: int = 300) -> None:
    """Write a printable calibration board with a ruler, at true scale.

    Args:
        kind: ``table`` lies on the table; ``hand`` is cut out and fixed to the hand.
        out: file; .pdf, .svg or .png.
        dpi: resolution of a PNG.
    """
    write_sheet(BOARDS[kind], out, dpi)
    item = BOARDS[kind]
    size = " x ".join(f"{1e3 * value:g}" for value in item.size_m)
    show(f"{out}: board '{kind}', {size} mm, squares of {1e3 * item.square_m:g} mm, on A4 landscape.")
    show("Next: print it at 100 % (no 'fit to page'), measure the ruler, and glue the sheet to something flat and stiff (glass, metal).")
    show("      Leave a white rim of 8 mm where you cut. Then: dexhil real calibrate --config lab.toml --camera front")


def calibrate(
    config: Path,
    camera: CameraName = "front",
    views: int = 15,
    board_at: Annotated[tuple[float, float, float, float] | None, tyro.conf.arg(metavar="X Y Z YAW")] = None,
    move: bool = False,
    new_lens: bool = False,
    square_mm: float | None = None,
    pictures: Path | None = None,
    dry_run: bool = False,
) -> None:
    """Find out where a camera is, and write it into the robot's file.

    Args:
        config: the robot's file.
        camera: ``front`` (board on the hand, or on the table with --board-at) or ``wrist`` (board on the table).
        views: how many poses of the arm.
        board_at: front only, the arm stays out: the board's origin in the base frame [m] and the angle of its x axis to the base's [deg].
        move: the arm goes to the poses by itself, slowly, after a typed yes; otherwise you guide it by hand.
        new_lens: measure the lens again even if the file has it.
        square_mm: edge of a square as it was printed, when the ruler does not measure 100 mm.
        pictures: folder to keep the pictures in.
        dry_run: change nothing in the file.
    """
    options = Options(camera, views, board_at, move, new_lens, None if square_mm is None else square_mm / 1e3, pictures)
    desk = Desk()
    found = run(load_config(config), options, desk)
    if not dry_run:
        save(found, config)
    for line in next_steps(found, config, written=not dry_run):
        desk.say(line)


@dataclass(frozen=True)
class Options:
    """What is to be done; see :func:`calibrate`."""

    camera: CameraName = "front"
    views: int = 15
    board_at: tuple[float, float, float, float] | None = None
    move: bool = False
    new_lens: bool = False
    square_m: float | None = None
    pictures: Path | None = None

    def __post_init__(self) -> None:
        if self.board_at is not None and self.camera == "wrist":
            raise ConfigError("--board-at is for the front camera; for the wrist camera the board may lie anywhere, its place is found")
        if self.board_at is not None and self.move:
            raise ConfigError("--board-at needs no arm; leave --move away")
        if not 8 <= self.views <= 100:
            raise ConfigError(f"--views must lie in 8 to 100; got {self.views}")


def run(config: RealConfig, options: Options, desk: Desk) -> Calibration:
    """Take the pictures and solve; writes nothing but pictures.

    Raises:
        DeviceError: devices fail, or the pictures do not determine the camera.
    """
    on_hand = options.camera == "front" and options.board_at is None
    with ExitStack() as stack:
        eye = desk.open_eye(config, options.camera, stack)
        lens = _lens(config, options, eye, desk)
        target = BOARDS["hand" if on_hand else "table"].measured(options.square_m)
        folder = None if options.pictures is None else options.pictures / options.camera
        collector = Collector(eye, target, desk.ask, desk.say, folder)
        if options.board_at is not None:
            found = solve_table(collector.table(TABLE_VIEWS), lens, board_on_table(options.board_at))
        else:
            found = _with_arm(config, options, collector, desk, desk.open_arm(config, stack), lens)
    desk.say(result_table(found, lens))
    used = len(found.view_rms_px) - len(found.rejected)
    today = datetime.now(UTC).date()
    return Calibration(options.camera, found.pose, lens, found.rms_px, found.error_m, found.error_rad, used, today)


def board_on_table(at: tuple[float, float, float, float]) -> F64:
    """``T_base_board`` (4, 4) of a board that lies on the table, print up: x, y, z of its origin [m], angle of its x axis [deg]."""
    yaw = from_rotvec(np.array([0.0, 0.0, np.radians(at[3])]))
    return from_parts(yaw @ np.diag([1.0, -1.0, -1.0]), np.array(at[:3]))


def _lens(config: RealConfig, options: Options, eye: Eye, desk: Desk) -> Lens:
    stored = read_calibration(config.calibration, options.camera)
    shape = eye.frame().image.shape
    size = (shape[1], shape[0])
    if stored is not None and not options.new_lens and (stored.lens.width, stored.lens.height) == size:
        desk.say(f"lens: taken from the file ({stored.date}); --new-lens measures it again")
        return stored.lens
    table: Board = BOARDS["table"].measured(options.square_m)
    folder = None if options.pictures is None else options.pictures / f"{options.camera}-lens"
    fit = fit_lens(Collector(eye, table, desk.ask, desk.say, folder).lens(LENS_VIEWS), size)
    desk.say(f"lens: fx {fit.lens.fx:.1f} px +- {fit.lens.focal_error:.1%}, error {fit.rms_px:.2f} px, {len(fit.used)} pictures used")
    return fit.lens


def _with_arm(config: RealConfig, options: Options, collector: Collector, desk: Desk, arm: Arm, lens: Lens) -> Solution:
    session = config.session
    kinematics = Kinematics(session.mount_yaw_deg, session.mount_offset_m)
    ik = ArmIK(kinematics.model)
    if options.camera == "front":
        desk.say("Fix the hand board to the hand or the flange, stiffly; where exactly does not matter. It must not slip until the end.")
    else:
        desk.say("Lay the table board flat under the hand; where exactly does not matter. It must not slip until the end.")
    if not options.move:
        return solve_arm(options.camera, collector.guided(arm, ik.forward, options.views), lens)
    desk.ask("Guide the arm: board in the middle of the picture, fingers open, 0.3 m of free space around; then let go. Enter > ")
    q, workspace = arm.state().q, free_space(config.workspace, kinematics)
    if trouble := workspace.trouble(np.concatenate([q, robot.HAND_HOME]), robot.HAND_HOME):
        raise DeviceError(f"the arm may not begin here: {trouble}; guide it into the workspace, away from the ends of its joints")
    poses = poses_around(options.camera, q, robot.HAND_HOME, ik, workspace)[: options.views]
    if len(poses) < 8:
        raise DeviceError(
            f"only {len(poses)} poses around this one lie inside the workspace (8 are needed); begin higher and further from its edge"
        )
    text = f"The arm will now go to {len(poses)} poses around this one by itself, slowly. Hand on the user stop. Type yes to begin > "
    if desk.ask(text).strip().lower() != "yes":
        raise DeviceError("not begun: no 'yes' was typed")
    arm.recover()
    return solve_arm(options.camera, collector.driven(arm, ik.forward, poses, SPEED), lens)
