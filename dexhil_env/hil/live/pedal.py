"""A foot pedal as Linux sees it: pressed and let go, which a terminal does not tell. Any input device with keys does."""

import logging
import os
import select
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dexhil_env.errors import ConfigError

logger = logging.getLogger(__name__)

EVENT: Final = struct.Struct("llHHi")
"""``struct input_event`` of linux/input.h: seconds, microseconds, type, code, value."""
KEY: Final = 1
"""Type EV_KEY; its values are 0 let go, 1 pressed, 2 repeated."""


class Pedal:
    """Calls back from a thread of its own when the pedal goes down and when it comes up; all its keys do the same.

    Args:
        path: e.g. ``/dev/input/by-id/usb-PCsensor_FootSwitch-event-kbd``.
        act: called with whether it is down.
        gone: called when it is unplugged.

    Raises:
        ConfigError: it cannot be opened.
    """

    def __init__(self, path: str | Path, act: Callable[[bool], None], gone: Callable[[], None]) -> None:
        self._act, self._gone, self._down = act, gone, set[int]()
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise ConfigError(f"no pedal at {path} ({error.strerror}); see ls /dev/input/by-id, and be in the group input") from error
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="pedal", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; safe to call twice."""
        self._ending.set()
        self._thread.join(1.0)

    def _loop(self) -> None:
        while not self._ending.is_set():
            if not select.select([self._file], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self._file, 64 * EVENT.size)
            except OSError as error:
                logger.error("the pedal is gone: %s", error)
                data = b""
            if not data:
                self._gone()
                break
            for _, _, kind, code, value in EVENT.iter_unpack(data[: len(data) // EVENT.size * EVENT.size]):
                if kind == KEY and value != 2:
                    self._press(code, value == 1)
        os.close(self._file)

    def _press(self, code: int, down: bool) -> None:
        before = bool(self._down)
        (self._down.add if down else self._down.discard)(code)
        if bool(self._down) != before:
            self._act(not before)
