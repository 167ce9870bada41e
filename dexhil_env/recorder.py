"""Collects what happened into an :class:`Episode`. It listens to observations and info; it never acts."""

from typing import Any

import numpy as np

from dexhil_env import robot
from dexhil_env.episode import STATE_KEYS, Episode
from dexhil_env.errors import DatasetError
from dexhil_env.types import Observation, Source

_FLAGS = {"is_intervention": "intervention", "is_handover": "handover"}
_SOURCE_CODES = {source.label: int(source) for source in Source}
_METRIC_SKIP = ("t_obs_ns", "t_arm_ns", "t_hand_ns", "intervention_id", "progress")


class EpisodeRecorder:
    """Records one episode at a time.

    Args:
        task: task name for the record.
        round_index: DAgger round, 0 for demonstrations.
        keep_images: record the images.
    """

    def __init__(self, task: str, round_index: int = 0, keep_images: bool = True) -> None:
        self.task, self.round, self.keep_images = task, round_index, keep_images
        self._rows: list[dict[str, Any]] = []
        self._observation: Observation | None = None
        self._handovers: list[dict[str, Any]] = []

    def __len__(self) -> int:
        """Count the rows of the present episode."""
        return len(self._rows)

    def start(self, observation: Observation, info: dict[str, Any]) -> None:
        """Begin a new episode with what ``reset`` returned; an unfinished one is dropped."""
        self._rows, self._handovers = [], []
        self._observation, self._obs_ns = self._kept(observation), info["t_obs_ns"]
        self._instruction = info["instruction"]

    def add(self, observation: Observation, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]) -> None:
        """Add what ``step`` returned."""
        if self._observation is None:
            raise DatasetError("EpisodeRecorder.add() before start(): call start() with what reset() returned")
        self._rows.append(
            {
                "obs": self._observation,
                "action": info["applied_action"],
                "policy_action": info["policy_action"],
                "intervention_source": _SOURCE_CODES[info["intervention_source"]],
                "intervention_id": info["intervention_id"],
                **{name: info[key] for key, name in _FLAGS.items()},
                "reward": reward,
                "done": terminated or truncated,
                "truncated": truncated,
                "success": info["is_success"],
                "t_obs_ns": self._obs_ns,
                "t_arm_ns": info["t_arm_ns"],
                "t_hand_ns": info["t_hand_ns"],
            }
        )
        self._handovers += info["handovers"]
        self._observation, self._obs_ns, self._info = self._kept(observation), info["t_obs_ns"], info

    def _kept(self, observation: Observation) -> Observation:
        return observation if self.keep_images else {key: value for key, value in observation.items() if not key.startswith("image_")}

    def finish(self, **facts: Any) -> Episode:
        """Return the episode; ``facts`` are stored beside it (seed, operator, policy, ...).

        The fact ``interrupted`` says that the robot has stopped: the last row is marked as truncated.

        Raises:
            DatasetError: nothing was recorded.
        """
        rows = self._rows
        if not rows:
            raise DatasetError("there is nothing to finish: the episode has no steps")
        if "interrupted" in facts:
            rows[-1] |= {"done": True, "truncated": True}
        first: Observation = rows[0]["obs"]
        kinds: dict[str, Any] = {"reward": np.float32, "action": np.float32, "policy_action": np.float32}
        kinds |= dict.fromkeys(("intervention", "handover", "done", "truncated", "success"), np.bool_)
        columns: dict[str, Any] = {key: np.array([row[key] for row in rows], kinds.get(key, np.int64)) for key in rows[0] if key != "obs"}
        metrics = {
            key: float(value)
            for key, value in self._info.items()
            if isinstance(value, float) and key not in _METRIC_SKIP and np.isfinite(value)  # NaN: a metric that nobody measures in a lab
        }
        extra: dict[str, Any] = {"verdict": self._info["verdict"], "metrics": metrics, "handovers": list(self._handovers), **facts}
        self._observation = None
        return Episode(
            instruction=self._instruction,
            task=self.task,
            fps=round(1 / robot.CONTROL_PERIOD_S),
            state=np.array([np.concatenate([row["obs"][key] for key in STATE_KEYS]) for row in rows], np.float32),
            images={key.removeprefix("image_"): np.stack([row["obs"][key] for row in rows]) for key in first if key.startswith("image_")},
            round=self.round,
            extra=extra,
            **columns,
        )
