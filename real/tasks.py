"""Tasks on a robot: a person lays and judges the scene, or the referee of an emulated robot does."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from dexhil_env.errors import ConfigError
from dexhil_env.types import Evaluation, Verdict

if TYPE_CHECKING:
    from dexhil_env.sim.backend import SimBackend
    from real.emulator.control_line import ControlLine

VERDICT_KEYS: Final = {"s": Verdict.SUCCESS, "f": Verdict.FAILURE, "d": Verdict.DISCARD}


class Keys(Protocol):
    """Keys that a person presses while the robot moves."""

    def poll(self) -> str:
        """Return the keys pressed since the last call, oldest first; never waits."""
        ...


class NoKeys:
    """Nobody presses anything."""

    def poll(self) -> str:
        """Return nothing."""
        return ""


def ask_on_terminal(prompt: str) -> str:
    """Show a prompt on the terminal and wait for Enter.

    Raises:
        ConfigError: there is no terminal to ask on.
    """
    try:
        return input(prompt)
    except EOFError as error:
        raise ConfigError(
            "nobody can be asked: this program has no terminal. Run it in one, or give the environment ask= (and keys=) of your own"
        ) from error


class OperatorTask:
    """A person lays the scene before every episode and gives the verdict with a key: s success, f failure, d discard.

    Args:
        name: of the task, e.g. ``plush``.
        instruction: the task in words, as the policy hears it.
        metric_names: the metrics of the simulated task. Nobody measures them in a lab: they are NaN.
        ask: shows a prompt and waits until the person has answered.
        keys: where the verdict comes from.
    """

    def __init__(
        self,
        name: str,
        instruction: str,
        metric_names: tuple[str, ...] = (),
        ask: Callable[[str], str] = ask_on_terminal,
        keys: Keys | None = None,
    ) -> None:
        self.name, self.instruction, self.metric_names = name, instruction, metric_names
        self._ask, self._keys = ask, keys or NoKeys()
        self._verdict = Verdict.NONE

    def reset(self, rng: np.random.Generator, options: dict[str, Any]) -> None:
        """Ask the person to lay the scene; the robot stands at home and does not move."""
        del rng
        wishes = f" ({', '.join(f'{name} {value}' for name, value in options.items())})" if options else ""
        self._ask(f"Lay the scene for: {self.instruction}{wishes}. Step back, then press Enter. Then s success, f failure, d discard: ")
        self._keys.poll()  # what was pressed before the episode is no verdict on it
        self._verdict = Verdict.NONE

    def evaluate(self) -> Evaluation:
        """Return what the person has said so far; the first verdict counts."""
        for key in self._keys.poll().lower():
            if self._verdict is Verdict.NONE:
                self._verdict = VERDICT_KEYS.get(key, Verdict.NONE)
        return Evaluation(
            success=self._verdict is Verdict.SUCCESS,
            failure=self._verdict is Verdict.FAILURE,
            progress=float(self._verdict is Verdict.SUCCESS),
            metrics=dict.fromkeys(self.metric_names, math.nan),
            verdict=self._verdict,
        )


class RefereedTask:
    """The twin behind an emulated robot lays the scene and judges it, exactly as in simulation.

    Args:
        line: control line of the emulated robot.
        mirror: a twin of the same task; it is set to the scene's state after every judgement.
    """

    def __init__(self, line: "ControlLine", mirror: "SimBackend") -> None:
        said = line.describe()
        self.name, self.instruction, self.metric_names = said.task, said.instruction, said.metric_names
        if mirror.task.name != said.task:
            raise ConfigError(f"the emulated robot at {line.path} has the task {said.task!r}, not {mirror.task.name!r}")
        self._line, self._mirror = line, mirror

    def reset(self, rng: np.random.Generator, options: dict[str, Any]) -> None:
        """Lay the scene: with the same ``rng`` the same as in simulation, which draws the looks before it as well."""
        rng.bit_generator.state = self._line.lay(dict(rng.bit_generator.state), options)

    def evaluate(self) -> Evaluation:
        """Let the referee judge; once per control period."""
        judged = self._line.judge()
        self._mirror.restore_state(judged.physics)
        return judged.evaluation
