"""From the device in a person's hand to the palm of the robot (DexHiL paper, eq. 3)."""

import numpy as np

from dexhil_env.transforms import inverse
from dexhil_env.types import F64


class ArmAnchor:
    """Maps the motion of a tracked cube since the takeover onto the palm.

    ``T_base_ee = T_base_ee0 . T_cube_ee^-1 . T_cam_cube0^-1 . T_cam_cube . T_cube_ee`` (paper, eq. 3): at the moment of the takeover
    the palm stays exactly where it was commanded, whatever the pose of the cube.

    Args:
        T_cube_ee: (4, 4) constant pose of the palm in the cube's frame; identity when cube and palm axes agree.
    """

    def __init__(self, T_cube_ee: F64 | None = None) -> None:
        self._T_cube_ee = np.eye(4) if T_cube_ee is None else np.asarray(T_cube_ee, dtype=float)
        self._T_ee_cube = inverse(self._T_cube_ee)
        self.anchor(np.eye(4), np.eye(4))

    def anchor(self, T_base_ee0: F64, T_cam_cube0: F64) -> None:
        """Remember the commanded palm pose and the cube pose at the takeover, both (4, 4)."""
        self._before = T_base_ee0 @ self._T_ee_cube @ inverse(T_cam_cube0)

    def ee_pose(self, T_cam_cube: F64) -> F64:
        """Return ``T_base_ee`` (4, 4) for a cube pose (4, 4)."""
        return self._before @ T_cam_cube @ self._T_cube_ee

    def cube_pose(self, T_base_ee: F64) -> F64:
        """Invert :meth:`ee_pose`: where a person must hold the cube for a wanted palm pose."""
        return inverse(self._before) @ T_base_ee @ self._T_ee_cube
