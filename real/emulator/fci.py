"""The network side of an emulated FR3: TCP requests, UDP states and commands at 1 kHz, and faults on the line.

A server listens on a loopback address of its own (libfranka has no option for the port), so many can live on one machine. It is single
threaded: call :meth:`FciServer.serve`, or :meth:`FciServer.tick` from a loop that also keeps other devices alive.
"""

import contextlib
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dexhil_env.errors import DeviceError
from real.emulator import fci_wire as wire
from real.emulator.arm_body import ArmBody
from real.emulator.fci_box import ControlBox
from real.emulator.fci_config import FciConfig, LineFaults
from real.emulator.fci_wire import Command
from real.emulator.fr3_limits import PERIOD_S

_SHORTEST_CYCLE_S: Final = 0.0004
"""While an impatient server makes up for a delay, a client still gets this long to answer [s]; a patient one waits for it anyway."""


class FciServer:
    """An FR3 on the network.

    Args:
        body: the arm behind it.
        config: network behaviour.

    Raises:
        DeviceError: the address is taken or does not exist.
    """

    def __init__(self, body: ArmBody, config: FciConfig | None = None) -> None:
        self.config = config or FciConfig()
        self.box = ControlBox(body, self.config.enforce)
        self.faults = LineFaults()
        self.cycles_late = 0
        self._rng = np.random.default_rng(self.config.seed)
        self._listener = _listen(self.config.address)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((self.config.address, 0))
        self._udp.setblocking(False)
        self._client: socket.socket | None = None
        self._target: tuple[str, int] | None = None
        self._received = b""
        self._on_the_way: deque[tuple[float, bytes]] = deque()
        self._reached_client = False
        self._deadline = 0.0
        self._frozen_until = 0.0

    def freeze(self, seconds: float) -> None:
        """Let the whole control box stand still for a while: no states, no answers, no robot time."""
        self._frozen_until = time.monotonic() + seconds

    def tick(self) -> None:
        """Answer requests and live one millisecond of robot time."""
        if time.monotonic() < self._frozen_until:
            return
        self._serve_tcp()
        state, replies = self.box.tick(self._command())
        self._send_state(state)
        for reply in replies:
            self._reply(reply)

    def serve(self, keep_going: Callable[[], bool] = lambda: True) -> None:
        """Tick on absolute deadlines until ``keep_going`` says no."""
        if self.config.realtime:
            with contextlib.suppress(PermissionError):
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(40))
        while keep_going():
            self.tick()
            self.wait()

    def wait(self) -> None:
        """Sleep until the next cycle is due; a long delay is forgotten, never made up for in a long burst."""
        now = time.monotonic()
        self._deadline += PERIOD_S / self.config.pace
        if now - self._deadline > self.config.catch_up_s:
            self.cycles_late += 1
            self._deadline = now + PERIOD_S
        time.sleep(max(self._deadline - now, 0.0 if self.config.patience_s > 0 else _SHORTEST_CYCLE_S))

    def close(self) -> None:
        """Leave the network; safe to call twice."""
        for each in (self._client, self._udp, self._listener):
            if each is not None:
                each.close()
        self._client = None

    def _serve_tcp(self) -> None:
        self._receive()
        self._accept()  # after the old client's end was seen: the next one may follow within the same millisecond

    def _receive(self) -> None:
        if self._client is None:
            return
        try:
            data = self._client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop_client()
            return
        self._received += data
        while len(self._received) >= wire.HEADER.size:
            command, number, size = wire.HEADER.unpack_from(self._received)
            if len(self._received) < size:
                break
            payload, self._received = self._received[wire.HEADER.size : size], self._received[size:]
            self._request(command, number, payload)

    def _accept(self) -> None:
        """Take a client; while there is one, others are turned away."""
        with contextlib.suppress(BlockingIOError):
            client, _ = self._listener.accept()
            if self._client is not None:
                client.close()
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setblocking(False)
            self._client = client

    def _request(self, command: int, number: int, payload: bytes) -> None:
        if command not in wire.REQUEST_SIZE:
            self._drop_client()
        elif command == Command.CONNECT:
            version, port = np.frombuffer(payload, "<u2")
            self._reply(wire.connect_reply(number))
            assert self._client is not None
            if version == wire.VERSION:
                self._target = (self._client.getpeername()[0], int(port))
        else:
            self._reply(self.box.request(command, number, payload))

    def _reply(self, data: bytes) -> None:
        if self._client is None:
            return
        try:
            self._client.sendall(data)
        except OSError:
            self._drop_client()

    def _drop_client(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None
        self._target = None
        self._received = b""
        self._on_the_way.clear()
        self.box.client_gone()

    def _command(self) -> NDArray[np.void] | None:
        """The client's answer to the last state, if it came in time and survived the line."""
        found = self._drain()
        waits = self.box.moving and self.box.answering and self._reached_client and self.faults.delay_s == 0.0
        until = time.monotonic() + self.config.patience_s
        while found is None and waits and (left := until - time.monotonic()) > 0.0:
            if select.select([self._udp], [], [], left)[0]:
                found = self._drain()
        return None if found is not None and self._lost_on_the_line() else found

    def _drain(self) -> NDArray[np.void] | None:
        found = None
        while True:
            try:
                command = wire.parse_command(self._udp.recv(2048))
            except OSError:
                return found
            if command is not None and command["message_id"][0] == self.box.time_ms:
                found = command

    def _send_state(self, state: bytes) -> None:
        self._reached_client = False
        if self._target is None or self._lost_on_the_line():
            return
        self._reached_client = True
        now = time.monotonic()
        self._on_the_way.append((now + self.faults.delay_s, state))
        while self._on_the_way and self._on_the_way[0][0] <= now:
            with contextlib.suppress(OSError):
                self._udp.sendto(self._on_the_way.popleft()[1], self._target)

    def _lost_on_the_line(self) -> bool:
        return self.faults.loss > 0.0 and self._rng.random() < self.faults.loss


def _listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, wire.PORT))
    except OSError as error:
        listener.close()
        raise DeviceError(
            f"the emulated arm cannot listen on {address}:{wire.PORT} ({error.strerror}); "
            "give it another loopback address (127.x.y.z) or stop the server that uses this one"
        ) from error
    listener.listen(2)
    listener.setblocking(False)
    return listener
