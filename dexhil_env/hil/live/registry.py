"""Operators by name: what ``--operator`` means, in a form that can be stored and sent to another process."""

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from dexhil_env.errors import ConfigError, DexHiLError
from dexhil_env.hil.live.replay import ReplayOperator
from dexhil_env.hil.live.wish import LiveConfig
from dexhil_env.hil.operator import Operator
from dexhil_env.hil.scripted import ScriptedOperator

logger = logging.getLogger(__name__)

REPLAY: Final = "replay:"
FACTORIES: Final = {
    "console": "dexhil_env.hil.console.operator:ConsoleOperator",
    "keyboard": "dexhil_env.hil.live.terminal:TerminalOperator",
    "aruco-glove": "real.aruco_glove:ArucoGloveOperator",
}
"""Name -> module and callable that makes a live operator from a :class:`LiveConfig` and keywords."""
FINGERS: Final = frozenset({"console", "aruco-glove"})
"""Operators whose devices may show fingers; they take a calibrated hand, option ``profile``."""
RETARGETER: Final = "dexhil_env.hil.live.retarget:make_retargeter"
"""Makes what turns keypoints into motor angles, where it is installed."""
TRACKER: Final = "real.aruco_cube:make_cube_tracker"
"""Makes what finds the cube in a picture, where it is installed."""


@dataclass(frozen=True)
class OperatorSpec:
    """An operator by name.

    Attributes:
        name: ``replay:FILE`` or one of :data:`FACTORIES`.
        config: how a live person is treated.
        options: further keywords of the operator, e.g. ``port``; ``profile`` is the file of a calibrated hand.
        devices: where device streams are written; None writes none.
    """

    name: str
    config: LiveConfig = field(default_factory=LiveConfig)
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    devices: str | None = None

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        if not self.replays and self.name not in FACTORIES:
            raise ConfigError(f"unknown operator {self.name!r}; give scripted, none, {', '.join(FACTORIES)} or {REPLAY}FILE")
        if "profile" in self.options and self.name not in FINGERS:
            raise ConfigError(f"a hand profile is for {' and '.join(sorted(FINGERS))}; the operator {self.name} has no fingers to show")

    @property
    def replays(self) -> bool:
        """Whether a recording is repeated; it needs no real time."""
        return self.name.startswith(REPLAY)


def make_operator(spec: str | OperatorSpec) -> Operator:
    """Make an operator.

    Args:
        spec: ``"scripted"``, or a name or description of a live one.

    Raises:
        ConfigError: unknown, or something that it needs is not installed.
    """
    if spec == "scripted":
        return ScriptedOperator()
    spec = OperatorSpec(spec) if isinstance(spec, str) else spec
    if spec.replays:
        return ReplayOperator(Path(spec.name.removeprefix(REPLAY)), make_hand)
    make, options = load(FACTORIES[spec.name]), dict(spec.options)
    if spec.name in FINGERS:
        options["retarget"] = make_hand(options.pop("profile", None))
    if spec.name == "console":
        options = {"tracker": find(TRACKER), **options}
    return cast(Operator, make(spec.config, folder=spec.devices, **options))


def load(place: str) -> Callable[..., Any]:
    """Import ``module:name``.

    Raises:
        ConfigError: it is not installed.
    """
    module, name = place.split(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{place} is not here: {error}. It may need an extra, see docs/console.md") from error


def make_hand(profile: str | None) -> Any:
    """Make what turns keypoints into motor angles; without a ``profile`` None where it is not installed.

    Raises:
        ConfigError: the profile cannot be read.
    """
    return find(RETARGETER) if profile is None else load(RETARGETER)(profile)


def find(place: str) -> Any:
    """Make what ``module:name`` makes, or return None where that is not installed."""
    try:
        return load(place)()
    except (DexHiLError, FileNotFoundError) as error:
        logger.info("without %s: %s", place.split(":")[1].removeprefix("make_"), error)
        return None
