"""Scripted expert of the plush task: come from above, close around the waist, lift.

Closed loop from the simulator's state, from any state: it keeps a toy that is held, tightens a grasp that is half made, opens and goes on
at low clearance when the hand is beside the toy, and tries again when the toy slips. The hand points steeply down: with the wrist like
this the elbow stays on one branch for every toy pose, and a small change of the toy is a small change of the arm, which imitation
learning needs.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from dexhil_env.hil.expert import Goal
from dexhil_env.sim.plush import PlushTask
from dexhil_env.transforms import from_parts, rotvec
from dexhil_env.types import F64


def fingers(mcp: float, dip: float, spread: float, thumb: tuple[float, float, float]) -> F64:
    """Motor angles (12,) with all four fingers alike and a thumb (rotation, mcp, dip) [rad]."""
    return np.array([*thumb, spread, *(mcp, dip) * 4])


@dataclass(frozen=True)
class Grasp:
    """Geometry of the grasp; found by trying values on a few dozen toy poses.

    Attributes:
        pitch_deg: fingers below the horizontal [deg].
        centre_m: point of the palm frame that is brought to the toy's waist [m].
        height_m: height of that point above the table when closing [m].
        waist_m: the waist in the toy's frame, along the body [m].
    """

    pitch_deg: float = 60.0
    centre_m: tuple[float, float, float] = (0.070, 0.008, 0.062)
    height_m: float = 0.060
    waist_m: float = 0.0


OPEN = fingers(0.05, 0.18, 0.05, (1.1, 0.0, 0.0))
CLOSED = fingers(1.15, 1.1, 0.05, (1.15, 0.85, 0.75))
ABOVE_M, LIFT_M = 0.10, 0.18
"""Clearance over the grasp height when travelling, and height of the lift [m]."""
CLOSE_S, THUMB_LEAD_S = 0.85, 0.2
"""Time to close; the thumb goes first, behind the toy, so that the fingers cannot push it out [s]."""
NEAR_M, NEAR_RAD = 0.015, 0.15
"""Beside the waist and turned away by less than this, the hand may go down."""
MAX_YAW_RAD = 1.8
"""The wrist cannot follow further to either side."""
LOST_M = 0.10
"""A toy further than this from the middle of a closed hand is not in it [m]."""
FLEXION = slice(4, 12, 2)
"""The four motors that bend the fingers at the knuckles."""


@dataclass(frozen=True)
class Habits:
    """How this person does it: grasp offset along and across the toy [m], yaw offset [rad], tempo factor."""

    offset_m: tuple[float, float] = (0.0, 0.0)
    yaw_rad: float = 0.0
    tempo: float = 1.0


@dataclass(frozen=True)
class _View:
    """What the expert sees: where the grasp centre is, where it should be, and how far it is turned away."""

    centre: F64
    waist: F64
    hand: F64
    turned_rad: float
    t_s: float

    @property
    def beside_m(self) -> float:
        return float(np.linalg.norm(self.waist[:2] - self.centre[:2]))


class PlushExpert:
    """Grasps and lifts the toy, from any state.

    Args:
        task: the task, bound to ``model`` and ``data``.
        model, data: the simulation it looks at (through ``task``).
        never_close: keep the hand open (control experiment: the task must then fail).
        grasp: geometry.
    """

    def __init__(
        self, task: PlushTask, model: mujoco.MjModel, data: mujoco.MjData, never_close: bool = False, grasp: Grasp | None = None
    ) -> None:
        del model, data
        self._task, self._never_close, self.grasp = task, never_close, grasp or Grasp()
        self._habits = Habits()
        self._start()

    def reset(self, rng: np.random.Generator) -> None:
        """Forget the attempt and draw new habits."""
        offset = rng.normal(0.0, 0.006, 2)
        self._habits = Habits((float(offset[0]), float(offset[1])), float(rng.normal(0.0, 0.07)), float(rng.uniform(0.85, 1.0)))
        self._start()

    def _start(self) -> None:
        self.phase, self._since, self._yaw = "above", 0.0, 0.0
        self._clock: float | None = None
        self._anchor = np.zeros(2)

    def goal(self, T_base_ee: F64, hand: F64, t_s: float) -> Goal:
        """Plan the next goal from the state of toy and hand."""
        fresh = self._clock is None or t_s < self._clock or t_s - self._clock > 0.5
        self._clock = t_s
        centre = T_base_ee[:3, :3] @ np.array(self.grasp.centre_m) + T_base_ee[:3, 3]
        turn_from = float(np.arctan2(T_base_ee[1, 2], T_base_ee[0, 2])) if fresh or self.phase == "above" else None
        waist = self._waist(turn_from)
        rotation = self.rotation(self._yaw + self._habits.yaw_rad)
        turned = float(np.linalg.norm(rotvec(rotation @ T_base_ee[:3, :3].T)))
        view = _View(centre, waist, hand, turned, t_s)
        if fresh:
            self._resume(view)
        getattr(self, f"_{self.phase}")(view)
        target, closed, speed = self._target(view)
        motors = (CLOSED if closed and not self._never_close else OPEN).copy()
        if self.phase == "close" and t_s - self._since < THUMB_LEAD_S:
            motors[3:] = np.minimum(np.maximum(hand[3:], OPEN[3:]), CLOSED[3:])
        return Goal(from_parts(rotation, target - rotation @ np.array(self.grasp.centre_m)), motors, self.phase, speed)

    def rotation(self, yaw: float) -> F64:
        """Palm orientation (3, 3): fingers towards ``yaw`` and steeply down, palm facing back and down."""
        pitch = np.radians(self.grasp.pitch_deg)
        z = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
        x = np.array([-np.cos(yaw) * np.sin(pitch), -np.sin(yaw) * np.sin(pitch), -np.cos(pitch)])
        return np.stack([x, np.cross(z, x), z], axis=1)

    def _waist(self, turn_from: float | None) -> F64:
        """Where to close the hand (3,) [m]; from a yaw of the hand, also choose on which side of the toy the fingers go down."""
        pose = self._task.toy_pose()
        along = pose[:2, 0] / max(float(np.linalg.norm(pose[:2, 0])), 1e-9)
        across = np.array([-along[1], along[0]])
        if turn_from is not None:
            yaw = float(np.arctan2(across[1], across[0]))
            self._yaw = min((_wrap(yaw), _wrap(yaw + np.pi)), key=lambda value: _turning_cost(value, turn_from))
        offset = self._habits.offset_m
        level = pose[:2, 3] + along * (self.grasp.waist_m + offset[0]) + across * offset[1]
        return np.array([level[0], level[1], pose[2, 3]])

    def _go(self, phase: str, view: _View) -> None:
        self.phase, self._since = phase, view.t_s
        self._anchor = view.centre[:2].copy() if phase == "lift" else view.waist[:2].copy()

    def _holds(self, view: _View) -> bool:
        """Whether the fingers are bent and the toy is in them."""
        return float(view.hand[FLEXION].mean()) > 0.5 and float(np.linalg.norm(view.waist - view.centre)) < LOST_M

    def _resume(self, view: _View) -> None:
        """Look where we are: holding the toy, half way through a grasp, or somewhere else."""
        if self._holds(view) and self._task.lowest_point() > 0.0035:
            self._go("lift", view)
        elif self._holds(view) and view.beside_m < 0.05 and view.centre[2] < self.grasp.height_m + 0.03:
            self._go("close", view)
        else:
            self._go("above", view)

    def _above(self, view: _View) -> None:
        opened = float(np.abs(view.hand - OPEN).max()) < 0.3
        if opened and view.beside_m < NEAR_M and view.turned_rad < NEAR_RAD:
            self._go("descend", view)

    def _descend(self, view: _View) -> None:
        if view.beside_m > 0.045:
            self._go("above", view)
        elif view.centre[2] < self.grasp.height_m + 0.012:
            self._go("close", view)

    def _close(self, view: _View) -> None:
        if view.t_s - self._since > CLOSE_S:
            self._go("lift", view)

    def _lift(self, view: _View) -> None:
        raised = view.centre[2] > self.grasp.height_m + 0.07
        if raised and (not self._holds(view) or self._never_close) and self._task.lowest_point() < 0.004:
            self._go("above", view)

    def _target(self, view: _View) -> tuple[F64, bool, float]:
        """Grasp centre to move to (3,) [m], whether the hand is closed, and the speed."""
        low, tempo = self.grasp.height_m, self._habits.tempo
        if self.phase == "above":
            return self._approach(view), False, tempo
        if self.phase == "descend":
            return np.array([view.waist[0], view.waist[1], low]), False, tempo
        if self.phase == "close":
            return np.array([self._anchor[0], self._anchor[1], low]), True, tempo
        return np.array([self._anchor[0], self._anchor[1], low + LIFT_M]), True, 0.6 * tempo

    def _approach(self, view: _View) -> F64:
        """Point over the waist; from low down, rise as much as the way across needs and no more."""
        top = self.grasp.height_m + ABOVE_M
        heading = np.array([np.cos(self._yaw), np.sin(self._yaw)])
        beyond = float(heading @ (view.waist[:2] - view.centre[:2]))
        opened = float(np.abs(view.hand - OPEN).max()) < 0.3
        if opened and view.turned_rad < 2 * NEAR_RAD and -0.12 < beyond < NEAR_M and view.centre[2] < self.grasp.height_m + 0.03:
            return np.array([view.waist[0], view.waist[1], self.grasp.height_m])
        height = max(view.centre[2], self.grasp.height_m) - self.grasp.height_m
        share = min(1.0, (height / (0.8 * ABOVE_M)) ** 2) if view.beside_m > NEAR_M else 1.0
        level = view.centre[:2] + share * (view.waist[:2] - view.centre[:2])
        return np.array([level[0], level[1], top])


def _wrap(angle: float) -> float:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _turning_cost(yaw: float, turn_from: float) -> float:
    """How far the hand would have to turn [rad], with a penalty on what the wrist cannot do."""
    return abs(_wrap(yaw - turn_from)) + 10.0 * max(0.0, abs(yaw) - MAX_YAW_RAD)
