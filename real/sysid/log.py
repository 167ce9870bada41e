"""What a robot was told and what it did, at 200 Hz, in one file."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import DatasetError
from dexhil_env.store.files import write_whole
from dexhil_env.types import F64

VERSION: Final = 1
SHORTEST: Final = 20
"""Rows of each stream."""
LONGEST_GAP_S: Final = 0.02
"""A recording with longer gaps is disturbed: a program was kept from running [s]. Undisturbed ones have gaps up to 15 ms."""
_STREAMS: Final[dict[str, dict[str, tuple[int, ...]]]] = {
    "targets": {"time_s": (), "target": (19,)},
    "states of the arm": {"state_s": (), "arm_pos": (7,), "arm_vel": (7,), "arm_torque": (7,), "arm_external": (7,)},
    "reports of the hand": {"hand_s": (12,), "hand_pos": (12,)},
}
_NAMES: Final = tuple(name for stream in _STREAMS.values() for name in stream)
_MAY_BE_NAN: Final = ("arm_vel", "arm_torque", "arm_external")


@dataclass(frozen=True)
class MotionLog:
    """Commands and measurements of one motion: three streams, each at its own times.

    Every time is on the arm's clock [s], whatever clock it was taken with.

    Attributes:
        time_s: (N,) when the target was given; increasing.
        target: (N, 19) joints of the arm, motors of the hand [rad].
        state_s: (M,) when the arm was in each of the states that were read; it may repeat.
        arm_pos, arm_vel: (M, 7) [rad], [rad/s].
        arm_torque: (M, 7) what the arm was told to give, without gravity [Nm]; NaN where that is not known.
        arm_external: (M, 7) external torque as the arm estimates it [Nm].
        hand_s: (K, 12) when every motor's board reported; it may repeat.
        hand_pos: (K, 12) angles of the motors [rad].
        facts: JSON-serialisable: source, date, mount, stiffness, ...
    """

    time_s: F64
    target: F64
    state_s: F64
    arm_pos: F64
    arm_vel: F64
    arm_torque: F64
    arm_external: F64
    hand_s: F64
    hand_pos: F64
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        for stream, shapes in _STREAMS.items():
            rows = len(getattr(self, next(iter(shapes))))
            for name, width in shapes.items():
                array: F64 = getattr(self, name)
                if array.shape != (rows, *width):
                    raise DatasetError(f"{name} of a motion log must have shape {(rows, *width)}; got {array.shape}")
                if name not in _MAY_BE_NAN and not np.isfinite(array).all():
                    bad = int(np.argwhere(~np.isfinite(array))[0][0])
                    raise DatasetError(f"{name} of a motion log must be finite; row {bad} is not")
            if rows < SHORTEST:
                raise DatasetError(f"a motion log needs at least {SHORTEST} {stream}; got {rows}")
        if (np.diff(self.time_s) <= 0.0).any():
            raise DatasetError(f"time_s of a motion log must increase; row {int(np.argmax(np.diff(self.time_s) <= 0.0)) + 1} does not")

    def __len__(self) -> int:
        """Count the targets."""
        return len(self.time_s)

    @property
    def duration_s(self) -> float:
        """From the first to the last target [s]."""
        return float(self.time_s[-1] - self.time_s[0])

    @property
    def longest_gap_s(self) -> float:
        """Longest time without a target, or without a state of the arm [s]; what the arm was told and did in it is a guess."""
        return float(max(np.diff(times).max(initial=0.0) for times in (self.time_s, np.unique(self.state_s))))

    @property
    def mount(self) -> tuple[float, float]:
        """Rotation [deg] and offset [m] of the hand on the flange."""
        return float(self.facts.get("mount_yaw_deg", 180.0)), float(self.facts.get("mount_offset_m", 0.0))

    @property
    def has_torque(self) -> bool:
        """The torques are known."""
        return bool(np.isfinite(self.arm_torque).all())

    def save(self, path: str | Path) -> None:
        """Write the log as one ``.npz`` file, whole or not at all."""
        arrays = {name: getattr(self, name) for name in _NAMES}
        facts = json.dumps({**self.facts, "version": VERSION, "joints": robot.ACTION_NAMES})

        def write(beside: Path) -> None:
            with beside.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, facts=np.array(facts), **arrays)

        write_whole(Path(path), write)

    @classmethod
    def load(cls, path: str | Path) -> "MotionLog":
        """Read a log.

        Raises:
            DatasetError: it is none, or of another version or robot; the text says what is wrong.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                missing = sorted({*_NAMES, "facts"} - set(file.files))
                if missing:
                    raise DatasetError(f"{path} is no motion log: {', '.join(missing)} missing; `dexhil real record` writes one")
                facts = json.loads(str(file["facts"]))
                arrays = {name: np.asarray(file[name], dtype=float) for name in _NAMES}
        except DatasetError:
            raise
        except OSError as error:
            raise DatasetError(f"cannot read a motion log from {path}: {error.strerror}; `dexhil real record` writes one") from error
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DatasetError(f"cannot read a motion log from {path}: it is no .npz file; `dexhil real record` writes one") from error
        if facts.get("version") != VERSION:
            raise DatasetError(f"{path} is a motion log of version {facts.get('version')!r}; this program reads {VERSION}")
        if tuple(facts.get("joints", ())) != robot.ACTION_NAMES:
            raise DatasetError(f"{path} is of another robot: its joints are {facts.get('joints')}")
        try:
            return cls(**arrays, facts=facts)
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from error
