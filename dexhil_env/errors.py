"""Every error that DexHiL raises on purpose.

Each child also inherits the builtin that a caller would expect, so ``except ValueError`` keeps working.
Texts follow one pattern: what is wrong, what was given, what is allowed, what to do next.
"""

from collections.abc import Mapping
from typing import Any


class DexHiLError(Exception):
    """Base of all errors that DexHiL raises on purpose."""


class ConfigError(DexHiLError, ValueError):
    """A configuration value or constructor argument is not allowed."""


class ActionError(DexHiLError, ValueError):
    """An action has the wrong shape or type, is not finite, or lies outside the joint ranges."""


class AssetError(DexHiLError, FileNotFoundError):
    """A model file that the scene needs is missing."""


class DatasetError(DexHiLError, ValueError):
    """A dataset is corrupt, half written, or does not match what is asked of it."""


class CheckpointError(DexHiLError, ValueError):
    """A checkpoint is incomplete or belongs to another action, observation or statistics layout."""


class RenderError(DexHiLError, RuntimeError):
    """OpenGL could not be started or used."""


class SimulationError(DexHiLError, RuntimeError):
    """The physics diverged (NaN or solver blow-up)."""


class DeviceError(DexHiLError, RuntimeError):
    """A device refused a request or reported a fault."""


class RobotStopped(DeviceError):
    """The robot has stopped and waits for a person; nothing moves until somebody has looked and called ``recover()``.

    Attributes:
        faults: what stopped it, one text each.
        episode: what was recorded until then, where somebody recorded (:class:`dexhil_env.episode.Episode`).
    """

    def __init__(self, message: str, faults: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults
        self.episode: Any = None


class RemoteError(DexHiLError, ConnectionError):
    """A policy server or its client sent something that cannot be used, or nothing."""


class DeviceTimeout(DexHiLError, TimeoutError):
    """A device did not answer in time."""


def check_ranges(
    config: object, ranges: Mapping[str, tuple[float, float]], prefix: str = "", unit: str = "", above_low: bool = False
) -> None:
    """Refuse a configuration with a number out of its range.

    Args:
        config: what has the numbers as attributes.
        ranges: lowest and highest allowed value by attribute.
        prefix: what stands before the attribute's name in the text.
        unit: what stands behind the range.
        above_low: the lowest value itself is not allowed.

    Raises:
        ConfigError: names the first one that is out of its range, or not a number.
    """
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if not low <= value <= high or (above_low and value == low):
            space = f" {unit}" if unit else ""
            raise ConfigError(f"{prefix}{name} must lie in {'(' if above_low else '['}{low}, {high}]{space}; got {value}")
