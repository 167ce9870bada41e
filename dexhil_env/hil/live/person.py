"""The devices of a live person as the cube and the glove that :class:`dexhil_env.hil.teleop.Teleop` asks for.

Poses are returned in a frame that is parallel to the robot's base, so that one grip-invariant map (``alignment="anchor"``) serves keys, a
cube in front of a camera and a headset. Keys, sliders and buttons move a virtual cube and a virtual glove with bounded speed.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.hil.live import grasps
from dexhil_env.hil.live.messages import ARM_DEVICES, HAND_DEVICES, Message
from dexhil_env.hil.mapping import Alignment, ArmAnchor, ArmMap
from dexhil_env.transforms import from_parts, from_rotvec, pose_matrix, rotvec
from dexhil_env.types import F64

Retarget = Callable[[F64, float], F64 | None]
"""Keypoints of a person's hand (21, 3) [m] and when they were heard [s] -> motor angles (12,) [rad], or None: not a hand."""

MAX_SPEED: Final = 0.35
"""Of the virtual cube [m/s]; as fast as the simulated human guides the robot."""
MAX_TURN_RATE: Final = 1.8
"""Of the virtual cube [rad/s]."""
MAX_FINGER_RATE: Final = 2.5
"""Of the virtual glove [rad/s]."""
JOG_S: Final = 0.25
"""A jog that is not repeated ends after this time [s]."""
STEADY_COUNT: Final = 5
STEADY_S: Final = 0.2
"""An anchor is the mean of the last poses of a device that is held still: one picture's error would stay for the whole correction."""
STEADY_M: Final = 0.003
STEADY_RAD: Final = 0.03
"""A device whose last poses lie within this of the newest is held still [m, rad]; the mean of a moving one would lag behind it."""
LEASH_M: Final = 0.03
"""Farthest that a virtual cube runs ahead of an arm that cannot follow [m]."""
R_VIEW_CAM: Final = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]])
"""A camera that faces the person (x right, y down, z forward) in the view's axes (right, away, up)."""
R_VIEW_HEADSET: Final = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""A headset's space (x right, y up, z backward) in the view's axes (right, away, up)."""


class LivePerson:
    """Implements :class:`dexhil_env.hil.teleop.Person` from the newest messages. One thread.

    Args:
        R_base_view: (3, 3) columns: right, away and up of the person's view, in the robot base frame.
        retarget: turns keypoints into motor angles; without it, keypoints are ignored.
    """

    def __init__(self, R_base_view: F64, retarget: Retarget | None = None) -> None:
        self._retarget = retarget
        self._axes = {"jog": R_base_view, "cube": R_base_view @ R_VIEW_CAM, "wrist": R_base_view @ R_VIEW_HEADSET}
        self.reset()

    def reset(self) -> None:
        """Nobody has moved anything yet, and the hand is unknown."""
        forget = getattr(self._retarget, "reset", None)
        if forget is not None:
            forget()
        self.arm_device, self.hand_device = "jog", "sliders"
        self.hand_driven = False
        self._jog, self._jog_until = (np.zeros(3), np.zeros(3)), -1.0
        self._virtual, self._owed = np.eye(4), (np.zeros(3), np.zeros(3))
        self._tracked: dict[str, F64] = {}
        self._recent: deque[tuple[float, F64]] = deque(maxlen=STEADY_COUNT)
        self._glove = self._wanted = robot.HAND_HOME.copy()
        self._closures = grasps.closures(self._glove)
        self._t_arm = self._t_hand = 0.0
        self.last_cube, self.last_glove = self._virtual, self._glove

    # ---- hearing -----------------------------------------------------------------------------------------------------------------

    def hear(self, message: Message, t_s: float) -> bool:
        """Take note of a reading at time ``t_s`` and return whether it is used; the device that spoke last is the one in use."""
        kind = str(message["type"])
        if kind in ARM_DEVICES:
            if self.arm_device != ARM_DEVICES[kind]:
                self._recent.clear()
            self.arm_device = ARM_DEVICES[kind]
            self._hear_arm(kind, message, t_s)
            return True
        if kind == "keypoints":
            motors = None if self._retarget is None else self._retarget(np.array(message["points"]), t_s)
            if motors is None:
                return False
            self._glove = self._wanted = _within(motors)
        else:
            self._hear_hand(kind, message)
        self.hand_device = HAND_DEVICES[kind]
        return True

    def _hear_arm(self, kind: str, message: Message, t_s: float) -> None:
        if kind in ("cube", "wrist"):
            rotation, pose = self._axes[kind], pose_matrix(np.array(message["pose"]))
            self._tracked[kind] = from_parts(rotation @ pose[:3, :3], rotation @ pose[:3, 3])
            self._recent.append((t_s, self._tracked[kind]))
            return
        linear, angular = (self._axes["jog"] @ np.array(message[name]) for name in ("linear", "angular"))
        if kind == "jog":
            self._jog, self._jog_until = (linear, angular), t_s + JOG_S
        else:
            self._owed = (self._owed[0] + linear, self._owed[1] + angular)

    def _hear_hand(self, kind: str, message: Message) -> None:
        if kind == "motors":
            self._glove = self._wanted = _within(np.array(message["values"]))
        elif kind == "synergy":
            self._wanted = grasps.shape(message["grasp"], message["value"])
            self._closures = grasps.closures(self._wanted)
        else:
            wanted = self._wanted.copy()
            for index, value in enumerate(message["values"]):
                if abs(value - self._closures[index]) > 1e-3:
                    wanted[grasps.FINGERS[index]], self._closures[index] = grasps.finger(index, value), value
            self._wanted = wanted

    # ---- what Teleop asks for ----------------------------------------------------------------------------------------------------

    def begin(self, t_s: float, T_base_ee: F64, hand: F64) -> None:
        """A takeover starts: the virtual cube may be anywhere, the virtual glove has the shape of the robot's hand."""
        del T_base_ee
        self._t_arm = t_s
        self._owed = (np.zeros(3), np.zeros(3))
        if not self.hand_driven:
            self._t_hand = t_s
            if self.hand_device == "sliders":
                self._glove = self._wanted = hand.copy()
                self._closures = grasps.closures(hand)

    def cube(self, t_s: float) -> F64:
        """Return the pose (4, 4) of the device in use, in a frame parallel to the robot's base."""
        dt, self._t_arm = max(t_s - self._t_arm, 0.0), t_s
        if self.arm_device == "jog":
            self._move_cube(t_s, dt)
        self.last_cube = self._virtual if self.arm_device == "jog" else self._tracked[self.arm_device]
        return self.last_cube

    def steady(self, T_cam_cube: F64) -> F64:
        """Return the pose (4, 4) to anchor on: the mean of the last readings of a tracked device that is held still, else as it is."""
        if self.arm_device == "jog" or not self._recent:
            return T_cam_cube
        newest_s = self._recent[-1][0]
        poses = [pose for t_s, pose in self._recent if newest_s - t_s <= STEADY_S]
        shifts = np.array([pose[:3, 3] - T_cam_cube[:3, 3] for pose in poses])
        turns = np.array([rotvec(pose[:3, :3] @ T_cam_cube[:3, :3].T) for pose in poses])
        if np.linalg.norm(shifts, axis=1).max() > STEADY_M or np.linalg.norm(turns, axis=1).max() > STEADY_RAD:
            return T_cam_cube
        return from_parts(from_rotvec(turns.mean(axis=0)) @ T_cam_cube[:3, :3], T_cam_cube[:3, 3] + shifts.mean(axis=0))

    def _move_cube(self, t_s: float, dt: float) -> None:
        linear, angular = self._jog if t_s <= self._jog_until else (np.zeros(3), np.zeros(3))
        self._owed = (self._owed[0] + dt * linear, self._owed[1] + dt * angular)
        shift, turn = (_shortened(step, bound * dt) for step, bound in zip(self._owed, (MAX_SPEED, MAX_TURN_RATE), strict=True))
        self._owed = (self._owed[0] - shift, self._owed[1] - turn)
        self._virtual = from_parts(from_rotvec(turn) @ self._virtual[:3, :3], self._virtual[:3, 3] + shift)

    def glove(self, t_s: float) -> F64:
        """Return the motor angles (12,) [rad] that the person shows."""
        dt, self._t_hand = max(t_s - self._t_hand, 0.0), t_s
        step = MAX_FINGER_RATE * dt
        if self.hand_device == "sliders":
            self._glove = self._glove + np.clip(self._wanted - self._glove, -step, step)
        self.last_glove = self._glove
        return self._glove

    def leash(self, arm_map: ArmMap, T_base_ee: F64) -> None:
        """Let the virtual cube not run away from an arm that cannot follow; ``T_base_ee`` (4, 4) is where the palm is commanded."""
        if self.arm_device != "jog":
            return
        wanted = arm_map.ee_pose(self._virtual)
        ahead = wanted[:3, 3] - T_base_ee[:3, 3]
        distance = float(np.linalg.norm(ahead))
        if distance > LEASH_M:
            wanted[:3, 3] = T_base_ee[:3, 3] + ahead * (LEASH_M / distance)
            self._virtual = self.last_cube = arm_map.cube_pose(wanted)


class SteadyAnchor(ArmAnchor):
    """An anchored map whose anchor is the mean of a person's last readings (:meth:`LivePerson.steady`).

    Args:
        person: whose devices it maps.
        alignment, scale: see :class:`ArmAnchor`.
    """

    def __init__(self, person: LivePerson, alignment: Alignment, scale: float) -> None:
        self._person = person
        super().__init__(alignment=alignment, scale=scale)

    def anchor(self, T_base_ee0: F64, T_cam_cube0: F64) -> None:
        """Take note of the commanded palm pose (4, 4), and of where the device is held."""
        super().anchor(T_base_ee0, self._person.steady(T_cam_cube0))


def _shortened(step: F64, longest: float) -> F64:
    size = float(np.linalg.norm(step))
    return step if size <= longest else step * (longest / size)


def _within(motors: F64) -> F64:
    return np.clip(motors, robot.HAND_LOW, robot.HAND_HIGH)
