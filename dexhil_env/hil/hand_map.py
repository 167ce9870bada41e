"""From a person's retargeted hand to the robot's motors without a jump: a pivot map that fades into the absolute one.

At the takeover the person's hand (r0) rarely has the shape of the robot's (q0). The pivot map is the identity shifted and stretched so
that r0 gives q0 and the ends of the range stay the ends; as the person's fingers travel, the command fades into the person's own
angles, which pinches and precise shapes need. Nothing moves while the person holds still.
"""

import copy
from typing import Protocol

import numpy as np

from dexhil_env import robot
from dexhil_env.hil.mapping import Mapping
from dexhil_env.types import F64

MIN_GAIN, MAX_GAIN = 0.25, 4.0
BACKLASH_RAD = 0.03
"""Finger travel that counts as tremor [rad]: about six standard deviations of a glove."""
MEETING_RAD = 0.01
"""A finger this near to its motor has met it [rad]: the step that follows is no larger."""
MIN_FADE_RAD = 0.25
"""Smallest travel constant of the fade [rad]."""


class HandMap(Protocol):
    """Maps a person's fingers onto the motors."""

    def anchor(self, commanded: F64, human: F64) -> None:
        """Take note of the motors' last target and the person's angles at the takeover, both (12,) [rad]."""
        ...

    def motors(self, human: F64) -> F64:
        """Return motor targets (12,) [rad] for the person's angles (12,) [rad]."""
        ...


class HandAnchor:
    """Relative hand map of one takeover; see the module's text.

    Args:
        pick_up: a motor also becomes absolute when the person's finger meets it, where that changes nothing. Then one full opening and
            closing reaches both ends from any mismatch (without it up to 14 % of the mismatch is left, e^-2).

    Attributes:
        human: (12,) the person's angles at the takeover [rad].
    """

    def __init__(self, pick_up: bool = False) -> None:
        self._pick_up = pick_up

    def anchor(self, commanded: F64, human: F64) -> None:
        """Remember the motors' last target q0 and the person's angles r0, both (12,) [rad]."""
        q0, r0 = np.asarray(commanded, dtype=float), np.asarray(human, dtype=float)
        low, high = robot.HAND_LOW, robot.HAND_HIGH
        self._q0, self._r0 = q0, r0
        self.human = r0
        self._gain_up = np.clip((high - q0) / np.maximum(high - r0, 1e-6), MIN_GAIN, MAX_GAIN)
        self._gain_down = np.clip((q0 - low) / np.maximum(r0 - low, 1e-6), MIN_GAIN, MAX_GAIN)
        self._fade_rad = np.maximum(MIN_FADE_RAD, np.abs(q0 - r0))
        self._slack = r0.copy()
        self._relative = np.ones_like(q0)
        self._ahead = q0 - r0

    def motors(self, human: F64) -> F64:
        """Return motor targets (12,) [rad] for the person's angles (12,) [rad]."""
        excess = np.abs(human - self._slack) - BACKLASH_RAD
        moved = np.sign(human - self._slack) * np.maximum(excess, 0.0)
        self._slack = self._slack + moved
        self._relative = self._relative * np.exp(-np.abs(moved) / self._fade_rad)
        delta = human - self._r0
        pivot = self._q0 + np.where(delta > 0, self._gain_up, self._gain_down) * delta
        if self._pick_up:
            pivot = np.clip(pivot, robot.HAND_LOW, robot.HAND_HIGH)
            ahead = pivot - human
            met = (np.abs(ahead) < MEETING_RAD) | (ahead * self._ahead < 0.0)
            self._relative, self._ahead = np.where(met, 0.0, self._relative), ahead
        return np.clip(self._relative * pivot + (1.0 - self._relative) * human, robot.HAND_LOW, robot.HAND_HIGH)


class HandDirect:
    """The person's angles as they are: absolute, so the command jumps at a takeover."""

    def anchor(self, commanded: F64, human: F64) -> None:
        """Remember nothing."""

    def motors(self, human: F64) -> F64:
        """Return the person's angles (12,) [rad] within the motors' ranges."""
        return np.clip(human, robot.HAND_LOW, robot.HAND_HIGH)


def make_hand_map(mapping: Mapping) -> HandMap:
    """Return the map of the hand; ``blend`` maps as ``direct`` does, its commands are blended in later."""
    return HandAnchor() if mapping == "anchor" else HandDirect()


def reach(hand_map: HandMap, steps: int = 12) -> tuple[float, float]:
    """Return how far the worst motor stays from open and from closed [rad] when the person opens, closes and opens the hand once.

    A person whose hand is at the end of its range at the takeover has to turn back first, whatever the map; hence the whole movement.

    Args:
        hand_map: a map that has been anchored; it is left as it is.
        steps: stations on each way.
    """
    way, place = copy.deepcopy(hand_map), np.asarray(getattr(hand_map, "human", robot.HAND_LOW))
    gaps: list[float] = []
    for end in (robot.HAND_LOW, robot.HAND_HIGH, robot.HAND_LOW):
        motors = end
        for share in np.linspace(0.0, 1.0, steps + 1):
            motors = way.motors(place + share * (end - place))
        gaps.append(float(np.abs(motors - end).max()))
        place = end
    return gaps[2], gaps[1]
