"""Policies: what chooses actions, and the vision-language-action policy that is trained."""

from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from agents import flow
from agents.chunking import PREFIX_KEY, ChunkQueue, to_absolute, to_relative
from agents.frames import STATE_DIMS, resize, state_vector
from agents.normalize import Normalizer
from agents.vla.config import VLAConfig
from agents.vla.large import make_model
from dexhil_env.errors import ConfigError, DatasetError
from dexhil_env.robot import ARM, HIGH, LOW
from dexhil_env.types import F32, Observation

Batch = dict[str, Any]
"""LeRobot-like batch: ``observation.images.<camera>``, ``observation.state``, ``action``, ``action_is_pad``, ``task``."""


class Policy(Protocol):
    """Anything that can drive the robot."""

    def reset(self, seed: int | None = None) -> None:
        """Forget the plan, e.g. at a takeover and at a hand-back; a seed starts an episode."""
        ...

    def act(self, observation: Observation, instruction: str) -> F32:
        """Return (19,) absolute joint targets [rad]."""
        ...


class VLAPolicy(nn.Module):
    """The network with its normaliser, its chunk queue and its random numbers."""

    state_centre: Tensor
    state_scale: Tensor
    action_centre: Tensor
    action_scale: Tensor
    action_weight: Tensor

    def __init__(self, config: VLAConfig, normalizer: Normalizer, *, n_exec: int = 8, seed: int = 0, pretrained: bool = True) -> None:
        """Build a policy.

        Args:
            config: architecture, inputs and outputs.
            normalizer: statistics of the warm-up data.
            n_exec: actions of each chunk that are executed before the next inference.
            seed: seed of the rollout noise.
            pretrained: load stored trunk weights; False when a checkpoint follows.
        """
        super().__init__()
        if not 1 <= n_exec <= config.chunk:
            raise ConfigError(f"n_exec must lie in 1..{config.chunk} (the chunk); got {n_exec}")
        self.config, self.normalizer = config, normalizer
        self.model = make_model(config, pretrained=pretrained)
        for vector in ("state", "action"):
            stats = getattr(normalizer, vector)
            self.register_buffer(f"{vector}_centre", torch.tensor(stats.centre), persistent=False)
            self.register_buffer(f"{vector}_scale", torch.tensor(stats.scale), persistent=False)
        weight = torch.ones(config.action_dim)
        weight[ARM] = config.arm_loss_weight
        self.register_buffer("action_weight", weight / weight.mean(), persistent=False)
        start = config.state_keys.index("arm_joint_pos") if "arm_joint_pos" in config.state_keys else -1
        self._arm = _offset(config, start) if start >= 0 else None
        self._queue = ChunkQueue(n_exec)
        self._generator = torch.Generator().manual_seed(seed)

    # Rollout

    def reset(self, seed: int | None = None) -> None:
        """Drop the rest of the chunk; with a seed, also restart the noise, so that equal seeds give equal actions bit for bit."""
        self._queue.clear()
        if seed is not None:
            self._generator.manual_seed(seed)

    drop_queued_actions = reset

    @property
    def looks_next(self) -> bool:
        """Whether the next ``act`` looks at its observation, or takes an action that is queued already."""
        return not len(self._queue)

    def act(self, observation: Observation, instruction: str) -> F32:
        """Return the next action (19,) of the chunk, inferring a new chunk when it is used up."""
        if not len(self._queue):
            self._queue.refill(self.infer({**observation, "prompt": instruction})["actions"])
        return self._queue.pop()

    @property
    def n_exec(self) -> int:
        """Actions of each chunk that are executed."""
        return self._queue.n_exec

    @property
    def longest_prefix(self) -> int:
        """How many first actions of a chunk may be given."""
        return self.config.rtc_max_delay

    def plan(self, observation: Observation, instruction: str, prefix: F32 | None = None) -> F32:
        """Return a chunk (T, 19) [rad] that begins with ``prefix`` (D, 19), the actions that are executed while it is computed."""
        given = {} if prefix is None or not len(prefix) else {PREFIX_KEY: prefix}
        return self.infer({**observation, "prompt": instruction, **given})["actions"]

    def infer(self, obs: dict[str, Any]) -> dict[str, F32]:
        """Return ``{"actions": (T, 19)}`` for one observation with the instruction under ``prompt``; ``PREFIX_KEY`` may be there."""
        return {"actions": self.infer_many([obs], [self._generator])[0]}

    def infer_many(self, observations: list[dict[str, Any]], generators: list[torch.Generator]) -> list[F32]:
        """Return a chunk (T, 19) [rad] for each observation (instruction under ``prompt``), each with the noise of its own generator."""
        noise = [torch.randn((self.config.chunk, self.config.action_dim), generator=generator) for generator in generators]
        prefix = self._prefixes([obs.get(PREFIX_KEY) for obs in observations])
        return list(self.predict_action_chunk(self._batch_of(observations), torch.stack(noise), *prefix).cpu().numpy())

    def _prefixes(self, given: list[F32 | None]) -> tuple[Tensor, Tensor] | tuple[()]:
        """Lay prefixes of different lengths out as (B, D, 19) and lengths (B,); nothing where nobody gives one."""
        lengths = [0 if prefix is None else len(prefix) for prefix in given]
        if not any(lengths):
            return ()
        rows = np.zeros((len(given), max(lengths), self.config.action_dim), np.float32)
        for row, prefix in zip(rows, given, strict=True):
            if prefix is not None:
                row[: len(prefix)] = prefix
        return torch.from_numpy(rows), torch.tensor(lengths)

    def _batch_of(self, observations: list[dict[str, Any]]) -> Batch:
        """Lay observations out as a batch."""
        config = self.config
        states = np.stack([state_vector(obs, config.state_keys) for obs in observations])
        batch: Batch = {"observation.state": torch.from_numpy(states), "task": [str(obs["prompt"]) for obs in observations]}
        for name in config.cameras:
            if any(f"image_{name}" not in obs for obs in observations):
                raise DatasetError(f"the observation lacks 'image_{name}'; the policy needs cameras {list(config.cameras)}")
            frames = [resize(obs[f"image_{name}"][None], config.image_size) for obs in observations]
            batch[f"observation.images.{name}"] = torch.from_numpy(np.concatenate(frames))
        return batch

    @torch.inference_mode()
    def predict_action_chunk(
        self, batch: Batch, noise: Tensor | None = None, prefix: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """Return (B, T, 19) absolute joint targets [rad], inside the joint ranges.

        Args:
            batch: see ``Batch``.
            noise: (B, T, 19); drawn where none is given.
            prefix: (B, D, 19) absolute first targets [rad] that are decided already.
            lengths: (B,) how many of them count; by default all.

        Raises:
            ConfigError: the prefix is longer than what the policy has met in training.
        """
        if prefix is not None and prefix.shape[1] > self.config.rtc_max_delay:
            raise ConfigError(f"this policy takes at most {self.config.rtc_max_delay} given actions (rtc_max_delay); got {prefix.shape[1]}")
        training = self.training
        self.eval()
        try:
            state, images = self._inputs(batch)
            if noise is None:
                noise = torch.randn((len(state), self.config.chunk, self.config.action_dim), generator=self._generator)
            normal = (state - self.state_centre) / self.state_scale
            given = None if prefix is None else self._normalised(prefix.to(state.device), state)
            lengths = None if lengths is None else lengths.to(state.device)
            chunk = self.model.sample(images, batch["task"], normal, noise.to(state.device), prefix=given, lengths=lengths)
        finally:
            self.train(training)
        chunk = chunk * self.action_scale + self.action_centre
        if self.config.relative_arm:
            chunk = to_absolute(chunk, state[:, self._arm])
        low, high = (torch.tensor(bound, dtype=torch.float32, device=chunk.device) for bound in (LOW, HIGH))
        return chunk.clamp(low, high)

    def _normalised(self, actions: Tensor, state: Tensor) -> Tensor:
        """Return absolute targets (B, T, 19) [rad] as the network sees them; the arm relative to the joints of state (B, S)."""
        if self.config.relative_arm:
            actions = to_relative(actions, state[:, self._arm])
        return (actions - self.action_centre) / self.action_scale

    def select_action(self, batch: Batch) -> Tensor:
        """Return (1, 19), the next action of the chunk for a batch of one observation."""
        if not len(self._queue):
            self._queue.refill(self.predict_action_chunk(batch)[0].cpu().numpy())
        return torch.from_numpy(self._queue.pop())[None]

    # Training

    def forward(self, batch: Batch, reduction: str = "mean", generator: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the flow-matching loss (eq. 11) on raw units.

        Args:
            batch: see ``Batch``; ``action`` (B, T, 19) absolute [rad], ``action_is_pad`` (B, T) True where the label does not count.
            reduction: ``"mean"`` for a scalar or ``"none"`` for (B,).
            generator: source of flow times, noise and augmentation.

        Returns:
            The loss and its detached parts, each (B,): ``flow`` and, if configured, ``closing``.
        """
        state, images = self._inputs(batch)
        prefix, valid, closing = self.model.embed_prefix(images, batch["task"], generator)
        flow_loss = self._flow_loss(batch, state, prefix, valid, generator)
        loss, parts = flow_loss, {"flow": flow_loss.detach()}
        if closing is not None and "closing" in batch:
            auxiliary = self._closing_loss(closing, batch)
            loss, parts["closing"] = loss + self.config.aux_weight * auxiliary, auxiliary.detach()
        return (loss.mean() if reduction == "mean" else loss), parts

    def _flow_loss(self, batch: Batch, state: Tensor, prefix: Tensor, valid: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the masked flow-matching error (B,), averaged over the K noise samples of each observation."""
        config, repeat = self.config, self.config.noise_samples
        token = self.model.embed_state((state - self.state_centre) / self.state_scale, generator)
        chunk = self._normalised(batch["action"], state).repeat_interleave(repeat, 0)
        noise = torch.randn(chunk.shape, generator=generator).to(chunk.device)
        time = flow.sample_time((len(chunk),), generator).to(chunk.device)
        mask = (~batch["action_is_pad"]).repeat_interleave(repeat, 0)[..., None]
        if config.rtc_max_delay:
            known = self._known(len(chunk), generator).to(chunk.device)
            time, mask = torch.where(known, flow.CLEAN, time[:, None]), mask & ~known[..., None]
        velocity = self.model(prefix, valid, token, flow.interpolate(noise, chunk, time), time)
        error = flow.masked_error(velocity, flow.target_velocity(noise, chunk), mask, self.action_weight)
        return error.unflatten(0, (-1, repeat)).mean(1)

    def _known(self, samples: int, generator: torch.Generator | None) -> Tensor:
        """Draw how many actions each training sample is given, 0 to ``rtc_max_delay``; return (N, T), True for those."""
        delays = torch.randint(0, self.config.rtc_max_delay + 1, (samples,), generator=generator)
        return flow.known_mask(delays, self.config.chunk)

    def _closing_loss(self, predicted: Tensor, batch: Batch) -> Tensor:
        """Return the squared error (B,) of the arm joints at the closing moment, 0 where there is none ahead."""
        target = batch["closing"]
        if self._arm is not None:
            target = (target - self.state_centre[self._arm]) / self.state_scale[self._arm]
        return (predicted - target).square().mean(-1) * batch["closing_valid"]

    def _inputs(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Move a batch's state (B, S) and images to the network's device."""
        device = self.action_weight.device
        images = [batch[f"observation.images.{name}"].to(device) for name in self.config.cameras]
        return batch["observation.state"].to(device), images

    def get_optim_params(self) -> list[nn.Parameter]:
        """Return the parameters that training changes."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    # Files

    def another(self) -> "VLAPolicy":
        """Return a policy of the same kind with weights of its own, not yet filled, on the CPU."""
        policy = VLAPolicy(self.config, self.normalizer, pretrained=False)
        policy.model.adopt(self.model)
        return policy

    def save(self, folder: str | Path) -> Path:
        """Write weights, configuration and normaliser to one folder."""
        from agents.checkpoint import save_policy

        return save_policy(self, folder)


def _offset(config: VLAConfig, position: int) -> slice:
    """Return where the arm joints lie in the state vector."""
    start = sum(STATE_DIMS[key] for key in config.state_keys[:position])
    return slice(start, start + 7)


def load_policy(folder: str | Path, **expected: Any) -> VLAPolicy:
    """Read a policy folder; see ``agents.checkpoint.read_policy``."""
    from agents.checkpoint import read_policy

    return cast(VLAPolicy, read_policy(folder, **expected))
