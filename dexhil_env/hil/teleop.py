"""A person's arm and hand as seen by the mux: anchored at the takeover, sampled at their own rates."""

from typing import Protocol

import numpy as np

from dexhil_env import robot
from dexhil_env.hil.hand_map import HandMap, make_hand_map
from dexhil_env.hil.ik import ArmIK
from dexhil_env.hil.mapping import BLEND_S, ArmMap, BlendIn, Mapping, check_mapping, make_arm_map
from dexhil_env.transforms import from_parts, from_rotvec, rotvec
from dexhil_env.types import ARM, F64, HAND, Command

JUMP_POSES = 10
"""Poses on the way to a palm pose that is not near the last one: inverse kinematics in one go would now and then end somewhere else."""


class Person(Protocol):
    """The two devices a person holds: a tracked cube and a glove (or whatever stands in for them)."""

    def begin(self, t_s: float, T_base_ee: F64, hand: F64) -> None:
        """A takeover starts; the palm is commanded at ``T_base_ee`` (4, 4), the motors at ``hand`` (12,) [rad]."""
        ...

    def cube(self, t_s: float) -> F64:
        """Return ``T_cam_cube`` (4, 4)."""
        ...

    def glove(self, t_s: float) -> F64:
        """Return retargeted motor angles (12,) [rad]."""
        ...


class Teleop:
    """Turns device readings into motor commands. Arm and hand are anchored on the last *commanded* target, at the same tick.

    Args:
        ik: kinematics of the arm.
        person: the devices.
        arm_map: replaces the arm's map, e.g. by one with the constant of the device; it must be of the kind of ``mapping``.
        hand_map: replaces the hand's map.
        mapping: ``"anchor"``, or for comparison ``"direct"`` (absolute, with a jump) or ``"blend"`` (absolute, blended in).

    Raises:
        ConfigError: unknown ``mapping``.
    """

    def __init__(
        self, ik: ArmIK, person: Person, arm_map: ArmMap | None = None, *, mapping: Mapping = "anchor", hand_map: HandMap | None = None
    ) -> None:
        check_mapping(mapping)
        self.ik, self.person, self.mapping = ik, person, mapping
        self.arm_map, self.hand_map = arm_map or make_arm_map(mapping), hand_map or make_hand_map(mapping)
        duration_s = BLEND_S if mapping == "blend" else 0.0
        self._arm_blend, self._hand_blend = BlendIn(duration_s), BlendIn(duration_s)
        self._max_step = robot.ARM_MAX_VELOCITY * robot.ARM_COMMAND_PERIOD_S
        self.reset()

    def reset(self) -> None:
        """Nobody drives."""
        self.want_arm = self.want_hand = False
        self.held_arm = self.held_hand = False
        self._joints = robot.ARM_HOME
        self._arm: F64 | None = None
        self._hand: F64 | None = None
        self._arm_due = self._hand_due = 0.0
        self._arm_ns = self._hand_ns = 0

    @property
    def palm(self) -> F64:
        """Pose (4, 4) of the palm that the arm's newest command leads to."""
        return self.ik.forward(self._joints)

    def engage(self, arm: bool, hand: bool) -> None:
        """Say which limbs the person drives from the next servo tick on; explicit, never guessed from the size of the input."""
        self.want_arm, self.want_hand = arm, hand

    def hold(self, arm: bool, hand: bool) -> None:
        """Keep the last command of a limb, whatever its device shows (clutch, a lost device).

        A limb that is let go again is anchored anew on its last target, so that the device may have moved meanwhile.
        """
        if self.held_arm and not arm:
            self._arm = None
        if self.held_hand and not hand:
            self._hand = None
        self.held_arm, self.held_hand = arm, hand

    def reanchor(self, arm: bool, hand: bool) -> None:
        """Anchor a limb anew at the next tick: its device has been changed for another, or has jumped."""
        if arm:
            self._arm = None
        if hand:
            self._hand = None

    def poll(self, t_s: float, commanded: F64) -> Command:
        """Return the newest command of each engaged limb; see :class:`dexhil_env.servo.CommandSource`."""
        self._follow_engagement(t_s, commanded)
        if self._hand is not None and not self.held_hand and t_s >= self._hand_due - 1e-9:
            self._hand_due += robot.HAND_COMMAND_PERIOD_S
            motors = self.hand_map.motors(self.person.glove(t_s))
            self._hand, self._hand_ns = self._hand_blend(t_s, motors), round(t_s * 1e9)
        if self._arm is not None and not self.held_arm and t_s >= self._arm_due - 1e-9:
            self._arm_due += robot.ARM_COMMAND_PERIOD_S
            target = self.arm_map.ee_pose(self.person.cube(t_s))
            self._joints = self.ik.solve(self._joints, target, max_step_rad=self._max_step)
            self._arm, self._arm_ns = self._arm_blend(t_s, self._joints), round(t_s * 1e9)
        return Command(self._arm, self._hand, self._arm_ns, self._hand_ns)

    def _follow_engagement(self, t_s: float, commanded: F64) -> None:
        take_arm = self.want_arm and self._arm is None
        take_hand = self.want_hand and self._hand is None
        if take_arm or take_hand:
            self.person.begin(t_s, self.ik.forward(commanded[ARM]), commanded[HAND])
        if take_arm:
            self._take_arm(t_s, commanded[ARM])
        if take_hand:
            self._take_hand(t_s, commanded[HAND])
        if not self.want_arm:
            self._arm = None
        if not self.want_hand:
            self._hand = None

    def _take_arm(self, t_s: float, joints: F64) -> None:
        """Make the first command of a takeover; ``joints`` (7,) [rad] is the arm's last target."""
        cube = self.person.cube(t_s)
        self.arm_map.anchor(self.ik.forward(joints), cube)
        self._joints = joints.copy()
        if self.mapping != "anchor":
            self._joints = _reach(self.ik, self._joints, self.arm_map.ee_pose(cube))
        self._arm_blend.begin(t_s, joints)
        self._arm, self._arm_ns = self._arm_blend(t_s, self._joints), round(t_s * 1e9)
        self._arm_due = t_s + robot.ARM_COMMAND_PERIOD_S

    def _take_hand(self, t_s: float, motors: F64) -> None:
        """Make the first command of a takeover; ``motors`` (12,) [rad] is the hand's last target."""
        glove = self.person.glove(t_s)
        self.hand_map.anchor(motors, glove)
        self._hand_blend.begin(t_s, motors)
        self._hand, self._hand_ns = self._hand_blend(t_s, self.hand_map.motors(glove)), round(t_s * 1e9)
        self._hand_due = t_s + robot.HAND_COMMAND_PERIOD_S


def _reach(ik: ArmIK, joints: F64, T_base_ee: F64) -> F64:
    """Return the joints (7,) [rad] of a palm pose (4, 4) some way off, on the same branch as ``joints`` (7,) [rad]."""
    start = ik.forward(joints)
    turn, way = rotvec(T_base_ee[:3, :3] @ start[:3, :3].T), T_base_ee[:3, 3] - start[:3, 3]
    for share in np.linspace(0.0, 1.0, JUMP_POSES + 1)[1:]:
        joints = ik.solve(joints, from_parts(from_rotvec(share * turn) @ start[:3, :3], start[:3, 3] + share * way))
    return joints
