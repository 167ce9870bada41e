"""``dexhil real check`` and ``dexhil real home``: is this robot ready, and bring it home."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dexhil_env.errors import DeviceError
from real import check_moves, checks
from real.checks import Row, attempt
from real.config import RealConfig, load_config
from real.dexhand import DexHand
from real.fr3 import FR3
from real.tasks import ask_on_terminal

_COLOUR = {"OK": "green", "WARN": "yellow", "FAIL": "bold red"}


def check(config: Path, move: bool = False, pictures: Path = Path()) -> None:
    """Check a robot: computer, arm, hand, cameras. Nothing moves without --move; exits with 1 when something has to be mended.

    Args:
        config: settings of the robot (assets/real/lab.toml is an example).
        move: afterwards move every joint and motor a little at 5 % speed; asks before it does.
        pictures: folder for a picture of every camera.
    """
    console = Console()
    settings = load_config(config)
    arm, hand = FR3(settings.arm), DexHand(settings.hand)
    try:
        rows = look(settings, arm, hand, pictures)
        console.print(as_table(rows))
        if move and all(row.verdict != "FAIL" for row in rows):
            rows += _move(console, settings, arm, hand)
        elif move:
            console.print("Nothing was moved: mend what has failed first.")
    finally:
        hand.close()
        arm.close()
    console.print(summary(rows, config, move), markup=False)
    if any(row.verdict == "FAIL" for row in rows):
        raise SystemExit(1)


def look(settings: RealConfig, arm: FR3, hand: DexHand, pictures: Path) -> list[Row]:
    """Do every check that only reads; one that fails does not keep the others from being done."""
    rows = attempt("computer", checks.check_computer)
    rows += attempt("arm", lambda: checks.check_arm(arm, settings))
    rows += attempt("hand", lambda: checks.check_hand(hand, settings))
    for camera in settings.cameras:
        rows += attempt(f"camera {camera.name}", lambda name=camera.name: checks.check_camera(name, settings, pictures))
    if missing := {"front", "wrist"} - {camera.name for camera in settings.cameras}:
        rows.append(Row("cameras", "WARN", f"no {', '.join(sorted(missing))}", "front, wrist", "add [[cameras]] to the settings"))
    return rows


def _move(console: Console, settings: RealConfig, arm: FR3, hand: DexHand) -> list[Row]:
    answer = ask_on_terminal("Now every joint moves a little, slowly. Is the space free, and your hand at the user stop? Type yes: ")
    if answer.strip().lower() != "yes":
        console.print("Nothing was moved.")
        return []
    rows = attempt("move: arm", lambda: check_moves.move_arm(arm, hand, settings))
    rows += attempt("move: hand", lambda: check_moves.move_hand(hand))
    console.print(as_table(rows))
    return rows


def as_table(rows: Iterable[Row]) -> Table:
    """Lay findings out for a person."""
    table = Table("check", "verdict", "found", "allowed", "what to do")
    for row in rows:
        what, found, allowed, advice = (escape(text) for text in (row.what, row.found, row.allowed, row.advice))
        table.add_row(what, f"[{_COLOUR[row.verdict]}]{row.verdict}[/]", found, allowed, advice)
    return table


def summary(rows: list[Row], config: Path, moved: bool) -> str:
    """Say in one line how it stands and what to do next."""
    failed, warned = (sum(row.verdict == verdict for row in rows) for verdict in ("FAIL", "WARN"))
    if failed:
        return f"{failed} to mend, {warned} to look at; then check again."
    then = f"next: dexhil real home --config {config}" if moved else f"next: dexhil real check --config {config} --move"
    return f"Ready ({warned} to look at); {then}"


def home(config: Path, yes: bool = False) -> None:
    """Clear errors and bring arm and hand home, slowly.

    Args:
        config: settings of the robot.
        yes: do not ask.
    """
    from real.backend import RealBackend

    settings = load_config(config)
    console = Console()
    question = "Arm and hand will move home. Is the space free, and your hand at the user stop? Type yes: "
    if not yes and ask_on_terminal(question).strip().lower() != "yes":
        console.print("Nothing was moved.")
        return
    backend = RealBackend(settings)
    try:
        backend.recover()
        backend.reset(np.random.default_rng())
        state = backend.arm.state()
    finally:
        backend.close()
    if state.mode != "Idle":
        raise DeviceError(f"the arm came home but is in mode {state.mode}; look at Franka Desk")
    console.print("The robot is at home.")
