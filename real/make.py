"""Build an environment on a robot from words: what ``gym.make`` calls."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dexhil_env.env import DexHiLEnv, RenderMode, RewardType
from dexhil_env.errors import ConfigError
from dexhil_env.sim.make import make_task
from real.backend import RealBackend
from real.config import RealConfig, load_config
from real.emulated import emulated_config
from real.keyboard import Keyboard
from real.optional import require
from real.tasks import Keys, OperatorTask, RefereedTask

if TYPE_CHECKING:
    from dexhil_env.sim.backend import SimBackend
    from real.emulator.control_line import ControlLine
    from real.emulator.emulator_config import EmulatorConfig


def make_real_env(
    task: str,
    config: str | Path | RealConfig | None = None,
    emulate: bool = False,
    cameras: tuple[str, ...] | list[str] = ("front", "wrist"),
    image_size: int = 128,
    realtime: bool = True,
    reward_type: RewardType = "sparse",
    render_mode: RenderMode | None = None,
    randomise_visuals: Any = False,
    reality: Mapping[str, float] | None = None,
    pace: float = 1.0,
    ask: Callable[[str], str] | None = None,
    keys: Keys | None = None,
    **task_options: Any,
) -> DexHiLEnv:
    """Make an environment on a robot. It connects at once; nothing moves before ``reset``.

    Args:
        task: ``"plush"`` or ``"tissue"``.
        config: settings of the robot, or their TOML file (``assets/real/lab.toml`` is an example).
        emulate: start an emulated robot instead, which ends with the environment.
        cameras: cameras in the observation; ``()`` gives state only.
        image_size: square image size [px].
        realtime: without meaning here, a robot is always in real time.
        reward_type: ``"sparse"`` or ``"dense"``; in a lab nobody measures progress, it is 0 until success.
        render_mode: ``"rgb_array"`` or None.
        randomise_visuals: of an emulated robot started here, as for the twin.
        reality: how an emulated robot started here differs from the twin: fields of ``RealityConfig`` (docs/sim_to_real.md).
        pace: of an emulated robot started here, robot seconds per second of wall time, at most 1.
        ask: shows a prompt and waits until a person has laid the scene; by default on the terminal.
        keys: where a person's verdict comes from; by default the terminal, whose space bar stops the robot then.
        **task_options: fields of the task's config, of an emulated robot started here.

    Raises:
        ConfigError: an argument or a setting is not allowed, or a package is missing.
        DeviceError, DeviceTimeout: the robot does not answer.
    """
    del realtime
    _check_words(task, bool(cameras), image_size, config, emulate, task_options)
    if emulate:
        emulated = _emulator(task, tuple(cameras), image_size, randomise_visuals, reality or {}, pace, task_options)
        return _make_emulated(emulated, reward_type, render_mode)
    settings = _settings(config, {"randomise_visuals": randomise_visuals, "reality": reality, "pace": pace != 1.0}, task_options)
    if settings.emulator:
        return _make_refereed(task, settings, tuple(cameras), image_size, reward_type, render_mode)
    return _make_lab(task, settings, tuple(cameras), image_size, reward_type, render_mode, ask, keys)


def _settings(config: str | Path | RealConfig | None, given: dict[str, Any], task_options: dict[str, Any]) -> RealConfig:
    """Return the settings of a robot that runs already; refuse what only one that is started here has."""
    settings = config if isinstance(config, RealConfig) else load_config(config or "")
    if wrong := sorted([*(name for name, value in given.items() if value), *task_options]):
        raise ConfigError(f"{wrong}: only an emulated robot that is started here (emulate=True) has such options")
    return settings


def _check_words(
    task: str, sees: bool, image_size: int, config: str | Path | RealConfig | None, emulate: bool, task_options: dict[str, Any]
) -> None:
    make_task(task, **task_options)
    if not isinstance(image_size, int) or not 16 <= image_size <= 1024:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"image_size must be a whole number of pixels from 16 to 1024; got {image_size!r}")
    for module in ("franky", "can", *(["cv2"] if sees else [])):
        require(module, "real")
    if (config is None) == (not emulate):
        raise ConfigError(
            'a robot needs its settings: gym.make(ID, config="lab.toml") (copy assets/real/lab.toml), or gym.make(ID, emulate=True) '
            f"to try without one, and not both; got config={config!r}, emulate={emulate}"
        )


def _emulator(
    task: str,
    cameras: tuple[str, ...],
    image_size: int,
    randomise_visuals: Any,
    reality: Mapping[str, float],
    pace: float,
    task_options: dict[str, Any],
) -> "EmulatorConfig":
    from real.emulator.emulator_config import EmulatorConfig, RealityConfig

    known = [each.name for each in fields(RealityConfig)]
    if wrong := sorted(set(reality) - set(known)):
        raise ConfigError(f"reality has no {wrong}; a robot can differ from the twin in {known}")
    differs = RealityConfig(**reality)
    return EmulatorConfig(
        task, dict(task_options), cameras=cameras, image_size=image_size, randomise_visuals=randomise_visuals, reality=differs, pace=pace
    )


def _make_emulated(emulated: "EmulatorConfig", reward_type: RewardType, render_mode: RenderMode | None) -> DexHiLEnv:
    from real.emulator.twin_process import TwinProcess

    twin: TwinProcess = TwinProcess(emulated)
    try:
        env = _make_refereed(emulated.task, emulated_config(twin.config), emulated.cameras, emulated.image_size, reward_type, render_mode)
    except BaseException:
        twin.close()
        raise
    assert isinstance(env.backend, RealBackend)
    env.backend.closers.insert(0, twin.close)
    return env


def _make_refereed(
    task: str,
    settings: RealConfig,
    cameras: tuple[str, ...],
    image_size: int,
    reward_type: RewardType,
    render_mode: RenderMode | None,
) -> DexHiLEnv:
    """Make an environment on an emulated robot that runs already."""
    from real.emulator.control_line import ControlLine

    line = ControlLine(settings.emulator)
    try:
        said = line.describe()
        if said.task != task:
            raise ConfigError(f"the emulated robot at {settings.emulator} has the task {said.task!r}; this environment is for {task!r}")
        mirror = _mirror(line)
        return _assemble(settings, cameras, image_size, RefereedTask(line, mirror), reward_type, render_mode, mirror, [line.close])
    except BaseException:
        line.close()
        raise


def _mirror(line: "ControlLine") -> "SimBackend":
    """Make a twin with the emulated robot's task."""
    from dexhil_env.sim.backend import SimBackend

    said = line.describe()
    return SimBackend(make_task(said.task, **said.task_options))


def _make_lab(
    task: str,
    settings: RealConfig,
    cameras: tuple[str, ...],
    image_size: int,
    reward_type: RewardType,
    render_mode: RenderMode | None,
    ask: Callable[[str], str] | None,
    keys: Keys | None,
) -> DexHiLEnv:
    """Make an environment with a person who lays the scene and judges."""
    meant = make_task(task)
    board = Keyboard()
    person = OperatorTask(task, meant.instruction, tuple(meant.metric_names), ask or board.ask, keys or board)
    env = _assemble(settings, cameras, image_size, person, reward_type, render_mode, None, [board.close])
    assert isinstance(env.backend, RealBackend)
    board.on_stop = partial(env.backend.estop, "space bar pressed")
    if keys is None:  # else somebody else reads the terminal, and the space bar means something else there
        board.start()
    return env


def _assemble(
    settings: RealConfig,
    cameras: tuple[str, ...],
    image_size: int,
    task: OperatorTask | RefereedTask,
    reward_type: RewardType,
    render_mode: RenderMode | None,
    mirror: "SimBackend | None",
    closers: list[Callable[[], None]],
) -> DexHiLEnv:
    if render_mode == "human":
        raise ConfigError("render_mode 'human' opens the simulator's viewer; on a robot use 'rgb_array', or look at the robot")
    if reward_type not in ("sparse", "dense"):
        raise ConfigError(f"reward_type must be 'sparse' or 'dense'; got {reward_type!r}")  # before the robot is connected
    backend = RealBackend(settings, cameras, image_size)
    backend.twin = mirror
    backend.closers += closers
    return DexHiLEnv(backend, task, reward_type, render_mode)
