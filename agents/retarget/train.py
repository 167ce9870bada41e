"""Training of the stages; every function changes the network it is given and nothing else."""

import logging
from dataclasses import dataclass, field

import numpy as np
import torch

from agents.retarget import losses
from agents.retarget.data import Features, Frames, everybody
from agents.retarget.kinematics import Posed
from agents.retarget.losses import LossWeights
from agents.retarget.network import HandNetwork
from dexhil_env.errors import ConfigError
from dexhil_env.hil.retarget.kinematics import forward
from dexhil_env.hil.retarget.network import HIGH, STAGE_ONE, THUMB
from dexhil_env.types import F64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """How long and how the stages are trained.

    Attributes:
        fingers: steps of stage 1.
        thumb: steps of stage 2.
        correct: steps of stage 3.
        batch: frames per step.
        learning_rate: of AdamW, falling to zero by a cosine.
        noise_m: sensor noise on the keypoints [m].
        weights: of the loss terms.
    """

    fingers: int = 2000
    thumb: int = 1800
    correct: int = 1200
    batch: int = 256
    learning_rate: float = 3e-3
    noise_m: float = 0.001
    weights: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        if min(self.fingers, self.thumb, self.correct) < 0 or self.batch < 8 or self.learning_rate <= 0:
            raise ConfigError("steps must be zero or more, batch at least 8, learning_rate positive")


PERSONAL = TrainConfig(fingers=0, thumb=900, correct=600, learning_rate=1.5e-3)
"""Settings of a calibration, which starts from the shipped weights."""


class _Steps:
    """An optimiser with a cosine schedule over ``count`` steps."""

    def __init__(self, parameters: list[torch.nn.Parameter], count: int, config: TrainConfig) -> None:
        self._optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=1e-4)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimiser, max(count, 1))

    def __call__(self, loss: torch.Tensor) -> None:
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        self._schedule.step()


def train_fingers(network: HandNetwork, frames: Frames, config: TrainConfig, rng: np.random.Generator) -> float:
    """Stage 1: eq. 1 for every finger by itself (and for the thumb, whose answer stage 2 starts from). Returns the last loss."""
    step, loss = _Steps(network.part_parameters(STAGE_ONE), config.fingers, config), torch.zeros(())
    for _ in range(config.fingers):
        reach = frames.draw(config.batch, rng, config.noise_m).features().reach
        motors = network.base(reach)
        loss = losses.reach_loss(Posed(motors), motors, reach, first=0)
        step(loss)
    return float(loss.detach())


def thumb_workspace(rng: np.random.Generator, count: int = 2000) -> torch.Tensor:
    """Points (count, 3) that the robot's thumb tip can reach [m]."""
    motors = np.zeros((count, 12))
    motors[:, THUMB] = rng.uniform(0, HIGH[THUMB], (count, 3))
    return torch.as_tensor(forward(motors).tips[:, 0], dtype=torch.float32)


def train_thumb(network: HandNetwork, frames: Frames, config: TrainConfig, rng: np.random.Generator) -> float:
    """Stage 2: the thumb's residual by eq. 2; the four fingers stay as they are. Returns the last loss."""
    step, loss = _Steps(network.part_parameters(["residual"]), config.thumb, config), torch.zeros(())
    workspace = thumb_workspace(rng)
    for _ in range(config.thumb):
        loss = _thumb_step(network, frames, config, rng, workspace)
        step(loss)
    return float(loss.detach())


def train_correction(network: HandNetwork, frames: Frames, config: TrainConfig, rng: np.random.Generator) -> float:
    """Stage 3, ours: the small gated correction of the fingers near contact. Returns the last loss."""
    step, loss = _Steps(network.part_parameters(["correct"]), config.correct, config), torch.zeros(())
    weights = config.weights
    near = frames.take(np.flatnonzero(frames.features().gate.amax(1).numpy() > 0))
    for _ in range(config.correct if len(near) else 0):
        f = near.draw(config.batch, rng, config.noise_m).features()
        motors = network(*f[:4])
        posed = Posed(motors)
        loss = contact_terms(posed, f, weights) + 3.0 * losses.reach_loss(posed, motors, f.reach)
        step(loss)
    return float(loss.detach())


def _thumb_step(
    network: HandNetwork, frames: Frames, config: TrainConfig, rng: np.random.Generator, workspace: torch.Tensor
) -> torch.Tensor:
    """Eq. 2 on one batch, its two other ends of a small movement of the thumb's tip included."""
    weights = config.weights
    chosen = frames.draw(config.batch, rng, config.noise_m)
    moved, length = _thumb_step_m(config.batch, rng)
    three = [chosen.moved(-moved), chosen, chosen.moved(moved)]
    f = Features(*(torch.cat(part) for part in zip(*(frame.features() for frame in three), strict=True)))
    posed = Posed(network(*f[:4], correct=False))
    before, middle, after = posed.tips[:, 0].chunk(3)
    way = torch.as_tensor(moved[:, 4], dtype=torch.float32)
    return (
        weights.direction * losses.direction_loss(before, after, way)
        + weights.flat * losses.flat_loss(before, middle, after, length)
        + weights.cover * losses.cover_loss(middle, workspace[torch.as_tensor(rng.integers(0, len(workspace), config.batch))])
        + weights.own * (posed.reach_dm()[:, 0] - f.reach[:, 0]).pow(2).sum(-1).mean()
        + contact_terms(posed, f, weights)
    )


def contact_terms(posed: Posed, f: Features, weights: LossWeights) -> torch.Tensor:
    """The terms of eq. 2 that tie the thumb to the fingertips, and our two on surfaces."""
    gaps = posed.gaps()
    return (
        weights.pinch * losses.pinch_loss(posed, f.excess_m)
        + weights.kin * losses.kin_loss(posed, f.approach, f.near)
        + weights.contact * losses.contact_loss(gaps, f.approach, f.excess_m)
        + weights.clear * losses.clear_loss(gaps)
    )


def _thumb_step_m(count: int, rng: np.random.Generator) -> tuple[F64, float]:
    """A small step (count, 21, 3) [m] of the thumb's tip in random directions, and its length [m]."""
    length = float(rng.uniform(0.001, 0.006))
    way = rng.normal(size=(count, 3))
    step = np.zeros((count, 21, 3))
    step[:, 4] = length * way / np.linalg.norm(way, axis=1, keepdims=True)
    return step, length


def train_shipped(config: TrainConfig = TrainConfig(), seed: int = 0) -> HandNetwork:
    """Train all stages on generated hands of many persons: the weights that ship."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network, frames = HandNetwork(), everybody(rng)
    log.info("stage 1, four fingers: loss %.4f", train_fingers(network, frames, config, rng))
    log.info("stage 2, thumb: loss %.3f", train_thumb(network, frames.balanced(), config, rng))
    log.info("stage 3, correction: loss %.3f", train_correction(network, frames.balanced(), config, rng))
    return network
