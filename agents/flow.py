"""Flow matching between noise and action chunks (DexHiL paper, eq. 11).

Time runs from noise to data: ``x_t = (1 - t) x_0 + t a`` with ``x_0 ~ N(0, I)``, so the velocity to learn is ``a - x_0``.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

TIME_MAX: Final = 0.999
"""Largest flow time that training draws."""
BETA_SHAPE: Final = 1.5
"""Shape of the Beta(1.5, 1) distribution of 1 - t: small t, near noise, is drawn more often."""
DATA_STD: Final = 0.5
"""Assumed standard deviation of a normalised action."""


def sample_time(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Draw flow times in [0, ``TIME_MAX``], skewed to noise (mean 0.4)."""
    uniform = torch.rand(shape, generator=generator)
    return TIME_MAX * (1.0 - uniform.pow(1.0 / BETA_SHAPE))


def interpolate(noise: Tensor, action: Tensor, time: Tensor) -> Tensor:
    """Return ``x_t`` for noise and action (..., T, A) at time (...)."""
    t = time[..., None, None]
    return (1.0 - t) * noise + t * action


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


def euler(velocity: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Tensor:
    """Integrate the flow from noise (t = 0) to an action chunk (t = 1).

    Args:
        velocity: maps x (B, T, A) and time (B,) to a velocity (B, T, A).
        noise: (B, T, A) standard normal.
        steps: number of equal Euler steps.
    """
    x, width = noise, 1.0 / steps
    for step in range(steps):
        x = x + width * velocity(x, torch.full((len(x),), step * width, device=x.device))
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
