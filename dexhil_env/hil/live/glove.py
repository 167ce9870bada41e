"""A glove over UDP: one datagram per reading, from whatever program talks to the glove. No vendor's library is needed here.

A datagram is a JSON object of at most :data:`MAX_BYTES` bytes:

| field | meaning |
| --- | --- |
| ``t`` | time of the reading by the sender's clock [s]; only its differences count |
| ``points`` | 21 points [x, y, z] in metres in any right-handed frame: a list in the order of :data:`NAMES`, or an object name -> point |
| ``nodes`` | instead of ``points``: the 25 or 26 nodes of Manus' raw skeleton |
| ``hand`` | ``"right"``, or ``"left"``, which is mirrored; may be left out |

Everything else is refused and counted: other fields, other shapes, numbers that are not finite, readings that come twice, out of order, too
late or too fast, and a second sender while the first one is alive.
"""

import json
import logging
import socket
import threading
import time
from typing import Any, Final, Self, cast

import numpy as np

from dexhil_env.errors import ConfigError
from dexhil_env.hil.live.allowance import Allowance
from dexhil_env.hil.live.inbox import Inbox
from dexhil_env.hil.live.messages import Message, MessageError, check
from dexhil_env.hil.retarget.keypoints import canonical, from_manus

logger = logging.getLogger(__name__)

NAMES: Final = ("wrist", *(f"thumb_{j}" for j in ("cmc", "mcp", "ip", "tip")),
    *(f"{finger}_{j}" for finger in ("index", "middle", "ring", "little") for j in ("mcp", "pip", "dip", "tip")))  # fmt: skip
"""Names of the 21 keypoints, in their order (dexhil_env.hil.retarget.keypoints)."""
ADDRESS: Final = "127.0.0.1:9870"
MAX_BYTES: Final = 8192
RATE_HZ: Final = 300.0
BURST: Final = 60.0
"""Datagrams per second, and at once, that are read at all; a glove sends 90 to 120 a second."""
FAR_M: Final = 100.0
LATE_S: Final = 0.15
"""A reading that was on its way for so much longer than the quickest one is not used: it shows where the hand was [s]."""
DRIFT: Final = 1e-3
"""How fast the two clocks may drift apart [s/s]; real ones do a tenth of that."""
NEW_SENDER_S: Final = 1.0
"""After so long without a good reading another sender, or one with another clock, may take its place."""
_LOG_EVERY_S: Final = 1.0


def read_datagram(data: bytes) -> tuple[float, Message]:
    """Return the sender's time [s] and the message of a datagram.

    Raises:
        MessageError: it is not what the module's text says.
    """
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"no JSON: {str(error)[:80]}") from None
    if not isinstance(found, dict):
        raise MessageError("a datagram is an object")
    fields = cast("dict[str, Any]", found)
    if not {"t"} < set(fields) <= {"t", "points", "hand"} and not {"t"} < set(fields) <= {"t", "nodes", "hand"}:
        raise MessageError(f"needs t, and points or nodes; got {sorted(str(name)[:20] for name in fields)[:8]}")
    t, hand = fields["t"], fields.get("hand", "right")
    if isinstance(t, bool) or not isinstance(t, int | float) or not np.isfinite(t):
        raise MessageError("t needs a number")
    if hand not in ("right", "left"):
        raise MessageError("hand is right or left")
    rows = _rows(fields)
    checked = np.array([_point(row) for row in rows])
    points = canonical(checked, left=hand == "left") if len(rows) == len(NAMES) else from_manus(checked, 0.0, left=hand == "left").keypoints
    return float(t), check({"type": "keypoints", "points": points.tolist()})


def _rows(fields: dict[str, Any]) -> list[Any]:
    points: Any = fields.get("points", fields.get("nodes"))
    if isinstance(points, dict):
        named = cast("dict[str, Any]", points)
        if set(named) != set(NAMES):
            raise MessageError(f"points needs the names {', '.join(NAMES)}")
        points = [named[name] for name in NAMES]
    rows = cast("list[Any]", points) if isinstance(points, list) else []
    if len(rows) not in ((len(NAMES),) if "points" in fields else (25, 26)):
        raise MessageError("needs 21 points, or 25 or 26 nodes")
    return rows


def _point(value: Any) -> list[float]:
    numbers = cast("list[Any]", value) if isinstance(value, list) else []
    if len(numbers) != 3 or not all(isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= FAR_M for x in numbers):
        raise MessageError(f"a point is three numbers in metres; got {str(cast(object, value))[:40]!r}")
    return [float(x) for x in numbers]


class GloveLink:
    """Receives a glove's datagrams on a thread of its own and puts keypoints into an inbox.

    Args:
        address: HOST:PORT to listen on; port 0 takes a free one. Anything but loopback lets everybody in the network move the fingers.

    Raises:
        ConfigError: the address cannot be had.

    Attributes:
        accepted, refused: how many datagrams.
        reason: why the last one was refused.
        t_ns: when the last good one arrived, ``time.monotonic_ns``; 0 before the first.
    """

    def __init__(self, address: str = ADDRESS) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ConfigError(f"the glove's address is HOST:PORT, e.g. {ADDRESS}; got {address!r}")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((host, int(port)))
        except OSError as error:
            self._socket.close()
            raise ConfigError(f"cannot listen for the glove on {address} ({error.strerror or error}); choose another --glove") from error
        self.port = int(self._socket.getsockname()[1])
        self._socket.settimeout(0.2)
        self.accepted = self.refused = self.t_ns = 0
        self.reason = ""
        self._allowance, self._logged_s = Allowance(RATE_HZ, BURST), 0.0
        self._forget_sender()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def _forget_sender(self) -> None:
        self._sender: Any = None
        self._last_t, self._offset_s = -np.inf, np.inf

    def start(self, inbox: Inbox) -> Self:
        """Begin to listen."""
        self._thread = threading.Thread(target=self._loop, args=(inbox,), name="glove", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop; safe to call twice."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(1.0)
        self._socket.close()

    def _loop(self, inbox: Inbox) -> None:
        while not self._ending.is_set():
            try:
                data, sender = self._socket.recvfrom(MAX_BYTES + 1)
            except TimeoutError:
                continue
            except OSError as error:
                if not self._ending.is_set():
                    logger.error("the glove's socket failed: %s", error)
                return
            now_ns = time.monotonic_ns()
            try:
                inbox.put(self.hear(data, sender, now_ns), now_ns)
            except MessageError as error:
                self._refuse(str(error), now_ns * 1e-9)

    def hear(self, data: bytes, sender: Any, now_ns: int) -> Message:
        """Return the message of a datagram that arrived at ``now_ns``.

        Raises:
            MessageError: it is refused.
        """
        now_s = now_ns * 1e-9
        if not self._allowance.take(now_s):
            raise MessageError(f"more than {RATE_HZ:.0f} datagrams per second")
        if len(data) > MAX_BYTES:
            raise MessageError(f"more than {MAX_BYTES} bytes")
        silent_s = (now_ns - self.t_ns) * 1e-9
        if silent_s > NEW_SENDER_S:
            self._forget_sender()
        if self._sender not in (None, sender):
            raise MessageError(f"from {sender[0]}:{sender[1]}, while {self._sender[0]}:{self._sender[1]} is sending")
        t, message = read_datagram(data)
        if t <= self._last_t:
            raise MessageError("not newer than the one before")
        self._offset_s = min(self._offset_s + DRIFT * silent_s, now_s - t)
        if now_s - t - self._offset_s > LATE_S:
            raise MessageError(f"{now_s - t - self._offset_s:.2f} s late")
        self._sender, self._last_t, self.t_ns = sender, t, now_ns
        self.accepted += 1
        return message

    def _refuse(self, why: str, now_s: float) -> None:
        self.refused, self.reason = self.refused + 1, why
        if now_s - self._logged_s > _LOG_EVERY_S:
            self._logged_s = now_s
            logger.warning("glove: refused a datagram: %s", why)
