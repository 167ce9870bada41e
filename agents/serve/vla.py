"""Our own policy as a server sees it."""

from typing import Any, Final

import numpy as np
import torch

from agents.checkpoint import interface
from agents.chunking import PREFIX_KEY
from agents.policy import VLAPolicy
from dexhil_env.episode import STATE_DIMS
from dexhil_env.errors import RemoteError
from dexhil_env.types import F32

SEED_KEY: Final = "dexhil/seed"
"""An observation with this integer restarts the client's noise: equal seeds give equal chunks, whoever else is served."""


class ServedVLA:
    """A policy folder for many clients; each has its own noise.

    Args:
        policy: the policy; it is put into evaluation mode.
    """

    def __init__(self, policy: VLAPolicy) -> None:
        self.policy = policy.eval()
        words = {"dexhil": 1, "chunk": policy.config.chunk, "rtc_max_delay": policy.longest_prefix}
        self.metadata: dict[str, Any] = {**words, **interface(policy.config)}

    def client(self) -> torch.Generator:
        """Return the noise of a new client."""
        return torch.Generator().manual_seed(0)

    def check(self, observation: dict[str, Any], state: torch.Generator) -> None:
        """Refuse what the network cannot read, and restart the noise if a seed came along."""
        config = self.policy.config
        wanted = {name: (STATE_DIMS[name],) for name in config.state_keys}
        for name, shape in wanted.items():
            value = observation.get(name)
            if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype.kind != "f" or not np.isfinite(value).all():
                raise RemoteError(f"{name!r} must be {shape} finite floats; got {_described(value)}; the policy needs {self.needs}")
        for name in config.cameras:
            value = observation.get(f"image_{name}")
            good = isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3
            if not good or not 8 <= min(value.shape[:2]) <= max(value.shape[:2]) <= 2048:  # type: ignore[union-attr]
                raise RemoteError(f"'image_{name}' must be (H, W, 3) uint8 of 8 to 2048 px; got {_described(value)}; needed: {self.needs}")
        if not isinstance(observation.get("prompt"), str):
            raise RemoteError("'prompt' must be the instruction as text")
        self._check_prefix(observation.get(PREFIX_KEY))
        seed = observation.pop(SEED_KEY, None)
        if seed is not None:
            state.manual_seed(int(seed) % 2**63)

    def _check_prefix(self, prefix: Any) -> None:
        most, width = self.policy.longest_prefix, self.policy.config.action_dim
        good = isinstance(prefix, np.ndarray) and prefix.ndim == 2 and prefix.shape[1] == width and prefix.dtype.kind == "f"
        if prefix is not None and not (good and len(prefix) <= most and np.isfinite(prefix).all()):
            raise RemoteError(f"{PREFIX_KEY!r} must be at most {most} x {width} finite floats; got {_described(prefix)}")

    @property
    def needs(self) -> list[str]:
        """Keys of an observation."""
        return [*self.policy.config.state_keys, *(f"image_{name}" for name in self.policy.config.cameras), "prompt"]

    def infer(self, requests: list[tuple[dict[str, Any], torch.Generator]]) -> list[F32]:
        """Return a chunk (T, 19) of joint targets [rad] per request."""
        return self.policy.infer_many([observation for observation, _ in requests], [state for _, state in requests])


def _described(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else "nothing" if value is None else type(value).__name__
