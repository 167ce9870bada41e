"""Action chunks: labels relative to the measured joints, who makes them, and the queue that a rollout executes from."""

from collections import deque
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np

from dexhil_env.robot import ARM
from dexhil_env.types import F32, Observation

PREFIX_KEY: Final = "dexhil/prefix"
"""Key of an observation for the targets (D, 19) [rad] that will be executed from now on while the policy thinks."""


@runtime_checkable
class ChunkPolicy(Protocol):
    """A policy that plans ahead."""

    @property
    def n_exec(self) -> int:
        """Actions of each chunk that are executed."""
        ...

    @property
    def longest_prefix(self) -> int:
        """How many first actions of a chunk it can be given; 0 for a policy that plans afresh every time."""
        ...

    def reset(self, seed: int | None = None) -> None:
        """Forget the past; a seed starts an episode."""
        ...

    def plan(self, observation: Observation, instruction: str, prefix: F32 | None = None) -> F32:
        """Return a chunk (T, 19) of joint targets [rad] from now on, which begins with ``prefix`` (D, 19)."""
        ...


def to_relative(chunk: Any, arm: Any) -> Any:
    """Return a copy of chunks (..., T, 19) whose arm targets are relative to the measured arm joints (..., 7) [rad]."""
    return _shifted(chunk, -arm)


def to_absolute(chunk: Any, arm: Any) -> Any:
    """Undo ``to_relative``."""
    return _shifted(chunk, arm)


def _shifted(chunk: Any, offset: Any) -> Any:
    """Copy numpy or torch chunks and add an offset to the arm part."""
    moved = chunk.copy() if isinstance(chunk, np.ndarray) else chunk.clone()
    moved[..., ARM] += offset[..., None, :]
    return moved


class ChunkQueue:
    """Executes the first ``n_exec`` actions of a chunk, then asks for the next one."""

    def __init__(self, n_exec: int) -> None:
        """Start empty."""
        self.n_exec = n_exec
        self._actions: deque[F32] = deque()

    def __len__(self) -> int:
        """Count the actions left."""
        return len(self._actions)

    def refill(self, chunk: F32) -> None:
        """Replace what is left by the first ``n_exec`` rows of a (T, A) chunk."""
        self._actions = deque(np.array(chunk[: self.n_exec], dtype=np.float32))

    def pop(self) -> F32:
        """Take the next action (A,)."""
        return self._actions.popleft()

    def clear(self) -> None:
        """Drop a stale chunk, e.g. at a takeover or a hand-back."""
        self._actions.clear()
