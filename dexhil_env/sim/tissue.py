"""The tissue task: pull a paper tissue out of its pack by a frictional pinch. Nothing but contact holds it, in the pack and in the hand."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

import mujoco
import numpy as np

from dexhil_env.assets import asset_path
from dexhil_env.errors import AssetError, ConfigError
from dexhil_env.sim import tissue_pack
from dexhil_env.sim.cloth import Cloth, ClothConfig, add_cloth, sampling_matrix
from dexhil_env.sim.rewards import tolerance
from dexhil_env.sim.scene import ENVIRONMENT, OBJECT, SOFT
from dexhil_env.sim.tissue_pack import Pack, PackBits, add_pack
from dexhil_env.types import F64, Evaluation

CLOTH: Final = ClothConfig()
HOLD_STEPS: Final = 10
"""Consecutive evaluations (20 Hz) that success must last."""
SUCCESS_FRACTION: Final = 0.5
"""Share of the material that must be outside of the pack (DexHiL paper: more than half of the tissue's length)."""
LOST_DISTANCE_M: Final = 0.5
"""Further than this from the pack, or under the table, the tissue cannot be had any more."""
TIP_SITES: Final = ("tip_1", "tip_2", "tip_3", "tip_4", "tip_5")
"""Fingertips, thumb and index finger first."""
PAD_GEOMS: Final = ("thumb_distal", "index_distal")
IN_HAND_M: Final = 0.05
"""A fingertip at least this near to the material counts as having it in the hand [m]."""
_PACK_CENTRE: Final = (0.58, 0.0, 0.0)
_SAMPLES_PER_CELL: Final = 4


@dataclass(frozen=True)
class TissueConfig:
    """What varies between episodes.

    Attributes:
        pack_x_m: range of the pack's centre in front of the robot [m].
        pack_y_m: range of the pack's centre to the side [m].
        pack_yaw_rad: range of the pack's yaw, -75 +- 20 deg: the slit runs nearly straight away from the robot and the hand comes from
            its left; so the wrist stays clear of its singularity. At 0 the slit would run along world y [rad].
        timestep_s: physics step: 5 ms (default, fast) or 2.5 ms (finer contact, half the speed).
        randomise_physics: draw mass, stiffness, friction and holding force anew at every reset.
        mass_scale: range of the factor on the tissue's 5 g.
        stiffness_scale: range of the factor on its stiffness.
        friction_scale: range of the factor on its friction coefficient of 1.
        holding_force_n: range of the force with which the pack holds the tissue back [N]; 2 N without randomisation.
    """

    pack_x_m: tuple[float, float] = (0.53, 0.63)
    pack_y_m: tuple[float, float] = (-0.05, 0.05)
    pack_yaw_rad: tuple[float, float] = (-1.66, -0.96)
    timestep_s: float = 0.005
    randomise_physics: bool = False
    mass_scale: tuple[float, float] = (0.6, 1.5)
    stiffness_scale: tuple[float, float] = (0.7, 1.4)
    friction_scale: tuple[float, float] = (0.6, 1.1)
    holding_force_n: tuple[float, float] = (1.0, 3.0)

    def __post_init__(self) -> None:
        """Refuse what the robot cannot reach or the solver cannot stand."""
        if self.timestep_s not in (0.005, 0.0025):
            raise ConfigError(f"timestep_s must be 0.005 or 0.0025 s; got {self.timestep_s}")
        bounds = {"pack_x_m": (0.45, 0.70), "pack_y_m": (-0.2, 0.2), "pack_yaw_rad": (-2.0, 2.0)}
        bounds |= {"mass_scale": (0.3, 3.0), "stiffness_scale": (0.3, 3.0), "friction_scale": (0.01, 2.0), "holding_force_n": (0.1, 6.0)}
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if len(value) != 2 or not low <= value[0] <= value[1] <= high:
                raise ConfigError(f"TissueConfig.{name} must be (low, high) within [{low}, {high}]; got {value}")


@dataclass(frozen=True)
class _Physics:
    """The model values that a reset may change."""

    mass: float = 1.0
    stiffness: float = 1.0
    friction: float = 1.0
    holding_n: float = 2.0


@cache
def load_bank() -> tuple[F64, F64]:
    """Return settled tissues (N, V, 3) in the pack frame [m] and clamp positions (N, 6) [m].

    ``python -m dexhil_env.sim.tissue_bank`` makes the file anew.
    """
    with np.load(asset_path("objects", "tissue_bank.npz")) as file:
        vertices, clamps = file["vertices"].astype(float), file["clamps"].astype(float)
    if vertices.shape[1:] != (CLOTH.vertices, 3):
        raise AssetError(f"tissue_bank.npz holds {vertices.shape[1]} vertices, the cloth has {CLOTH.vertices}; make it anew")
    return vertices, clamps


class TissueTask:
    """Pull the tissue out of the pack.

    Success: more than half of the material outside of the pack's bounding box (paper) and at a fingertip (a tissue that a swipe has
    dragged out and left behind does not count), in :data:`HOLD_STEPS` consecutive evaluations.
    Failure: the tissue is further than :data:`LOST_DISTANCE_M` from the pack or under the table. The pack is static, it cannot be lost.

    ``reset`` takes the options ``pack_pose`` = (x [m], y [m], yaw [rad]) and ``bank_index`` to lay a chosen scene.
    """

    name = "tissue"
    instruction = "Pull out a napkin"
    metric_names = (
        "extracted_fraction", "tip_distance_m", "tip_gap_m", "pull_height_m", "edge_height_m", "hold_steps",
        "pack_x_m", "pack_y_m", "pack_yaw_rad",
    )  # fmt: skip

    def __init__(self, config: TissueConfig | None = None) -> None:
        self.config = config or TissueConfig()
        self.timestep_s = self.config.timestep_s
        self._sampling = sampling_matrix(CLOTH, _SAMPLES_PER_CELL)
        self._physics, self._held = _Physics(), 0

    def add_to(self, spec: mujoco.MjSpec) -> None:
        """Add pack and tissue; contact stiffness must follow the light vertices, hence ``diagexact``."""
        spec.option.enableflags = int(spec.option.enableflags) | int(mujoco.mjtEnableBit.mjENBL_DIAGEXACT)
        spec.option.tolerance = 1e-4
        add_pack(spec, PackBits(ENVIRONMENT | SOFT, SOFT), _PACK_CENTRE)
        add_cloth(spec, CLOTH, "tissue", contype=SOFT, conaffinity=OBJECT)

    def bind(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Look up the objects."""
        self._model, self._data = model, data
        self.cloth, self.pack = Cloth(model, "tissue", CLOTH), Pack(model)
        self._tips = [int(model.site(name).id) for name in TIP_SITES]
        self._pads = tuple(int(model.geom(name).id) for name in PAD_GEOMS)
        self._apply(self._physics)

    def gripping(self) -> bool:
        """Whether both pads of thumb and index finger touch the tissue."""
        contact = self._data.contact
        touched = contact.geom[contact.flex[:, 1] >= 0]
        return all(bool((touched == pad).any()) for pad in self._pads)

    def reset(self, rng: np.random.Generator, options: dict[str, Any]) -> None:
        """Stand the pack somewhere and put a settled tissue into it."""
        config, (shapes, clamps) = self.config, load_bank()
        drawn = [float(rng.uniform(*bounds)) for bounds in (config.pack_x_m, config.pack_y_m, config.pack_yaw_rad)]
        index = int(rng.integers(len(shapes)))
        scales = (config.mass_scale, config.stiffness_scale, config.friction_scale, config.holding_force_n)
        physics = _Physics(*(float(rng.uniform(*bounds)) for bounds in scales))
        x, y, yaw = cast("tuple[float, float, float]", options.get("pack_pose", drawn))
        index = int(options.get("bank_index", index)) % len(shapes)
        self.pack.stand(self._model, x, y, yaw)
        self._apply(physics if config.randomise_physics else _Physics())
        self.cloth.place(self._data, self.pack.to_world(self._model, shapes[index]))
        self._data.qpos[self.pack.qpos] = clamps[index]
        self._data.qvel[self.pack.dofs] = 0.0
        self._held = 0
        mujoco.mj_forward(self._model, self._data)

    def _apply(self, physics: _Physics) -> None:
        self._physics = physics
        self.cloth.scale_material(self._model, physics.mass, physics.stiffness, physics.friction)
        self.pack.hold(self._model, physics.holding_n)

    def material(self) -> F64:
        """Evenly spread points (S, 3) of the material in the world [m], row by row from the bottom edge; each stands for the same area."""
        return self._sampling @ self.cloth.positions(self._data)

    def extracted_fraction(self) -> float:
        """Share of the material outside of the pack's bounding box."""
        return 1.0 - float(np.mean(tissue_pack.inside(self.pack.to_pack(self._model, self.material()))))

    def top_edge(self) -> F64:
        """Vertices (columns, 3) of the upper, graspable edge in the world [m]."""
        return self.cloth.positions(self._data)[-CLOTH.columns :]

    def evaluate(self) -> Evaluation:
        """Judge the present state."""
        vertices, fraction = self.cloth.positions(self._data), self.extracted_fraction()
        tips = self._data.site_xpos[self._tips]
        in_hand = float(np.linalg.norm(vertices[:, None] - tips, axis=2).min()) < IN_HAND_M
        self._held = self._held + 1 if fraction > SUCCESS_FRACTION and in_hand else 0
        x, y, yaw = self.pack.pose(self._model)
        centre = vertices.mean(axis=0)
        lost = bool(np.hypot(centre[0] - x, centre[1] - y) > LOST_DISTANCE_M or centre[2] < -0.02)
        thumb, index = tips[:2]
        edge = vertices[-CLOTH.columns :]
        distance = float(np.linalg.norm(edge - (thumb + index) / 2, axis=1).min())
        gap = float(np.linalg.norm(thumb - index))
        values = (
            fraction, distance, gap, float(vertices[:, 2].max()) - tissue_pack.HEIGHT_M,
            float(edge[:, 2].mean()) - tissue_pack.HEIGHT_M, float(self._held), x, y, yaw,
        )  # fmt: skip
        return Evaluation(
            success=self._held >= HOLD_STEPS,
            failure=lost,
            progress=_progress(fraction, distance, gap),
            metrics=dict(zip(self.metric_names, values, strict=True)),
        )

    def extra_state(self) -> F64:
        """Success timer, pack pose and material (the static pack and the material are model edits, not part of ``mjData``)."""
        p = self._physics
        return np.array([self._held, *self.pack.pose(self._model), p.mass, p.stiffness, p.friction, p.holding_n], dtype=float)

    def set_extra_state(self, state: F64) -> None:
        """Restore what :meth:`extra_state` returned."""
        self._held = int(state[0])
        self.pack.stand(self._model, *(float(v) for v in state[1:4]))
        self._apply(_Physics(*(float(v) for v in state[4:8])))


def _progress(fraction: float, distance_m: float, gap_m: float) -> float:
    """Dense reward: 0.2 reach (tips to edge) + 0.2 pinch (tips together there) + 0.6 extraction, each in [0, 1]."""
    reach = tolerance(distance_m, (0.0, 0.03), 0.4)
    pinch = reach * tolerance(gap_m, (0.0, 0.03), 0.1)
    return 0.2 * reach + 0.2 * pinch + 0.6 * tolerance(fraction, (0.6, 1.0), 0.4)
