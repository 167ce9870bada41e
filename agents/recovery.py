"""When a robot has stopped in the middle of an episode: a person looks at it, and says whether to go on."""

import logging
import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym

from dexhil_env.env import DexHiLEnv
from dexhil_env.errors import DexHiLError, RobotStopped

logger = logging.getLogger(__name__)

GoOn = Callable[[RobotStopped, gym.Env[Any, Any]], bool]
"""Called with the stop and the environment; True when the robot has recovered."""


def ask_to_recover(stop: RobotStopped, env: gym.Env[Any, Any], ask: Callable[[str], str] | None = None) -> bool:
    """Ask the person at the terminal whether to recover; without a terminal the answer is no.

    Args:
        stop: what has happened.
        env: its environment.
        ask: shows a prompt and returns the answer.

    Returns:
        True when the person wants to go on and the robot has recovered; the next reset moves it.
    """
    unwrapped = env.unwrapped
    assert isinstance(unwrapped, DexHiLEnv)
    recover: Callable[[], None] | None = getattr(unwrapped.backend, "recover", None)
    if recover is None or (ask is None and not sys.stdin.isatty()):
        return False
    question = f"\n{stop}\nWhat was recorded is kept. Type yes to recover (the robot goes home then), anything else to end: "
    while (ask or input)(question).strip().lower() == "yes":
        try:
            recover()
        except DexHiLError as error:
            question = f"\nit does not recover: {error}\nyes to try again, anything else to end: "
            continue
        return True
    return False


def recover_emulated(stop: RobotStopped, env: gym.Env[Any, Any]) -> bool:
    """Recover an emulated robot without asking, for unattended runs: nobody stands beside it. Never a robot in a lab.

    Args:
        stop: what has happened.
        env: its environment.

    Raises:
        RobotStopped: it is not emulated.
        DexHiLError: it does not recover.
    """
    unwrapped = env.unwrapped
    assert isinstance(unwrapped, DexHiLEnv)
    if getattr(unwrapped.backend, "twin", None) is None:
        raise stop
    logger.warning("emulated robot: %s; recovered without asking", stop)
    unwrapped.backend.recover()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    return True
