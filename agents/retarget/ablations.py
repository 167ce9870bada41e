"""What the paper argues against, trained on the same frames from nothing: one network for five fingers, no L_kin, GeoRT's terms."""

from dataclasses import replace
from typing import Final

import numpy as np
import torch
from torch import nn

from agents.retarget import losses
from agents.retarget.calibrate import fit
from agents.retarget.data import Features, Frames, personal
from agents.retarget.kinematics import Posed
from agents.retarget.losses import LossWeights
from agents.retarget.methods import Entry
from agents.retarget.network import Bank, squash
from agents.retarget.train import PERSONAL, TrainConfig, contact_terms
from dexhil_env.hil.retarget.kinematics import forward
from dexhil_env.hil.retarget.network import HIGH
from dexhil_env.hil.retarget.profile import Profile
from dexhil_env.hil.retarget.retargeter import Retargeter
from dexhil_env.types import F64

STEPS: Final = 1500
GEORT: Final = LossWeights(direction=1.0, cover=0.01, flat=1.0, pinch=1.0, kin=0.0, contact=0.0, clear=0.0, own=0.0)
"""GeoRT's terms alone, its paper's weights in our units (per cm^2)."""
_OUTPUTS: Final = ((0, 1, 2), (3, 4, 5), (6, 7), (8, 9), (10, 11))


class OneNetwork(nn.Module):
    """All five fingers at once: reach and approach (27) -> 12 motors."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Bank(1, (27, 128, 128, 12))

    def forward(self, f: Features) -> torch.Tensor:
        """Return motors (B, 12) [rad]."""
        x = torch.cat([f.reach.reshape(-1, 15), f.approach.reshape(-1, 12)], dim=1)
        return squash(self.net(x[None])[0]) * torch.as_tensor(HIGH)


class PerFinger(nn.Module):
    """GeoRT's architecture: each finger sees its own fingertip alone; the spread motor is the index finger's."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Bank(5, (3, 128, 128, 3))

    def forward(self, f: Features) -> torch.Tensor:
        """Return motors (B, 12) [rad]."""
        raw = self.net(f.reach.transpose(0, 1))
        shares = [squash(raw[finger, :, : len(outputs)]) for finger, outputs in enumerate(_OUTPUTS)]
        return torch.cat(shares, dim=1) * torch.as_tensor(HIGH)


def _train(network: nn.Module, frames: Frames, weights: LossWeights, reach_weight: float, seed: int, steps: int) -> None:
    """Eq. 2 on all five fingers in one stage; ``reach_weight`` adds eq. 1."""
    rng, config = np.random.default_rng(seed), TrainConfig(learning_rate=3e-3)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
    space = torch.as_tensor(forward(rng.uniform(0, HIGH, (2000, 12))).tips, dtype=torch.float32)
    for _ in range(steps):
        length = float(rng.uniform(0.001, 0.006))
        way = rng.normal(size=(config.batch, 5, 3))
        way *= length / np.linalg.norm(way, axis=-1, keepdims=True)
        step = np.zeros((config.batch, 21, 3))
        step[:, 4::4] = way
        chosen = frames.draw(config.batch, rng, config.noise_m)
        three = [chosen.moved(-step).features(), chosen.features(), chosen.moved(step).features()]
        f = Features(*(torch.cat(part) for part in zip(*three, strict=True)))
        motors = network(f)
        posed = Posed(motors)
        before, middle, after = posed.tips.chunk(3)
        moved = torch.as_tensor(way, dtype=torch.float32)
        loss = weights.direction * losses.direction_loss(before, after, moved) + weights.flat * losses.flat_loss(
            before, middle, after, length
        )
        picked = space[torch.as_tensor(rng.integers(0, len(space), config.batch))]
        cover = [losses.cover_loss(middle[:, finger], picked[:, finger]) for finger in range(5)]
        loss = loss + weights.cover * torch.stack(cover).mean() + contact_terms(posed, f, weights)
        loss = loss + reach_weight * losses.reach_loss(posed, motors, f.reach)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def _entry(name: str, network: nn.Module, profile: Profile) -> Entry:
    def run(keypoints: F64) -> F64:
        with torch.no_grad():
            return network(Frames.of(keypoints, profile).features()).numpy().astype(float)

    return Entry(name, run, lambda frame: run(frame[None])[0])


def ablations(calibration: F64, profile: Profile, seed: int = 0, steps: int = STEPS) -> list[Entry]:
    """Train the ablations for a person with clean calibration frames (T, 21, 3) [m]; 1500 steps each take about 45 s of CPU time."""
    frames = personal(calibration, profile, np.random.default_rng(seed))
    entries: list[Entry] = []
    for name, kind, weights, reach_weight in (
        ("one network", OneNetwork, LossWeights(own=0.0), 0.0),
        ("one net + eq. 1", OneNetwork, LossWeights(own=0.0), 10.0),
        ("GeoRT terms", PerFinger, GEORT, 0.0),
    ):
        torch.manual_seed(seed)
        network = kind()
        _train(network, frames, weights, reach_weight, seed, steps)
        entries.append(_entry(name, network, profile))
    config = replace(PERSONAL, correct=0, weights=LossWeights(kin=0.0, contact=0.0), thumb=min(PERSONAL.thumb, steps))
    bare = fit(calibration, replace(profile, weights={}), config, seed, fresh=True)
    retargeter = Retargeter.load(bare, paper=True)
    entries.append(Entry("no L_kin", retargeter.batch, retargeter))
    return entries
