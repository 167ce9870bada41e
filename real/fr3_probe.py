"""Ask an address whether an FR3 lives there, within seconds and with an answer that helps.

libfranka waits up to a minute for an address that does not answer, and cannot tell a wrong address from a firewall.
"""

import socket
import time
from typing import Final

from dexhil_env.errors import DeviceError, DeviceTimeout
from real.emulator import fci_wire as wire

UDP_TIMEOUT_S: Final = 0.8
_ADVICE: Final = "check the address, the cable, and that FCI is activated in Franka Desk"
_BUSY: Final = "the arm at {} closed the connection at once; another program controls it: end that one first"


def probe(address: str, timeout_s: float = 2.0) -> None:
    """Connect as a client does, wait for one state, and leave.

    Raises:
        DeviceTimeout: nothing answers, or the arm's states do not get through.
        DeviceError: no such host, refused, or another protocol.
    """
    deadline = time.monotonic() + timeout_s
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("", 0))
        udp.settimeout(UDP_TIMEOUT_S)
        try:
            with socket.create_connection((address, wire.PORT), timeout_s) as tcp:
                tcp.settimeout(max(deadline - time.monotonic(), 0.1))
                tcp.sendall(wire.connect_request(1, udp.getsockname()[1]))
                _check(address, tcp.recv(64))
                _wait_for_state(address, udp)
        except DeviceTimeout:
            raise
        except ConnectionResetError as error:
            raise DeviceError(_BUSY.format(address)) from error
        except TimeoutError as error:
            raise DeviceTimeout(f"no answer from an arm at {address}:{wire.PORT} within {timeout_s:g} s; {_ADVICE}") from error
        except OSError as error:
            raise DeviceError(f"no arm at {address}:{wire.PORT} ({error}); {_ADVICE}") from error


def _check(address: str, reply: bytes) -> None:
    if not reply:
        raise DeviceError(_BUSY.format(address))
    answer = wire.parse_connect_reply(reply)
    if answer is None:
        raise DeviceError(f"what answers at {address}:{wire.PORT} is no Franka control box (it sent {len(reply)} bytes); check the address")
    status, version = answer
    if status != 0 or version != wire.VERSION:
        raise DeviceError(
            f"the arm at {address} speaks FCI version {version}, this driver {wire.VERSION}; it needs an FR3 with system image 5.9 or "
            "newer (franky-control has builds for older images)"
        )


def _wait_for_state(address: str, udp: socket.socket) -> None:
    try:
        udp.recv(2048)
    except TimeoutError as error:
        raise DeviceTimeout(
            f"the arm at {address} answers, but its states (UDP) do not arrive within {UDP_TIMEOUT_S:g} s; "
            "check the firewall of this computer"
        ) from error
