"""Build a simulated environment from words: what ``gym.make`` calls."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from dexhil_env.env import DexHiLEnv, RenderMode, RewardType
from dexhil_env.errors import ConfigError
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.plush import PlushConfig, PlushTask
from dexhil_env.sim.randomise import LooksConfig
from dexhil_env.sim.scene import SceneConfig
from dexhil_env.sim.task import SimTask
from dexhil_env.sim.tissue import TissueConfig, TissueTask

_TASKS: dict[str, tuple[Callable[[Any], SimTask], type]] = {"plush": (PlushTask, PlushConfig), "tissue": (TissueTask, TissueConfig)}


def make_task(task: str, **options: Any) -> SimTask:
    """Make a task of the twin from words.

    Args:
        task: ``"plush"`` or ``"tissue"``.
        **options: fields of the task's config (``PlushConfig``, ``TissueConfig``).

    Raises:
        ConfigError: there is no such task, or it has no such option.
    """
    if task not in _TASKS:
        raise ConfigError(f"unknown task {task!r}; the twin has {tuple(_TASKS)}")
    task_type, config_type = _TASKS[task]
    allowed = {field.name for field in fields(config_type)}
    unknown = set(options) - allowed
    if unknown:
        raise ConfigError(f"unknown option {sorted(unknown)} for task {task!r}; allowed: {sorted(allowed)}")
    return task_type(config_type(**options))


def make_sim_env(
    task: str,
    cameras: tuple[str, ...] | list[str] = ("front", "wrist"),
    image_size: int = 128,
    realtime: bool = False,
    reward_type: RewardType = "sparse",
    render_mode: RenderMode | None = None,
    scene: SceneConfig | None = None,
    randomise_visuals: bool | LooksConfig = False,
    **task_options: Any,
) -> DexHiLEnv:
    """Make a twin environment.

    Args:
        task: ``"plush"`` or ``"tissue"``.
        cameras: cameras in the observation; ``()`` gives state only and needs no OpenGL.
        image_size: square image size [px].
        realtime: keep steps at 20 Hz of wall time.
        reward_type: ``"sparse"`` or ``"dense"``.
        render_mode: ``"rgb_array"``, ``"human"`` or None.
        scene: mount, cameras and skin.
        randomise_visuals: vary lights, colours and cameras between episodes, as much as ``LooksConfig`` says.
        **task_options: fields of the task's config (``PlushConfig``, ``TissueConfig``), for example ``randomise_physics=True``.

    Raises:
        ConfigError: an argument is not allowed.
    """
    if not isinstance(image_size, int) or not 16 <= image_size <= 1024:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"image_size must be a whole number of pixels from 16 to 1024; got {image_size!r}")
    sim_task = make_task(task, **task_options)
    looks = LooksConfig() if randomise_visuals is True else randomise_visuals or None
    backend = SimBackend(sim_task, tuple(cameras), image_size, scene, looks)
    return DexHiLEnv(backend, sim_task, reward_type, render_mode, realtime)
