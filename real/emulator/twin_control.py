"""What the verbs of an emulated robot's control line do."""

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dexhil_env.errors import ConfigError
from dexhil_env.types import F64
from real import dexhand_protocol
from real.emulator import fci_wire

if TYPE_CHECKING:
    from real.emulator.twin_robot import TwinRobot

_NORMAL_TEMPERATURE_C = 30.0
_LAST_EVENTS = 100


class TwinControl:
    """Verbs of one robot; a method ``do_x`` is the verb ``x``. All run on the robot's thread."""

    def __init__(self, robot: "TwinRobot") -> None:
        self._robot = robot

    def handlers(self) -> dict[str, Callable[..., dict[str, Any] | None]]:
        """Return what each verb does."""
        own = {name.removeprefix("do_"): getattr(self, name) for name in dir(self) if name.startswith("do_")}
        referee = self._robot.referee
        return {**own, "lay": referee.lay, "judge": referee.judge, "peek": referee.peek}

    def do_describe(self) -> dict[str, Any]:
        """Say what this is."""
        config, task = self._robot.config, self._robot.referee.backend.task
        return {
            "task": config.task,
            "task_options": config.task_options,
            "instruction": task.instruction,
            "metric_names": task.metric_names,
            "address": config.address,
            "can_path": config.can_path,
            "control_path": config.control_path,
            "cameras": {name: config.camera_url(name) for name in config.cameras},
            "image_size": config.image_size,
            "fps": config.fps,
            "pace": config.pace,
            "pid": os.getpid(),
        }

    def do_status(self) -> dict[str, Any]:
        """Say how it is."""
        robot, box = self._robot, self._robot.server.box
        stopped = [name for name, board in zip(dexhand_protocol.BOARDS, robot.boards.boards, strict=True) if any(board.errors)]
        return {
            "time_s": box.time_ms * 1e-3,
            "scene_time_s": float(robot.referee.backend.data.time),
            "laid": robot.referee.laid,
            "mode": box.mode.name,
            "errors": [fci_wire.ERROR_NAMES[bit] for bit in sorted(box.errors)],
            "q": robot.arm.joint_pos,
            "hand": robot.hand.read().motor_pos,
            "twin_lag": robot.referee.lag,
            "rtf": robot.rtf,
            "cycles_late": robot.server.cycles_late,
            "cpu_s": time.process_time(),
            "board_errors": stopped,
            "scene_error": robot.referee.scene.problem,
            "camera_error": robot.cameras.problem if robot.cameras else "",
            "worst": box.check.worst.values,
            "ratios": box.check.worst.ratios,
            "events": list(box.events)[-_LAST_EVENTS:],
        }

    def do_reflex(self, bit: int) -> None:
        """Raise an error bit."""
        if not 0 <= bit < len(fci_wire.ERROR_NAMES):
            raise ConfigError(f"an error bit lies in 0 to {len(fci_wire.ERROR_NAMES) - 1}; got {bit}")
        self._robot.server.box.reflex(bit)

    def do_user_stop(self, pressed: bool) -> None:
        """Press or release the user stop."""
        self._robot.server.box.user_stop(pressed)

    def do_freeze(self, seconds: float) -> None:
        """Let the control box stand still."""
        self._robot.server.freeze(seconds)

    def do_line(self, loss: float, delay_s: float) -> None:
        """Set packet loss and delay."""
        if not 0.0 <= loss <= 1.0 or not 0.0 <= delay_s <= 10.0:
            raise ConfigError(f"loss must lie in [0, 1] and delay_s in [0, 10] s; got {loss}, {delay_s}")
        self._robot.server.faults.loss, self._robot.server.faults.delay_s = loss, delay_s

    def do_push(self, torque: F64) -> None:
        """Push with joint torques."""
        torque = np.asarray(torque, dtype=float)
        if torque.shape != (7,) or not np.isfinite(torque).all():
            raise ConfigError(f"a push is 7 finite joint torques [Nm]; got {torque.tolist()}")
        self._robot.arm.push(torque)

    def do_bus_off(self, off: bool) -> None:
        """Break or mend the hand's bus."""
        if off:
            self._robot.boards.bus_off(self._robot.bus)
        self._robot.boards.faults.silent = off

    def do_mute(self, board: int | str, muted: bool) -> None:
        """Silence a board."""
        index = _index(board, dexhand_protocol.BOARDS, "board")
        (self._robot.boards.faults.muted.add if muted else self._robot.boards.faults.muted.discard)(index)

    def do_block(self, motor: str, angle: float | None) -> None:
        """Block a motor."""
        self._robot.hand.block(motor, angle)

    def do_heat(self, finger: int | str, temperature_c: float) -> None:
        """Heat a fingertip."""
        fingers = tuple(dexhand_protocol.BOARDS[board] for board in dexhand_protocol.FINGER_BOARDS)
        self._robot.boards.faults.temperature_c[_index(finger, fingers, "finger")] = temperature_c

    def do_camera(self, name: str, **faults: Any) -> None:
        """Break a stream."""
        if self._robot.cameras is None:
            raise ConfigError("this robot was started without cameras")
        self._robot.cameras.fault(name, **faults)

    def do_mend(self) -> None:
        """End every fault."""
        robot, faults = self._robot, self._robot.boards.faults
        robot.server.box.user_stop(False)
        robot.server.freeze(0.0)
        self.do_line(0.0, 0.0)
        robot.arm.push(np.zeros(7))
        faults.silent = False
        faults.muted.clear()
        faults.temperature_c[:] = _NORMAL_TEMPERATURE_C
        robot.hand.free()
        if robot.cameras:
            robot.cameras.mend()

    def do_kill(self) -> None:
        """Die."""
        os.kill(os.getpid(), signal.SIGKILL)

    def do_end(self) -> None:
        """End in order."""
        self._robot.end()


def _index(which: int | str, names: tuple[str, ...], kind: str) -> int:
    if isinstance(which, str) and which in names:
        return names.index(which)
    if isinstance(which, int) and 0 <= which < len(names):
        return which
    raise ConfigError(f"a {kind} is one of {names} or its index; got {which!r}")
