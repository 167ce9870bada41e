"""How the FR3 is driven."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import ConfigError, check_ranges

Seven = tuple[float, float, float, float, float, float, float]


@dataclass(frozen=True)
class FR3Config:
    """How the arm is driven.

    Attributes:
        address: of the control box.
        stiffness: of the tracker [Nm/rad]; damping is critical.
        hand_mass: told to the arm, which compensates its weight [kg]; 0.678 in DexRobot's model. Weigh yours, adapter included.
        hand_com: centre of mass in the flange frame [m].
        hand_inertia: diagonal of the inertia at the centre of mass [kg m^2].
        collision_torque: external joint torque that ends the motion [Nm].
        collision_force: external force [N] (moment [Nm]) that ends the motion.
        joint_margin: the reference stays this far inside the joint ranges [rad].
        max_jump: a set point farther than this from the one before (the first: from the arm) is refused [rad].
        max_error: leash between reference and arm [rad]; times the stiffness it stays below 12 Nm at the wrist.
        speed: the reference's share of the arm's velocity limits.
        acceleration: ... and of its acceleration limits; with these two a random policy took the arm itself to 81 % of its limit in
            free motion (``python -m benchmarks.hardware limits``).
        dead_man_s: without a set point for this long the reference stands still [s].
        dead_man_stop_s: ... and for this long the motion ends [s].
        stale_hold_s: without news from the arm for this long the reference stands still [s].
        stale_fault_s: ... and for this long the motion ends [s]; libfranka itself notices after 1 s.
        min_success: packet success rate below which the motion ends.
        warn_success: ... and below which a warning is logged.
        connect_timeout_s: [s].
        clock: "robot" lets set points, dead-man and reference run on the arm's clock, for an emulated arm that is slower than real time.
        realtime: refuse to run without a real-time kernel.
    """

    address: str
    stiffness: Seven = (600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 50.0)
    hand_mass: float = 0.678
    hand_com: tuple[float, float, float] = (0.0, 0.0, 0.09)
    hand_inertia: tuple[float, float, float] = (0.0024, 0.0020, 0.0010)
    collision_torque: float = 20.0
    collision_force: float = 30.0
    joint_margin: float = 0.1
    max_jump: float = 0.3
    max_error: Seven = (0.1, 0.1, 0.1, 0.1, 0.045, 0.075, 0.2)
    speed: float = 0.35
    acceleration: float = 0.3
    dead_man_s: float = 0.15
    dead_man_stop_s: float = 1.0
    stale_hold_s: float = 0.05
    stale_fault_s: float = 0.2
    min_success: float = 0.8
    warn_success: float = 0.9
    connect_timeout_s: float = 2.0
    clock: Literal["wall", "robot"] = "wall"
    realtime: bool = False

    def __post_init__(self) -> None:
        if not self.address:
            raise ConfigError("address is empty; give the address of the arm's control box, e.g. 172.16.0.2")
        for name in ("stiffness", "max_error"):
            values = getattr(self, name)
            if len(values) != 7 or not all(0.0 < value < 5000.0 for value in values):
                raise ConfigError(f"{name} needs 7 positive numbers; got {values}")
        torque = np.multiply(self.stiffness, self.max_error)
        if (torque > robot.ARM_MAX_TORQUE).any():
            raise ConfigError(f"stiffness x max_error must stay below {robot.ARM_MAX_TORQUE.tolist()} Nm; got {torque.tolist()}")
        ranges = {
            "speed": (0.0, 1.0),
            "acceleration": (0.0, 1.0),
            "max_jump": (0.0, 0.5),
            "joint_margin": (0.0, 0.3),
            "hand_mass": (0.0, 3.0),
        }
        check_ranges(self, ranges, above_low=True)
        if not 0.0 < self.dead_man_s < self.dead_man_stop_s or not 0.0 < self.stale_hold_s < self.stale_fault_s:
            raise ConfigError("dead_man_s < dead_man_stop_s and stale_hold_s < stale_fault_s must hold, all positive")
        if self.clock not in ("wall", "robot"):
            raise ConfigError(f"clock must be 'wall' or 'robot'; got {self.clock!r}")
