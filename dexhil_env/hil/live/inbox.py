"""What devices have said and nobody has heard yet: a bounded queue between their threads and the servo."""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from dexhil_env.hil.live.messages import CONTINUOUS, Message

CAPACITY: Final = 512
"""Messages kept while nobody listens; the oldest readings go first, a press never does."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """A message and when it arrived [ns, ``time.monotonic_ns``]."""

    message: Message
    t_ns: int


class Inbox:
    """Thread-safe; readers never wait unless they ask to."""

    def __init__(self) -> None:
        self._news: deque[Stamped] = deque()
        self._changed = threading.Condition()

    def put(self, message: Message, t_ns: int | None = None) -> None:
        """Add a checked message, stamped now unless a device knows better."""
        with self._changed:
            if len(self._news) >= CAPACITY:
                self._make_room()
            self._news.append(Stamped(message, time.monotonic_ns() if t_ns is None else t_ns))
            self._changed.notify_all()

    def _make_room(self) -> None:
        for index, old in enumerate(self._news):
            if old.message["type"] in CONTINUOUS:
                del self._news[index]
                return
        self._news.popleft()

    def take(self) -> list[Stamped]:
        """Return everything, oldest first, and forget it."""
        if not self._news:  # a look without the lock: the servo asks 200 times a second
            return []
        with self._changed:
            news = list(self._news)
            self._news.clear()
            return news

    def wait_for(self, kinds: frozenset[str], timeout_s: float) -> bool:
        """Wait until a message of one of these types is here; it stays. Return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: any(each.message["type"] in kinds for each in self._news), timeout_s)
