"""Facts of the Franka FR3 arm and the DexHand021 right hand: names, limits, home pose, motor-to-joint coupling.

Sources: FR3 position and velocity limits and efforts from franka_description (Apache-2.0) and the Franka Control Interface
documentation (joint acceleration); DexHand021 chain and ranges from the DexRobot MJCF (Apache-2.0); the coupling of 12 motors to
19 joints from DexRobot's hardware mapping. Values without a published source say so.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

ARM: Final = slice(0, 7)
HAND: Final = slice(7, 19)
ACTION_DIM: Final = 19

ARM_JOINTS: Final = tuple(f"fr3_joint{i}" for i in range(1, 8))
ARM_LOW: Final[F64] = np.array([-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159])
ARM_HIGH: Final[F64] = np.array([2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159])
ARM_MAX_VELOCITY: Final[F64] = np.array([2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26])
"""Joint velocity limits [rad/s] (franka_description)."""
ARM_MAX_ACCELERATION: Final[F64] = np.full(7, 10.0)
"""Joint acceleration limits [rad/s^2] (Franka Control Interface documentation)."""
ARM_MAX_TORQUE: Final[F64] = np.array([87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0])

HAND_MOTORS: Final = (
    "th_rot", "th_mcp", "th_dip", "ff_spr", "ff_mcp", "ff_dip",
    "mf_mcp", "mf_dip", "rf_mcp", "rf_dip", "lf_mcp", "lf_dip",
)  # fmt: skip
HAND_LOW: Final[F64] = np.zeros(12)
HAND_HIGH: Final[F64] = np.array([2.2, 1.3, 1.3, 0.3, 1.3, 1.3, 1.3, 1.3, 1.3, 1.3, 1.3, 1.3])
HAND_MAX_VELOCITY: Final[F64] = np.full(12, 4.0)
"""Motor target velocity limit [rad/s]; our choice, the maker publishes none."""
HAND_MAX_ACCELERATION: Final[F64] = np.full(12, 80.0)
"""Motor target acceleration limit [rad/s^2]; our choice, the maker publishes none."""

COUPLING: Final[dict[str, tuple[tuple[str, float], ...]]] = {
    "th_rot": (("r_f_joint1_1", 1.0),),
    "th_mcp": (("r_f_joint1_2", 1.0),),
    "th_dip": (("r_f_joint1_3", 1.0), ("r_f_joint1_4", 1.0)),
    "ff_spr": (("r_f_joint2_1", 1.0), ("r_f_joint4_1", 1.0), ("r_f_joint5_1", 2.0)),
    "ff_mcp": (("r_f_joint2_2", 1.0),),
    "ff_dip": (("r_f_joint2_3", 1.0), ("r_f_joint2_4", 1.0)),
    "mf_mcp": (("r_f_joint3_2", 1.0),),
    "mf_dip": (("r_f_joint3_3", 1.0), ("r_f_joint3_4", 1.0)),
    "rf_mcp": (("r_f_joint4_2", 1.0),),
    "rf_dip": (("r_f_joint4_3", 1.0), ("r_f_joint4_4", 1.0)),
    "lf_mcp": (("r_f_joint5_2", 1.0),),
    "lf_dip": (("r_f_joint5_3", 1.0), ("r_f_joint5_4", 1.0)),
}
"""Motor -> ((joint, ratio), ...): the first joint is the motor's own, the others follow it."""
HAND_JOINTS: Final = tuple(sorted(joint for group in COUPLING.values() for joint, _ in group))
"""The 19 moving joints of the hand (the middle finger's spread joint is fixed)."""

LOW: Final[F64] = np.concatenate([ARM_LOW, HAND_LOW])
HIGH: Final[F64] = np.concatenate([ARM_HIGH, HAND_HIGH])
MAX_VELOCITY: Final[F64] = np.concatenate([ARM_MAX_VELOCITY, HAND_MAX_VELOCITY])
MAX_ACCELERATION: Final[F64] = np.concatenate([ARM_MAX_ACCELERATION, HAND_MAX_ACCELERATION])
ACTION_NAMES: Final = tuple(f"{name}.pos" for name in (*ARM_JOINTS, *HAND_MOTORS))

ARM_HOME: Final[F64] = np.array([0.0, -0.5, 0.0, -2.3, 0.0, 2.4, 0.785])
HAND_HOME: Final[F64] = np.zeros(12)
HOME: Final[F64] = np.concatenate([ARM_HOME, HAND_HOME])

CONTROL_PERIOD_S: Final = 0.05
"""Policy period (20 Hz, DexHiL paper)."""
SERVO_PERIOD_S: Final = 0.005
"""Period of the target interpolation and limiting loop (200 Hz)."""
ARM_COMMAND_PERIOD_S: Final = 1 / 30
"""Human arm command period (30 Hz, DexHiL paper)."""
HAND_COMMAND_PERIOD_S: Final = 1 / 90
"""Human hand command period (90 Hz, DexHiL paper)."""


def coupling_matrix() -> F64:
    """Return the (19, 12) matrix that maps motor angles to joint angles in the order of ``HAND_JOINTS``."""
    matrix = np.zeros((len(HAND_JOINTS), len(HAND_MOTORS)))
    for column, motor in enumerate(HAND_MOTORS):
        for joint, ratio in COUPLING[motor]:
            matrix[HAND_JOINTS.index(joint), column] = ratio
    return matrix
