"""Which robot a command drives: options that several verbs share."""

from pathlib import Path
from typing import Any

from dexhil_env.errors import ConfigError
from dexhil_env.registration import REAL_IDS


def robot_options(env: str, config: Path | None, emulate: bool) -> dict[str, Any]:
    """Return the arguments of ``gym.make`` that choose the robot.

    Args:
        env: environment id.
        config: settings of a robot (``--config``).
        emulate: start an emulated robot (``--emulate``).

    Raises:
        ConfigError: a real id without a robot, or a robot for an id of the twin.
    """
    if env not in REAL_IDS:
        if config is not None or emulate:
            raise ConfigError(f"--config and --emulate choose a robot, but {env} is the twin; robots have the ids {', '.join(REAL_IDS)}")
        return {}
    if (config is None) == (not emulate):
        raise ConfigError(f"{env} needs a robot: either --config lab.toml, or --emulate to rehearse without one")
    return {"emulate": True} if emulate else {"config": str(config)}
