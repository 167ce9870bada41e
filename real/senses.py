"""What a robot sees and feels: the newest sample of every source at one moment, with its age."""

import time
from typing import Final

import numpy as np

from dexhil_env.errors import DeviceError
from dexhil_env.transforms import from_parts, matrix_pose
from dexhil_env.types import F64, U8, RobotState
from real.cameras import Camera, Frame
from real.dexhand import DexHand
from real.fr3 import FR3
from real.kinematics import Kinematics
from real.pictures import fit

_NEW_PICTURES: Final = 2
"""The next picture to arrive may have been taken already."""
_WAIT_S: Final = 1.0
_POLL_S: Final = 0.005


class Senses:
    """Arm, hand and cameras, read together.

    Args:
        arm, hand: connected drivers.
        eyes: cameras by name.
        kinematics: of arm and hand.
        without_touch: a fingertip sensor that has never given a reading counts as 0 N.

    Attributes:
        eyes: the cameras.
        ages: of the last sample, by source [s]; of the hand, its oldest board's.
    """

    def __init__(self, arm: FR3, hand: DexHand, eyes: dict[str, Camera], kinematics: Kinematics, without_touch: bool) -> None:
        self._arm, self._hand, self.eyes = arm, hand, eyes
        self._kinematics, self._without_touch = kinematics, without_touch
        self._frames: dict[str, Frame] = {}
        self.ages: dict[str, float] = {}

    def sample(self, start_s: float) -> RobotState:
        """Read everything now.

        Args:
            start_s: when the episode began, on the arm's clock [s].

        Raises:
            DeviceError: something has never given a reading.
        """
        arm, hand = self._arm.state(), self._hand.state()
        self._frames = {name: eye.frame() for name, eye in self.eyes.items()}
        self.ages = {"arm": arm.age_s, "hand": float(hand.age_s.max()), **{name: frame.age_s for name, frame in self._frames.items()}}
        points = self._kinematics(np.concatenate([arm.q, hand.motor_pos]))
        now_s = arm.robot_time_s if self._arm.config.clock == "robot" else arm.stamp_ns * 1e-9
        return RobotState(
            time_s=max(now_s - start_s, 0.0),
            arm_joint_pos=arm.q,
            arm_joint_vel=arm.dq,
            hand_motor_pos=hand.motor_pos,
            fingertip_force=self._touch(hand.fingertip_force),
            ee_pose=matrix_pose(from_parts(points.rotation, points.palm)),
        )

    def _touch(self, force: F64) -> F64:
        missing = np.isnan(force)
        if missing.any() and not self._without_touch:
            raise DeviceError(
                f"the sensors of fingers {np.flatnonzero(missing).tolist()} (0 is the thumb) have not given a reading yet; check the hand, "
                "or set without_touch = true in [session] to go on with 0 N in their place"
            )
        return np.where(missing, 0.0, force)

    def late(self) -> list[str]:
        """Return what the robot must stand still for: pictures that lie or do not come, an arm that is silent."""
        found = [text for eye in self.eyes.values() for text in eye.faults()]
        age_s = self._arm.state().age_s
        if age_s > self._arm.config.stale_hold_s:
            found.append(f"no news from the arm for {age_s:.2f} s")
        return found

    def await_pictures(self) -> None:
        """Wait for pictures of the scene as it is now; the ones at hand may show how it was before it was laid."""
        needed = {name: eye.frame().sequence + _NEW_PICTURES for name, eye in self.eyes.items()}
        deadline = time.monotonic() + _WAIT_S
        while any(self.eyes[name].frame().sequence < number for name, number in needed.items()) and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def images(self, size: int) -> dict[str, U8]:
        """Return the pictures of the last sample, the middle square of each, (size, size, 3)."""
        frames = self._frames or {name: eye.frame() for name, eye in self.eyes.items()}
        return {name: fit(frame.image, size, size) for name, frame in frames.items()}

    def picture(self, camera: str, height: int, width: int) -> U8:
        """Return one camera's newest picture in any shape, (height, width, 3).

        Raises:
            DeviceError: that camera is not open.
        """
        if camera not in self.eyes:
            raise DeviceError(f"camera {camera!r} is not open; this environment was made with cameras={tuple(self.eyes)}")
        return fit(self.eyes[camera].frame().image, height, width)
