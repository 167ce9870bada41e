"""The control line of an emulated robot, client's end: lay and judge the task's scene, and break things on purpose.

A real robot has no such line: what stands here is what a person does in the lab.
"""

import contextlib
import threading
from multiprocessing.connection import Client
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dexhil_env.errors import DeviceError, DeviceTimeout
from real.emulator.control_messages import (
    MAX_BYTES,
    Judgement,
    TwinDescription,
    TwinStatus,
    decode,
    encode,
    unpack_description,
    unpack_error,
    unpack_judgement,
    unpack_status,
)

ANSWER_TIMEOUT_S = 20.0


class ControlLine:
    """A line to an emulated robot. May be used from several threads; every call waits for its answer.

    Args:
        path: socket of the line.
        timeout_s: how long an answer may take [s].

    Raises:
        DeviceError: nobody listens there.
    """

    def __init__(self, path: str | Path, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self.path, self._timeout_s = str(path), timeout_s
        self._lock = threading.Lock()
        try:
            self._line: Any = Client(self.path, "AF_UNIX")
        except OSError as error:
            raise DeviceError(
                f"no emulated robot listens at {self.path} ({error.strerror}); start one with: dexhil real emulate"
            ) from error

    # ---- the scene ---------------------------------------------------------------------------------------------------------------

    def lay(self, rng_state: dict[str, Any], options: dict[str, Any] | None = None) -> dict[str, Any]:
        """Lay the task's scene as a reset of the simulated environment does; the arm must be at home, the hand open.

        Args:
            rng_state: ``rng.bit_generator.state``; the same state lays the same scene as in simulation.
            options: of the task's reset, such as ``toy_pose``.

        Returns:
            The state of the generator afterwards; hand it back to ``rng.bit_generator.state``.

        Raises:
            DeviceError: arm or hand are not at home.
        """
        return self._ask("lay", rng_state=rng_state, options=options or {})["rng_state"]

    def judge(self) -> Judgement:
        """Let the task judge the scene; once per control period, because it counts how long success lasts."""
        return unpack_judgement(self._ask("judge"))

    def peek(self) -> Judgement:
        """Look at the scene without counting: the last judgement with the newest physics."""
        return unpack_judgement(self._ask("peek"))

    def describe(self) -> TwinDescription:
        """Say what runs there, and where."""
        return unpack_description(self._ask("describe"))

    def status(self) -> TwinStatus:
        """Say how it is."""
        return unpack_status(self._ask("status"))

    # ---- faults of the arm -------------------------------------------------------------------------------------------------------

    def reflex(self, bit: int) -> None:
        """Stop the arm with an error bit (``fci_wire.ErrorBit``)."""
        self._ask("reflex", bit=int(bit))

    def user_stop(self, pressed: bool) -> None:
        """Press or release the arm's user stop."""
        self._ask("user_stop", pressed=bool(pressed))

    def freeze(self, seconds: float) -> None:
        """Let the arm's control box stand still [s]; hand and cameras go on."""
        self._ask("freeze", seconds=float(seconds))

    def line(self, loss: float = 0.0, delay_s: float = 0.0) -> None:
        """Lose this share of the arm's packets each way, delay its states by this much [s]; no argument mends the line."""
        self._ask("line", loss=float(loss), delay_s=float(delay_s))

    def push(self, torque: ArrayLike) -> None:
        """Push the arm with joint torques (7,) [Nm] until told otherwise; zeros end it."""
        self._ask("push", torque=np.asarray(torque, dtype=float))

    # ---- faults of the hand ------------------------------------------------------------------------------------------------------

    def bus_off(self, off: bool = True) -> None:
        """Let the hand's bus break down, or come back."""
        self._ask("bus_off", off=bool(off))

    def mute(self, board: int | str, muted: bool = True) -> None:
        """Let a board of the hand (0 to 5, or ``thumb``, ``palm``, ``index``, ...) say and hear nothing."""
        self._ask("mute", board=board, muted=bool(muted))

    def block(self, motor: str, angle: float | None) -> None:
        """Keep a motor (``robot.HAND_MOTORS``) from closing beyond ``angle`` [rad]; None frees it."""
        self._ask("block", motor=motor, angle=None if angle is None else float(angle))

    def heat(self, finger: int | str, temperature_c: float) -> None:
        """Heat a fingertip (0 to 4, or ``thumb``, ``index``, ...) [deg C]; 30 is normal."""
        self._ask("heat", finger=finger, temperature_c=float(temperature_c))

    # ---- other faults ------------------------------------------------------------------------------------------------------------

    def camera(
        self,
        name: str,
        freeze: bool | None = None,
        drop: float | None = None,
        delay_s: float | None = None,
        corrupt: bool | None = None,
    ) -> None:
        """Break a camera's stream; what is None stays as it is.

        Args:
            name: of the camera.
            freeze: send the same picture again and again.
            drop: share of the pictures that are not sent.
            delay_s: send pictures so late, on top of ``RealityConfig.camera_delay_s`` [s].
            corrupt: spoil the JPEG data.
        """
        self._ask("camera", name=name, freeze=freeze, drop=drop, delay_s=delay_s, corrupt=corrupt)

    def mend(self) -> None:
        """End every fault that this line can make; a reflex and a stopped board wait for the driver's recovery."""
        self._ask("mend")

    def kill(self) -> None:
        """Kill the robot's process at once, as a power cut does."""
        with contextlib.suppress(DeviceError):
            self._ask("kill")
        self.close()

    def end(self) -> None:
        """End the robot's process in order."""
        with contextlib.suppress(DeviceError):
            self._ask("end")
        self.close()

    def close(self) -> None:
        """Hang up; the robot lives on. Safe to call twice."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        with self._lock:
            if self._line is None:
                raise DeviceError(f"the control line at {self.path} is closed")
            try:
                self._line.send_bytes(encode({"verb": verb, "arguments": arguments}))
                if not self._line.poll(self._timeout_s):
                    self.close()  # a late answer must not be taken for the next one
                    raise DeviceTimeout(f"the emulated robot at {self.path} did not answer {verb!r} within {self._timeout_s:g} s")
                answer = decode(self._line.recv_bytes(MAX_BYTES))
            except (EOFError, OSError) as error:
                if isinstance(error, DeviceTimeout):
                    raise
                self.close()
                raise DeviceError(f"the emulated robot at {self.path} is gone ({verb!r} was not answered)") from error
        if "error" in answer:
            raise unpack_error(answer)
        return answer["answer"]

    def __enter__(self) -> "ControlLine":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
