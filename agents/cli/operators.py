"""Who watches: the option ``--operator`` of several verbs."""

import secrets
from pathlib import Path
from typing import Any

from agents.dagger import LIVE_EPISODE_STEPS
from dexhil_env import robot
from dexhil_env.hil.live.registry import REPLAY, OperatorSpec
from dexhil_env.hil.live.wish import LiveConfig
from dexhil_env.hil.scripted import ScriptedConfig

LIVE_EPISODE_S = LIVE_EPISODE_STEPS * robot.CONTROL_PERIOD_S
"""Time limit of an episode with a person [s]."""


def time_limit(person: ScriptedConfig | OperatorSpec | None) -> int | None:
    """Return the control periods of an episode with this operator; None is the environment's own limit."""
    live = isinstance(person, OperatorSpec) and not person.replays
    return LIVE_EPISODE_STEPS if live else None


def human(name: str, out: Path | None = None, *, demonstrate: bool = False, **options: Any) -> ScriptedConfig | OperatorSpec | None:
    """Return who watches.

    Args:
        name: ``none``, ``scripted``, or a live operator (dexhil_env.hil.live.registry).
        out: dataset that is recorded; device streams are written beside it.
        demonstrate: the person drives from the start.
        **options: of the console: ``port``, ``host``, ``episodes``, ...

    Raises:
        ConfigError: unknown name.
    """
    if name == "none":
        return None
    if name == "scripted":
        return ScriptedConfig()
    if name.startswith(REPLAY):
        return OperatorSpec(name)
    config = LiveConfig(release="hold" if demonstrate else "policy", wait_for_start=True)
    # one address for the whole run, also when the console starts anew for the next environment
    page = {"where": "" if out is None else str(out), "token": secrets.token_urlsafe(12)}
    words = {**options, **page} if name == "console" else {}
    devices = None if out is None else str(out.with_name(out.name + "-devices"))
    return OperatorSpec(name, config, words, devices)
