"""A recorded person, who does the same again."""

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
        retarget: as in the recorded run.

    Attributes:
        recording: what is repeated.
    """

    def __init__(self, path: str | Path, retarget: Retarget | None = None) -> None:
        self.recording = read_recording(path)
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
