"""Every error that DexHiL raises on purpose.

Each child also inherits the builtin that a caller would expect, so ``except ValueError`` keeps working.
Texts follow one pattern: what is wrong, what was given, what is allowed, what to do next.
"""

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


class DeviceTimeout(DexHiLError, TimeoutError):
    """A device did not answer in time."""
