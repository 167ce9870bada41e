"""The one supervised loop: warm-up and every later round run through ``train``."""

import json
import logging
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from agents.checkpoint import read_tensors, write_tensors, write_text
from agents.data import ChunkDataset
from agents.parallel import spread
from agents.parallel.config import ScaleConfig
from agents.parallel.lora import merged
from agents.parallel.tuning import prepare
from agents.policy import VLAPolicy
from agents.sampling import AnchorSampler
from agents.trainlog import Metrics, circumstances
from agents.vla.config import VLAConfig
from agents.weights import ClassShares, FrameClass, WeightConfig
from dexhil_env.errors import CheckpointError, ConfigError

logger = logging.getLogger(__name__)

STATE_FILE = "resume.safetensors"
POLICY_FOLDER = "policy"


@dataclass(frozen=True)
class TrainConfig:
    """How long and how fast to learn.

    Attributes:
        steps: optimiser steps.
        batch_size: observations per step B; each is used with ``VLAConfig.noise_samples`` noises.
        lr: peak learning rate.
        warmup: steps of linear warm-up; afterwards a cosine leads to zero.
        weight_decay: of AdamW.
        betas: of AdamW.
        clip: largest norm of the gradient.
        ema: decay of the averaged weights that a rollout uses; 0 uses the last weights.
        seed: seed of initial weights, batches, noise and augmentation.
        normalizer_mode: how statistics are measured when training starts from a configuration.
        weights: weighting of interventions.
        save_every: steps between resumable checkpoints; 0 writes one at the end only.
        log_every: steps between lines of ``metrics.jsonl``.
        tensorboard: also write TensorBoard events.
        progress: show a progress bar.
        threads: torch threads; 1 keeps a run deterministic and a control loop beside it alive.
        device: where to train, e.g. ``"cpu"`` or ``"cuda"``.
    """

    steps: int = 2000
    batch_size: int = 32
    lr: float = 5e-4
    warmup: int = 100
    weight_decay: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    ema: float = 0.99
    seed: int = 0
    normalizer_mode: str = "quantiles"
    weights: WeightConfig = field(default_factory=WeightConfig)
    save_every: int = 500
    log_every: int = 20
    tensorboard: bool = True
    progress: bool = True
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse numbers that cannot train."""
        if min(self.steps, self.batch_size, self.log_every, self.threads) < 1 or self.lr <= 0 or not 0.0 <= self.ema < 1.0:
            raise ConfigError(f"steps, batch_size, log_every, threads must be >= 1, lr > 0 and ema in [0, 1); got {self}")


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the learning rate of a step: linear warm-up, then cosine to zero."""
    warmup = min(config.warmup, config.steps // 2)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    return config.lr * 0.5 * (1.0 + float(np.cos(np.pi * (step - warmup) / max(config.steps - warmup, 1))))


def train(
    start: VLAPolicy | VLAConfig,
    dataset: ChunkDataset,
    config: TrainConfig,
    run_dir: str | Path,
    *,
    resume: bool = True,
    scale: ScaleConfig | None = None,
) -> VLAPolicy:
    """Minimise the weighted imitation loss and return the policy with averaged weights.

    Args:
        start: a configuration (new weights, statistics measured on ``dataset``) or a policy (warm start, its statistics stay fixed).
        dataset: anchors to learn from.
        config: how to learn.
        run_dir: gets ``config.json``, ``metrics.jsonl``, TensorBoard events, the resumable state and ``policy/``.
        resume: continue from the state in ``run_dir`` if there is one; it must belong to the same configuration.
        scale: several processes, bfloat16, a part of the weights only; by default one process and all weights.

    Returns:
        The policy in evaluation mode, also saved in ``run_dir/policy``. With several processes all of them get it and rank 0 writes.
    """
    scale = scale or ScaleConfig()
    torch.set_num_threads(config.threads)
    device = spread.join(scale, config.device)
    torch.manual_seed(config.seed)
    run, first = Path(run_dir), spread.rank() == 0
    run.mkdir(parents=True, exist_ok=True)
    policy = prepare(_starting_policy(start, dataset, config).to(device), scale)
    learner = Learner(policy, dataset, config, scale)
    if resume and (run / STATE_FILE).exists():
        learner.load(run / STATE_FILE)
    if first:
        write_text(run / "config.json", json.dumps(describe_run(policy, dataset, config, learner.sampler.shares, scale), indent=2))
        logger.info("effective shares before training:\n%s", learner.sampler.shares.table())
    with Metrics(run, learner.step, tensorboard=config.tensorboard) if first else nullcontext() as metrics:
        _loop(learner, metrics, run)
    policy = learner.export()
    if first:
        policy.save(run / POLICY_FOLDER)
    return policy.eval()


def _starting_policy(start: VLAPolicy | VLAConfig, dataset: ChunkDataset, config: TrainConfig) -> VLAPolicy:
    """Build the policy to train; a given policy is copied, never changed."""
    if isinstance(start, VLAConfig):
        policy = VLAPolicy(start, dataset.statistics(config.normalizer_mode))
    else:
        policy = start.another()
        policy.load_state_dict(start.state_dict())
    if policy.config.state_keys != dataset.config.state_keys or policy.config.cameras != dataset.config.cameras:
        raise ConfigError(f"policy and dataset differ in cameras or state keys: {policy.config} and {dataset.config}")
    return policy


def _loop(learner: "Learner", metrics: "Metrics | None", run: Path) -> None:
    """Take the remaining steps; the process with ``metrics`` writes down its own batches."""
    config = learner.config
    first, last_saved = learner.step, -1
    quiet = metrics is None or not config.progress
    for _ in tqdm(range(learner.step, config.steps), initial=first, total=config.steps, disable=quiet, unit="step"):
        step, row = learner.step, learner.take_step()
        if metrics is not None:
            metrics.add(step, row)
            if learner.step % config.log_every == 0 or learner.step == config.steps:
                metrics.flush(learner.step, learning_rate(learner.step - 1, config))
        if config.save_every and learner.step % config.save_every == 0:
            learner.save(run / STATE_FILE)
            last_saved = learner.step
    if last_saved != learner.step:
        learner.save(run / STATE_FILE)


class Learner:
    """Weights, averaged weights, optimiser and batches at one step; everything random depends on (seed, step, lane) only.

    A lane is one batch of a step: each process has ``accumulate`` of them, so that one process with 8 lanes sees the same samples as
    8 processes with one.
    """

    def __init__(self, policy: VLAPolicy, dataset: ChunkDataset, config: TrainConfig, scale: ScaleConfig | None = None) -> None:
        """Start at step 0."""
        self.policy, self.dataset, self.config, self.step = policy.train(), dataset, config, 0
        self.scale = scale or ScaleConfig()
        self.called = spread.spread(policy, self.scale)
        self.device = next(policy.parameters()).device
        self.lanes = [spread.rank() * self.scale.accumulate + number for number in range(self.scale.accumulate)]
        self.samplers = [
            AnchorSampler(dataset.classes, config.batch_size, config.weights, seed=config.seed, rank=lane) for lane in self.lanes
        ]
        self.parameters = {name: value for name, value in policy.named_parameters() if value.requires_grad}
        self.average: dict[str, Tensor] = {name: value.detach().clone() for name, value in self.parameters.items()}
        values = list(self.parameters.values())
        self.optimizer = torch.optim.AdamW(values, config.lr, config.betas, weight_decay=config.weight_decay, fused=True)

    @property
    def sampler(self) -> AnchorSampler:
        """The sampler of the first lane; all have the same shares."""
        return self.samplers[0]

    def take_step(self) -> dict[str, Any]:
        """Draw a batch per lane, follow their mean gradient, update the average; return what happened, unweighted."""
        rows = [self._backward(lane, sampler) for lane, sampler in zip(self.lanes, self.samplers, strict=True)]
        norm: Any = torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), self.config.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        with torch.no_grad():
            decay = min(self.config.ema, (1 + self.step) / (10 + self.step)) if self.config.ema else 0.0
            for name, value in self.parameters.items():
                spread.local(self.average[name]).lerp_(spread.local(value), 1.0 - decay)
        row = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
        return row | {"grad_norm": spread.whole(norm)}

    def _backward(self, lane: int, sampler: AnchorSampler) -> dict[str, Tensor]:
        """Add the gradient of one batch; return class and losses of its samples."""
        picked, weight = sampler.batch(self.step)
        batch = self._moved(self.dataset.batch(picked))
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step + (lane << 40))
        with spread.computing(self.scale, self.device):
            losses, parts = self.called(batch, reduction="none", generator=generator)
        ((losses * torch.from_numpy(weight).to(losses.device)).mean() / len(self.lanes)).backward()
        return {"class": batch["class"], **parts}

    def _moved(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Send a batch's tensors to the training device."""
        return {name: value.to(self.device) if isinstance(value, Tensor) else value for name, value in batch.items()}

    def export(self) -> VLAPolicy:
        """Return a policy of whole, averaged weights on the CPU, adapters merged; all processes must call it."""
        own: dict[str, Tensor] = self.policy.state_dict()
        tensors = {name: spread.whole(value) for name, value in (own | self.average).items()}
        policy = self.policy.another()
        policy.load_state_dict(merged(tensors, self.scale.lora_factor))
        return policy

    def save(self, path: Path) -> None:
        """Write all that a later process needs to go on bit for bit; renamed into place. All processes must call it, rank 0 writes."""
        tensors = {f"average.{name}": value for name, value in self.average.items()}
        tensors |= {f"model.{name}": value for name, value in self.parameters.items()}
        for name, parameter in self.parameters.items():
            tensors |= {f"optimizer.{key}.{name}": value for key, value in self.optimizer.state[parameter].items()}
        gathered: dict[str, Tensor] = {}
        for name, value in tensors.items():
            full = spread.whole(value)
            if spread.rank() == 0:
                gathered[name] = full
        if spread.rank() == 0:
            write_tensors(path, gathered, {"step": str(self.step), "identity": self._identity()})

    def load(self, path: Path) -> None:
        """Continue from ``save``; refuse the state of another configuration, policy or dataset."""
        tensors, meta = read_tensors(path)
        if meta.get("identity") != self._identity():
            raise CheckpointError(
                f"{path} belongs to another run:\n  stored {meta.get('identity')}\n  wanted {self._identity()}\n"
                "use an empty run folder or resume=False"
            )
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(spread.share(tensors[f"model.{name}"], parameter))
                self.average[name].copy_(spread.share(tensors[f"average.{name}"], parameter))
                if f"optimizer.step.{name}" in tensors:
                    moments = {key: tensors[f"optimizer.{key}.{name}"] for key in ("exp_avg", "exp_avg_sq")}
                    state = {key: torch.empty_like(parameter).copy_(spread.share(value, parameter)) for key, value in moments.items()}
                    self.optimizer.state[parameter] = state | {"step": tensors[f"optimizer.step.{name}"].to(self.device)}
        self.step = int(meta["step"])

    def _identity(self) -> str:
        """Return what must be equal for a run to be the same run."""
        fixed = replace(self.config, save_every=1, log_every=1, tensorboard=False, progress=False, threads=1, device="cpu")
        own: dict[str, Any] = {
            "train": asdict(fixed), "policy": self.policy.config.to_dict(), "statistics": self.policy.normalizer.digest(),
            "anchors": self.sampler.shares.counts.tolist(),
        }  # fmt: skip
        if self.scale != ScaleConfig():
            own["scale"] = asdict(self.scale) | {"processes": spread.size()}
        return json.dumps(own)


def describe_run(policy: VLAPolicy, dataset: ChunkDataset, config: TrainConfig, shares: ClassShares, scale: ScaleConfig) -> dict[str, Any]:
    """Return what the run folder's ``config.json`` holds."""
    return circumstances() | {
        "seed": config.seed,
        "train": asdict(config),
        "scale": asdict(scale) | {"processes": spread.size()},
        "policy": policy.config.to_dict(),
        "filters": asdict(dataset.filters),
        "anchors": len(dataset),
        "episodes": len(dataset.tasks),
        "statistics": policy.normalizer.digest(),
        "classes": {kind.name.lower(): int(shares.counts[kind]) for kind in FrameClass},
        "share": {kind.name.lower(): float(shares.share[kind]) for kind in FrameClass},
        "target": {kind.name.lower(): float(shares.target[kind]) for kind in FrameClass},
    }
