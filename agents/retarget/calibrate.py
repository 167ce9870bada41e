"""Thirty seconds of a person's hand -> a profile: lengths, contact distances, and a thumb trained for this hand."""

import logging
import time
from dataclasses import replace

import numpy as np
import torch

from agents.retarget.data import personal
from agents.retarget.network import HandNetwork
from agents.retarget.train import PERSONAL, TrainConfig, train_correction, train_thumb
from dexhil_env.errors import ConfigError
from dexhil_env.hil.retarget.keypoints import TIPS, bone_lengths, root_to_tip
from dexhil_env.hil.retarget.network import STAGE_ONE
from dexhil_env.hil.retarget.profile import CONTACT_M, DMIN_SHARE, SHARE_RANGE, Profile
from dexhil_env.hil.retarget.retargeter import shipped_weights
from dexhil_env.types import F64

log = logging.getLogger(__name__)

FINGERS = ("index", "middle", "ring", "little")
ENOUGH = 15
"""Frames of a gesture that count as the gesture."""
_FIST_SHARE = 0.58
"""Root-to-tip distance over the length of the bones below which a finger is closed; pinching fingers stay above."""
_PINCH_M = 0.025
"""Thumb tip to fingertip distance of a pinch [m]; wide, because a stiff model of the palm leaves the little finger 15 mm away."""
_THUMB_TRAVEL_M = 0.03
_BONE_TOLERANCE, _LOOSE_TOLERANCE = 0.15, 0.5


def clean(keypoints: F64, *, strict: bool = True) -> F64:
    """Drop frames with gaps or with bones that are not their usual length.

    Args:
        keypoints: (T, 21, 3) [m].
        strict: 15 % off is too much; otherwise 50 %, for recordings by cameras, whose bones breathe.

    Raises:
        ConfigError: too little is left.
    """
    whole = keypoints[np.isfinite(keypoints).all(axis=(1, 2))]
    if len(whole):
        bones = bone_lengths(whole)
        usual = np.median(bones, axis=0)
        tolerance = _BONE_TOLERANCE if strict else _LOOSE_TOLERANCE
        whole = whole[(np.abs(bones - usual) < tolerance * usual).all(axis=(1, 2))]
    if len(whole) < 10 * ENOUGH:
        raise ConfigError(f"only {len(whole)} of {len(keypoints)} frames are usable; record 30 s at 90 Hz with the whole hand in view")
    return whole


def measure(keypoints: F64, *, strict: bool = True) -> Profile:
    """Measure a hand in clean canonical keypoints (T, 21, 3) [m].

    Args:
        keypoints: the recording.
        strict: refuse a recording without one of the gestures; otherwise usual values stand in.

    Raises:
        ConfigError: a gesture is missing (strict).
    """
    bones = np.median(bone_lengths(keypoints), axis=0)
    length = bones.sum(axis=1)
    distance = np.linalg.norm(root_to_tip(keypoints), axis=-1)
    missing: list[str] = []
    straight = (distance[:, 1:] > 0.93 * length[1:]).all(axis=1)
    missing += [] if straight.sum() >= ENOUGH else ["open hand"]
    dmax = np.clip(np.percentile(distance, 97, axis=0), 0.9 * length, length)
    closed = (distance[:, 1:] < _FIST_SHARE * length[1:]).all(axis=1)
    dmin = DMIN_SHARE * dmax
    if closed.sum() >= ENOUGH:
        dmin = np.clip(np.median(distance[closed], axis=0), SHARE_RANGE[0] * dmax, SHARE_RANGE[1] * dmax)
        dmin[0] = DMIN_SHARE * dmax[0]  # no fist closes the thumb; its reach is not scaled by this number
    else:
        missing.append("fist")
    contact, unpinched = _contact(keypoints)
    missing += [f"{FINGERS[finger]} pinch" for finger in unpinched]
    travel = np.percentile(keypoints[:, TIPS[0]], 98, axis=0) - np.percentile(keypoints[:, TIPS[0]], 2, axis=0)
    missing += [] if travel.max() > _THUMB_TRAVEL_M else ["thumb circles"]
    if missing and strict:
        raise ConfigError(
            f"the recording lacks: {', '.join(missing)}; needed are an open hand, a fist, a pinch with each finger and thumb circles. "
            "Record these again, 30 s in all"
        )
    if missing:
        log.info("not in the calibration: %s; usual values stand in", ", ".join(missing))
    return Profile(bones, dmax, dmin, contact, name="measured")


def _contact(keypoints: F64) -> tuple[F64, list[int]]:
    """Contact distances (4,) [m], and the fingers without a pinch."""
    distance = np.linalg.norm(keypoints[:, TIPS[1:]] - keypoints[:, TIPS[:1]], axis=-1)
    nearest = distance.argmin(axis=1)
    contact, unpinched = np.full(4, np.nan), list[int]()
    for finger in range(4):
        near = np.sort(distance[(nearest == finger) & (distance[:, finger] < _PINCH_M), finger])
        if len(near) < ENOUGH:
            unpinched.append(finger)
            continue
        held = near[near < near[len(near) // 50] + 0.004]
        contact[finger] = np.median(held)
    known = contact[np.isfinite(contact)]
    contact[unpinched] = np.median(known) if len(known) else CONTACT_M
    return contact, unpinched


def fit(keypoints: F64, profile: Profile, config: TrainConfig = PERSONAL, seed: int = 0, *, fresh: bool = False) -> Profile:
    """Train stage 2 and 3 for one person; ``keypoints`` are clean. Returns the profile with its networks.

    They start from the shipped weights, or with ``fresh`` from nothing (for ablations, which must not profit from terms they lack).
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network = HandNetwork()
    shipped = shipped_weights()
    network.take({name: value for name, value in shipped.items() if not fresh or name.split(".")[0] in STAGE_ONE})
    frames = personal(keypoints, profile, rng)
    train_thumb(network, frames, config, rng)
    train_correction(network, frames, config, rng)
    return replace(profile, weights=network.arrays(("residual", "correct")))


def calibrate(keypoints: F64, *, strict: bool = True, config: TrainConfig = PERSONAL, seed: int = 0) -> Profile:
    """Make a profile from a recording (T, 21, 3) [m], canonical.

    Raises:
        ConfigError: too few usable frames, or a gesture is missing (strict).
    """
    started = time.process_time()
    usable = clean(keypoints, strict=strict)
    profile = fit(usable, measure(usable, strict=strict), config, seed)
    log.info("calibrated from %d frames in %.0f s of CPU time", len(usable), time.process_time() - started)
    return profile
