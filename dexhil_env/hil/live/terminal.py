"""A person at a terminal without a browser: keys that toggle, because a terminal does not tell when a key is let go."""

import contextlib
import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from dexhil_env.errors import ConfigError
from dexhil_env.hil.live.inbox import Inbox
from dexhil_env.hil.live.messages import ARM_DEVICES, HAND_DEVICES, Message
from dexhil_env.hil.live.operator import HumanOperator
from dexhil_env.hil.live.pedal import Pedal
from dexhil_env.hil.live.person import Retarget
from dexhil_env.hil.live.wish import LiveConfig

HELP: Final = (
    "space take over / give back   1 both 2 arm 3 hand   arrows right, left, away, near   r f up, down   a d yaw   w s pitch   q e roll\n"
    "g close / open   n next grasp   c clutch   p pause   . one step in a pause\n"
    "Enter start, success   Backspace failure   u take that back   x discard   ! stop"
)
STEP_M, STEP_RAD = 0.01, 0.05
"""Of one key press; held keys repeat."""
_GRASPS: Final = ("power", "pinch", "tripod")
_MOVES: Final[dict[str, tuple[int, float]]] = {
    "\x1b[C": (0, 1), "\x1b[D": (0, -1), "\x1b[A": (1, 1), "\x1b[B": (1, -1), "r": (2, 1), "f": (2, -1),
    "w": (3, 1), "s": (3, -1), "q": (4, 1), "e": (4, -1), "a": (5, 1), "d": (5, -1),
}  # fmt: skip
_SIMPLE: Final[dict[str, Message]] = {
    "\x7f": {"type": "verdict", "value": "failure"}, "x": {"type": "verdict", "value": "discard"}, "!": {"type": "estop"},
    "u": {"type": "undo"}, ".": {"type": "step"},
}  # fmt: skip


class KeyMeaning:
    """What each key means, given what is on already."""

    def __init__(self) -> None:
        self._on = self._clutched = self._paused = self._closed = self._started = False
        self._limbs, self._grasp = (True, True), 0

    def fresh(self) -> None:
        """A new episode: nothing is taken."""
        self._on = self._clutched = self._paused = self._started = False

    def of(self, key: str) -> Message | None:
        """Return the message of a key, or None."""
        if key in _MOVES:
            axis, sign = _MOVES[key]
            steps = [0.0] * 6
            steps[axis] = sign * (STEP_M if axis < 3 else STEP_RAD)
            return {"type": "nudge", "linear": steps[:3], "angular": steps[3:]}
        if key in _SIMPLE:
            return _SIMPLE[key]
        return self._toggles(key)

    def _toggles(self, key: str) -> Message | None:
        message: Message | None = None
        if key in "123":
            self._limbs = {"1": (True, True), "2": (True, False), "3": (False, True)}[key]
            message = self._engage() if self._on else None
        elif key == " ":
            message = self.take(not self._on)
        elif key in "\r\n":
            message = {"type": "verdict", "value": "success"} if self._started else {"type": "start"}
            self._started = True
        elif key == "c":
            self._clutched = not self._clutched
            message = {"type": "clutch", "arm": self._clutched, "hand": self._clutched}
        elif key == "p":
            self._paused = not self._paused
            message = {"type": "pause", "on": self._paused}
        elif key in "gn":
            self._closed ^= key == "g"
            self._grasp = (self._grasp + (key == "n")) % len(_GRASPS)
            message = {"type": "synergy", "value": float(self._closed), "grasp": _GRASPS[self._grasp]}
        return message

    def take(self, on: bool) -> Message:
        """Take the chosen limbs over, or give them back."""
        self._on, self._started = on, True
        return self._engage()

    def _engage(self) -> Message:
        return {"type": "engage", "arm": self._on and self._limbs[0], "hand": self._on and self._limbs[1]}


class TerminalOperator(HumanOperator):
    """A live operator that reads the terminal, and a foot pedal beside it.

    Args:
        config: how the person is treated.
        folder: where device streams are written; None writes none.
        name: for the record.
        retarget: turns a hand's keypoints into motor angles.
        pedal: input device of a foot pedal: down takes over, up gives back.

    Raises:
        ConfigError: there is no terminal, or no such pedal.
    """

    def __init__(
        self,
        config: LiveConfig | None = None,
        *,
        folder: str | None = None,
        name: str = "keyboard",
        retarget: Retarget | None = None,
        pedal: str | None = None,
    ) -> None:
        if not sys.stdin.isatty():
            raise ConfigError(f"the operator {name} reads the terminal, and there is none; use --operator console")
        self._heard = Inbox()
        super().__init__(self._heard, config, name=name, retarget=retarget, folder=folder)
        self.keys, self._ending = KeyMeaning(), threading.Event()
        self._pedal = None if pedal is None else Pedal(pedal, self._step_on_it, lambda: self._heard.put({"type": "hold"}))
        sys.stderr.write(HELP + "\n")
        self._reader = threading.Thread(target=self._read, name="keyboard", daemon=True)
        self._reader.start()

    def reset(self, env: Any, rng: Any) -> None:
        """A new episode: nothing is taken."""
        self.keys.fresh()
        super().reset(env, rng)

    def _step_on_it(self, down: bool) -> None:
        self._heard.put(self.keys.take(down))

    def close(self) -> None:
        """Give the terminal back."""
        self._ending.set()
        self._reader.join(1.0)
        if self._pedal is not None:
            self._pedal.close()
        super().close()

    def status(self) -> str:
        """Return what a person must know now, in one line."""
        rates = (
            f"{kind} {facts['hz']:.0f} Hz" for kind, facts in self.health.devices().items() if kind in ARM_DEVICES or kind in HAND_DEVICES
        )
        return "  ".join((f"{self.mode:6}", *rates))

    def _read(self) -> None:
        with single_keys():
            shown = ""
            while not self._ending.is_set():
                self._heard.put({"type": "heartbeat"})
                if (line := self.status()) != shown:
                    shown = line
                    sys.stderr.write(f"\r\x1b[K{line}")
                    sys.stderr.flush()
                if not select.select([sys.stdin.fileno()], [], [], 0.1)[0]:
                    continue
                for key in split_keys(os.read(sys.stdin.fileno(), 64).decode(errors="ignore")):
                    message = self.keys.of(key)
                    if message is not None:
                        self._heard.put(message)
                    if message == {"type": "estop"}:
                        self.stop_robot()
            sys.stderr.write("\r\x1b[K")


def split_keys(text: str) -> list[str]:
    """Return single keys; an arrow is three characters."""
    keys: list[str] = []
    while text:
        size = 3 if text.startswith("\x1b[") else 1
        keys.append(text[:size])
        text = text[size:]
    return keys


@contextmanager
def single_keys() -> Generator[None]:
    """Terminal without line editing and echo; Ctrl-C still interrupts."""
    number = sys.stdin.fileno()
    before: list[Any] = termios.tcgetattr(number)
    tty.setcbreak(number, termios.TCSADRAIN)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(number, termios.TCSADRAIN, before)
