"""``dexhil real emulate``: a robot to try everything with before there is one."""

import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from dexhil_env.errors import DeviceError
from real.emulator.control_messages import TwinStatus
from real.emulator.emulator_config import EmulatorConfig, RealityConfig
from real.emulator.twin_process import TwinProcess

_LIVE_S = 1.0
_LOG_S = 10.0
"""Period of the state line [s]: on a terminal, and in a file."""


def emulate(
    task: Literal["plush", "tissue"] = "plush",
    pace: float = 1.0,
    write_config: Path | None = None,
    address: str = "",
    image_size: int = 128,
    hand_stall_s: float = 3.0,
    randomise_visuals: bool = False,
    reality: RealityConfig = RealityConfig(),
    seed: int = 0,
) -> None:
    """Run an emulated robot until Ctrl-C: FR3 arm, DexHand021 and cameras speak their true protocols, the task's twin is behind them.

    Args:
        task: what lies on the table.
        pace: robot seconds per second of wall time, at most 1; lower it when the state line says that the machine cannot keep up.
        write_config: write the settings file of this robot there, for ``dexhil real check --config`` and ``gym.make(ID, config=...)``.
        address: loopback address of the arm; by default a free one.
        image_size: side of the square pictures [px].
        hand_stall_s: time at full torque without motion after which a finger's board stops [s].
        randomise_visuals: vary lights, colours and cameras between scenes.
        reality: how the robot differs from the twin, for studies of the way from simulation to a robot.
        seed: of noise and packet loss.
    """
    config = EmulatorConfig(
        task,
        address=address,
        image_size=image_size,
        pace=pace,
        hand_stall_s=hand_stall_s,
        randomise_visuals=randomise_visuals,
        reality=reality,
        seed=seed,
    )
    with _asked_to_stop() as stop, TwinProcess(config) as twin:
        if write_config is not None:
            _write(twin.config, write_config)
        print(_introduction(twin.config, write_config), flush=True)
        _watch(twin, stop)
    print("\nthe emulated robot has ended")


def _write(config: EmulatorConfig, path: Path) -> None:
    from real.config import write_config
    from real.emulated import emulated_config

    write_config(emulated_config(config), path)


def _introduction(config: EmulatorConfig, written: Path | None) -> str:
    env_id = f"DexHiL-{config.task.capitalize()}Real-v0"
    lines = [
        f"An emulated FR3 with DexHand021 and the {config.task} task is running.",
        f"  arm           {config.address} (FCI)",
        f"  hand          {config.can_path} (CAN bus, interface dexhil-unix)",
        *(f"  camera {name:6} {config.camera_url(name)} (open it in a browser)" for name in config.cameras),
        f"  control line  {config.control_path}",
        "",
    ]
    if written is None:
        lines += ["Next: start it with --write-config FILE, and use that file as you would use a lab's:"]
    file = written or "FILE"
    lines += [
        f"  dexhil real check --config {file}",
        f'  gym.make("{env_id}", config="{file}")',
        "Break it:",
        f'  python -c "from real.emulator.control_line import ControlLine as L; L({config.control_path!r}).user_stop(True)"',
        "",
    ]
    return "\n".join(lines)


def _watch(twin: TwinProcess, stop: threading.Event) -> None:
    """Print the state until somebody wants to stop."""
    live = sys.stdout.isatty()
    due_s = time.monotonic()
    while not stop.wait(0.1):
        if not twin.alive:
            raise DeviceError("the emulated robot has died; see its messages above")
        if time.monotonic() >= due_s:
            due_s = time.monotonic() + (_LIVE_S if live else _LOG_S)
            print(_state_line(twin.line.status(), twin.config.pace), end="\r" if live else "\n", flush=True)


def _state_line(status: TwinStatus, pace: float) -> str:
    slow = "  (the machine cannot keep up: lower --pace)" if 0 < status.rtf < 0.8 * pace else ""
    wrong = [*status.errors, *(f"hand board {name} stopped" for name in status.board_errors), status.scene_error, status.camera_error]
    problems = "  " + "; ".join(text for text in wrong if text) if any(wrong) else ""
    return f"robot time {status.time_s:8.1f} s   arm {status.mode:12}   real-time factor {status.rtf:4.2f}{slow}{problems}   "


@contextmanager
def _asked_to_stop() -> Generator[threading.Event]:
    """An event that SIGINT and SIGTERM set."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda _number, _frame: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
