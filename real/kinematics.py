"""Where palm and fingertips are, from the angles of joints and motors: the twin's robot without its shapes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from dexhil_env import robot
from dexhil_env.types import F64

if TYPE_CHECKING:
    import mujoco

TIPS: Final = ("tip_1", "tip_2", "tip_3", "tip_4", "tip_5")
"""Sites on the fingertips, thumb first."""


@dataclass(frozen=True, slots=True)
class Points:
    """Places in the robot's base frame.

    Attributes:
        palm: (3,) [m].
        rotation: (3, 3) of the palm.
        tips: (5, 3) fingertips, thumb first [m].
    """

    palm: F64
    rotation: F64
    tips: F64


def shapeless_robot(mount_yaw_deg: float, mount_offset_m: float) -> "mujoco.MjSpec":
    """Return arm and hand of the twin as bodies and joints only, not compiled yet; nothing can touch.

    Args:
        mount_yaw_deg: rotation of the hand about the flange's axis [deg].
        mount_offset_m: thickness of the adapter [m].
    """
    from dexhil_env.sim.scene import SceneConfig, build_spec

    spec = build_spec(SceneConfig(mount_yaw_deg=mount_yaw_deg, mount_offset_m=mount_offset_m))
    for geom in list(spec.geoms):
        spec.delete(geom)
    return spec


class Kinematics:
    """Forward kinematics of arm and hand. One thread at a time.

    Args:
        mount_yaw_deg: rotation of the hand about the flange's axis [deg].
        mount_offset_m: thickness of the adapter [m].
    """

    def __init__(self, mount_yaw_deg: float = 180.0, mount_offset_m: float = 0.0) -> None:
        import mujoco

        self._mujoco, self.model = mujoco, shapeless_robot(mount_yaw_deg, mount_offset_m).compile()
        self._data = mujoco.MjData(self.model)
        model = self.model
        self._arm = np.array([model.joint(name).qposadr[0] for name in robot.ARM_JOINTS])
        self._hand = np.array([model.joint(name).qposadr[0] for name in robot.HAND_JOINTS])
        self._coupling = robot.coupling_matrix()
        self._palm = int(model.site("ee").id)
        self._tips = np.array([model.site(name).id for name in TIPS])

    def __call__(self, target: F64) -> Points:
        """Return the places of arm joints and hand motors (19,) [rad]."""
        data = self._data
        data.qpos[self._arm] = target[robot.ARM]
        data.qpos[self._hand] = self._coupling @ target[robot.HAND]
        self._mujoco.mj_kinematics(self.model, data)
        return Points(data.site_xpos[self._palm].copy(), data.site_xmat[self._palm].reshape(3, 3).copy(), data.site_xpos[self._tips])
