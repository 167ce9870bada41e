"""Hand keypoints of any source as 21 points in one order and one frame.

Order: wrist; thumb CMC, MCP, IP, tip; then MCP, PIP, DIP, tip of index, middle, ring and little finger (MediaPipe's order).

Frame ("canonical"): origin in the wrist, z to the middle finger's MCP, x out of the palm, y to the thumb. These are the axes of
``right_hand_base``, so human and robot vectors are compared without a turn. A left hand is mirrored first and then is a right one.
The recipe of the axes is GeoRT's (arXiv 2503.07541).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from dexhil_env.errors import ConfigError
from dexhil_env.types import F64

COUNT: Final = 21
WRIST: Final = 0
ROOTS_SLICE, TIPS_SLICE = slice(1, None, 4), slice(4, None, 4)
ROOTS: Final = np.arange(COUNT)[ROOTS_SLICE]
"""Thumb CMC and the MCP of the four fingers."""
TIPS: Final = np.arange(COUNT)[TIPS_SLICE]
_MIRROR: Final[F64] = np.array([-1.0, 1.0, 1.0])

_OPENXR: Final = np.array([1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15, 17, 18, 19, 20, 22, 23, 24, 25])
"""XR_EXT_hand_tracking: palm, wrist, 4 thumb joints, then 5 per finger with the metacarpal first."""
_WEBXR: Final = _OPENXR - 1
"""The same without the palm: WebXR, Apple Vision Pro; Manus raw skeletons too, the wrist being node 0 and the palm, if any, last."""


@dataclass(frozen=True, slots=True)
class HandFrame:
    """What every hand sensor is turned into.

    Attributes:
        keypoints: (21, 3) in the canonical frame [m].
        t_s: time stamp of the measurement [s].
    """

    keypoints: F64
    t_s: float


def canonical(keypoints: F64, *, left: bool = False) -> F64:
    """Turn keypoints (..., 21, 3) [m] of any frame into the canonical frame; doing it twice changes nothing.

    Args:
        keypoints: in any right-handed frame.
        left: a left hand; it is mirrored.
    """
    points = np.asarray(keypoints, dtype=float)
    points = points - points[..., :1, :]
    if left:
        points = points * _MIRROR
    return points @ _palm_axes(points)


def _palm_axes(points: F64) -> F64:
    """(..., 3, 3) axes of the palm as columns; zeros where the palm has no extent (written out: this runs in every 90 Hz tick)."""
    z = points[..., 9, :]
    across = points[..., 5, :] - points[..., 13, :]
    x = _unit(_cross(across, z))
    z = _unit(z)
    return np.stack([x, _cross(z, x), z], axis=-1)


def _cross(a: F64, b: F64) -> F64:
    """np.cross without its overhead."""
    return a[..., _NEXT] * b[..., _LAST] - a[..., _LAST] * b[..., _NEXT]


_NEXT: Final = np.array([1, 2, 0])
_LAST: Final = np.array([2, 0, 1])


def _unit(vector: F64) -> F64:
    return vector / np.maximum(np.sqrt((vector * vector).sum(-1, keepdims=True)), 1e-12)


def from_mediapipe(landmarks: F64, t_s: float, *, left: bool = False) -> HandFrame:
    """Take MediaPipe's 21 world landmarks (21, 3) [m].

    The legacy API calls a right hand "Left" unless the image was mirrored; the Tasks API does not.
    """
    return HandFrame(canonical(_shaped(landmarks, (COUNT,), "MediaPipe"), left=left), t_s)


def from_openxr(joints: F64, t_s: float, *, left: bool = False) -> HandFrame:
    """Take the 26 joints of OpenXR's XR_EXT_hand_tracking (26, 3) [m]."""
    return HandFrame(canonical(_shaped(joints, (26,), "OpenXR")[_OPENXR], left=left), t_s)


def from_webxr(joints: F64, t_s: float, *, left: bool = False) -> HandFrame:
    """Take the 25 joints of WebXR or of an Apple Vision Pro (25, 3) [m]."""
    return HandFrame(canonical(_shaped(joints, (25,), "WebXR")[_WEBXR], left=left), t_s)


def from_manus(nodes: F64, t_s: float, *, left: bool = False) -> HandFrame:
    """Take the 25 or 26 nodes of Manus' raw skeleton in metres (25 or 26, 3); in world or local frame, both do."""
    return HandFrame(canonical(_shaped(nodes, (25, 26), "Manus")[_WEBXR], left=left), t_s)


def load_recording(path: Path, *, left: bool = False) -> F64:
    """Read a recording: a .npy file (T, 21, 3) in metres; returns it in the canonical frame, frames with gaps as NaN.

    Raises:
        ConfigError: no such file, another shape, or not metres.
    """
    if not path.is_file():
        raise ConfigError(f"recording {path} does not exist; give a .npy file of shape (T, 21, 3) in metres")
    points = np.load(path)
    if points.ndim != 3 or points.shape[1:] != (COUNT, 3) or len(points) == 0:
        raise ConfigError(
            f"{path} has shape {points.shape}; a recording is (T, 21, 3), see dexhil_env.hil.retarget.keypoints for the order"
        )
    points = canonical(points, left=left)
    length = float(np.nanmedian(np.linalg.norm(points[:, 9], axis=-1)))
    if not 0.04 < length < 0.2:
        raise ConfigError(f"{path}: the palm is {length:.3g} long; a hand's is 0.06 to 0.12 m, so give metres")
    return points


def _shaped(points: F64, counts: tuple[int, ...], source: str) -> F64:
    array = np.asarray(points, dtype=float)
    if array.ndim != 2 or array.shape[0] not in counts or array.shape[1] != 3:
        raise ConfigError(f"{source} keypoints have shape {array.shape}; expected ({' or '.join(map(str, counts))}, 3) in metres")
    return array


def bone_lengths(keypoints: F64) -> F64:
    """Return the lengths (..., 5, 3) [m] of the three bones of each finger (thumb: metacarpal and two phalanges)."""
    fingers = keypoints[..., 1:, :].reshape(*keypoints.shape[:-2], 5, 4, 3)
    return np.linalg.norm(np.diff(fingers, axis=-2), axis=-1)


def root_to_tip(keypoints: F64) -> F64:
    """Return the vectors (..., 5, 3) [m] from each finger's root to its tip."""
    return keypoints[..., TIPS_SLICE, :] - keypoints[..., ROOTS_SLICE, :]


def flexion(keypoints: F64) -> F64:
    """Return the total flexion (..., 4) [rad] of index to little finger: the angles at MCP, PIP and DIP added up."""
    fingers = keypoints[..., 5:, :].reshape(*keypoints.shape[:-2], 4, 4, 3)
    bones = np.diff(fingers, axis=-2)
    first = np.arctan2(bones[..., 0, 0], bones[..., 0, 2])
    first = np.where(first < -np.pi / 2, first + 2 * np.pi, first)
    unit = bones / np.maximum(np.linalg.norm(bones, axis=-1, keepdims=True), 1e-9)
    bends = np.arccos(np.clip((unit[..., 1:, :] * unit[..., :-1, :]).sum(-1), -1.0, 1.0))
    return first + bends.sum(-1)
