"""A person's arm and hand as seen by the mux: anchored at the takeover, sampled at their own rates."""

from typing import Protocol

from dexhil_env import robot
from dexhil_env.hil.hand_map import HandAnchor
from dexhil_env.hil.ik import ArmIK
from dexhil_env.hil.mapping import ArmAnchor
from dexhil_env.types import ARM, F64, HAND, Command


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
        arm_map: eq. 3 with the constant of the device.
    """

    def __init__(self, ik: ArmIK, person: Person, arm_map: ArmAnchor | None = None) -> None:
        self.ik, self.person = ik, person
        self.arm_map, self.hand_map = arm_map or ArmAnchor(), HandAnchor()
        self._max_step = robot.ARM_MAX_VELOCITY * robot.ARM_COMMAND_PERIOD_S
        self.reset()

    def reset(self) -> None:
        """Nobody drives."""
        self.want_arm = self.want_hand = False
        self._arm: F64 | None = None
        self._hand: F64 | None = None
        self._arm_due = self._hand_due = 0.0
        self._arm_ns = self._hand_ns = 0

    def engage(self, arm: bool, hand: bool) -> None:
        """Say which limbs the person drives from the next servo tick on; explicit, never guessed from the size of the input."""
        self.want_arm, self.want_hand = arm, hand

    def poll(self, t_s: float, commanded: F64) -> Command:
        """Return the newest command of each engaged limb; see :class:`dexhil_env.servo.CommandSource`."""
        self._follow_engagement(t_s, commanded)
        if self._hand is not None and t_s >= self._hand_due - 1e-9:
            self._hand_due += robot.HAND_COMMAND_PERIOD_S
            self._hand, self._hand_ns = self.hand_map.motors(self.person.glove(t_s)), round(t_s * 1e9)
        if self._arm is not None and t_s >= self._arm_due - 1e-9:
            self._arm_due += robot.ARM_COMMAND_PERIOD_S
            target = self.arm_map.ee_pose(self.person.cube(t_s))
            self._arm, self._arm_ns = self.ik.solve(self._arm, target, max_step_rad=self._max_step), round(t_s * 1e9)
        return Command(self._arm, self._hand, self._arm_ns, self._hand_ns)

    def _follow_engagement(self, t_s: float, commanded: F64) -> None:
        take_arm = self.want_arm and self._arm is None
        take_hand = self.want_hand and self._hand is None
        if take_arm or take_hand:
            self.person.begin(t_s, self.ik.forward(commanded[ARM]), commanded[HAND])
        if take_arm:
            self._arm, self._arm_ns = commanded[ARM].copy(), round(t_s * 1e9)
            self._arm_due = t_s + robot.ARM_COMMAND_PERIOD_S
            self.arm_map.anchor(self.ik.forward(commanded[ARM]), self.person.cube(t_s))
        if take_hand:
            self._hand, self._hand_ns = commanded[HAND].copy(), round(t_s * 1e9)
            self._hand_due = t_s + robot.HAND_COMMAND_PERIOD_S
            self.hand_map.anchor(commanded[HAND], self.person.glove(t_s))
        if not self.want_arm:
            self._arm = None
        if not self.want_hand:
            self._hand = None
