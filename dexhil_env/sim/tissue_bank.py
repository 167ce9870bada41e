"""Make the bank of settled tissues: ``python -m dexhil_env.sim.tissue_bank [--states 64] [--seed 0] [--output FILE]``.

A tissue is threaded through the slit, kicked a little and left to settle for a second without the robot. Tissues that fall flat on the
pack are thrown away, the others are stored in the pack frame.
"""

import argparse
import logging
from pathlib import Path

import mujoco
import numpy as np

from dexhil_env.assets import asset_path
from dexhil_env.sim import tissue_pack
from dexhil_env.sim.cloth import Cloth, add_cloth, grid, rest_shape
from dexhil_env.sim.scene import ENVIRONMENT, OBJECT, SOFT
from dexhil_env.sim.tissue import CLOTH
from dexhil_env.types import F64

SETTLE_S = 1.0
PROTRUSION_M = (0.04, 0.07)
LEAN_RAD = 0.8
MIN_EDGE_HEIGHT_M = 0.025
"""Least height of the middle of the upper edge above the pack; lower tissues lie flat."""
MAX_SPEED_M_S = 0.05

_log = logging.getLogger(__name__)


def build_model() -> mujoco.MjModel:
    """Table, pack and tissue, without the robot."""
    spec = mujoco.MjSpec()
    option = spec.option
    option.timestep, option.integrator = 0.005, mujoco.mjtIntegrator.mjINT_DISCRETE
    option.cone, option.impratio, option.iterations, option.tolerance = mujoco.mjtCone.mjCONE_ELLIPTIC, 10.0, 50, 1e-5
    option.enableflags = int(mujoco.mjtEnableBit.mjENBL_DIAGEXACT)
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1, 1, 0.1], contype=0, conaffinity=ENVIRONMENT | SOFT)
    tissue_pack.add_pack(spec, tissue_pack.PackBits(ENVIRONMENT | SOFT, SOFT), (0.0, 0.0, 0.0))
    add_cloth(spec, CLOTH, "tissue", contype=SOFT, conaffinity=OBJECT)
    return spec.compile()


def threaded(rng: np.random.Generator) -> F64:
    """Vertices (V, 3) of a tissue threaded through the slit: a random part stands out and leans, the rest slants to the floor [m]."""
    side, protrusion, lean = rng.choice([-1.0, 1.0]), rng.uniform(*PROTRUSION_M), rng.uniform(-LEAN_RAD, LEAN_RAD)
    top = tissue_pack.HEIGHT_M
    inner = tissue_pack.HALF_X_M - 0.012
    path = np.array([[0.0, top], [0.0, tissue_pack.CLAMP_HEIGHT_M - 0.01], [side * inner, 0.004], [-side * inner, 0.004]])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    across, along = grid(CLOTH).T
    height = along - (CLOTH.length_m - protrusion)
    out = height > 0
    inside_x = np.asarray(np.interp(-height, length, path[:, 0]), dtype=np.float64)
    inside_z = np.asarray(np.interp(-height, length, path[:, 1]), dtype=np.float64)
    x: F64 = np.where(out, height * np.sin(lean) + rest_shape(CLOTH)[:, 0], inside_x)
    z: F64 = np.where(out, top + height * np.cos(lean), inside_z)
    points = np.stack([x, across + rng.uniform(-0.005, 0.005), z], axis=1)
    return points + rng.normal(0.0, 5e-4, points.shape)


def settle(model: mujoco.MjModel, data: mujoco.MjData, rng: np.random.Generator) -> tuple[F64, F64] | None:
    """Return vertices (V, 3) and clamp positions (6,) of one settled tissue [m], or None if it fell flat or is still moving."""
    cloth, pack = Cloth(model, "tissue", CLOTH), tissue_pack.Pack(model)
    pack.hold(model, 2.0)
    mujoco.mj_resetData(model, data)
    cloth.place(data, threaded(rng))
    across, along = grid(CLOTH).T
    kick = rng.normal(0.0, 0.3) * np.cos(rng.uniform(10, 30) * across + rng.uniform(0, 2 * np.pi)) * (along / CLOTH.length_m) ** 4
    cloth.push(data, np.stack([kick, 0 * kick, 0 * kick], axis=1))
    mujoco.mj_step(model, data, round(SETTLE_S / model.opt.timestep))
    vertices = cloth.positions(data)
    middle = vertices[-CLOTH.columns :][CLOTH.columns // 3 : -(CLOTH.columns // 3), 2].mean()
    still = np.abs(cloth.velocities(data)).max() < MAX_SPEED_M_S
    if middle < tissue_pack.HEIGHT_M + MIN_EDGE_HEIGHT_M or not still:
        return None
    return vertices, np.array(data.qpos[pack.qpos])


def make_bank(states: int, seed: int) -> tuple[F64, F64]:
    """Settle tissues until ``states`` of them stand."""
    rng, model = np.random.default_rng(seed), build_model()
    data, kept, tries = mujoco.MjData(model), list[tuple[F64, F64]](), 0
    while len(kept) < states:
        tries += 1
        result = settle(model, data, rng)
        if result is not None:
            kept.append(result)
    _log.info("%d of %d tissues stand", len(kept), tries)
    return np.array([k[0] for k in kept]), np.array([k[1] for k in kept])


def main() -> None:
    """Write the file."""
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=asset_path("objects") / "tissue_bank.npz")
    arguments = parser.parse_args()
    vertices, clamps = make_bank(arguments.states, arguments.seed)
    np.savez_compressed(arguments.output, vertices=vertices.astype(np.float32), clamps=clamps.astype(np.float32))
    _log.info("%s: %d states, %.0f kB", arguments.output, len(vertices), arguments.output.stat().st_size / 1e3)


if __name__ == "__main__":
    main()
