"""The words that everything else is written in."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexhil_env.robot import ACTION_DIM, ARM, HAND

__all__ = ["ACTION_DIM", "ARM", "F32", "F64", "HAND", "U8", "Command", "Evaluation", "Observation", "RobotState", "Source", "Verdict"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
Observation = dict[str, NDArray[Any]]
"""Flat observation: see ``dexhil_env.spaces`` for keys, shapes and units."""


class Source(IntEnum):
    """Who drives the robot at a servo tick; the value is a bit mask of the limbs a person drives."""

    POLICY = 0
    ARM = 1
    HAND = 2
    BOTH = 3

    @property
    def label(self) -> str:
        """Lower-case name, as it stands in ``info["intervention_source"]``."""
        return self.name.lower()


class Verdict(StrEnum):
    """What a person says of an episode."""

    NONE = "none"
    SUCCESS = "success"
    FAILURE = "failure"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class RobotState:
    """What the robot measures.

    Attributes:
        time_s: time of the measurement on the backend's clock [s].
        arm_joint_pos: (7,) [rad].
        arm_joint_vel: (7,) [rad/s].
        hand_motor_pos: (12,) [rad].
        fingertip_force: (5,) contact force on each distal link, thumb first [N].
        ee_pose: (7,) pose of the palm in the robot base, position [m] and quaternion wxyz.
    """

    time_s: float
    arm_joint_pos: F64
    arm_joint_vel: F64
    hand_motor_pos: F64
    fingertip_force: F64
    ee_pose: F64


@dataclass(frozen=True, slots=True)
class Command:
    """What a person asks for at one servo tick.

    Attributes:
        arm: (7,) joint targets [rad] while the arm is taken, else None (the policy drives it).
        hand: (12,) motor targets [rad] while the hand is taken, else None.
        t_arm_ns: time stamp of the arm command [ns], 0 when there is none.
        t_hand_ns: time stamp of the hand command [ns], 0 when there is none.
    """

    arm: F64 | None = None
    hand: F64 | None = None
    t_arm_ns: int = 0
    t_hand_ns: int = 0

    @property
    def source(self) -> Source:
        """The limbs that this command drives."""
        return Source((Source.ARM if self.arm is not None else 0) | (Source.HAND if self.hand is not None else 0))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A task's judgement of the present state.

    Attributes:
        success: the task is done (the task holds the required time itself).
        failure: the task can no longer be done.
        progress: dense reward in [0, 1].
        metrics: task metrics by name, SI units; the same names at every step.
        verdict: what the person who judges has said, where a person judges.
    """

    success: bool = False
    failure: bool = False
    progress: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    verdict: Verdict = Verdict.NONE
