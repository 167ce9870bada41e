"""A recorded person, who does the same again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dexhil_env.errors import ConfigError
from dexhil_env.hil.live.operator import HumanOperator
from dexhil_env.hil.live.person import Retarget
from dexhil_env.hil.live.stream import read_recording
from dexhil_env.hil.live.wish import LiveConfig


class ReplayOperator(HumanOperator):
    """Says again, tick by tick, what a person's devices said. Needs the same environment, policy and seed.

    Args:
        path: a device stream.
        make_retarget: makes the retargeter for the hand of the recorded run, from its profile's file or None.

    Attributes:
        recording: what is repeated.
    """

    def __init__(self, path: str | Path, make_retarget: Callable[[str | None], Retarget | None] = lambda _: None) -> None:
        self.recording = read_recording(path)
        hand: dict[str, str] = self.recording.header.get("hand", {})
        retarget = make_retarget(hand.get("profile"))
        if retarget is not None and getattr(retarget, "facts", {}) != hand:
            raise ConfigError(
                f"{path} was recorded with the hand {hand['profile']}, which has been changed since: its motions would differ"
            )
        settings: dict[str, Any] = {**self.recording.header["config"], "wait_for_start": False}
        super().__init__(self.recording, LiveConfig(**settings), name=str(self.recording.header.get("operator", "live")), retarget=retarget)
        self._path = Path(path)

    def announce(self, header: dict[str, Any]) -> None:
        """Compare with what was recorded.

        Raises:
            ConfigError: the recording is of something else.
        """
        recorded = self.recording.header
        wrong = [
            f"{name} {recorded[name]!r}, not {value!r}" for name, value in header.items() if name in recorded and recorded[name] != value
        ]
        if wrong:
            raise ConfigError(f"{self._path} was recorded with {'; '.join(wrong)}: give the same, or it would be another episode")

    def facts(self) -> dict[str, object]:
        """Return the facts with the file that was repeated."""
        return {**super().facts(), "replayed": self._path.name}
