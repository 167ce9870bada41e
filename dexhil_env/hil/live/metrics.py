"""How smooth every takeover was: jump, drift while the person holds still, reach, blocked ticks, time to the first command."""

import time
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from dexhil_env import robot
from dexhil_env.hil.hand_map import HandMap, reach
from dexhil_env.transforms import rotvec
from dexhil_env.types import ARM, F64, HAND, Command

STILL_M: Final = 0.002
STILL_RAD: Final = 0.03
"""A device that has moved by less than this since the press is held still [m, rad]."""


@dataclass
class Takeover:
    """One press; fields of a limb that was not taken are None.

    Attributes:
        t_s: time of the first human command [s].
        limbs: ``"arm"``, ``"hand"`` or ``"both"``.
        reason: what the person said of the policy, else ``"a person"``.
        press_to_command_ms: from the arrival of the press to the first human command at the servo, wall time; None in a replay.
        blocked_ticks: servo ticks between the two that nobody drove.
        arm_jump_rad, hand_jump_rad: first command minus last target.
        arm_drift_rad, hand_drift_rad: farthest command from the first one while the device was held still.
        open_gap_rad, close_gap_rad: how far from the end of its range the worst motor stays when the person opens and closes the hand.
        duration_s: until the last limb was given back [s].
    """

    t_s: float
    limbs: str
    reason: str = "a person"
    press_to_command_ms: float | None = None
    blocked_ticks: int = 0
    arm_jump_rad: float | None = None
    hand_jump_rad: float | None = None
    arm_drift_rad: float | None = None
    hand_drift_rad: float | None = None
    open_gap_rad: float | None = None
    close_gap_rad: float | None = None
    duration_s: float = 0.0


@dataclass
class _Still:
    """One limb from the press until its device moves."""

    command: F64
    device: F64
    moved: bool = False
    drift: float = 0.0

    def look(self, command: F64, device: F64) -> None:
        self.moved = self.moved or _has_moved(self.device, device)
        if not self.moved:
            self.drift = max(self.drift, float(np.abs(command - self.command).max()))


def _has_moved(before: F64, now: F64) -> bool:
    if before.shape == (4, 4):
        shift, turn = np.abs(now[:3, 3] - before[:3, 3]).max(), np.abs(rotvec(now[:3, :3] @ before[:3, :3].T)).max()
        return bool(shift > STILL_M or turn > STILL_RAD)
    return bool(np.abs(now - before).max() > STILL_RAD)


@dataclass
class TakeoverMeter:
    """Watches the commands of an episode."""

    takeovers: list[Takeover] = field(default_factory=list[Takeover])

    def reset(self) -> None:
        """A new episode."""
        self.takeovers = []
        self._drives = {"arm": False, "hand": False}
        self._still: dict[str, _Still] = {}
        self._press_ns: int | None = None
        self._blocked = 0

    @property
    def count(self) -> int:
        """Takeovers so far."""
        return len(self.takeovers)

    @property
    def drives(self) -> tuple[bool, ...]:
        """Whether a person drove arm and hand at the last tick."""
        return tuple(self._drives.values())

    def press(self, t_ns: int | None) -> None:
        """The person has pressed; ``t_ns`` is when [monotonic ns], None in a replay."""
        self._press_ns = t_ns

    def tick(self, t_s: float, command: Command, want: tuple[bool, bool], devices: tuple[F64, F64], commanded: F64) -> None:
        """Look at the command of a servo tick, at the cube (4, 4) and the glove (12,) behind it, and at the last target (19,) [rad]."""
        parts = {"arm": command.arm, "hand": command.hand}
        began = [name for name, part in parts.items() if part is not None and not self._drives[name]]
        self._blocked += any(wish and part is None for wish, part in zip(want, parts.values(), strict=True))
        if began:
            self._begin(t_s, began)
        for (name, part), device in zip(parts.items(), devices, strict=True):
            if name in began and part is not None:
                self._still[name] = _Still(part.copy(), device.copy())
                jump = float(np.abs(part - commanded[ARM if name == "arm" else HAND]).max())
                setattr(self.takeovers[-1], f"{name}_jump_rad", jump)
            if part is not None and self.takeovers:
                still = self._still[name]
                still.look(part, device)
                setattr(self.takeovers[-1], f"{name}_drift_rad", still.drift)
            self._drives[name] = part is not None
        if self.takeovers and any(self._drives.values()):
            self.takeovers[-1].duration_s = round(t_s - self.takeovers[-1].t_s + robot.SERVO_PERIOD_S, 4)

    def _begin(self, t_s: float, began: list[str]) -> None:
        waited_ms = None if self._press_ns is None else (time.monotonic_ns() - self._press_ns) / 1e6
        self.takeovers.append(Takeover(t_s, began[0] if len(began) == 1 else "both", "a person", waited_ms, self._blocked))
        self._press_ns, self._blocked = None, 0

    def reaches(self, hand_map: HandMap) -> None:
        """Note what the hand map of the newest takeover can reach."""
        if self.takeovers and self.takeovers[-1].limbs != "arm":
            self.takeovers[-1].open_gap_rad, self.takeovers[-1].close_gap_rad = reach(hand_map)

    def name(self, reason: str) -> None:
        """The person says why the newest takeover was needed."""
        if self.takeovers:
            self.takeovers[-1].reason = reason

    def facts(self) -> list[dict[str, Any]]:
        """Return JSON-serialisable rows."""
        return [asdict(each) for each in self.takeovers]
