"""The sheet's mathematics: area, interpolation, material scaling, and dense-reward shape."""

import mujoco
import numpy as np
import pytest

from dexhil_env.errors import ConfigError
from dexhil_env.sim.cloth import Cloth, ClothConfig, add_cloth, grid, rest_shape, sampling_matrix, triangles
from dexhil_env.sim.rewards import tolerance

CONFIG = ClothConfig(rows=5, columns=4)


def model_of(config: ClothConfig) -> mujoco.MjModel:
    spec = mujoco.MjSpec()
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_DISCRETE
    add_cloth(spec, config, "sheet", contype=1, conaffinity=1)
    return spec.compile()


def test_triangles_cover_the_sheet_once() -> None:
    flat, faces = grid(CONFIG), triangles(CONFIG)
    a, b = flat[faces[:, 1]] - flat[faces[:, 0]], flat[faces[:, 2]] - flat[faces[:, 0]]
    signed = 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    directed = {(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)}
    assert len(directed) == 3 * len(faces)  # no edge twice in the same direction: no overlap
    assert (signed > 0).all()  # one orientation: no triangle is folded over
    assert signed.sum() == pytest.approx(CONFIG.width_m * CONFIG.length_m)


def test_sampling_reproduces_linear_functions_and_weighs_area_evenly() -> None:
    matrix = sampling_matrix(CONFIG, 4)
    assert np.allclose(matrix.sum(axis=1), 1.0)
    samples = (matrix @ grid(CONFIG)).reshape((CONFIG.rows - 1) * 4, (CONFIG.columns - 1) * 4, 2)
    assert np.ptp(samples[..., 1], axis=1).max() < 1e-12  # a row of samples lies at one height ...
    assert np.allclose(np.diff(samples[:, 0, 1]), CONFIG.length_m / 16)  # ... and rows and columns are evenly spaced
    assert np.allclose(np.diff(samples[0, :, 0]), CONFIG.width_m / 12)
    assert np.allclose(samples.mean(axis=(0, 1)), [0.0, CONFIG.length_m / 2])


def test_place_and_positions_are_inverse_and_touch_nothing_else() -> None:
    model = model_of(CONFIG)
    data, cloth = mujoco.MjData(model), Cloth(model, "sheet", CONFIG)
    assert np.allclose(cloth.positions(data), rest_shape(CONFIG))
    wanted = np.random.default_rng(0).normal(size=(CONFIG.vertices, 3))
    cloth.place(data, wanted)
    mujoco.mj_forward(model, data)
    assert np.allclose(cloth.positions(data), wanted)
    assert np.allclose(data.flexvert_xpos, wanted)  # MuJoCo sees the same sheet


def test_scaled_material_equals_a_compiled_one() -> None:
    scaled, built = model_of(CONFIG), model_of(ClothConfig(rows=5, columns=4, mass_kg=1e-2, young_pa=6e6, friction=0.5))
    cloth = Cloth(scaled, "sheet", CONFIG)
    cloth.scale_material(scaled, mass=2.0, stiffness=2.0, friction=0.5)
    for name in ("body_mass", "body_inertia", "body_invweight0", "dof_invweight0", "flex_stiffness", "flex_bending", "flex_friction"):
        assert np.allclose(getattr(scaled, name), getattr(built, name), rtol=1e-5), name
    cloth.scale_material(scaled, mass=1.0, stiffness=1.0, friction=1.0)
    assert np.array_equal(scaled.body_mass, model_of(CONFIG).body_mass)


@pytest.mark.parametrize("bad", [{"rows": 2}, {"mass_kg": 0.0}, {"young_pa": -1.0}, {"length_m": float("nan")}])
def test_refuses_impossible_cloth(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        ClothConfig(**bad)  # pyright: ignore[reportArgumentType]


def test_tolerance_is_one_inside_a_tenth_at_the_margin_and_falls() -> None:
    assert tolerance(0.5, (0.0, 1.0), 2.0) == 1.0
    assert tolerance(3.0, (0.0, 1.0), 2.0) == pytest.approx(0.1)
    assert tolerance(-1.0, (0.0, 1.0), 2.0) > tolerance(-1.5, (0.0, 1.0), 2.0) > 0.0
