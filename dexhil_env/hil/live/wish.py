"""How a live person is treated, and what that person wants at the moment."""

from dataclasses import dataclass, field
from typing import Literal

from dexhil_env.errors import ConfigError
from dexhil_env.hil.mapping import Alignment
from dexhil_env.types import Command, Verdict


@dataclass(frozen=True)
class LiveConfig:
    """How a live person is treated.

    Attributes:
        release: who drives when the person lets go: ``"policy"``, or ``"hold"`` (a demonstration: the robot stays where it is).
        dead_man_s: silence of the devices after which a driven robot holds still [s].
        stale_s: a tracked pose that comes back after this time is anchored anew [s].
        wait_for_start: wait at the beginning of an episode until the person says start, or takes over.
        second_look_s: how long a success or a failure can be taken back before the next scene is laid; 0 keeps it at once [s].
        alignment: which way a cube's axes lie in the palm (dexhil_env.hil.mapping).
        scale: metres of the palm per metre of the cube or the wrist.
    """

    release: Literal["policy", "hold"] = "policy"
    dead_man_s: float = 0.3
    stale_s: float = 0.3
    wait_for_start: bool = False
    second_look_s: float = 0.0
    alignment: Alignment = "anchor"
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if self.release not in ("policy", "hold"):
            raise ConfigError(f"release must be 'policy' or 'hold'; got {self.release!r}")
        if min(self.dead_man_s, self.stale_s) <= 0 or self.second_look_s < 0:
            times = (self.dead_man_s, self.stale_s, self.second_look_s)
            raise ConfigError(f"dead_man_s and stale_s must be positive, second_look_s 0 or more; got {times}")


@dataclass
class Wish:
    """What the person wants now; pairs are in the order (arm, hand).

    Attributes:
        limbs: taken by the person.
        clutch: to be kept where they are.
        parked: the window has lost the focus.
        gone: the connection is lost.
        silent: the devices have said nothing for too long.
        paused: the person wants a pause.
        stepping: control periods that pass although the person pauses are steps, in which the person may drive.
        stopped: where the robot stood at the stop key.
        verdict: on this episode.
        redo: the same scene again.
        tags, notes: what the person said of the policy.
    """

    limbs: tuple[bool, bool] = (False, False)
    clutch: tuple[bool, bool] = (False, False)
    parked: bool = False
    gone: bool = False
    silent: bool = False
    paused: bool = False
    stepping: bool = False
    stopped: Command | None = None
    verdict: Verdict = Verdict.NONE
    redo: bool = False
    tags: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
