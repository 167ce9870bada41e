"""The plush task: grasp a soft toy and lift it entirely off the table. Nothing but contact holds it."""

from dataclasses import dataclass
from typing import Any, Final, cast

import mujoco
import numpy as np

from dexhil_env.errors import ConfigError
from dexhil_env.sim.rewards import tolerance
from dexhil_env.sim.scene import OBJECT, SOFT, TOY_MATERIAL
from dexhil_env.sim.toy_mesh import teddy, texture_coordinates
from dexhil_env.transforms import from_parts
from dexhil_env.types import F64, Evaluation

LIFT_M: Final = 0.005
"""Every vertex must be higher than this for the toy to be off the table [m]."""
HOLD_STEPS: Final = 10
"""Consecutive evaluations (20 Hz) that success must last: 0.5 s."""
FLUNG_M_PER_S: Final = 0.6
"""A toy whose centre moves faster than this is thrown, not held [m/s]; the expert lifts at 0.2 m/s."""
REACH_X_M: Final = (0.28, 0.85)
REACH_Y_M: Final = (-0.38, 0.38)
"""Where the toy can still be had [m]; a toy outside is lost."""
MASS_KG: Final = 0.15
RADIUS_M: Final = 0.002
REST_HEIGHT_M: Final = 0.040
"""Height of the toy's centre above the table when it is laid [m]."""
_SETTLE_STEPS: Final = 60
_ROUNDING: Final = ".6g"


@dataclass(frozen=True)
class PlushConfig:
    """What varies between episodes.

    Attributes:
        toy_x_m: range of the toy's centre in front of the robot [m].
        toy_y_m: range of the toy's centre to the side [m].
        toy_yaw_rad: range of the toy's yaw [rad].
        timestep_s: physics step: 5 ms (default) or 2.5 ms.
        randomise_physics: draw mass, stiffness and friction anew at every reset.
        mass_scale: range of the factor on the toy's 150 g.
        stiffness_scale: range of the factor on its Young's modulus of 20 kPa.
        friction_scale: range of the factor on its friction coefficient of 1.
    """

    toy_x_m: tuple[float, float] = (0.47, 0.63)
    toy_y_m: tuple[float, float] = (-0.08, 0.08)
    toy_yaw_rad: tuple[float, float] = (-np.pi, np.pi)
    timestep_s: float = 0.005
    randomise_physics: bool = False
    mass_scale: tuple[float, float] = (0.7, 1.4)
    stiffness_scale: tuple[float, float] = (0.5, 2.0)
    friction_scale: tuple[float, float] = (0.5, 1.2)

    def __post_init__(self) -> None:
        """Refuse what the robot cannot reach or the solver cannot stand."""
        if self.timestep_s not in (0.005, 0.0025):
            raise ConfigError(f"timestep_s must be 0.005 or 0.0025 s; got {self.timestep_s}")
        bounds = {"toy_x_m": (0.38, 0.72), "toy_y_m": (-0.25, 0.25), "toy_yaw_rad": (-2 * np.pi, 2 * np.pi)}
        bounds |= {"mass_scale": (0.2, 4.0), "stiffness_scale": (0.2, 5.0), "friction_scale": (0.01, 2.0)}
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if len(value) != 2 or not low <= value[0] <= value[1] <= high:
                raise ConfigError(f"PlushConfig.{name} must be (low, high) within [{low:.3g}, {high:.3g}]; got {value}")


def _toy_xml() -> str:
    """MJCF of the toy alone: a trilinear flex of 2 x 1 x 1 cells, 36 degrees of freedom."""
    points, tets = teddy()
    numbers = " ".join(format(value, _ROUNDING) for value in points.ravel())
    spots = " ".join(format(value, _ROUNDING) for value in texture_coordinates(points).ravel())
    return (
        '<mujoco><option integrator="discrete"/><worldbody><flexcomp name="flex" type="direct" dim="3" dof="trilinear" '
        f'cellcount="2 1 1" mass="{MASS_KG}" radius="{RADIUS_M}" point="{numbers}" '
        f'element="{" ".join(map(str, tets.ravel()))}" texcoord="{spots}">'
        f'<contact condim="3" friction="1 0.005 0.0001" solref="0.01 1" contype="{SOFT}" conaffinity="{OBJECT}" selfcollide="none" '
        'priority="1"/><elasticity young="2e4" poisson="0.2" damping="0.05"/></flexcomp></worldbody></mujoco>'
    )


class PlushTask:
    """Lift the toy.

    Success: every vertex more than :data:`LIFT_M` above the table in :data:`HOLD_STEPS` consecutive evaluations (paper), while the toy
    is not flying: slower than :data:`FLUNG_M_PER_S`.
    Failure: the toy's centre leaves the reachable part of the table, or falls off it.

    ``reset`` takes the option ``toy_pose`` = (x [m], y [m], yaw [rad]) to lay a chosen scene.
    """

    name = "plush"
    instruction = "Grab that yellow plushie"
    metric_names = ("toy_height_m", "toy_centre_height_m", "palm_distance_m", "toy_x_m", "toy_y_m", "toy_yaw_rad", "hold_steps")

    def __init__(self, config: PlushConfig | None = None) -> None:
        self.config = config or PlushConfig()
        self.timestep_s = self.config.timestep_s
        self._held, self._scales = 0, (1.0, 1.0, 1.0)

    def add_to(self, spec: mujoco.MjSpec) -> None:
        """Add the toy."""
        spec.attach(mujoco.MjSpec.from_string(_toy_xml()), frame=spec.worldbody.add_frame(), prefix="toy_")
        spec.flexes[0].material = TOY_MATERIAL

    def bind(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Look up the toy's nodes."""
        self._model, self._data = model, data
        start, count = int(model.flex_nodeadr[0]), int(model.flex_nodenum[0])
        self._bodies = model.flex_nodebodyid[start : start + count].copy()
        self._rest = model.body_pos[self._bodies].copy()
        joints = model.body_jntadr[self._bodies]
        self._qpos = (model.jnt_qposadr[joints][:, None] + np.arange(3)).copy()
        self._dofs = (model.jnt_dofadr[joints][:, None] + np.arange(3)).copy()
        self._nominal = (
            model.body_mass[self._bodies].copy(), model.body_inertia[self._bodies].copy(),
            model.flex_stiffness.copy(), model.flex_friction.copy(),
        )  # fmt: skip
        self._site = int(model.site("ee").id)

    def reset(self, rng: np.random.Generator, options: dict[str, Any]) -> None:
        """Lay the toy on the table and let it settle."""
        config = self.config
        drawn = [float(rng.uniform(*bounds)) for bounds in (config.toy_x_m, config.toy_y_m, config.toy_yaw_rad)]
        scales = [float(rng.uniform(*bounds)) for bounds in (config.mass_scale, config.stiffness_scale, config.friction_scale)]
        x, y, yaw = cast("tuple[float, float, float]", options.get("toy_pose", drawn))
        self._apply((scales[0], scales[1], scales[2]) if config.randomise_physics else (1.0, 1.0, 1.0))
        cos, sin = np.cos(yaw), np.sin(yaw)
        rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        data = self._data
        data.qpos[self._qpos] = self._rest @ rotation.T + [x, y, REST_HEIGHT_M] - self._rest
        data.qvel[self._dofs] = 0.0
        mujoco.mj_step(self._model, data, _SETTLE_STEPS)
        data.time, self._held = 0.0, 0
        mujoco.mj_forward(self._model, data)

    def _apply(self, scales: tuple[float, float, float]) -> None:
        """Set mass, stiffness and friction relative to the nominal values."""
        model, (mass, inertia, stiffness, friction) = self._model, self._nominal
        if scales == self._scales:
            return
        self._scales = scales
        model.body_mass[self._bodies], model.body_inertia[self._bodies] = mass * scales[0], inertia * scales[0]
        model.flex_stiffness[:] = stiffness * scales[1]
        model.flex_friction[:] = friction * scales[2]
        mujoco.mj_setConst(model, mujoco.MjData(model))

    def toy_pose(self) -> F64:
        """``T_base_toy`` (4, 4): best rigid fit (Kabsch) to the toy's nodes; x points to the head."""
        nodes = self._data.xpos[self._bodies]
        centre = nodes.mean(axis=0)
        rest = self._rest - self._rest.mean(axis=0)
        u, _, vt = np.linalg.svd((nodes - centre).T @ rest)
        rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
        return from_parts(rotation, centre)

    def lowest_point(self) -> float:
        """Height of the lowest vertex above the table [m]."""
        return float(self._data.flexvert_xpos[:, 2].min())

    def evaluate(self) -> Evaluation:
        """Judge the present state."""
        pose, lowest = self.toy_pose(), self.lowest_point()
        centre = pose[:3, 3]
        flung = float(np.linalg.norm(self._data.qvel[self._dofs].mean(axis=0))) > FLUNG_M_PER_S
        self._held = self._held + 1 if lowest > LIFT_M and not flung else 0
        distance = float(np.linalg.norm(self._data.site_xpos[self._site] - centre))
        reachable = REACH_X_M[0] < centre[0] < REACH_X_M[1] and REACH_Y_M[0] < centre[1] < REACH_Y_M[1] and centre[2] > -0.02
        yaw = float(np.arctan2(pose[1, 0], pose[0, 0]))
        values = (lowest, float(centre[2]), distance, float(centre[0]), float(centre[1]), yaw, float(self._held))
        return Evaluation(
            success=self._held >= HOLD_STEPS,
            failure=not reachable,
            progress=_progress(distance, lowest, float(centre[2])),
            metrics=dict(zip(self.metric_names, values, strict=True)),
        )

    def extra_state(self) -> F64:
        """Success timer and material (model edits, not part of ``mjData``)."""
        return np.array([self._held, *self._scales], dtype=float)

    def set_extra_state(self, state: F64) -> None:
        """Restore what :meth:`extra_state` returned."""
        self._held = int(state[0])
        self._apply((float(state[1]), float(state[2]), float(state[3])))


def _progress(distance_m: float, lowest_m: float, centre_m: float) -> float:
    """Dense reward: 0.3 reach (palm to toy) + 0.3 raise (centre of the toy) + 0.4 lift (lowest vertex), each in [0, 1]."""
    reach = tolerance(distance_m, (0.0, 0.09), 0.4)
    rise = tolerance(centre_m, (0.10, 10.0), 0.07)
    lift = tolerance(lowest_m, (0.03, 10.0), 0.03)
    return 0.3 * reach + 0.3 * rise + 0.4 * lift
