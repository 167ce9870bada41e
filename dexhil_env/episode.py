"""An episode in memory: equal-length columns plus what is said once per episode."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexhil_env.errors import DatasetError
from dexhil_env.types import ACTION_DIM, F32

STATE_DIMS = {"arm_joint_pos": 7, "hand_motor_pos": 12, "arm_joint_vel": 7, "fingertip_force": 5, "ee_pose": 7}
"""Width of each observation key that ``observation.state`` holds, in this order (38 in all)."""
STATE_KEYS = tuple(STATE_DIMS)
"""Observation keys that make ``observation.state``."""


@dataclass
class Episode:
    """One attempt at a task, corrections included. Row t holds o_t and the action that was executed from t to t+1.

    Attributes:
        instruction: the task in words.
        task: task name, e.g. ``"plush"``.
        fps: control rate [Hz].
        state: (T, 38) float32, the observation keys of ``STATE_KEYS`` side by side.
        images: camera name -> (T, H, W, 3) uint8; empty for a state-only recording.
        action: (T, 19) float32, executed joint targets after limits [rad].
        policy_action: (T, 19) float32, what the policy wanted [rad].
        intervention: (T,) bool, a person drove arm or hand.
        intervention_source: (T,) int64, ``Source`` codes.
        intervention_id: (T,) int64, 0 outside interventions, counting from 1 within the episode.
        handover: (T,) bool, command blended from the person back to the policy; never trained on.
        reward, done, truncated, success: (T,) float32, bool, bool, bool; the values after the action.
        t_obs_ns, t_arm_ns, t_hand_ns: (T,) int64 stamps of the observation and of the commands that made the row.
        round: DAgger round, 0 = demonstrations.
        extra: JSON-serialisable facts said once: seed, verdict, environment id, takeover metrics, task metrics, ...
    """

    instruction: str
    task: str
    fps: int
    state: F32
    images: dict[str, NDArray[np.uint8]]
    action: F32
    policy_action: F32
    intervention: NDArray[np.bool_]
    intervention_source: NDArray[np.int64]
    intervention_id: NDArray[np.int64]
    handover: NDArray[np.bool_]
    reward: F32
    done: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    success: NDArray[np.bool_]
    t_obs_ns: NDArray[np.int64]
    t_arm_ns: NDArray[np.int64]
    t_hand_ns: NDArray[np.int64]
    round: int = 0
    extra: dict[str, Any] = field(default_factory=dict[str, Any])

    COLUMNS = (
        "state", "action", "policy_action", "intervention", "intervention_source", "intervention_id", "handover",
        "reward", "done", "truncated", "success", "t_obs_ns", "t_arm_ns", "t_hand_ns",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse columns of unequal length or actions of another robot."""
        lengths = {name: len(getattr(self, name)) for name in self.COLUMNS}
        lengths |= {f"images.{name}": len(frames) for name, frames in self.images.items()}
        if len(set(lengths.values())) != 1:
            raise DatasetError(f"an episode's columns must have one length; got {lengths}")
        if self.action.shape[1:] != (ACTION_DIM,):
            raise DatasetError(f"actions must have shape (T, {ACTION_DIM}); got {self.action.shape}")

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.action)

    @property
    def is_success(self) -> bool:
        """Whether the task was done at the end."""
        return bool(len(self) and self.success[-1])
