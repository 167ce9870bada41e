"""Scripted expert of the tissue task: straddle the upper edge with thumb and index finger, pinch, check the grip, pull.

Closed loop from the simulator's state: every 50 ms it looks where the tissue stands now, so it also works from the middle of a failed
attempt. The hand comes from the side, fingers across the slit: with the wrist like this the elbow stays on one branch for every pack
pose, which imitation learning needs (and a hand that points straight ahead at this height cannot give).
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from dexhil_env import robot
from dexhil_env.hil.expert import Goal
from dexhil_env.sim import tissue_pack
from dexhil_env.sim.tissue import TIP_SITES, TissueTask
from dexhil_env.transforms import from_parts, rotvec
from dexhil_env.types import F64

HAND_PITCH_RAD = np.radians(25.0)
"""Fingers below the horizontal."""
PINCH_IN_EE = np.array([0.095, 0.036, 0.083])
"""Where thumb and index pads meet, in the palm frame, for :data:`PINCH` [m]."""


def motors(**angles: float) -> F64:
    """Motor angles (12,) [rad] from names; zero for the others."""
    return np.array([angles.get(name, 0.0) for name in robot.HAND_MOTORS])


PINCH = motors(th_rot=0.82, th_mcp=1.09, th_dip=0.0, ff_mcp=1.05, ff_dip=0.438)
"""Pads 2 cm apart and facing each other (found by optimisation on the hand's kinematics)."""
OPEN = PINCH - motors(th_mcp=0.30, ff_mcp=0.26)
"""Pads about 6 cm apart."""
SQUEEZE = PINCH + motors(th_rot=-0.056, th_mcp=0.206, th_dip=0.089, ff_mcp=0.25, ff_dip=0.104)
"""Over-closed so that the motors push with 6 N along the line between the pads: transposed Jacobian times force over servo gain."""

NARROW = PINCH - motors(th_mcp=0.18, ff_mcp=0.16)
"""Pads about 4 cm apart."""

ABOVE_M, RETRY_ABOVE_M = 0.06, 0.035
DEPTH_M = 0.018
"""How far below the ridge of the tissue the pads close."""
FLOOR_M = 0.018
"""Least height of the pinch above the pack: the fingertips reach 2 cm below it."""
FLAT_M = 0.022
"""A tissue whose ridge is lower than this above the pack lies flat: press on it and gather a fold."""
PULL_M = 0.20
CLOSE_S, CHECK_S, STUCK_S = 0.45, 0.2, 3.0
NEAR_M, NEAR_RAD = 0.015, 0.15


@dataclass(frozen=True)
class Habits:
    """How this person does it: pinch offset along the slit [m], depth below the ridge [m], tempo factor, pitch offset [rad]."""

    along_m: float = 0.0
    depth_m: float = DEPTH_M
    tempo: float = 1.0
    pitch_rad: float = 0.0


class TissueExpert:
    """Pulls the tissue out, from any state.

    Args:
        task: the task, bound to ``model`` and ``data``.
        model, data: the simulation it looks at.
        never_close: keep the hand open (control experiment: the task must then fail).
    """

    def __init__(self, task: TissueTask, model: mujoco.MjModel, data: mujoco.MjData, never_close: bool = False) -> None:
        self._task, self._model, self._data, self._never_close = task, model, data, never_close
        self._tips = [int(model.site(name).id) for name in TIP_SITES[:2]]
        self._palm = int(model.site("ee").id)
        self._rest = Habits()
        self._start()

    def reset(self, rng: np.random.Generator) -> None:
        """Forget the attempt and draw new habits."""
        self._rest = Habits(
            along_m=float(rng.normal(0.0, 0.008)),
            depth_m=DEPTH_M + float(rng.uniform(-0.002, 0.004)),
            tempo=float(rng.uniform(0.85, 1.0)),
            pitch_rad=float(rng.normal(0.0, 0.03)),
        )
        self._start()

    def _start(self) -> None:
        self.phase, self._since, self._attempts, self._slipping = "above", 0.0, 0, 0
        self._aim = self._start_point = np.zeros(3)
        self._flat = False
        self._clock: float | None = None

    def goal(self, T_base_ee: F64, hand: F64, t_s: float) -> Goal:
        """Plan the next goal from the state of tissue and fingers."""
        if self._clock is None or t_s < self._clock or t_s - self._clock > 0.5:
            self._resume(hand, t_s)
        self._clock = t_s
        commanded = T_base_ee[:3, :3] @ PINCH_IN_EE + T_base_ee[:3, 3]
        wanted = self.rotation()
        pinch, turn = self._measured(wanted)
        getattr(self, f"_{self.phase}")(pinch, turn, hand, t_s)
        target, fingers, speed = self._target(commanded)
        fingers = OPEN if self._never_close else fingers
        return Goal(from_parts(wanted, target - wanted @ PINCH_IN_EE), fingers.copy(), self.phase, speed * self._rest.tempo)

    def _measured(self, wanted: F64) -> tuple[F64, float]:
        """Where the pads of the real hand would meet now (3,) [m] and how far it is turned away from ``wanted`` [rad]."""
        rotation = self._data.site_xmat[self._palm].reshape(3, 3)
        return self._data.site_xpos[self._palm] + rotation @ PINCH_IN_EE, float(np.linalg.norm(rotvec(wanted @ rotation.T)))

    def rotation(self) -> F64:
        """Palm orientation (3, 3): fingers across the slit, pitched down, palm down."""
        yaw, pitch = self._task.pack.pose(self._model)[2], HAND_PITCH_RAD + self._rest.pitch_rad
        z = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
        x = np.array([-np.cos(yaw) * np.sin(pitch), -np.sin(yaw) * np.sin(pitch), -np.cos(pitch)])
        return np.stack([x, np.cross(z, x), z], axis=1)

    def find_pinch(self) -> F64:
        """Where to pinch (3,) in the world [m]: below the highest ridge of the tissue, near the middle of the slit."""
        pack, points = self._task.pack, self._task.material()
        local = pack.to_pack(self._model, points)
        local = local[~tissue_pack.inside(local)]
        centre = self._rest.along_m + (0.0, 0.02, -0.02)[self._attempts % 3]
        if len(local) == 0:
            return pack.to_world(self._model, np.array([[0.0, centre, tissue_pack.HEIGHT_M + 0.03]]))[0]
        score = local[:, 2] - 0.3 * np.maximum(np.abs(local[:, 1] - centre) - 0.01, 0.0)
        ridge = local[int(np.argmax(score))]
        near = local[np.abs(local[:, 1] - ridge[1]) < 0.012]
        band = near[(near[:, 2] > ridge[2] - 1.3 * self._rest.depth_m) & (np.abs(near[:, 0] - ridge[0]) < 0.04)]
        low = (
            tissue_pack.HEIGHT_M + FLOOR_M
            if max(abs(ridge[0]) - tissue_pack.HALF_X_M, abs(ridge[1]) - tissue_pack.HALF_Y_M) < 0.01
            else FLOOR_M
        )
        spot = np.array([band[:, 0].mean(), ridge[1], max(ridge[2] - self._rest.depth_m, low)])
        self._flat = ridge[2] < tissue_pack.HEIGHT_M + FLAT_M and low > FLOOR_M
        if self._flat:
            spot[:] = _gather_spot(near, self._attempts)
        return pack.to_world(self._model, spot[None])[0]

    def _fingers(self) -> F64:
        """Opening (12,) [rad] to come down with: narrow on a flat tissue, to gather a fold of it."""
        return NARROW if self._flat else OPEN

    def gripping(self) -> bool:
        """Whether both pads touch the tissue."""
        return self._task.gripping()

    def _go(self, phase: str, t_s: float) -> None:
        self.phase, self._since, self._slipping = phase, t_s, 0

    def _resume(self, hand: F64, t_s: float) -> None:
        """Look where we are: pinching already, or start from above."""
        self._attempts = 0
        pinching = float(hand[4]) > PINCH[4] - 0.05 and self.gripping()
        self._start_point = np.array([np.nan] * 3)
        self._go("pull" if pinching else "above", t_s)

    def _above(self, pinch: F64, turn: float, hand: F64, t_s: float) -> None:
        self._aim = self.find_pinch()
        level = float(np.linalg.norm(pinch[:2] - self._aim[:2]))
        ready = level < NEAR_M and turn < NEAR_RAD and np.abs(hand - self._fingers())[[0, 1, 4]].max() < 0.12
        if ready and pinch[2] < self._aim[2] + ABOVE_M + 0.015:
            self._go("descend", t_s)

    def _descend(self, pinch: F64, turn: float, hand: F64, t_s: float) -> None:  # noqa: ARG002
        if pinch[2] > self._aim[2] + 0.02:
            self._aim = self.find_pinch()
        if np.linalg.norm(pinch - self._aim) < 0.008 or t_s - self._since > 1.5:
            self._go("close", t_s)

    def _close(self, pinch: F64, turn: float, hand: F64, t_s: float) -> None:  # noqa: ARG002
        if t_s - self._since > CLOSE_S / self._rest.tempo:
            self._start_point = pinch.copy()
            self._go("check", t_s)

    def _check(self, pinch: F64, turn: float, hand: F64, t_s: float) -> None:  # noqa: ARG002
        if t_s - self._since > CHECK_S:
            self._start_point = pinch.copy()
            if self.gripping() or self._never_close:
                self._go("pull", t_s)
            else:
                self._attempts += 1
                self._go("above", t_s)

    def _pull(self, pinch: F64, turn: float, hand: F64, t_s: float) -> None:  # noqa: ARG002
        if np.isnan(self._start_point).any():
            self._start_point = pinch.copy()
        tips = self._data.site_xpos[self._tips].mean(axis=0)
        away = float(np.linalg.norm(self._task.material() - tips, axis=1).min())
        lost = (not self.gripping() and away > 0.02) or (self._never_close and pinch[2] > self._start_point[2] + 0.05)
        self._slipping = self._slipping + 1 if lost else 0
        if self._slipping >= 3:
            self._attempts += 1
            self._go("above", t_s)

    def _target(self, pinch: F64) -> tuple[F64, F64, float]:
        """Pinch point (3,), fingers (12,) and speed of the present phase."""
        if self.phase == "above":
            up = ABOVE_M if self._attempts == 0 else RETRY_ABOVE_M
            safe = self._aim + np.array([0.0, 0.0, up])
            beside = float(np.linalg.norm(pinch[:2] - self._aim[:2])) > 0.04
            if beside and pinch[2] < self._aim[2] + 0.03:
                safe = np.array([pinch[0], pinch[1], self._aim[2] + 0.06])
            return safe, self._fingers(), 0.65
        if self.phase == "descend":
            return self._aim, self._fingers(), 0.5
        if self.phase in ("close", "check"):
            return self._aim, SQUEEZE, 0.5
        return self._start_point + np.array([0.0, 0.0, PULL_M]), SQUEEZE, 0.4


def _gather_spot(flap: F64, attempt: int) -> F64:
    """Pinch point (3,) in the pack frame [m] over a flap (N, 3) that lies flat; elsewhere and deeper at each attempt."""
    middle = (0.6, 0.8, 0.45)[attempt % 3] * flap[int(np.argmax(np.abs(flap[:, 0]))), 0]
    return np.array([middle, flap[:, 1].mean(), tissue_pack.HEIGHT_M + 0.012 - 0.002 * min(attempt, 3)])
