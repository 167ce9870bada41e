"""What a person's devices said, tick by tick: written while it happens, and read back for an exact repetition.

One JSON object per line. ``{"header": ...}`` says what ran; ``{"k": tick, "t": seconds, "ns": stamp, "m": message}`` is a message and the
servo tick that heard it; ``{"p": bool}`` says whether the policy had answered when it was looked at; ``{"end": ticks}`` closes an episode.
"""

import json
import os
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from dexhil_env.errors import DatasetError
from dexhil_env.hil.live.inbox import Inbox, Stamped
from dexhil_env.hil.live.messages import MessageError, check

FORMAT = 1


class Source(Protocol):
    """Where an operator hears messages."""

    def take(self, tick: int) -> list[Stamped]:
        """Return what is to be heard at this servo tick, oldest first."""
        ...


class Heard:
    """Hears an inbox.

    Args:
        inbox: where devices put their messages.
    """

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox

    def take(self, tick: int) -> list[Stamped]:
        """Return everything new."""
        del tick
        return self.inbox.take()


@dataclass
class Recording:
    """One recorded episode.

    Attributes:
        header: what ran: environment, policy, seed, ...
        messages: tick -> messages heard at that tick.
        answers: whether the policy had answered, in the order of the questions.
        ticks: servo ticks of the episode, or None when the recording was cut off.
    """

    header: dict[str, Any]
    messages: dict[int, list[Stamped]] = field(default_factory=dict[int, "list[Stamped]"])
    answers: deque[bool] = field(default_factory=deque[bool])
    ticks: int | None = None

    def take(self, tick: int) -> list[Stamped]:
        """Return what was heard at this servo tick."""
        return self.messages.get(tick, [])


def read_recording(path: str | Path) -> Recording:
    """Read a device stream; a last line that was cut off by a crash is left out.

    Raises:
        DatasetError: there is no such file, or it is no device stream.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        header = json.loads(lines[0])["header"]
        if header["format"] != FORMAT:
            raise DatasetError(f"{path} has format {header['format']}; this program reads {FORMAT}")
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DatasetError(f"{path} is no device stream of a live operator: {error}") from error
    recording = Recording(header)
    for number, line in enumerate(lines[1:], 2):
        try:
            _read_line(recording, json.loads(line))
        except (ValueError, KeyError, TypeError, MessageError) as error:
            if number == len(lines):
                break
            raise DatasetError(f"{path}, line {number}: {error}") from error
    return recording


def _read_line(recording: Recording, row: dict[str, Any]) -> None:
    if "m" in row:
        recording.messages.setdefault(int(row["k"]), []).append(Stamped(check(row["m"]), int(row["ns"])))
    elif "p" in row:
        recording.answers.append(bool(row["p"]))
    elif "end" in row:
        recording.ticks = int(row["end"])


class StreamWriter:
    """Writes device streams into a folder, one file per episode, each line flushed; a crash costs at most the last line.

    Args:
        folder: where to; made when the first episode begins. None writes nothing.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._file: TextIO | None = None
        self.path: Path | None = None

    def begin(self, header: dict[str, Any]) -> None:
        """Open the file of a new episode."""
        self.close()
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        number = len(list(self._folder.glob("episode-*.jsonl")))
        self.path = self._folder / f"episode-{number:06d}.jsonl"
        self._file = self.path.open("x", encoding="utf-8")
        self._write({"header": {"format": FORMAT, **header}})

    def hear(self, tick: int, t_s: float, stamped: Stamped) -> None:
        """Write a message."""
        self._write({"k": tick, "t": round(t_s, 6), "ns": stamped.t_ns, "m": stamped.message})

    def answer(self, ready: bool) -> None:
        """Write whether the policy had answered."""
        self._write({"p": ready})

    def end(self, ticks: int) -> None:
        """Close the file of an episode that is over."""
        self._write({"end": ticks})
        if self._file is not None:
            os.fsync(self._file.fileno())
        self.close()

    def close(self) -> None:
        """Close whatever is open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, row: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(row, separators=(",", ":"), allow_nan=False) + "\n")
            self._file.flush()
