"""The policy server: openpi's websocket protocol, on the loopback unless told otherwise, guarded by a token."""

import asyncio
import hmac
import http
import ipaddress
import logging
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import websockets.asyncio.server as ws
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from agents.serve.batching import Batcher, Infer
from agents.serve.wire import MAX_BYTES, pack, unpack
from dexhil_env.errors import ConfigError, RemoteError

log = logging.getLogger(__name__)


class Served(Protocol):
    """What is served."""

    metadata: dict[str, Any]

    def client(self) -> Any:
        """Return the random state of a new client."""
        ...

    def check(self, observation: dict[str, Any], state: Any) -> None:
        """Refuse an observation that cannot be answered with a :class:`RemoteError` that says what is wanted."""
        ...

    @property
    def infer(self) -> Infer:
        """Answer several requests at once."""
        ...


@dataclass(frozen=True)
class ServeConfig:
    """Where and for whom.

    Attributes:
        host: address to listen on; anything but the loopback needs a token.
        port: TCP port; 0 takes a free one.
        token: clients must show it (``Authorization: Api-Key TOKEN``, as openpi's client does); empty asks for none.
        window_ms: how long a request waits for others to share a forward pass [ms].
        max_batch: requests per forward pass at most.
        max_clients: connections at once.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    window_ms: float = 5.0
    max_batch: int = 32
    max_clients: int = 64

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535 or self.window_ms < 0 or min(self.max_batch, self.max_clients) < 1:
            raise ConfigError(f"port must lie in 0..65535, window_ms >= 0, max_batch and max_clients >= 1; got {self}")
        if not self.token and not _is_loopback(self.host):
            raise ConfigError(f"host {self.host!r} lets the whole network in; give a token too (--token WORD), or use 127.0.0.1 and ssh -L")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class PolicyServer:
    """Serves a policy on a thread of its own.

    Args:
        served: the policy.
        config: where and for whom.

    Attributes:
        port: the port that it listens on.
        batcher: with its counts.
        refused: connections and messages that were refused.
    """

    def __init__(self, served: Served, config: ServeConfig | None = None) -> None:
        self.served, self.config = served, config or ServeConfig()
        self.batcher = Batcher(served.infer, self.config.window_ms / 1e3, self.config.max_batch)
        self.port, self.refused, self._clients = 0, 0, 0
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._problem: OSError | None = None
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), name="policy-server", daemon=True)

    def start(self) -> Self:
        """Listen.

        Raises:
            ConfigError: the port is taken.
        """
        self._thread.start()
        self._listening.wait()
        if self._problem is not None:
            raise ConfigError(f"cannot listen on {self.config.host}:{self.config.port}: {self._problem.strerror}; choose another --port")
        return self

    async def _serve(self) -> None:
        config = self.config
        limits: dict[str, Any] = {"max_size": MAX_BYTES, "compression": None, "ping_interval": 20, "ping_timeout": 20}
        try:
            async with ws.serve(self._talk, config.host, config.port, process_request=self._admit, **limits) as server:
                self.port = next(iter(server.sockets)).getsockname()[1]
                self._listening.set()
                await self._ending.wait()
        except OSError as error:
            self._problem = error
        finally:
            self._listening.set()

    def _admit(self, connection: ws.ServerConnection, request: Request) -> Response | None:
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if request.headers.get("Origin") is not None:
            return self._refuse(connection, http.HTTPStatus.FORBIDDEN, "web pages may not use this server\n")
        shown = request.headers.get("Authorization", "")
        if self.config.token and not hmac.compare_digest(shown.encode(), f"Api-Key {self.config.token}".encode()):
            return self._refuse(connection, http.HTTPStatus.UNAUTHORIZED, "wrong token; send the header 'Authorization: Api-Key TOKEN'\n")
        if self._clients >= self.config.max_clients:
            return self._refuse(connection, http.HTTPStatus.SERVICE_UNAVAILABLE, f"{self._clients} clients are connected already\n")
        return None

    def _refuse(self, connection: ws.ServerConnection, status: http.HTTPStatus, text: str) -> Response:
        self.refused += 1
        log.warning("refused %s: %s", connection.remote_address, text.strip())
        return connection.respond(status, text)

    async def _talk(self, connection: ws.ServerConnection) -> None:
        self._clients += 1
        state = self.served.client()
        try:
            await connection.send(pack(self.served.metadata))
            async for message in connection:
                await connection.send(await self._answer(message, state))
        except RemoteError as error:  # as openpi does: the text, then the end of this connection
            self.refused += 1
            log.warning("client %s: %s", connection.remote_address, error)
            await connection.send(str(error))
            await connection.close(CloseCode.INTERNAL_ERROR, "see the text before")
        except ConnectionClosed:
            pass
        finally:
            self._clients -= 1

    async def _answer(self, message: str | bytes, state: Any) -> bytes:
        if isinstance(message, str):
            raise RemoteError("a request is a binary message (msgpack); got text")
        observation = unpack(message)
        self.served.check(observation, state)
        chunk, spent_s = await asyncio.wrap_future(self.batcher.submit(observation, state))
        return pack({"actions": chunk, "server_timing": {"infer_ms": 1e3 * spent_s}})

    def close(self) -> None:
        """Stop listening and end the inference thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(10.0)
        self.batcher.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
