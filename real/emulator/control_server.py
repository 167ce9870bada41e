"""The control line of an emulated robot, robot's end: one thread per caller; the work itself is done between two cycles of the robot."""

import contextlib
import os
import socket
import stat
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from dexhil_env.errors import ConfigError, DeviceError
from real.emulator.control_messages import MAX_BYTES, decode, encode, pack_error

Handlers = Mapping[str, Callable[..., dict[str, Any] | None]]


class ControlServer:
    """Listens on a Unix socket that only this user can open.

    Args:
        path: of the socket. One that a killed robot left behind is removed.
        handlers: what each verb does; called by :meth:`work`.

    Raises:
        DeviceError: another robot listens there.
    """

    def __init__(self, path: str, handlers: Handlers) -> None:
        self.path, self._handlers = path, handlers
        self._waiting: deque[tuple[str, dict[str, Any], Future[dict[str, Any] | None]]] = deque()
        self._ending = False
        remove_stale_socket(path)
        try:
            self._listener = Listener(path, "AF_UNIX", backlog=8)
        except OSError as error:
            raise DeviceError(
                f"the control line cannot listen at {path} ({error.strerror}); end the robot that uses this path, or choose another"
            ) from error
        os.chmod(path, 0o600)
        threading.Thread(target=self._accept, name="control-line", daemon=True).start()

    def work(self) -> None:
        """Do what was asked for since the last call; on the robot's thread."""
        while self._waiting:
            verb, arguments, answer = self._waiting.popleft()
            try:
                answer.set_result(self._handlers[verb](**arguments))
            except Exception as error:  # noqa: BLE001  (it is told to the caller, who can do something about it; the robot lives on)
                answer.set_exception(error)

    def close(self) -> None:
        """Stop listening; safe to call twice."""
        if not self._ending:
            self._ending = True
            with contextlib.suppress(OSError, EOFError):
                Client(self.path, "AF_UNIX").close()  # closing alone would leave the thread waiting for a caller
            self._listener.close()

    def _accept(self) -> None:
        while not self._ending:
            try:
                line = self._listener.accept()
            except OSError:
                continue
            threading.Thread(target=self._converse, args=(line,), name="control-caller", daemon=True).start()

    def _converse(self, line: Connection) -> None:
        with contextlib.suppress(EOFError, OSError), line:
            while True:
                line.send_bytes(encode(self._answer(line.recv_bytes(MAX_BYTES))))

    def _answer(self, data: bytes) -> dict[str, Any]:
        try:
            message = decode(data)
            verb, arguments = str(message.get("verb")), message.get("arguments", {})
            if verb not in self._handlers:
                raise ConfigError(f"the control line does not know {verb!r}; it knows {sorted(self._handlers)}")
            answer: Future[dict[str, Any] | None] = Future()
            self._waiting.append((verb, arguments, answer))
            return {"answer": answer.result()}
        except Exception as error:  # noqa: BLE001  (see work)
            return pack_error(error)


def remove_stale_socket(path: str) -> None:
    """Remove a Unix socket at which nobody listens any more; whatever else stands there stays."""
    if not os.path.exists(path) or not stat.S_ISSOCK(os.stat(path).st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            pass  # somebody lives there: binding says so
