"""A CAN-FD bus between processes of one machine, over a Unix socket: no network, no kernel module, no adapter.

One process is the hub (``server=True``; an emulator), any number of others join by the socket's path. A hub passes every frame on while
it receives. When the hub goes away the others see it at once, like an adapter that is unplugged.

Needs python-can. In code ``UnixBus("/tmp/hand.sock")``, or ``can.Bus(interface="dexhil-unix", channel=...)``, where the plugin is
registered.
"""

import contextlib
import os
import selectors
import socket
import stat
import struct
import time
from typing import Any

from dexhil_env.errors import ConfigError

try:
    from can import BusABC, CanInitializationError, CanOperationError, CanProtocol, Message
except ModuleNotFoundError as error:
    raise ConfigError("'can' is not installed; install it with: pip install 'dexhil[real]'") from error

_HEAD = struct.Struct("<dIBB")
"""Time of sending [s], identifier, flags, number of bytes."""
_EXTENDED, _REMOTE, _ERROR, _FD, _BRS, _ESI = 1, 2, 4, 8, 16, 32
_PACKET = _HEAD.size + 64


def pack(message: Message) -> bytes:
    """Return a message as one packet."""
    bits = (
        (_EXTENDED, message.is_extended_id),
        (_REMOTE, message.is_remote_frame),
        (_ERROR, message.is_error_frame),
        (_FD, message.is_fd),
        (_BRS, message.bitrate_switch),
        (_ESI, message.error_state_indicator),
    )
    flags = sum(bit for bit, on in bits if on)
    return _HEAD.pack(time.time(), message.arbitration_id, flags, message.dlc) + bytes(message.data)


def unpack(packet: bytes) -> Message:
    """Return the message in a packet."""
    stamp, can_id, flags, length = _HEAD.unpack_from(packet)
    return Message(
        timestamp=stamp,
        arbitration_id=can_id,
        is_extended_id=bool(flags & _EXTENDED),
        is_remote_frame=bool(flags & _REMOTE),
        is_error_frame=bool(flags & _ERROR),
        is_fd=bool(flags & _FD),
        bitrate_switch=bool(flags & _BRS),
        error_state_indicator=bool(flags & _ESI),
        dlc=length,
        data=packet[_HEAD.size :] or None,
    )


class UnixBus(BusABC):
    """The bus; see the module.

    Args:
        channel: path of the socket; put it into a folder that only you can enter.
        server: be the hub. The socket is for this user only, and is removed at shutdown.
    """

    def __init__(self, channel: str | os.PathLike[str], server: bool = False, **kwargs: Any) -> None:
        self._path, self._server = os.fspath(channel), server
        self._can_protocol = CanProtocol.CAN_FD
        self.channel_info = f"unix socket {self._path}"
        self._peers: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._open()
        except OSError as error:
            self._socket.close()
            self._selector.close()
            hint = "is another hub running there?" if server else "start the emulator first"
            raise CanInitializationError(f"cannot open the CAN bus at {self._path}: {error.strerror}; {hint}") from error
        kwargs.pop("fd", None)
        super().__init__(channel=self._path, **kwargs)

    def _open(self) -> None:
        if not self._server:
            self._socket.connect(self._path)
            self._peers.append(self._socket)
        else:
            self._bind()
            os.chmod(self._path, 0o600)
            self._socket.listen(8)
        self._socket.setblocking(False)
        self._selector.register(self._socket, selectors.EVENT_READ)

    def _bind(self) -> None:
        try:
            self._socket.bind(self._path)
        except OSError:
            if not self._abandoned():
                raise
            os.unlink(self._path)
            self._socket.bind(self._path)

    def _abandoned(self) -> bool:
        """Tell whether the path is a socket that a killed hub left behind."""
        if not os.path.exists(self._path) or not stat.S_ISSOCK(os.stat(self._path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            try:
                probe.connect(self._path)
            except ConnectionRefusedError:
                return True
            except OSError:
                return False
        return False

    def send(self, msg: Message, timeout: float | None = None) -> None:
        """Send to everybody. A member of a hub that does not read loses frames; it never blocks the others."""
        packet = pack(msg)
        if self._server:
            self._pass_on(packet)
            return
        try:
            self._socket.settimeout(timeout if timeout is not None else 0.1)
            self._socket.send(packet)
        except OSError as error:
            raise CanOperationError(f"cannot send on {self.channel_info}: {error}") from error

    def _pass_on(self, packet: bytes, sender: socket.socket | None = None) -> None:
        for peer in [peer for peer in self._peers if peer is not sender]:
            try:
                peer.send(packet, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except OSError:
                self._drop(peer)

    def _recv_internal(self, timeout: float | None) -> tuple[Message | None, bool]:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            for key, _ in self._selector.select(left):
                message = self._read(key.fileobj)
                if message is not None:
                    return message, False
            if left == 0.0 or (deadline is not None and time.monotonic() >= deadline):
                return None, False

    def _read(self, source: Any) -> Message | None:
        if self._server and source is self._socket:
            peer, _ = self._socket.accept()
            peer.setblocking(False)
            self._peers.append(peer)
            self._selector.register(peer, selectors.EVENT_READ)
            return None
        try:
            packet = source.recv(_PACKET, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            packet = b""
        if len(packet) >= _HEAD.size:
            if self._server:
                self._pass_on(packet, source)
            return unpack(packet)
        if not self._server:
            raise CanOperationError(f"the CAN bus at {self._path} is gone: its hub has closed it")
        self._drop(source)
        return None

    def _drop(self, peer: socket.socket) -> None:
        if peer in self._peers:
            self._peers.remove(peer)
            self._selector.unregister(peer)
            peer.close()

    def shutdown(self) -> None:
        """Close; safe to call twice."""
        super().shutdown()
        for peer in [*self._peers, self._socket]:
            peer.close()
        self._peers.clear()
        self._selector.close()
        if self._server:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            self._server = False
