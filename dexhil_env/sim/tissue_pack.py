"""The tissue pack: a shell with a slit, and three pairs of sprung spheres under the slit that hold the tissue by friction.

Frame of the pack: origin on the table under its centre, x across the slit, y along the slit, z up. The pack has no bottom, the table
serves. Slit edges are cylinders: MuJoCo misses edge-edge contacts between a flex and boxes or capsules, and a slit cut out of boxes
snags the corners of the sheet.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from dexhil_env.types import F64

HALF_X_M, HALF_Y_M, HEIGHT_M = 0.06, 0.115, 0.085
"""Outer half sizes and height of the pack [m]: 12 x 23 x 8.5 cm."""
SLIT_HALF_M = 0.005
EDGE_RADIUS_M = 0.003
WALL_M = 0.006
CLAMP_Y_M = (-0.05, 0.0, 0.05)
CLAMP_RADIUS_M = 0.006
CLAMP_HEIGHT_M = 0.066
CLAMP_STIFFNESS_N_M = 20.0
BLUE = (0.05, 0.20, 0.85, 1.0)
PALE = (0.55, 0.72, 0.98, 1.0)


@dataclass(frozen=True)
class PackBits:
    """Collision bits of the pack: the walls' affinity (hand and tissue touch them) and the clamp's (tissue only)."""

    wall_conaffinity: int
    clamp_conaffinity: int


def add_pack(spec: mujoco.MjSpec, bits: PackBits, position: tuple[float, float, float], holding_friction: float = 0.5) -> None:
    """Add the static body ``pack`` with walls, slit edges, print and clamps."""
    pack = spec.worldbody.add_body(name="pack", pos=position)
    top = HEIGHT_M - WALL_M / 2
    inner = SLIT_HALF_M + EDGE_RADIUS_M
    _box(pack, (0, -HALF_Y_M + WALL_M / 2, HEIGHT_M / 2), (HALF_X_M, WALL_M / 2, HEIGHT_M / 2), bits)
    _box(pack, (0, HALF_Y_M - WALL_M / 2, HEIGHT_M / 2), (HALF_X_M, WALL_M / 2, HEIGHT_M / 2), bits)
    for side in (-1.0, 1.0):
        _box(pack, (side * (HALF_X_M - WALL_M / 2), 0, HEIGHT_M / 2), (WALL_M / 2, HALF_Y_M, HEIGHT_M / 2), bits)
        _box(pack, (side * (HALF_X_M + inner) / 2, 0, top), ((HALF_X_M - inner) / 2, HALF_Y_M, WALL_M / 2), bits)
        pack.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(EDGE_RADIUS_M, HALF_Y_M - WALL_M, 0),
            pos=(side * inner, 0, HEIGHT_M - EDGE_RADIUS_M), quat=(1, 1, 0, 0),
            contype=0, conaffinity=bits.wall_conaffinity, friction=(0.3, 0.005, 0.0001), rgba=PALE,
        )  # fmt: skip
    _add_print(pack)
    for i, y in enumerate(CLAMP_Y_M):
        for side in (-1.0, 1.0):
            _add_clamp(
                pack, f"clamp_{i}_{'n' if side < 0 else 'p'}", side=side, y=y, conaffinity=bits.clamp_conaffinity, friction=holding_friction
            )


def _box(body: mujoco.MjsBody, pos: tuple[float, ...], size: tuple[float, ...], bits: PackBits) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, pos=pos, size=size, contype=0, conaffinity=bits.wall_conaffinity,
        friction=(0.3, 0.005, 0.0001), rgba=BLUE,
    )  # fmt: skip


def _add_print(pack: mujoco.MjsBody) -> None:
    """Pale bands on the sides and around the slit, for the eye only."""
    lift = 3e-4
    bands = [((side * (HALF_X_M + lift), 0, 0.03), (lift, HALF_Y_M, 0.010)) for side in (-1.0, 1.0)]
    bands += [((0, side * (HALF_Y_M + lift), 0.03), (HALF_X_M, lift, 0.010)) for side in (-1.0, 1.0)]
    bands += [((side * 0.017, 0, HEIGHT_M), (0.006, 0.09, lift)) for side in (-1.0, 1.0)]
    for pos, size in bands:
        pack.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=pos, size=size, contype=0, conaffinity=0, mass=0, rgba=PALE)


def _add_clamp(pack: mujoco.MjsBody, name: str, *, side: float, y: float, conaffinity: int, friction: float) -> None:
    """One sprung sphere; ``priority`` keeps its friction from being replaced by the tissue's larger one."""
    body = pack.add_body(name=name, pos=(side * (CLAMP_RADIUS_M + 0.001), y, CLAMP_HEIGHT_M), gravcomp=1)
    body.add_joint(
        name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=(-side, 0, 0), stiffness=CLAMP_STIFFNESS_N_M, damping=5.0,
        range=(-0.03, 0.004), limited=mujoco.mjtLimited.mjLIMITED_TRUE,
    )  # fmt: skip
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_SPHERE, size=(CLAMP_RADIUS_M, 0, 0), mass=0.02, contype=0, conaffinity=conaffinity,
        priority=2, condim=3, friction=(friction, 0.005, 0.0001), solref=(0.004, 1.0), solimp=(0.95, 0.99, 0.001, 0.5, 2.0),
        rgba=(0.6, 0.6, 0.6, 1.0),
    )  # fmt: skip


class Pack:
    """The pack in a compiled model: where it stands, how hard it holds, what lies inside."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._body = int(model.body("pack").id)
        names = [f"clamp_{i}_{side}" for i in range(len(CLAMP_Y_M)) for side in "np"]
        joints = [int(model.joint(name).id) for name in names]
        self.qpos = np.array([int(model.jnt_qposadr[j]) for j in joints])
        self.dofs = np.array([int(model.jnt_dofadr[j]) for j in joints])

    def stand(self, model: mujoco.MjModel, x_m: float, y_m: float, yaw_rad: float) -> None:
        """Move the static body: an edit of the model, not of the state."""
        model.body_pos[self._body] = (x_m, y_m, 0.0)
        model.body_quat[self._body] = (np.cos(yaw_rad / 2), 0.0, 0.0, np.sin(yaw_rad / 2))

    def pose(self, model: mujoco.MjModel) -> tuple[float, float, float]:
        """Return x [m], y [m], yaw [rad]."""
        x, y, _ = model.body_pos[self._body]
        w, _, _, z = model.body_quat[self._body]
        return float(x), float(y), float(2.0 * np.arctan2(z, w))

    def hold(self, model: mujoco.MjModel, force_n: float) -> None:
        """Set the normal force [N] of all spheres of one side together; the tissue slips at twice friction times this."""
        model.qpos_spring[self.qpos] = force_n / len(CLAMP_Y_M) / CLAMP_STIFFNESS_N_M

    def to_world(self, model: mujoco.MjModel, points: F64) -> F64:
        """Points (N, 3) in the pack frame to the world [m]."""
        x, y, yaw = self.pose(model)
        return points @ _rotation(yaw).T + np.array([x, y, 0.0])

    def to_pack(self, model: mujoco.MjModel, points: F64) -> F64:
        """Points (N, 3) in the world to the pack frame [m]."""
        x, y, yaw = self.pose(model)
        return (points - np.array([x, y, 0.0])) @ _rotation(yaw)


def inside(points: F64) -> np.ndarray:
    """Whether points (N, 3) in the pack frame [m] lie in the pack's bounding box."""
    return (np.abs(points[:, 0]) < HALF_X_M) & (np.abs(points[:, 1]) < HALF_Y_M) & (points[:, 2] < HEIGHT_M)


def _rotation(yaw_rad: float) -> F64:
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
