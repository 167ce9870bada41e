"""A policy that lives behind a socket: openpi's server, anybody's who speaks its protocol, or ours."""

import logging
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from agents.chunking import PREFIX_KEY, ChunkQueue
from agents.serve.keymap import KeyMap, read_key_map
from agents.serve.vla import SEED_KEY
from agents.serve.wire import MAX_BYTES, pack, unpack
from dexhil_env.errors import ConfigError, RemoteError
from dexhil_env.types import F32, Observation

log = logging.getLogger(__name__)

CONNECT_S: Final = 5.0
TOKEN_VARIABLE: Final = "DEXHIL_TOKEN"
_SETTINGS: Final = {"uri", "n_exec", "timeout_s"}


class RemotePolicy:
    """Asks a server for chunks of actions and executes the first part of each.

    Args:
        uri: ``ws://HOST:PORT``.
        key_map: their names for things; by default ours.
        n_exec: actions of a chunk that are executed before the next is asked for.
        timeout_s: an answer that takes longer is an error [s].
        token: shown to the server; by default the environment variable ``DEXHIL_TOKEN``.

    Raises:
        RemoteError: nobody answers there, or the token is refused.
    """

    def __init__(self, uri: str, key_map: KeyMap | None = None, *, n_exec: int = 8, timeout_s: float = 10.0, token: str = "") -> None:
        if n_exec < 1 or timeout_s <= 0:
            raise ConfigError(f"n_exec must be at least 1 and timeout_s positive; got {n_exec}, {timeout_s}")
        self.uri, self.key_map, self.timeout_s = uri, key_map or KeyMap(), timeout_s
        self._token = token or os.environ.get(TOKEN_VARIABLE, "")
        self._queue = ChunkQueue(n_exec)
        self._seed: int | None = None
        self._lines = ExitStack()
        self._connection, self.metadata = self._connect()

    @classmethod
    def from_spec(cls, spec: str, **options: Any) -> "RemotePolicy":
        """Make one from ``ws://HOST:PORT`` or from a JSON file with ``uri`` and a key map (docs/serving.md)."""
        if spec.startswith(("ws://", "wss://")):
            return cls(spec, **options)
        key_map, settings = read_key_map(Path(spec))
        if "uri" not in settings or set(settings) - _SETTINGS:
            raise ConfigError(f"{spec} must hold 'uri' and may hold {sorted(_SETTINGS)} and a key map; got {sorted(settings)}")
        return cls(settings.pop("uri"), key_map, **{**settings, **options})

    def _connect(self) -> tuple[ClientConnection, dict[str, Any]]:
        headers = {"Authorization": f"Api-Key {self._token}"} if self._token else None
        try:
            line = connect(
                self.uri, compression=None, max_size=MAX_BYTES, additional_headers=headers, open_timeout=CONNECT_S, close_timeout=1.0
            )
            connection = self._lines.enter_context(line)
            return connection, self._read(connection, CONNECT_S)
        except InvalidStatus as error:
            text = bytes(error.response.body or b"").decode(errors="replace").strip()
            status = error.response.status_code
            raise RemoteError(f"{self.uri} refused us ({status}): {text}; a token goes into ${TOKEN_VARIABLE}") from error
        except InvalidURI as error:
            raise ConfigError(f"{self.uri!r} is no address; write ws://HOST:PORT") from error
        except (OSError, TimeoutError) as error:
            raise RemoteError(f"no policy server answers at {self.uri} ({error}); start one: dexhil serve --policy FOLDER") from error

    def _read(self, connection: ClientConnection, timeout_s: float) -> dict[str, Any]:
        try:
            message = connection.recv(timeout_s)
        except TimeoutError as error:
            raise RemoteError(f"{self.uri} has not answered within {timeout_s:g} s") from error
        except ConnectionClosed as error:
            raise RemoteError(f"{self.uri} has closed the connection: {error}") from error
        if isinstance(message, str):
            raise RemoteError(f"{self.uri} reports an error:\n{message}")
        return unpack(message)

    def reset(self, seed: int | None = None) -> None:
        """Forget the rest of the chunk; a seed also restarts the noise of a server of ours."""
        self._queue.clear()
        if seed is not None:
            self._seed = seed

    @property
    def looks_next(self) -> bool:
        """Whether the next :meth:`act` looks at its observation."""
        return not len(self._queue)

    @property
    def n_exec(self) -> int:
        """Actions of each chunk that are executed."""
        return self._queue.n_exec

    @property
    def longest_prefix(self) -> int:
        """How many first actions of a chunk may be given: what a server of ours says, 0 for another."""
        return int(self.metadata.get("rtc_max_delay", 0)) if "dexhil" in self.metadata else 0

    def plan(self, observation: Observation, instruction: str, prefix: F32 | None = None) -> F32:
        """Return a chunk (T, 19) [rad] that begins with ``prefix`` (D, 19), the actions that are executed until the answer comes."""
        return self.infer(observation, instruction, prefix)

    def infer(self, observation: Observation, instruction: str, prefix: F32 | None = None) -> F32:
        """Return a chunk (T, 19) of joint targets [rad]."""
        request = self.key_map.request(observation, instruction)
        if self._seed is not None and "dexhil" in self.metadata:
            request[SEED_KEY] = self._seed
        if prefix is not None and len(prefix):
            request[PREFIX_KEY] = prefix
        self._seed = None
        try:
            self._connection.send(pack(request))
        except ConnectionClosed as error:
            raise RemoteError(f"{self.uri} has closed the connection: {error}; look at the server's output") from error
        return self.key_map.chunk(self._read(self._connection, self.timeout_s), observation)

    def act(self, observation: Observation, instruction: str) -> F32:
        """Return the next action (19,) [rad]."""
        if not len(self._queue):
            self._queue.refill(self.infer(observation, instruction))
        return self._queue.pop()

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
