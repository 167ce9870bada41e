"""Serves the console's page and its one websocket from a thread of its own; what arrives there is checked and put into the inbox.

The loop of the robot never waits for a browser: it publishes a frame and goes on. A client that cannot keep up misses frames; what is not a
known message from the one controller is refused, counted and logged.
"""

import asyncio
import json
import logging
import secrets
import struct
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from dexhil_env.errors import ConfigError
from dexhil_env.hil.console.client import Client, Refused
from dexhil_env.hil.console.page import whole_page
from dexhil_env.hil.live.inbox import Inbox

logger = logging.getLogger(__name__)
logging.getLogger("websockets").setLevel(logging.WARNING)

MAX_FRAME_BYTES: Final = 256 * 1024
"""Largest message from a browser: a picture of a webcam."""
Frame = tuple[dict[str, Any], list[bytes]]


class ConsoleServer:
    """One controller, many watchers.

    Args:
        inbox: where the controller's messages go.
        host: address to listen on; anything but loopback lets others in who know the token.
        port: port to listen on; 0 takes a free one.
        token: secret of the page's address; by default a fresh one.
        origins: further origins that may connect, e.g. ``"https://lab.example"`` behind a proxy.
        on_picture: called with the JPEG pictures of the controller's webcam, on the server's thread.
        on_stop: called at once when anybody presses stop.

    Raises:
        ConfigError: the package ``websockets`` is missing, or the port cannot be had.
    """

    def __init__(
        self,
        inbox: Inbox,
        host: str = "127.0.0.1",
        port: int = 8765,
        token: str | None = None,
        origins: tuple[str, ...] = (),
        on_picture: Callable[[bytes, int], None] | None = None,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.inbox, self.host, self.port = inbox, host, port
        self.token = token or secrets.token_urlsafe(12)
        self.on_picture, self.on_stop = on_picture, on_stop
        self._more_origins = origins
        self._clients: list[Client] = []
        self.controller: Client | None = None
        self.refused = 0
        self.log: list[str] = []
        self._frame: Frame | None = None
        self._number = 0
        self._started, self._error = threading.Event(), None
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        self._thread.start()
        self._started.wait(10.0)
        if self._error is not None:
            raise ConfigError(str(self._error)) from self._error

    @property
    def url(self) -> str:
        """Address of the page, with the token."""
        return f"http://{self.host}:{self.port}/?token={self.token}"

    @property
    def watchers(self) -> int:
        """Connected clients that do not control."""
        return len(self._clients) - (self.controller is not None)

    # ---- called by the robot's loop ----------------------------------------------------------------------------------------------

    def publish(self, header: dict[str, Any], pictures: list[bytes]) -> None:
        """Show a state and its JPEG pictures to everybody; never waits."""
        self._frame, self._number = (header, pictures), self._number + 1
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def close(self) -> None:
        """Say goodbye and stop; safe to call twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(5.0)

    # ---- the server's thread -----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except (OSError, ImportError, ConfigError) as error:
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        try:
            from websockets.asyncio.server import serve
        except ImportError as error:
            raise ConfigError('the console needs the package websockets: pip install "dexhil[teleop]"') from error
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        options: dict[str, Any] = {"compression": None, "max_size": MAX_FRAME_BYTES, "max_queue": 32}
        options |= {"ping_interval": 2, "ping_timeout": 10, "close_timeout": 0.5}  # whoever floods us does not hear a goodbye
        try:
            async with serve(self._talk, self.host, self.port, process_request=self._answer, **options) as server:
                self.port = int(next(iter(server.sockets)).getsockname()[1])
                self._started.set()
                await self._ending.wait()
        except OSError as error:
            raise ConfigError(f"cannot listen on {self.host}:{self.port} ({error.strerror}); choose another --port") from error

    def _wake(self) -> None:
        for client in self._clients:
            client.news.set()

    def _answer(self, connection: Any, request: Any) -> Any:
        """Give the page out, and let the websocket in, to those who have the token and come from our page."""
        url = urlsplit(str(request.path))
        token = parse_qs(url.query).get("token", [""])[0]
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return self._refuse(connection, "wrong token: use the address that was printed when the console started")
        if url.path == "/ws":
            origin = request.headers.get("Origin")
            if origin is not None and origin not in self._origins():
                return self._refuse(connection, f"foreign origin {origin[:80]!r}")
            return None
        if url.path != "/":
            return connection.respond(HTTPStatus.NOT_FOUND, "there is one page only\n")
        response = connection.respond(HTTPStatus.OK, whole_page())
        response.headers["Content-Type"] = "text/html; charset=utf-8"
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob: data:; "
            "media-src blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
        )
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        return response

    def _origins(self) -> tuple[str, ...]:
        mine = (f"http://{name}:{self.port}" for name in (self.host, "localhost", "127.0.0.1"))
        return (*mine, *self._more_origins)

    def _refuse(self, connection: Any, why: str) -> Any:
        self.note(f"refused a connection: {why}")
        return connection.respond(HTTPStatus.FORBIDDEN, f"{why}\n")

    def note(self, text: str) -> None:
        """Log a refusal, and keep the last few for the page."""
        self.refused += 1
        logger.warning("console: %s", text)
        self.log = [*self.log[-4:], text]

    async def _talk(self, socket: Any) -> None:
        from websockets.exceptions import ConnectionClosed
        from websockets.frames import CloseCode

        client = Client(self, socket)
        self._clients.append(client)
        if self.controller is None:
            self.controller = client
        sender = asyncio.create_task(self._send_frames(client))
        try:
            await client.listen()
        except Refused as error:
            self.note(f"closed a connection: {error}")
            await socket.close(1008, str(error)[:100])
        except ConnectionClosed as error:
            if error.sent is not None and error.sent.code == CloseCode.MESSAGE_TOO_BIG:
                self.note(f"closed a connection: a message of more than {MAX_FRAME_BYTES} bytes")
        finally:
            sender.cancel()
            self._clients.remove(client)
            if self.controller is client:
                self.controller = None
                self.inbox.put({"type": "lost"})

    async def _send_frames(self, client: Client) -> None:
        sent = -1
        while True:
            await client.news.wait()
            client.news.clear()
            if self._frame is None or self._number == sent:  # sending waits for a slow client, which therefore misses frames
                continue
            sent = self._number
            await client.socket.send(pack(*self._personal(client)))

    def _personal(self, client: Client) -> Frame:
        assert self._frame is not None
        header, pictures = self._frame
        mine = {"role": "controller" if self.controller is client else "watcher", "watchers": self.watchers, "refused": self.refused}
        return {**header, **mine, "taken": self.controller is not None, "log": self.log, "sent_s": time.time()}, pictures


def pack(header: dict[str, Any], pictures: list[bytes]) -> bytes:
    """Return a binary frame: length of the header (little-endian u32), header as JSON, pictures one after the other."""
    text = json.dumps({**header, "pictures": [len(each) for each in pictures]}, separators=(",", ":"), allow_nan=False).encode()
    return b"".join([struct.pack("<I", len(text)), text, *pictures])
