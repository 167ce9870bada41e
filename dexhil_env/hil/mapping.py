"""From the device in a person's hand to the palm of the robot: anchored (DexHiL paper, eq. 3), or absolute for comparison."""

from typing import Final, Literal, Protocol

import numpy as np

from dexhil_env.errors import ConfigError
from dexhil_env.servo import min_jerk
from dexhil_env.transforms import inverse
from dexhil_env.types import F64

Mapping = Literal["anchor", "direct", "blend"]
"""How a takeover is mapped. ``anchor``: relative to the last command, no jump. ``direct``: the person's pose and angles as they are, so the
command jumps. ``blend``: the same, blended in from the last command."""
MAPPINGS: Final = ("anchor", "direct", "blend")
BLEND_S: Final = 0.5
"""Duration of the minimum-jerk blend of ``blend`` [s]; our choice."""
Alignment = Literal["anchor", "fixed"]
"""Which way the cube's axes lie in the palm. ``fixed``: as calibrated once (the paper), so that the person must grip the cube the same
way at every press. ``anchor``: found anew at every press from the direction of the camera, so that any grip does."""
ALIGNMENTS: Final = ("anchor", "fixed")


class ArmMap(Protocol):
    """Maps the pose of a tracked cube onto the palm."""

    def anchor(self, T_base_ee0: F64, T_cam_cube0: F64) -> None:
        """Take note of the commanded palm pose and the cube pose at the takeover, both (4, 4)."""
        ...

    def ee_pose(self, T_cam_cube: F64) -> F64:
        """Return ``T_base_ee`` (4, 4) for a cube pose (4, 4)."""
        ...

    def cube_pose(self, T_base_ee: F64) -> F64:
        """Invert :meth:`ee_pose`: where a person must hold the cube for a wanted palm pose."""
        ...


class ArmAnchor:
    """Maps the motion of a tracked cube since the takeover onto the palm.

    ``T_base_ee = T_base_ee0 . T_cube_ee^-1 . T_cam_cube0^-1 . T_cam_cube . T_cube_ee`` (paper, eq. 3): at the moment of the takeover
    the palm stays exactly where it was commanded, whatever the pose of the cube. The formula works in the cube's own axes: with a constant
    ``T_cube_ee``, a cube that is gripped 45 deg off moves the palm 45 deg off. With ``alignment="anchor"`` the rotation of ``T_cube_ee``
    is ``R_cam_cube0^T . R_base_cam^T . R_base_ee0``, taken at every takeover, and its translation is 0; then
    ``p = p_ee0 + R_base_cam (t - t0)`` and ``R = R_base_cam R_cube R_cube0^T R_base_cam^T R_ee0``: the grip drops out.

    Args:
        T_cube_ee: (4, 4) constant pose of the palm in the cube's frame; identity when cube and palm axes agree. Only for ``"fixed"``.
        alignment: ``"fixed"`` or ``"anchor"``.
        R_base_cam: (3, 3) direction of the camera in the robot base frame; rough is enough. Only for ``"anchor"``.
        scale: metres of the palm per metre of the cube.

    Raises:
        ConfigError: unknown ``alignment``, or a scale that is not positive.
    """

    def __init__(
        self, T_cube_ee: F64 | None = None, *, alignment: Alignment = "fixed", R_base_cam: F64 | None = None, scale: float = 1.0
    ) -> None:
        if alignment not in ALIGNMENTS or scale <= 0:
            raise ConfigError(f"alignment must be one of {ALIGNMENTS} and scale positive; got {alignment!r}, {scale}")
        self._alignment, self._scale = alignment, scale
        self._R_base_cam = np.eye(3) if R_base_cam is None else np.asarray(R_base_cam, dtype=float)
        self._T_cube_ee = np.eye(4) if T_cube_ee is None else np.asarray(T_cube_ee, dtype=float)
        self._T_ee_cube = inverse(self._T_cube_ee)
        self.anchor(np.eye(4), np.eye(4))

    def anchor(self, T_base_ee0: F64, T_cam_cube0: F64) -> None:
        """Remember the commanded palm pose and the cube pose at the takeover, both (4, 4)."""
        if self._alignment == "anchor":
            self._T_cube_ee = np.eye(4)
            self._T_cube_ee[:3, :3] = T_cam_cube0[:3, :3].T @ self._R_base_cam.T @ T_base_ee0[:3, :3]
            self._T_ee_cube = inverse(self._T_cube_ee)
        self._before = T_base_ee0 @ self._T_ee_cube @ inverse(T_cam_cube0)
        self._place = T_cam_cube0[:3, 3].copy()

    def _scaled(self, T_cam_cube: F64, scale: float) -> F64:
        if self._scale == 1.0:
            return T_cam_cube
        scaled = T_cam_cube.copy()
        scaled[:3, 3] = self._place + scale * (T_cam_cube[:3, 3] - self._place)
        return scaled

    def ee_pose(self, T_cam_cube: F64) -> F64:
        """Return ``T_base_ee`` (4, 4) for a cube pose (4, 4)."""
        return self._before @ self._scaled(T_cam_cube, self._scale) @ self._T_cube_ee

    def cube_pose(self, T_base_ee: F64) -> F64:
        """Invert :meth:`ee_pose`: where a person must hold the cube for a wanted palm pose."""
        return self._scaled(inverse(self._before) @ T_base_ee @ self._T_ee_cube, 1.0 / self._scale)


class ArmDirect:
    """Puts the palm where the person's palm is: absolute, so the command jumps at a takeover.

    Args:
        T_cube_ee: (4, 4) constant pose of the palm in the cube's frame.
        T_base_cam: (4, 4) pose of the camera in the robot base frame; identity when the cube is tracked in that frame.
    """

    def __init__(self, T_cube_ee: F64 | None = None, T_base_cam: F64 | None = None) -> None:
        self._T_cube_ee = np.eye(4) if T_cube_ee is None else np.asarray(T_cube_ee, dtype=float)
        self._T_base_cam = np.eye(4) if T_base_cam is None else np.asarray(T_base_cam, dtype=float)

    def anchor(self, T_base_ee0: F64, T_cam_cube0: F64) -> None:
        """Remember nothing."""

    def ee_pose(self, T_cam_cube: F64) -> F64:
        """Return ``T_base_ee`` (4, 4) for a cube pose (4, 4)."""
        return self._T_base_cam @ T_cam_cube @ self._T_cube_ee

    def cube_pose(self, T_base_ee: F64) -> F64:
        """Invert :meth:`ee_pose`."""
        return inverse(self._T_base_cam) @ T_base_ee @ inverse(self._T_cube_ee)


class BlendIn:
    """Blends a limb's commands in from its last target with a minimum-jerk profile.

    Args:
        duration_s: 0 passes the commands on as they are [s].
    """

    def __init__(self, duration_s: float = 0.0) -> None:
        self._duration_s = duration_s
        self.begin(0.0, np.zeros(0))

    def begin(self, t_s: float, target: F64) -> None:
        """Remember time [s] and last target [rad] of a takeover."""
        self._start_s, self._target = t_s, target.copy()

    def __call__(self, t_s: float, command: F64) -> F64:
        """Return the target [rad] for a command [rad] at time ``t_s``."""
        elapsed_s = t_s - self._start_s
        if elapsed_s >= self._duration_s:
            return command
        return self._target + min_jerk(elapsed_s / self._duration_s) * (command - self._target)


def check_mapping(mapping: str) -> None:
    """Refuse an unknown way to map a takeover.

    Raises:
        ConfigError: not one of :data:`MAPPINGS`.
    """
    if mapping not in MAPPINGS:
        raise ConfigError(f"mapping must be one of {MAPPINGS}; got {mapping!r}")


def make_arm_map(mapping: Mapping, T_cube_ee: F64 | None = None, *, alignment: Alignment = "fixed", scale: float = 1.0) -> ArmMap:
    """Return the map of the arm; ``blend`` maps as ``direct`` does, its commands are blended in later.

    ``alignment`` and ``scale`` are for ``anchor``; poses are given in a frame that is parallel to the robot's base.
    """
    return ArmAnchor(T_cube_ee, alignment=alignment, scale=scale) if mapping == "anchor" else ArmDirect(T_cube_ee)
