"""``dexhil real ...``: the verbs of the hardware link."""

from collections.abc import Callable
from typing import Any

from real.calibrate.cli import board, calibrate
from real.check import check, home
from real.emulator.cli import emulate
from real.sysid.cli import gap, identify, record

COMMANDS: dict[str, Callable[..., Any]] = {
    "emulate": emulate,
    "check": check,
    "home": home,
    "calibrate": calibrate,
    "board": board,
    "record": record,
    "identify": identify,
    "gap": gap,
}
