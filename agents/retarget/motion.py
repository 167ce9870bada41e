"""Recordings of the parametric hand: the calibration, a test of held-out gestures, and slow pinches."""

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.retarget.flesh import push_out
from agents.retarget.gestures import GESTURES, HELD_OUT, jitter, pinch_poses, single
from agents.retarget.human import HIGH, LOW, HandShape, pose_keypoints
from dexhil_env.hil.retarget.keypoints import TIPS, canonical
from dexhil_env.types import F64

HZ: Final = 90.0
NOISE_RAD: Final = np.deg2rad(0.7)
"""Standard deviation of a glove's error in each joint [rad]: about 1 mm at a fingertip."""
NOISE_TIME_S: Final = 0.1
"""Correlation time of that error [s]: gloves drift rather than flicker, and their skeleton is stiff."""
JITTER_M: Final = 0.0001
"""White noise on every keypoint on top [m]."""
PINCHES: Final = ("pinch_index", "pinch_middle", "pinch_ring", "pinch_little")

Key = tuple[F64, float, float]
"""A pose (21,) [rad], the time to get there and the time to stay [s]."""


def play(keys: list[Key], hz: float = HZ) -> F64:
    """Move through poses with minimum jerk in joint space; returns angles (T, 21) [rad]."""
    rows = [keys[0][0][None]]
    for (start, _, _), (pose, move_s, stay_s) in pairwise(keys):
        s = np.arange(1, max(round(move_s * hz), 1) + 1)[:, None] / max(round(move_s * hz), 1)
        rows += [start + (pose - start) * s**3 * (10 - 15 * s + 6 * s**2), np.tile(pose, (round(stay_s * hz), 1))]
    return np.concatenate(rows)


def record(shape: HandShape, angles: F64, rng: np.random.Generator) -> F64:
    """What a glove would give of poses (T, 21): canonical keypoints (T, 21, 3) [m] with its errors."""
    coarse = np.arange(0, len(angles) + 4, 4).clip(max=len(angles) - 1)
    pushed = push_out(shape, angles[coarse]) - angles[coarse]
    frames = np.arange(len(angles))
    angles = angles + _smooth(np.stack([np.interp(frames, coarse, column) for column in pushed.T], axis=1))
    keep = np.exp(-1 / (NOISE_TIME_S * HZ))
    fresh = rng.normal(0, NOISE_RAD, angles.shape)
    error = np.empty_like(fresh)
    error[0] = fresh[0]
    for index in range(1, len(fresh)):
        error[index] = keep * error[index - 1] + np.sqrt(1 - keep**2) * fresh[index]
    clean = pose_keypoints(shape, angles + error)
    return canonical(clean + rng.normal(0, JITTER_M, clean.shape))


def _smooth(values: F64, width: int = 9) -> F64:
    """Moving average over frames (T, N)."""
    padded = np.concatenate([values[:1]] * (width // 2) + [values] + [values[-1:]] * (width // 2))
    sums = np.cumsum(np.concatenate([np.zeros_like(padded[:1]), padded]), axis=0)
    return (sums[width:] - sums[:-width]) / width


def _pinches(shape: HandShape, fingers: NDArray[np.bool_], rng: np.random.Generator, gap_m: float) -> F64:
    return pinch_poses(shape, fingers, rng, gap_m)


def calibration(shape: HandShape, rng: np.random.Generator, gap_m: float, skip: tuple[str, ...] = ()) -> F64:
    """Record the 30 s of a calibration.

    3 s open, 3 s spread, 3 s fist, 9 s slow opening and closing, 2 s for each pinch, 4 s of circles with the thumb. ``skip`` names
    gestures that this person leaves out (``"fist"``, ``"pinch_ring"``, ...).
    """
    opened, fist = jitter(GESTURES["open"], rng, 2.0), jitter(GESTURES["fist"], rng, 2.0)
    keys: list[Key] = [(jitter(GESTURES["relax"], rng), 0.0, 0.0), (opened, 0.8, 2.2), (jitter(GESTURES["spread"], rng, 2.0), 0.8, 2.2)]
    if "fist" not in skip:
        keys += [(fist, 0.8, 2.2), *([(opened, 1.5, 0.0), (fist, 1.5, 0.0)] * 3)]
    pinches = _pinches(shape, np.eye(4, dtype=bool), rng, gap_m)
    keys += [key for name, pose in zip(PINCHES, pinches, strict=True) if name not in skip for key in [(pose, 0.7, 0.8), (opened, 0.5, 0.0)]]
    angles = play(keys)
    return record(shape, np.concatenate([angles, _circles(opened, rng)]), rng)


def _circles(opened: F64, rng: np.random.Generator, seconds: float = 4.0) -> F64:
    """Poses (T, 21) of two circles with the thumb, the fingers at rest."""
    phase = np.linspace(0, 4 * np.pi, round(seconds * HZ)) + rng.uniform(0, 2 * np.pi)
    poses = np.tile(opened, (len(phase), 1))
    poses[:, 0] = np.deg2rad(28 + 24 * np.cos(phase))
    poses[:, 1] = np.deg2rad(30 + 22 * np.sin(phase))
    poses[:, 3] = np.deg2rad(15 + 15 * np.cos(phase / 2))
    return np.clip(poses, LOW, HIGH)


def test(shape: HandShape, rng: np.random.Generator, gap_m: float) -> F64:
    """Record about 40 s that training has not seen: held-out gestures, mixed ones, pinches and the way between all of them."""
    masks = np.concatenate([*(single(finger, 2) for finger in range(4)), np.array([[True, True, False, False]] * 2)])
    poses = list(_pinches(shape, masks, rng, gap_m))
    poses += [jitter(GESTURES[name], rng) for name in HELD_OUT if name in GESTURES for _ in range(2)]
    poses += [jitter(GESTURES[name], rng, 3.0) for name in ("open", "fist", "open", "fist")]
    poses += [_mixed(rng) for _ in range(10)]
    order = rng.permutation(len(poses))
    keys: list[Key] = [(GESTURES["relax"], 0.0, 0.2)]
    keys += [(poses[index], float(rng.uniform(0.4, 1.0)), 0.3) for index in order]
    return record(shape, play(keys), rng)


def _mixed(rng: np.random.Generator) -> F64:
    """Every finger out of another gesture."""
    names = [str(name) for name in rng.choice(list(GESTURES), 5)]
    pose = GESTURES[names[0]].copy()
    for finger in range(4):
        part = slice(5 + 4 * finger, 9 + 4 * finger)
        pose[part] = GESTURES[names[finger + 1]][part]
    return jitter(pose, rng)


def sweep(shape: HandShape, finger: int, rng: np.random.Generator, gap_m: float, frames: int = 60) -> F64:
    """Keypoints (frames, 21, 3) [m] of a slow, noiseless pinch with one finger, in equal steps of the tips' distance."""
    pinch = _pinches(shape, single(finger, 1), rng, gap_m)[0]
    start = pinch.copy()
    start[:5] = GESTURES["open"][:5]
    part = slice(5 + 4 * finger, 9 + 4 * finger)
    start[part] = GESTURES["relax"][part]
    fine = pose_keypoints(shape, start + (pinch - start) * np.linspace(0, 1, 600)[:, None])
    distance = np.linalg.norm(fine[:, TIPS[finger + 1]] - fine[:, 4], axis=-1)
    closing = np.minimum.accumulate(distance)
    wanted = np.linspace(distance[0], distance[-1], frames)
    index = np.searchsorted(-closing, -wanted).clip(max=len(fine) - 1)
    return fine[index]
