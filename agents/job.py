"""What to run: environment, policy, human."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from dexhil_env.hil.live.registry import OperatorSpec
from dexhil_env.hil.scripted import ScriptedConfig

Delay = int | Literal["measured"]
"""Control periods that a policy's answers take in simulated time; or as long as they really take, which is in real time."""


@dataclass(frozen=True)
class Job:
    """What to run.

    Attributes:
        env_id: environment id.
        policy: ``expert``, ``zero`` (stays at home), ``random``, or a policy folder.
        operator: habits of the simulated human, a live operator by name, or None to run without one.
        env_kwargs: further arguments of ``gym.make``.
        policy_kwargs: further arguments of the policy (for the expert: ``motion``, ``never_close``).
        round_index: DAgger round for the record.
        keep_images: return the images with the episodes.
        max_episode_steps: overrides the registered time limit.
        delay: the policy plans on while its last chunk is executed (:class:`agents.async_chunks.AsyncChunks`); None: the robot waits.
    """

    env_id: str
    policy: str = "expert"
    operator: ScriptedConfig | OperatorSpec | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    policy_kwargs: dict[str, Any] = field(default_factory=dict)
    round_index: int = 0
    keep_images: bool = True
    max_episode_steps: int | None = None
    delay: Delay | None = None

    @property
    def live(self) -> bool:
        """Whether a person sits there: one process, in real time."""
        return isinstance(self.operator, OperatorSpec) and not self.operator.replays

    @property
    def header(self) -> dict[str, Any]:
        """What must be equal for a repetition of a device stream, JSON-serialisable."""
        words = {name: value for name, value in self.env_kwargs.items() if name not in ("realtime", "keys") and not callable(value)}
        return {
            "env_id": self.env_id, "policy": self.policy, "env_kwargs": json.loads(json.dumps(words, default=str)),
            "max_episode_steps": self.max_episode_steps, "keep_images": self.keep_images,
            **({} if self.delay is None else {"delay": self.delay}),
        }  # fmt: skip
