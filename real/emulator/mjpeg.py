"""A network camera: MJPEG over HTTP, from any function that returns a picture, with faults to inject. Loopback by default.

OpenCV and every browser read it. Needs the extra ``dexhil[real]`` (OpenCV packs the JPEG).
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from numpy.typing import NDArray

from dexhil_env.clock import Rate
from dexhil_env.errors import ConfigError
from dexhil_env.types import U8
from real.optional import require

_BOUNDARY = "frame"


@dataclass
class StreamFaults:
    """What is broken in one stream; change it while the server runs.

    Attributes:
        freeze: send the same picture again and again.
        drop: share of the pictures that are not sent, 0 to 1; at 1 the connection stays open and silent.
        delay_s: send pictures so late [s].
        corrupt: spoil the JPEG data.
    """

    freeze: bool = False
    drop: float = 0.0
    delay_s: float = 0.0
    corrupt: bool = False


class MjpegServer:
    """Serves pictures.

    Args:
        sources: by name, a function that returns the newest picture (H, W, 3), RGB; it is called on the server's threads.
        fps: pictures per second and stream.
        host: address to listen on; the default cannot be reached from outside.
        port: 0 takes a free one.
        quality: of the JPEG, 1 to 100.
        noise: standard deviation of the sensor noise that is added [0 to 255]; a still scene without any looks like a frozen camera.

    Attributes:
        faults: by name, what is broken.
    """

    def __init__(
        self,
        sources: Mapping[str, Callable[[], U8]],
        fps: float = 30.0,
        host: str = "127.0.0.1",
        port: int = 0,
        quality: int = 90,
        noise: float = 2.0,
    ) -> None:
        if not 0 < fps <= 240:
            raise ConfigError(f"fps must lie in (0, 240]; got {fps}")
        self.faults = {name: StreamFaults() for name in sources}
        self._sources, self._fps, self._noise = dict(sources), fps, noise
        self._cv2 = require("cv2", "real")
        self._quality = [self._cv2.IMWRITE_JPEG_QUALITY, quality]
        self._field: NDArray[np.int16] = np.zeros((0, 0, 3), dtype=np.int16)
        self._ending = threading.Event()
        self._server = ThreadingHTTPServer((host, port), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="mjpeg-server", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Port that the server listens on."""
        return int(self._server.server_address[1])

    def url(self, name: str) -> str:
        """Return the address of a stream."""
        if name not in self._sources:
            raise ConfigError(f"no stream {name!r}; there are {sorted(self._sources)}")
        return f"http://{self._server.server_address[0]!s}:{self.port}/{name}"

    def close(self) -> None:
        """End every stream; safe to call twice."""
        if not self._ending.is_set():
            self._ending.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(2.0)

    def __enter__(self) -> "MjpegServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pictures(self, name: str) -> Iterator[bytes]:
        """Yield JPEG data at the server's rate, faults included."""
        rate, faults, rng = Rate(1 / self._fps), self.faults[name], np.random.default_rng()
        waiting: deque[tuple[float, bytes]] = deque()
        last, owed = b"", 0.0
        while not self._ending.is_set():
            rate.sleep()
            if not (faults.freeze and last):
                last = self._encode(self._sources[name](), rng)
            waiting.append((time.monotonic() + faults.delay_s, last))
            while waiting and waiting[0][0] <= time.monotonic():
                data = waiting.popleft()[1]
                owed += faults.drop
                if owed >= 1.0:
                    owed -= 1.0
                    continue
                yield self._spoil(data, rng) if faults.corrupt else data

    def _encode(self, image: U8, rng: np.random.Generator) -> bytes:
        if self._noise > 0:
            image = self._cv2.add(image, self._noise_field(image.shape[0], image.shape[1], rng), dtype=self._cv2.CV_8U)
        good, data = self._cv2.imencode(".jpg", self._cv2.cvtColor(image, self._cv2.COLOR_RGB2BGR), self._quality)
        assert good
        return data.tobytes()

    def _noise_field(self, height: int, width: int, rng: np.random.Generator) -> NDArray[np.int16]:
        """Return noise (height, width, 3): a piece of one large field, from a random corner on; drawing it anew would cost too much."""
        field = self._field
        if field.shape[0] < height + 64 or field.shape[1] < width + 64:
            self._field = field = np.rint(rng.normal(0.0, self._noise, (height + 64, width + 64, 3))).astype(np.int16)
        top, left = rng.integers(0, 64, 2)
        return np.ascontiguousarray(field[top : top + height, left : left + width])

    @staticmethod
    def _spoil(data: bytes, rng: np.random.Generator) -> bytes:
        """Return data that no decoder takes for a picture: the header is garbage, the end is missing."""
        head, rest = data[:2], data[2 : len(data) // 2]
        return head + bytes(rng.integers(0, 255, size=min(200, len(rest)), dtype=np.uint8)) + rest[200:]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.strip("/")
                if name not in server.faults:
                    self.send_error(404, f"there are {sorted(server.faults)}")
                    return
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
                self.end_headers()
                try:
                    for data in server._pictures(name):
                        head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                        self.wfile.write(head.encode() + data + b"\r\n")
                except OSError:
                    pass  # the reader has gone

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
