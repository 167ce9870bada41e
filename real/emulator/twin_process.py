"""An emulated robot with a task of the twin in a process of its own, at addresses that nobody else uses."""

import contextlib
import json
import os
import pickle
import random
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import weakref
from dataclasses import replace
from types import TracebackType

from dexhil_env.errors import DeviceError, DeviceTimeout
from real.emulator.control_line import ControlLine
from real.emulator.control_messages import unpack_error
from real.emulator.emulator_config import PATH_MAX, EmulatorConfig
from real.emulator.fci_wire import PORT

START_TIMEOUT_S = 90.0
END_TIMEOUT_S = 5.0


class TwinProcess:
    """Context manager that runs an emulated robot beside this program; it dies with this program, however that dies.

    Args:
        config: what it is, or the name of its task. Free addresses and a private folder for the sockets are found where it has none.

    Attributes:
        config: the same with every address filled in.
        line: the control line.

    Raises:
        ConfigError: the config makes no sense.
        DeviceError: an address is taken.
        DeviceTimeout: the robot did not start in time.
        RenderError: its cameras need OpenGL, which does not work here.
    """

    def __init__(self, config: EmulatorConfig | str | None = None) -> None:
        wanted = EmulatorConfig(config) if isinstance(config, str) else config or EmulatorConfig()
        self._folder = _private_folder()
        address = wanted.address or free_address()
        can_path = wanted.can_path or os.path.join(self._folder, "can")
        self.config = replace(
            wanted, address=address, can_path=can_path, control_path=wanted.control_path or os.path.join(self._folder, "control")
        )
        self._process = _spawn(self.config, self._folder)
        self._finalizer = weakref.finalize(self, _end, self._process, self._folder)
        try:
            self.config = replace(self.config, camera_port=self._ready())
            self.line = ControlLine(self.config.control_path)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the robot's process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """The robot runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the robot; safe to call twice."""
        line = getattr(self, "line", None)
        if line is not None:
            line.close()
        self._finalizer()

    def _ready(self) -> int:
        """Wait until it serves, and return the port of its cameras."""
        assert self._process.stdout is not None
        with self._process.stdout as report:
            if not select.select([report], [], [], START_TIMEOUT_S)[0]:
                raise DeviceTimeout(f"the emulated robot did not start within {START_TIMEOUT_S:g} s; is the machine very busy?")
            line = report.readline()
        if not line:
            raise DeviceError("the emulated robot died while it started; see its messages above")
        answer = json.loads(line)
        if "error" in answer:
            raise unpack_error(answer)
        return int(answer["camera_port"])

    def __enter__(self) -> "TwinProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def free_address() -> str:
    """Return a loopback address on which no arm listens.

    libfranka has no option for the port, so every emulated arm needs an address of its own; Linux answers to all of 127.0.0.0/8.
    """
    for _ in range(100):
        address = f"127.{random.randint(16, 63)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
            probe.bind((address, PORT))
            return address
    raise DeviceError("no free loopback address was found; set EmulatorConfig.address to one (127.0.0.1 everywhere but on Linux)")


def _private_folder() -> str:
    folder = tempfile.mkdtemp(prefix="dexhil-")
    if len(os.path.join(folder, "control")) > PATH_MAX:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="dexhil-", dir="/tmp")
    return folder


def _spawn(config: EmulatorConfig, folder: str) -> "subprocess.Popen[bytes]":
    # not multiprocessing: that imports the caller's script anew, and refuses to work in the workers of a vector environment
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "real.emulator.twin_main"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(pickle.dumps((os.getpid(), folder, config)))
    return process


def _end(process: "subprocess.Popen[bytes]", folder: str) -> None:
    process.terminate()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
    shutil.rmtree(folder, ignore_errors=True)
