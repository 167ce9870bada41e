"""One network for many clients: requests that arrive together are answered by one forward pass."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from dexhil_env.errors import RemoteError
from dexhil_env.types import F32

log = logging.getLogger(__name__)

Infer = Callable[[list[tuple[dict[str, Any], Any]]], list[F32]]
"""Answers several (observation, random state of the client) at once with a chunk (T, A) each."""


@dataclass
class Counts:
    """What has been done.

    Attributes:
        requests: answered.
        batches: forward passes.
        largest: requests in the largest of them.
        infer_s: time in them [s].
    """

    requests: int = 0
    batches: int = 0
    largest: int = 0
    infer_s: float = 0.0


@dataclass
class _Request:
    observation: dict[str, Any]
    state: Any
    answer: "Future[tuple[F32, float]]" = field(default_factory=Future[tuple[F32, float]])


class Batcher:
    """Collects requests for a moment and answers them together, on a thread of its own.

    Args:
        infer: answers a list of requests.
        window_s: how long the first request of a batch waits for others [s].
        largest: requests per batch at most.
    """

    def __init__(self, infer: Infer, window_s: float = 0.005, largest: int = 32) -> None:
        self._infer, self._window_s, self._largest = infer, window_s, largest
        self._waiting: queue.Queue[_Request | None] = queue.Queue(maxsize=1024)
        self.counts = Counts()
        self._thread = threading.Thread(target=self._loop, name="inference", daemon=True)
        self._thread.start()

    def submit(self, observation: dict[str, Any], state: Any) -> "Future[tuple[F32, float]]":
        """Ask for a chunk; the result is the chunk (T, A) and the time of its forward pass [s].

        Raises:
            RemoteError: more requests wait than can ever be answered in time.
        """
        request = _Request(observation, state)
        try:
            self._waiting.put_nowait(request)
        except queue.Full:
            raise RemoteError("the server is overloaded: 1024 requests wait already") from None
        return request.answer

    def _loop(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [request for request in self._gather(first) if request.answer.set_running_or_notify_cancel()]
            if batch:
                self._answer(batch)

    def _gather(self, first: _Request) -> list[_Request]:
        batch, deadline = [first], time.monotonic() + self._window_s
        while len(batch) < self._largest:
            try:
                request = self._waiting.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                break
            if request is None:
                self._waiting.put(None)
                break
            batch.append(request)
        return batch

    def _answer(self, batch: list[_Request]) -> None:
        begun = time.monotonic()
        try:
            chunks = self._infer([(request.observation, request.state) for request in batch])
        except Exception as error:  # goes to those who asked; the server stays up for the others
            log.exception("inference failed for %d requests", len(batch))
            for request in batch:
                request.answer.set_exception(RemoteError(f"inference failed: {type(error).__name__}: {error}"))
            return
        spent_s = time.monotonic() - begun
        counts = self.counts
        counts.requests, counts.batches = counts.requests + len(batch), counts.batches + 1
        counts.largest, counts.infer_s = max(counts.largest, len(batch)), counts.infer_s + spent_s
        for request, chunk in zip(batch, chunks, strict=True):
            request.answer.set_result((chunk, spent_s))

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        self._waiting.put(None)
        self._thread.join(10.0)
