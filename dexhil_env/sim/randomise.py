"""Looks that vary between episodes: lights, colours, camera pose. The scene's own looks come back before every draw."""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from dexhil_env.errors import ConfigError
from dexhil_env.transforms import from_rotvec, quat_matrix
from dexhil_env.types import F64

_FIELDS = ("light_diffuse", "light_dir", "mat_rgba", "flex_rgba", "geom_rgba", "cam_pos", "cam_quat")


@dataclass(frozen=True)
class LooksConfig:
    """How much the looks vary.

    Attributes:
        light: largest relative change of each light's brightness.
        light_angle: largest tilt of each light's direction [rad].
        colour: largest relative change of each colour channel of the objects and the table.
        camera_shift: standard deviation of each camera's position [m].
        camera_tilt: standard deviation of each camera's orientation [rad].
    """

    light: float = 0.3
    light_angle: float = 0.3
    colour: float = 0.12
    camera_shift: float = 0.006
    camera_tilt: float = 0.01

    def __post_init__(self) -> None:
        """Refuse negative amounts."""
        if min(vars(self).values()) < 0 or max(self.light, self.colour) >= 1:
            raise ConfigError(f"amounts must not be negative, light and colour below 1; got {self}")


class Looks:
    """The variable looks of one compiled scene.

    Args:
        model: the scene.
        config: how much varies, or None to leave the scene as it is.
    """

    def __init__(self, model: mujoco.MjModel, config: LooksConfig | None) -> None:
        self._model, self.config = model, config
        self._nominal: dict[str, NDArray[np.floating]] = {name: getattr(model, name).copy() for name in _FIELDS}
        self._coloured = np.array([model.geom_group[i] != 3 and model.geom_bodyid[i] == 0 for i in range(model.ngeom)], dtype=bool)

    def draw(self, rng: np.random.Generator) -> None:
        """Restore the scene's own looks, then vary them."""
        config, model = self.config, self._model
        if config is None:
            return
        for name, value in self._nominal.items():
            getattr(model, name)[:] = value
        model.light_diffuse[:] *= 1 + rng.uniform(-config.light, config.light, (model.nlight, 1))
        for i in range(model.nlight):
            model.light_dir[i] = from_rotvec(_vector(rng, config.light_angle)) @ model.light_dir[i]
        for name, chosen in (("mat_rgba", slice(None)), ("flex_rgba", slice(None)), ("geom_rgba", self._coloured)):
            colours = getattr(model, name)
            tint = 1 + rng.uniform(-config.colour, config.colour, (*colours[chosen].shape[:-1], 3))
            colours[chosen, :3] = np.clip(colours[chosen, :3] * tint, 0, 1)
        for i in range(model.ncam):
            model.cam_pos[i] += rng.normal(0, config.camera_shift, 3)
            tilted = from_rotvec(rng.normal(0, config.camera_tilt, 3)) @ quat_matrix(model.cam_quat[i])
            mujoco.mju_mat2Quat(model.cam_quat[i], np.ascontiguousarray(tilted).ravel())

    def state(self) -> F64:
        """Return the present looks as one vector."""
        return np.concatenate([getattr(self._model, name).ravel() for name in _FIELDS]).astype(float)

    def restore(self, state: F64) -> None:
        """Put looks back that :meth:`state` returned."""
        start = 0
        for name in _FIELDS:
            field = getattr(self._model, name)
            field[:] = state[start : start + field.size].reshape(field.shape)
            start += field.size


def _vector(rng: np.random.Generator, size: float) -> F64:
    direction = rng.normal(size=3)
    return direction / np.linalg.norm(direction) * rng.uniform(0, size)
