"""One browser at the console: what it says is counted, checked, and passed on if it is the controller's."""

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Final

from dexhil_env.hil.live.allowance import Allowance
from dexhil_env.hil.live.messages import MessageError, check

if TYPE_CHECKING:
    from dexhil_env.hil.console.server import ConsoleServer

MAX_TEXT_BYTES: Final = 8192
"""Longest message that is not a picture."""
RATE_HZ: Final = 400.0
"""Messages per second that a client may send for long; a headset at 90 Hz sends 200."""
PATIENCE: Final = 1000
"""Refused messages after which a client is shut out."""
_LOG_EVERY_S: Final = 1.0


class Refused(Exception):
    """A client has been refused too often."""


class Client:
    """One connection.

    Args:
        server: who listens.
        socket: the websocket.
    """

    def __init__(self, server: "ConsoleServer", socket: Any) -> None:
        self._server, self.socket = server, socket
        self.news = asyncio.Event()
        self.news.set()
        self._allowance = Allowance(RATE_HZ, RATE_HZ)
        self._refused = 0
        self._logged_s = 0.0

    async def listen(self) -> None:
        """Take messages until the connection ends.

        Raises:
            Refused: too many were refused.
        """
        async for raw in self.socket:
            now_ns = time.monotonic_ns()
            if not self._allowance.take(now_ns * 1e-9):
                self._refuse(f"more than {RATE_HZ:.0f} messages per second")
                continue
            try:
                self._hear(raw, now_ns)
            except (MessageError, ValueError, RecursionError) as error:
                self._refuse(str(error)[:200])

    def _hear(self, raw: str | bytes, now_ns: int) -> None:
        server = self._server
        if isinstance(raw, bytes):
            if server.controller is self and server.on_picture is not None:
                server.on_picture(raw, now_ns)
                return
            raise MessageError("a picture, which nobody looks at here")
        if len(raw) > MAX_TEXT_BYTES:
            raise MessageError(f"a message of {len(raw)} characters; {MAX_TEXT_BYTES} are allowed")
        found = json.loads(raw)
        if isinstance(found, dict) and found.get("type") == "claim":  # pyright: ignore[reportUnknownMemberType]
            self._claim()
            return
        message = check(found)
        if message["type"] == "lost":
            raise MessageError("only the server says that a connection is lost")
        if message["type"] == "estop":
            server.on_stop()
        elif server.controller is not self:
            raise MessageError(f"{message['type']} from a watcher: somebody else has the controls")
        server.inbox.put(message, now_ns)

    def _claim(self) -> None:
        if self._server.controller is None:
            self._server.controller = self

    def _refuse(self, why: str) -> None:
        self._refused += 1
        now = time.monotonic()
        if now - self._logged_s > _LOG_EVERY_S:
            self._logged_s = now
            self._server.note(f"refused a message: {why}")
        else:
            self._server.refused += 1
        if self._refused > PATIENCE:
            raise Refused(f"{self._refused} refused messages, the last one: {why}")
