"""Keys from the terminal while the robot moves: a thread reads them one by one, and one of them stops the robot at once."""

import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Final

from dexhil_env.hil.live.terminal import single_keys
from real.tasks import ask_on_terminal

STOP_KEY: Final = " "
_PERIOD_S: Final = 0.05


class Keyboard:
    """Reads single keys from the terminal between :meth:`start` and :meth:`close`; without a terminal it stays silent.

    Args:
        on_stop: called on the reading thread when the space bar is pressed; may be set later.
    """

    def __init__(self, on_stop: Callable[[], None] = lambda: None) -> None:
        self.on_stop = on_stop
        self._pressed = ""
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._pausing = threading.Event()
        self._terminal = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to read."""
        if self._thread is None and sys.stdin is not None and sys.stdin.isatty():  # pyright: ignore[reportUnnecessaryComparison]
            self._ending.clear()
            self._thread = threading.Thread(target=self._loop, name="keyboard", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop reading and give the terminal back; safe to call twice."""
        self._ending.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)
        self._thread = None

    def poll(self) -> str:
        """Return the keys pressed since the last call; see ``real.tasks.Keys``."""
        with self._lock:
            pressed, self._pressed = self._pressed, ""
            return pressed

    def ask(self, prompt: str) -> str:
        """Show a prompt and wait for a line, as ``input`` does; keys are not read meanwhile."""
        self._pausing.set()
        try:
            with self._terminal:
                return ask_on_terminal(prompt)
        finally:
            self._pausing.clear()

    def _loop(self) -> None:
        while not self._ending.is_set():
            with self._terminal, single_keys():
                while not self._ending.is_set() and not self._pausing.is_set():
                    self._read()
            self._ending.wait(_PERIOD_S)  # lets ask() in

    def _read(self) -> None:
        number = sys.stdin.fileno()
        if not select.select([number], [], [], _PERIOD_S)[0]:
            return
        key = os.read(number, 1).decode(errors="ignore")
        if key == STOP_KEY:
            self.on_stop()
        with self._lock:
            self._pressed += key
