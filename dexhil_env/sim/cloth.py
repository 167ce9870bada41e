"""A rectangular sheet of thin material as a two-dimensional MuJoCo flex.

Every vertex is a small body with three slide joints along the world axes, so that ``qpos = position - body_pos``. The rest shape
carries a gentle wave: like real tissue paper, the sheet stands up because it is curved, not because it is thick.
"""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from dexhil_env.errors import ConfigError
from dexhil_env.types import F64

I32 = NDArray[np.int32]

SHELL_SHEAR_AND_BENDING = 3
"""MuJoCo's ``elastic2d="both"``: membrane and bending elasticity."""


@dataclass(frozen=True)
class ClothConfig:
    """Shape and material of the sheet.

    Attributes:
        rows: vertices along the length, from the bottom (held) edge to the top (graspable) edge.
        columns: vertices across the width.
        length_m: bottom to top [m].
        width_m: [m].
        mass_kg: [kg]; a paper tissue weighs 1.5 g, 5 g leaves the solver more margin and pulls out the same way.
        radius_m: half the collision thickness [m].
        young_pa: Young's modulus [Pa]; with ``thickness_m`` it gives 1500 N/m in the plane (under 2 % stretch at 2 N).
        poisson: Poisson ratio.
        thickness_m: elastic thickness [m].
        damping_s: Rayleigh damping [s].
        friction: sliding friction against skin-like pads.
        wave_amplitude_m: amplitude of the rest wave along the top edge [m].
        wave_length_m: period of the wave across the width [m].
        wave_depth_m: the wave fades to nothing at this distance below the top edge [m].
    """

    rows: int = 9
    columns: int = 9
    length_m: float = 0.20
    width_m: float = 0.20
    mass_kg: float = 5e-3
    radius_m: float = 1e-3
    young_pa: float = 3e6
    poisson: float = 0.2
    thickness_m: float = 5e-4
    damping_s: float = 5e-3
    friction: float = 1.0
    wave_amplitude_m: float = 0.008
    wave_length_m: float = 0.09
    wave_depth_m: float = 0.075

    def __post_init__(self) -> None:
        """Check the values that would make a broken mesh or material."""
        if self.rows < 3 or self.columns < 3:
            raise ConfigError(f"A cloth needs at least 3 x 3 vertices, got {self.rows} x {self.columns}.")
        for name in ("length_m", "width_m", "mass_kg", "radius_m", "young_pa", "thickness_m", "wave_length_m", "wave_depth_m"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"ClothConfig.{name} must be positive, got {getattr(self, name)}.")

    @property
    def vertices(self) -> int:
        """Number of vertices."""
        return self.rows * self.columns


def grid(config: ClothConfig) -> F64:
    """Material coordinates (V, 2): across the width, centred, and along the length from the bottom edge [m]."""
    along, across = np.meshgrid(
        np.linspace(0.0, config.length_m, config.rows),
        np.linspace(-config.width_m / 2, config.width_m / 2, config.columns),
        indexing="ij",
    )
    return np.stack([across.ravel(), along.ravel()], axis=1)


def rest_shape(config: ClothConfig) -> F64:
    """Vertices (V, 3) at rest [m]: the sheet stands in the y-z plane, the wave bulges along x."""
    across, along = grid(config).T
    share = np.clip(1.0 - (config.length_m - along) / config.wave_depth_m, 0.0, 1.0)
    wave = config.wave_amplitude_m * share * np.sin(2.0 * np.pi * across / config.wave_length_m)
    return np.stack([wave, across, along], axis=1)


def triangles(config: ClothConfig) -> I32:
    """Triangles (T, 3) with alternating diagonals, so that the mesh has no preferred shear direction."""
    faces: list[tuple[int, int, int]] = []
    for row in range(config.rows - 1):
        for column in range(config.columns - 1):
            a = row * config.columns + column
            b, c, d = a + 1, a + config.columns, a + config.columns + 1
            faces += [(a, b, d), (a, d, c)] if (row + column) % 2 == 0 else [(a, b, c), (b, d, c)]
    return np.array(faces, dtype=np.int32)


def sampling_matrix(config: ClothConfig, per_cell: int) -> F64:
    """Matrix (S, V) that interpolates vertices to evenly spread points, ``per_cell`` times ``per_cell`` in every mesh cell.

    Every point stands for the same share of the sheet's area; points come row by row from the bottom edge.
    """

    def line(nodes: int) -> F64:
        points = (np.arange((nodes - 1) * per_cell) + 0.5) / per_cell
        return np.maximum(0.0, 1.0 - np.abs(points[:, None] - np.arange(nodes)))

    return np.asarray(np.kron(line(config.rows), line(config.columns)), dtype=np.float64)


def add_cloth(
    spec: mujoco.MjSpec,
    config: ClothConfig,
    name: str,
    *,
    contype: int,
    conaffinity: int,
    rgba: tuple[float, ...] = (0.97, 0.97, 0.97, 1.0),
) -> None:
    """Add the sheet to ``spec``: one body per vertex named ``{name}_{i}`` and one flex called ``name``.

    Its contacts have priority 1, so that its own friction and softness count, whatever touches it.
    """
    rest, share = rest_shape(config), 1.0 / config.vertices
    for i, position in enumerate(rest):
        mass = config.mass_kg * share
        body = spec.worldbody.add_body(name=f"{name}_{i}", pos=position, mass=mass, inertia=np.full(3, mass * 2e-5), explicitinertial=True)
        for axis in np.eye(3):
            body.add_joint(type=mujoco.mjtJoint.mjJNT_SLIDE, axis=axis)
    flex = spec.add_flex(name=name)
    flex.dim, flex.radius = 2, config.radius_m
    spec.add_material(name=name, rgba=rgba, emission=0.15, specular=0.0)  # paper scatters light: the shaded side stays white
    flex.material = [name]
    flex.vertbody = [f"{name}_{i}" for i in range(config.vertices)]
    flex.elem = triangles(config).ravel().tolist()
    flex.elastic2d, flex.young, flex.poisson = SHELL_SHEAR_AND_BENDING, config.young_pa, config.poisson
    flex.thickness, flex.damping = config.thickness_m, config.damping_s
    flex.condim, flex.friction = 3, (config.friction, 0.005, 0.0001)
    flex.solref, flex.solimp = (0.004, 1.0), (0.95, 0.99, 0.001, 0.5, 2.0)
    flex.contype, flex.conaffinity, flex.priority = contype, conaffinity, 1
    flex.selfcollide, flex.passive = mujoco.mjtFlexSelf.mjFLEXSELF_NONE, 1


class Cloth:
    """The sheet in a compiled model: positions in and out, material scaling without recompiling."""

    def __init__(self, model: mujoco.MjModel, name: str, config: ClothConfig) -> None:
        self.config = config
        self.flex = mujoco.mj_name2id(model, int(mujoco.mjtObj.mjOBJ_FLEX), name)
        self._bodies: I32 = np.asarray(model.flex_vertbodyid[self._vertex_range(model)], dtype=np.int32)
        self._base: F64 = np.array(model.body_pos[self._bodies])
        joints: I32 = np.asarray(model.body_jntadr[self._bodies], dtype=np.int32)
        self._qpos: I32 = np.asarray(model.jnt_qposadr[joints][:, None] + np.arange(3), dtype=np.int32)
        self._dofs: I32 = np.asarray(model.jnt_dofadr[joints][:, None] + np.arange(3), dtype=np.int32)
        self._nominal = {key: np.array(getattr(model, key)) for key in ("flex_stiffness", "flex_bending", "flex_friction")}
        self._nominal |= {key: np.array(getattr(model, key)[self._bodies]) for key in ("body_mass", "body_inertia", "body_invweight0")}
        self._nominal["dof_invweight0"] = np.array(model.dof_invweight0[self._dofs])

    def _vertex_range(self, model: mujoco.MjModel) -> slice:
        first = int(model.flex_vertadr[self.flex])
        return slice(first, first + int(model.flex_vertnum[self.flex]))

    def positions(self, data: mujoco.MjData) -> F64:
        """Vertices (V, 3) in the world [m], from ``qpos`` (never one step old, as ``flexvert_xpos`` is after ``mj_step``)."""
        return self._base + data.qpos[self._qpos]

    def velocities(self, data: mujoco.MjData) -> F64:
        """Vertex velocities (V, 3) [m/s]."""
        return np.array(data.qvel[self._dofs])

    def place(self, data: mujoco.MjData, positions: F64) -> None:
        """Put the vertices (V, 3) somewhere [m], at rest."""
        data.qpos[self._qpos] = positions - self._base
        data.qvel[self._dofs] = 0.0
        data.qacc_warmstart[self._dofs] = 0.0

    def push(self, data: mujoco.MjData, velocities: F64) -> None:
        """Give the vertices velocities (V, 3) [m/s]."""
        data.qvel[self._dofs] = velocities

    def scale_material(self, model: mujoco.MjModel, mass: float, stiffness: float, friction: float) -> None:
        """Multiply mass, elasticity and friction of the model as compiled; call again with ones to undo."""
        model.body_mass[self._bodies] = self._nominal["body_mass"] * mass
        model.body_inertia[self._bodies] = self._nominal["body_inertia"] * mass
        model.body_invweight0[self._bodies] = self._nominal["body_invweight0"] / mass
        model.dof_invweight0[self._dofs] = self._nominal["dof_invweight0"] / mass
        model.flex_stiffness[:] = self._nominal["flex_stiffness"] * stiffness
        model.flex_bending[:] = self._nominal["flex_bending"] * stiffness
        model.flex_friction[self.flex, 0] = self._nominal["flex_friction"][self.flex, 0] * friction
