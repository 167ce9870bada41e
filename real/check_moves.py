"""The moves of ``dexhil real check --move``: every joint and motor a little, slowly, and back."""

import time
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.types import F64
from real.checks import Row, within
from real.config import RealConfig
from real.dexhand import DexHand
from real.fr3 import FR3
from real.kinematics import Kinematics
from real.workspace import Workspace

MOVE_SPEED: Final = 0.05
"""Share of the arm's limits."""
ARM_STEP_RAD: Final = 0.05
HAND_STEP_RAD: Final = 0.2
HAND_SPEED: Final = 0.4
"""[rad/s]"""
_SETTLE_S: Final = 0.4


def move_arm(arm: FR3, hand: DexHand, config: RealConfig, joints: Sequence[str] = robot.ARM_JOINTS) -> Iterator[Row]:
    """Move joints of the arm a little and back, slowly, one after the other."""
    space = Workspace(config.workspace, Kinematics(config.session.mount_yaw_deg, config.session.mount_offset_m))
    start, fingers = arm.state().q, hand.state().motor_pos
    for name in joints:
        goal = next((q for q in _steps(start, robot.ARM_JOINTS.index(name)) if _free(space, start, q, fingers)), None)
        if goal is None:
            yield Row(f"move: {name}", "WARN", "no room", "", "guide the arm to the middle of the workspace by hand")
            continue
        arm.home(goal, MOVE_SPEED)
        missing = float(np.abs(arm.state().q - goal).max())
        arm.home(start, MOVE_SPEED)
        advice = "look for what blocks it; check [arm] hand_mass"
        yield within(f"move: {name} by {ARM_STEP_RAD} rad, error", missing, 0.0, 0.01, "rad", advice)


def _steps(start: F64, joint: int) -> Iterator[F64]:
    for step in (ARM_STEP_RAD, -ARM_STEP_RAD):
        goal = start.copy()
        goal[joint] += step
        yield goal


def _free(space: Workspace, start: F64, goal: F64, fingers: F64) -> bool:
    return space.filter(np.concatenate([start, fingers]), np.concatenate([goal, fingers]), fingers).share == 1.0


def move_hand(hand: DexHand, motors: Sequence[str] = robot.HAND_MOTORS) -> Iterator[Row]:
    """Close motors of the hand a little and open it again, slowly, one after the other."""
    hand.start()
    start = hand.target
    try:
        for name in motors:
            motor = robot.HAND_MOTORS.index(name)
            goal = start.copy()
            goal[motor] += HAND_STEP_RAD if start[motor] + HAND_STEP_RAD < robot.HAND_HIGH[motor] else -HAND_STEP_RAD
            _lead(hand, start, goal)
            missing = float(np.abs(hand.state().motor_pos - goal)[motor])
            current = float(np.abs(hand.state().current[motor]))
            _lead(hand, goal, start)
            advice = "free the finger, or raise current_limit in [hand]"
            row = within(f"move: {name} by {HAND_STEP_RAD} rad, error", missing, 0.0, 0.08, "rad", advice)
            yield Row(row.what, row.verdict, f"{row.found}, {1e3 * current:.0f} mA", row.allowed, row.advice)
    finally:
        hand.stop()


def _lead(hand: DexHand, start: F64, goal: F64) -> None:
    duration, begin = float(np.abs(goal - start).max()) / HAND_SPEED, time.monotonic()
    while (t := time.monotonic() - begin) < duration + _SETTLE_S:
        hand.command(start + min(t / duration, 1.0) * (goal - start), time.monotonic_ns())
        time.sleep(0.01)
