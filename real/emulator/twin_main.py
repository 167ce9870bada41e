"""Program of an emulated robot's process: config in on stdin, one line of JSON out when it serves. Started by ``twin_process``."""

import json
import logging
import os
import pickle
import shutil
import signal
import sys
from typing import TextIO

from dexhil_env.clock import be_punctual
from dexhil_env.errors import DexHiLError
from real.emulator.control_messages import pack_error

_SWITCH_S = 1e-3
"""One cycle of the arm [s]."""


def main() -> None:
    """Run the robot until it is told to end, gets SIGTERM, or loses the program that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that drives the robot; it ends the robot last
    logging.basicConfig(level=logging.WARNING, format="emulated robot: %(message)s")
    parent, folder, config = pickle.load(sys.stdin.buffer)
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    from real.emulator.twin_robot import TwinRobot

    try:
        robot = TwinRobot(config)
    except DexHiLError as error:
        _tell(report, pack_error(error))
        return
    with robot:
        signal.signal(signal.SIGTERM, lambda _number, _frame: robot.end())
        be_punctual(_SWITCH_S)
        _tell(report, {"camera_port": robot.config.camera_port})
        robot.serve(lambda: os.getppid() == parent)
    shutil.rmtree(folder, ignore_errors=True)  # nobody else does it when the parent was killed


def _tell(report: TextIO, message: dict[str, object]) -> None:
    report.write(json.dumps(message) + "\n")
    report.close()


if __name__ == "__main__":
    main()
