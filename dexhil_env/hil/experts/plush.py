"""Scripted expert of the plush task: come from above, close around the waist, lift.

Closed loop from the simulator's state. The hand points steeply down: with the wrist like this the elbow stays on one branch for every
toy pose, and a small change of the toy is a small change of the arm, which imitation learning needs.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from dexhil_env import robot
from dexhil_env.hil.expert import Goal
from dexhil_env.sim.plush import PlushTask
from dexhil_env.transforms import from_parts
from dexhil_env.types import F64


def motors(**angles: float) -> F64:
    """Motor angles (12,) [rad] from names; zero for the others."""
    return np.array([angles.get(name, 0.0) for name in robot.HAND_MOTORS])


@dataclass(frozen=True)
class Grasp:
    """Geometry of the grasp.

    Attributes:
        pitch_deg: fingers below the horizontal [deg].
        centre_m: point of the palm frame that is brought to the toy's waist [m].
        height_m: height of that point above the table when closing [m].
        waist_m: the waist in the toy's frame, along the body [m].
    """

    pitch_deg: float = 63.0
    centre_m: tuple[float, float, float] = (0.070, 0.008, 0.045)
    height_m: float = 0.06
    waist_m: float = -0.015


def fingers(mcp: float, dip: float, spread: float, **thumb: float) -> F64:
    """Motor angles (12,) with all four fingers alike [rad]."""
    names = {f"{finger}_{joint}": value for finger in ("ff", "mf", "rf", "lf") for joint, value in (("mcp", mcp), ("dip", dip))}
    return motors(ff_spr=spread, **names, **thumb)


OPEN = fingers(0.10, 0.25, 0.05, th_rot=1.1)
CLOSED = fingers(1.1, 1.0, 0.05, th_rot=1.15, th_mcp=0.75, th_dip=0.6)
ABOVE_M, LIFT_M = 0.10, 0.18
MAX_YAW_RAD = 1.8
CLOSE_S = 0.65
NEAR_M, NEAR_RAD = 0.02, 0.2
FLEXION = tuple(robot.HAND_MOTORS.index(name) for name in ("th_mcp", "ff_mcp", "mf_mcp", "rf_mcp", "lf_mcp"))


@dataclass(frozen=True)
class Habits:
    """How this person does it: grasp offset [m], yaw offset [rad], tempo factor."""

    offset_m: tuple[float, float] = (0.0, 0.0)
    yaw_rad: float = 0.0
    tempo: float = 1.0


class PlushExpert:
    """Grasps and lifts the toy, from any state.

    Args:
        task: the task, bound to ``model`` and ``data``.
        model, data: the simulation it looks at.
        never_close: keep the hand open (control experiment: the task must then fail).
        grasp: geometry.
    """

    def __init__(
        self, task: PlushTask, model: mujoco.MjModel, data: mujoco.MjData, never_close: bool = False, grasp: Grasp | None = None
    ) -> None:
        self._task, self._never_close, self.grasp = task, never_close, grasp or Grasp()
        del model, data
        self._habits = Habits()
        self._start()

    def reset(self, rng: np.random.Generator) -> None:
        """Forget the attempt and draw new habits."""
        offset = rng.normal(0.0, 0.006, 2)
        self._habits = Habits((float(offset[0]), float(offset[1])), float(rng.normal(0.0, 0.07)), float(rng.uniform(0.85, 1.0)))
        self._start()

    def _start(self) -> None:
        self.phase, self._since = "above", 0.0
        self._clock: float | None = None
        self._yaw: float | None = None
        self._lift_from = 0.0

    def goal(self, T_base_ee: F64, hand: F64, t_s: float) -> Goal:
        """Plan the next goal from the state of toy and hand."""
        if self._clock is None or t_s < self._clock or t_s - self._clock > 0.5:
            self._resume(T_base_ee, hand, t_s)
        self._clock = t_s
        self._hand_yaw = float(np.arctan2(T_base_ee[1, 2], T_base_ee[0, 2]))
        waist, yaw = self._waist()
        rotation = self.rotation(yaw)
        centre = T_base_ee[:3, :3] @ np.array(self.grasp.centre_m) + T_base_ee[:3, 3]
        self._advance(centre, waist, hand, t_s, T_base_ee[:3, :3], rotation)
        target = waist.copy()
        target[2] = self._height(t_s)
        if self.phase in ("close", "lift"):
            target[:2] = self._anchor
        closed = self.phase in ("close", "lift") and not self._never_close
        speed = self._habits.tempo * (0.6 if self.phase == "lift" else 1.0)
        if self.phase == "slide":
            target[2] = max(target[2], self.grasp.height_m + ABOVE_M * 0.7)
        return Goal(from_parts(rotation, target - rotation @ np.array(self.grasp.centre_m)), (CLOSED if closed else OPEN).copy(), self.phase, speed)

    def rotation(self, yaw: float) -> F64:
        """Palm orientation (3, 3): fingers towards ``yaw`` and steeply down, palm facing back and down."""
        pitch = np.radians(self.grasp.pitch_deg)
        z = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
        x = np.array([-np.cos(yaw) * np.sin(pitch), -np.sin(yaw) * np.sin(pitch), -np.cos(pitch)])
        return np.stack([x, np.cross(z, x), z], axis=1)

    def _waist(self) -> tuple[F64, float]:
        """Where to close the hand (3,) [m] and the direction of the fingers [rad], across the waist."""
        pose = self._task.toy_pose()
        along = np.array([pose[0, 0], pose[1, 0]])
        along /= max(float(np.linalg.norm(along)), 1e-9)
        across = np.array([-along[1], along[0]])
        yaw = float(np.arctan2(across[1], across[0]))
        if self._yaw is None or self.phase == "above":
            options = [_wrap(yaw), _wrap(yaw + np.pi)]
            self._yaw = min(options, key=self._turning_cost)
        offset = self._habits.offset_m
        waist = pose[:2, 3] + along * (self.grasp.waist_m + offset[0]) + across * offset[1]
        return np.array([waist[0], waist[1], pose[2, 3]]), self._yaw + self._habits.yaw_rad

    def _turning_cost(self, yaw: float) -> float:
        """How far the hand would have to turn [rad]; beyond ``MAX_YAW_RAD`` the wrist cannot follow."""
        return abs(_wrap(yaw - self._hand_yaw)) + 10.0 * max(0.0, abs(yaw) - MAX_YAW_RAD)

    def _go(self, phase: str, t_s: float) -> None:
        self.phase, self._since = phase, t_s

    def _resume(self, T_base_ee: F64, hand: F64, t_s: float) -> None:
        """Look where we are: holding the toy already, or start from above."""
        self._yaw = None
        self._anchor = np.zeros(2)
        del T_base_ee, hand
        self._go("above", t_s)

    def _height(self, t_s: float) -> float:
        low = self.grasp.height_m
        if self.phase == "above":
            return low + ABOVE_M
        if self.phase == "lift":
            return low + LIFT_M
        del t_s
        return low

    def _advance(self, centre: F64, waist: F64, hand: F64, t_s: float, turned: F64, wanted: F64) -> None:
        beside = float(np.linalg.norm(centre[:2] - waist[:2]))
        angle = float(np.arccos(np.clip((np.trace(wanted.T @ turned) - 1) / 2, -1, 1)))
        is_open = float(np.abs(hand - OPEN)[list(FLEXION)].max()) < 0.25
        if self.phase == "above" and is_open and beside < NEAR_M and angle < NEAR_RAD and centre[2] < self.grasp.height_m + ABOVE_M + 0.04:
            self._go("descend", t_s)
        if self.phase == "descend":
            if beside > 0.05:
                self._go("above", t_s)
            elif centre[2] < self.grasp.height_m + 0.012:
                self._anchor = waist[:2].copy()
                self._go("close", t_s)
        if self.phase == "close" and t_s - self._since > CLOSE_S:
            self._go("lift", t_s)
        if self.phase == "lift" and t_s - self._since > 1.2 and self._task.lowest_point() < 0.004 and centre[2] > self.grasp.height_m + 0.08:
            self._yaw = None
            self._go("above", t_s)


def _wrap(angle: float) -> float:
    return (angle + np.pi) % (2 * np.pi) - np.pi
