"""Flow matching between noise and action chunks (DexHiL paper, eq. 11).

Time runs from noise to data: ``x_t = (1 - t) x_0 + t a`` with ``x_0 ~ N(0, I)``, so the velocity to learn is ``a - x_0``.
A chunk has one time (B,), or each of its actions has its own (B, T): actions that are known already stand at time 1, free of noise, while
the others are still on their way (training-time real-time chunking: Black et al., 2025, arXiv 2512.05964).
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

TIME_MAX: Final = 0.999
"""Largest flow time that training draws."""
BETA_SHAPE: Final = 1.5
"""Shape of the Beta(1.5, 1) distribution of 1 - t: small t, near noise, is drawn more often."""
CLEAN: Final = 1.0
"""Flow time of an action that is known."""
DATA_STD: Final = 0.5
"""Assumed standard deviation of a normalised action."""


def sample_time(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Draw flow times in [0, ``TIME_MAX``], skewed to noise (mean 0.4)."""
    uniform = torch.rand(shape, generator=generator)
    return TIME_MAX * (1.0 - uniform.pow(1.0 / BETA_SHAPE))


def interpolate(noise: Tensor, action: Tensor, time: Tensor) -> Tensor:
    """Return ``x_t`` for noise and action (..., T, A) at time (...) or, one per action, (..., T)."""
    t = per_action(time, action)
    return (1.0 - t) * noise + t * action


def per_action(time: Tensor, chunk: Tensor) -> Tensor:
    """Shape time (...) or (..., T) so that it multiplies a chunk (..., T, A)."""
    return time[..., None] if time.ndim == chunk.ndim - 1 else time[..., None, None]


def known_mask(lengths: Tensor, horizon: int) -> Tensor:
    """Return (B, T) bool, True for the first ``lengths`` (B,) actions of each chunk."""
    return torch.arange(horizon, device=lengths.device) < lengths[:, None]


def target_velocity(noise: Tensor, action: Tensor) -> Tensor:
    """Return the velocity ``a - x_0`` that carries noise to data in unit time."""
    return action - noise


def masked_error(velocity: Tensor, target: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the squared error per sample.

    Args:
        velocity: (B, T, A) prediction.
        target: (B, T, A) target velocity.
        mask: (B, T, A) or (B, T, 1), 1 where the label counts.
        weight: (A,) weight per action dimension, mean 1.

    Returns:
        (B,) mean over the valid elements of each sample, 0 for a sample without any.
    """
    error = (velocity - target).square()
    if weight is not None:
        error = error * weight
    mask = mask.to(error.dtype).expand_as(error)
    return (error * mask).sum((-2, -1)) / mask.sum((-2, -1)).clamp(min=1.0)


def euler(
    velocity: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int, prefix: Tensor | None = None, lengths: Tensor | None = None
) -> Tensor:
    """Integrate the flow from noise (t = 0) to an action chunk (t = 1).

    Args:
        velocity: maps x (B, T, A) and time (B,), with ``prefix`` (B, T), to a velocity (B, T, A).
        noise: (B, T, A) standard normal.
        steps: number of equal Euler steps.
        prefix: (B, D, A) first actions that are known; they stand free of noise at every step and come back as they are.
        lengths: (B,) how many of them count for each chunk; by default all.
    """
    if prefix is not None and prefix.shape[1] > 0:
        return _euler_after(velocity, noise, steps, prefix, lengths)
    x, width = noise, 1.0 / steps
    for step in range(steps):
        x = x + width * velocity(x, torch.full((len(x),), step * width, device=x.device))
    return x


def _euler_after(velocity: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int, prefix: Tensor, lengths: Tensor | None) -> Tensor:
    """Integrate the rest of the chunks behind their prefixes."""
    batch, horizon = noise.shape[:2]
    lengths = torch.full((batch,), prefix.shape[1], device=noise.device) if lengths is None else lengths
    known = known_mask(lengths, horizon)
    given = torch.cat([prefix, noise[:, prefix.shape[1] :]], 1)  # behind the prefix nothing of it is used
    x, width = torch.where(known[..., None], given, noise), 1.0 / steps
    for step in range(steps):
        moved = x + width * velocity(x, torch.where(known, CLEAN, step * width))
        x = torch.where(known[..., None], given, moved)
    return x


def time_features(time: Tensor, width: int, shortest: float = 4e-3, longest: float = 4.0) -> Tensor:
    """Return (..., width) sines and cosines of time with periods from ``shortest`` to ``longest``."""
    periods = shortest * (longest / shortest) ** torch.linspace(0.0, 1.0, width // 2, device=time.device)
    angle = 2.0 * torch.pi * time[..., None] / periods
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def precondition(time: Tensor) -> tuple[Tensor, Tensor]:
    """Return (skip, scale) for ``velocity = skip * x_t + scale * network``.

    ``skip`` is the best linear guess of ``a - x_0`` from ``x_t`` alone when actions have standard deviation ``DATA_STD``; ``scale`` is the
    size of the rest, so that the network's own target has unit size at every time (Karras et al., 2022, for this path).
    At t = 0 the rest is the action itself.
    """
    variance = DATA_STD**2
    total = (1.0 - time).square() + variance * time.square()
    return (variance * time - (1.0 - time)) / total, DATA_STD / total.sqrt()
