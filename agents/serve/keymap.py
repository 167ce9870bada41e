"""How somebody else's policy names things: what to send, and what its actions mean."""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agents.frames import resize
from dexhil_env import robot
from dexhil_env.errors import ConfigError, RemoteError
from dexhil_env.types import F32, Observation

Kind = Literal["joint_targets", "joint_deltas"]


@dataclass(frozen=True)
class KeyMap:
    """Translates observations and actions.

    Attributes:
        send: their name -> our observation key, a list of ours to be joined to one vector, or ``"prompt"``. Empty sends ours as they are.
        fixed: further entries that their server wants, sent as they are.
        image_size: side of the square pictures that are sent [px]; 0 leaves them.
        actions: name of the chunk in their answer.
        columns: column of their chunk for each of our 19 joints (7 arm joints, 12 hand motors); empty takes them in order. -1 leaves the
            joint where it is.
        kind: absolute joint targets [rad], or targets relative to the joints that were sent.
        clip: keep targets within the joint ranges.
    """

    send: dict[str, str | list[str]] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    image_size: int = 0
    actions: str = "actions"
    columns: tuple[int, ...] = ()
    kind: Kind = "joint_targets"
    clip: bool = True

    def __post_init__(self) -> None:
        if self.kind not in ("joint_targets", "joint_deltas"):
            raise ConfigError(f"kind must be 'joint_targets' or 'joint_deltas'; got {self.kind!r}")
        if self.columns and len(self.columns) != robot.ACTION_DIM:
            raise ConfigError(f"columns must name {robot.ACTION_DIM} columns, one per joint of this robot; got {len(self.columns)}")

    def request(self, observation: Observation, instruction: str) -> dict[str, Any]:
        """Return what is sent for an observation."""
        ours = {**observation, "prompt": instruction}
        names = self.send or {name: name for name in ours}
        return {theirs: self._value(ours, name) for theirs, name in names.items()} | self.fixed

    def _value(self, ours: dict[str, Any], name: str | list[str]) -> Any:
        missing = [key for key in ([name] if isinstance(name, str) else name) if key not in ours]
        if missing:
            raise ConfigError(f"the key map sends {missing}, which this environment does not observe; it observes {sorted(ours)}")
        if not isinstance(name, str):
            return np.concatenate([np.ravel(ours[key]) for key in name]).astype(np.float32)
        value = ours[name]
        if self.image_size and name.startswith("image_"):
            return resize(value[None], self.image_size)[0]
        return value

    def chunk(self, answer: dict[str, Any], observation: Observation) -> F32:
        """Return joint targets (T, 19) [rad] from their answer.

        Raises:
            RemoteError: the answer holds no such chunk, or one that is not finite or too narrow.
        """
        raw = answer.get(self.actions)
        if not isinstance(raw, np.ndarray) or raw.ndim != 2 or len(raw) < 1 or raw.dtype.kind != "f":
            raise RemoteError(f"the answer has no chunk (T, A) of floats under {self.actions!r}; its keys are {sorted(answer)}")
        columns = np.array(self.columns or range(robot.ACTION_DIM))
        if columns.max() >= raw.shape[1]:
            raise RemoteError(f"the chunk has {raw.shape[1]} columns; column {columns.max()} is wanted: name the right ones in 'columns'")
        if not np.isfinite(raw).all():
            raise RemoteError("the chunk holds NaN or infinity; nothing of it is executed")
        now = np.concatenate([observation["arm_joint_pos"], observation["hand_motor_pos"]]).astype(np.float32)
        values = np.where(columns >= 0, raw[:, columns], 0.0 if self.kind == "joint_deltas" else now)
        values = values + now if self.kind == "joint_deltas" else values
        return (np.clip(values, robot.LOW, robot.HIGH) if self.clip else values).astype(np.float32)


def read_key_map(path: Path) -> tuple[KeyMap, dict[str, Any]]:
    """Read a file that describes a remote policy: its ``uri`` and further settings, and the fields of :class:`KeyMap`.

    Raises:
        ConfigError: it is not JSON, or holds an unknown key.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}") from error
    names = {item.name for item in fields(KeyMap)}
    ours: dict[str, Any] = {key: value for key, value in values.items() if key in names}
    if "columns" in ours:
        ours["columns"] = tuple(ours["columns"])
    return KeyMap(**ours), {key: value for key, value in values.items() if key not in names}
