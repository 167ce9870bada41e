"""An emulated arm in a process of its own, with a line to its faults: for tests, and to try programs without a robot."""

import gc
import multiprocessing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import DeviceError, DeviceTimeout
from dexhil_env.types import F64
from real.emulator.fci import FciServer
from real.emulator.fci_config import FciConfig

START_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ArmStatus:
    """What the emulated arm knows of itself.

    Attributes:
        time_ms: robot time [ms].
        mode: robot mode by name.
        q: (7,) [rad].
        load_mass: announced with SetLoad [kg].
        cycles_late: cycles that began more than 5 ms late.
        worst: largest magnitudes by name, SI units; ``ratios``: their shares of the limits.
        events: (robot time [ms], what happened).
    """

    time_ms: int
    mode: str
    q: F64
    load_mass: float
    cycles_late: int
    worst: dict[str, float] = field(default_factory=dict[str, float])
    ratios: dict[str, float] = field(default_factory=dict[str, float])
    events: tuple[tuple[int, str], ...] = ()


class ArmControl:
    """Executes what comes over the line; call :meth:`poll` once per cycle."""

    def __init__(self, server: FciServer, line: Connection) -> None:
        self._server, self._line = server, line
        self.running = True

    def poll(self) -> bool:
        """Handle a waiting request; returns whether to go on."""
        if self._line.poll(0):
            try:
                name, arguments = self._line.recv()
                self._line.send(getattr(self, f"do_{name}")(*arguments))
            except (EOFError, OSError):
                self.running = False
        return self.running

    def do_close(self) -> None:
        """End the server."""
        self.running = False

    def do_reflex(self, bit: int) -> None:
        """Raise an error bit."""
        self._server.box.reflex(bit)

    def do_user_stop(self, pressed: bool) -> None:
        """Press or release the user stop."""
        self._server.box.user_stop(pressed)

    def do_freeze(self, seconds: float) -> None:
        """Stand still."""
        self._server.freeze(seconds)

    def do_line(self, loss: float, delay_s: float) -> None:
        """Set packet loss and delay."""
        self._server.faults.loss, self._server.faults.delay_s = loss, delay_s

    def do_push(self, torque: F64) -> None:
        """Push with joint torques."""
        self._server.box.body.push(torque)

    def do_status(self) -> ArmStatus:
        """Read everything."""
        box = self._server.box
        worst, q = box.check.worst, box.body.read().q
        events = tuple(box.events)
        return ArmStatus(box.time_ms, box.mode.name, q, box.load_mass, self._server.cycles_late, worst.values, worst.ratios, events)


def _main(config: FciConfig, q: F64, line: Connection) -> None:
    from real.emulator.arm_body import MujocoArm

    try:
        server = FciServer(MujocoArm(q), config)
    except DeviceError as error:
        line.send(str(error))
        return
    control = ArmControl(server, line)
    gc.freeze()
    gc.disable()
    line.send(None)
    try:
        server.serve(control.poll)
    finally:
        server.close()


class ArmProcess:
    """Context manager that runs an emulated arm beside this program.

    Args:
        config: network behaviour.
        q: (7,) pose at the start [rad].

    Raises:
        DeviceError: the address is taken. DeviceTimeout: the process did not start.
    """

    def __init__(self, config: FciConfig | None = None, q: F64 = robot.ARM_HOME) -> None:
        self.config = config or FciConfig()
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self.process = context.Process(target=_main, args=(self.config, np.array(q), theirs), daemon=True)
        self.process.start()
        theirs.close()
        self._expect(START_TIMEOUT_S)

    def reflex(self, bit: int) -> None:
        """Stop the arm with an error bit (``fci_wire.ErrorBit``)."""
        self._ask("reflex", bit)

    def user_stop(self, pressed: bool) -> None:
        """Press or release the user stop."""
        self._ask("user_stop", pressed)

    def freeze(self, seconds: float) -> None:
        """Let the control box stand still [s]."""
        self._ask("freeze", seconds)

    def line(self, loss: float = 0.0, delay_s: float = 0.0) -> None:
        """Lose this share of the packets each way, delay states by this much [s]; no argument mends the line."""
        self._ask("line", loss, delay_s)

    def push(self, torque: F64) -> None:
        """Push with joint torques (7,) [Nm] until told otherwise."""
        self._ask("push", torque)

    def status(self) -> ArmStatus:
        """Read everything."""
        return self._ask("status")

    def close(self) -> None:
        """End the process; safe to call twice."""
        if self.process.is_alive():
            try:
                self._ask("close")
                self.process.join(2.0)
            except (DeviceError, DeviceTimeout, OSError):
                pass
        if self.process.is_alive():
            self.process.kill()
        self.process.join()

    def _ask(self, name: str, *arguments: Any) -> Any:
        self._line.send((name, arguments))
        return self._expect(ANSWER_TIMEOUT_S, name)

    def _expect(self, timeout_s: float, name: str = "start") -> Any:
        if not self._line.poll(timeout_s):
            raise DeviceTimeout(f"the emulated arm on {self.config.address} did not answer {name!r} within {timeout_s:g} s; is it frozen?")
        try:
            answer = self._line.recv()
        except EOFError as error:
            raise DeviceError(f"the emulated arm on {self.config.address} has died; see its messages above") from error
        if isinstance(answer, str):
            raise DeviceError(answer)
        return answer

    def __enter__(self) -> "ArmProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
