"""DexHand021 over CAN-FD, host to boards: identifiers, units, and the only frames that this package ever sends.

The hand has six boards with two motors each, on one CAN-FD bus with 11-bit identifiers. Numbers on the wire are little endian.
Two generations of firmware differ in the motion frame; the newer one also takes all motors in one broadcast.

There is no builder for a frame that writes a board's flash memory or reboots it, and :func:`is_harmless` names what may be sent.

Sources: DexRobot's published SDKs (pyzlg_dexhand, dexhand021_linux_sdk_cpp, dexhand_sdk_cpp; all Apache-2.0).
"""

import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import ActionError, ConfigError
from dexhil_env.types import F64

BOARDS: Final = ("thumb", "palm", "index", "middle", "ring", "little")
FINGER_BOARDS: Final = (0, 2, 3, 4, 5)
"""Boards with a tactile sensor, in the order of the fingers; the palm's has none."""
PALM: Final = 1
WIRE_MOTORS: Final = (
    "th_dip", "th_mcp", "th_rot", "ff_spr", "ff_dip", "ff_mcp",
    "mf_dip", "mf_mcp", "rf_dip", "rf_mcp", "lf_dip", "lf_mcp",
)  # fmt: skip
"""Motors in the order of the wire: board 0 motor 1, board 0 motor 2, board 1 motor 1 ..."""
WIRE_TO_MODEL: Final = np.array([robot.HAND_MOTORS.index(name) for name in WIRE_MOTORS])
"""(12,) ``model[WIRE_TO_MODEL]`` is in wire order; ``model[WIRE_TO_MODEL] = wire`` goes back."""

SDK_HIGH_DEG: Final = {"th_rot": 150.0, "ff_spr": 30.0}
"""Upper limits of the maker's SDK [deg]; 90 for every other motor."""
HAND_HIGH: Final[F64] = np.minimum(robot.HAND_HIGH, np.deg2rad([SDK_HIGH_DEG.get(name, 90.0) for name in robot.HAND_MOTORS]))
HAND_LOW: Final[F64] = np.maximum(robot.HAND_LOW, 0.0)
"""Motor ranges (12,) [rad]: the smaller of the maker's SDK and the model."""

HALL_SCALE: Final = np.array([2.1, 2.1, 1.8, 4.0, 2.2, 1.6, 2.2, 1.6, 2.2, 1.6, 2.2, 1.6])
"""(12,) in wire order: scale of the hall modes (pyzlg_dexhand, config of the right hand)."""
HALL_COUNTS_PER_DEG: Final = HALL_SCALE * (6 * 25 * 16 / 360)
"""(12,) hall counts per degree of motor angle: 6 counts a turn, gears 25 and 16."""
BROADCAST_FIRMWARE: Final = 25418
"""Oldest firmware that understands the second generation of motion frames (newer pyzlg_dexhand)."""
MIN_CURRENT, MAX_CURRENT = 0.010, 0.255
"""Current limits that the one-byte field of generation 2 can carry [A]."""
DEFAULT_CURRENT = 0.020
"""Current limit of the newer SDK [A]."""
DEFAULT_SPEED, MAX_SPEED = 15000, 32767
"""Speed field of generation 2; the maker publishes no unit."""


class Side(IntEnum):
    """Which hand; the value is the identifier of its first board."""

    LEFT = 1
    RIGHT = 7


class Generation(IntEnum):
    """Generation of the firmware's motion frames."""

    GEN1 = 1
    GEN2 = 2


class Mode(IntEnum):
    """Control mode of a board."""

    ZERO_TORQUE = 0x00
    CURRENT = 0x11
    SPEED = 0x22
    HALL = 0x33
    CASCADED_PID = 0x44
    PROTECTED_HALL = 0x55
    MIT_TORQUE = 0x66
    IMPEDANCE_GRASP = 0x77


class FeedbackMode(IntEnum):
    """When a board sends feedback."""

    PERIODIC = 1
    QUERY = 2
    ON_CHANGE = 3


class Id(IntEnum):
    """Kind of a frame: ``can_id & 0x780``; the low bits are the board's identifier."""

    CONFIG = 0x000
    CONFIG_REPLY = 0x080
    MOTION = 0x100
    FEEDBACK = 0x180
    UPGRADE = 0x300
    START_UP = 0x400
    MARK = 0x500
    ERROR = 0x600


ID_MASK: Final = 0x780
BROADCAST_ID: Final = 0x100
GLOBAL_CONFIG_ID: Final = 0x0FF
HALL_MODES: Final = (Mode.HALL, Mode.PROTECTED_HALL)
POSITION_MODES: Final = {
    Generation.GEN1: (Mode.HALL, Mode.CASCADED_PID, Mode.PROTECTED_HALL),
    Generation.GEN2: (Mode.HALL, Mode.CASCADED_PID, Mode.PROTECTED_HALL, Mode.MIT_TORQUE, Mode.IMPEDANCE_GRASP),
}
CLEAR_ERROR: Final = bytes([0x03, 0xA4])
FEEDBACK_CONFIG: Final = bytes([0x03, 0x74])
READ_FIRMWARE: Final = bytes([0x01, 0x02])
"""Reads the firmware version; it only looks like the write 02, which this package cannot build."""

MOTION_GEN1: Final = struct.Struct("<BBhh")
MOTION_GEN2: Final = struct.Struct("<BBhhHHBB")
BROADCAST_HEAD: Final = struct.Struct("<BBBB")
BROADCAST_BOARD: Final = struct.Struct("<hhHHBB")
FLAG_RIGHT, FLAG_FEEDBACK = 0x01, 0x02


@dataclass(frozen=True, slots=True)
class CanFrame:
    """One CAN-FD frame.

    Attributes:
        can_id: 11-bit identifier.
        data: up to 64 bytes, of a length that CAN-FD knows.
    """

    can_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Drive:
    """How the motors follow a target.

    Attributes:
        mode: zero torque or a position mode.
        speed: speed field of generation 2, 0 to 32767 (no published unit).
        current: current limit [A], 0.010 to 0.255; sent by generation 2 only.
    """

    mode: Mode = Mode.CASCADED_PID
    speed: int = DEFAULT_SPEED
    current: float = DEFAULT_CURRENT

    def __post_init__(self) -> None:
        if self.mode in (Mode.CURRENT, Mode.SPEED):
            raise ConfigError(f"mode {self.mode.name} carries no position; use one of {[m.name for m in POSITION_MODES[Generation.GEN2]]}")
        if not 0 <= self.speed <= MAX_SPEED:
            raise ConfigError(f"speed must lie in [0, {MAX_SPEED}]; got {self.speed}")
        if not MIN_CURRENT <= self.current <= MAX_CURRENT:
            raise ConfigError(f"current must lie in [{MIN_CURRENT}, {MAX_CURRENT}] A (the field is one byte of mA); got {self.current}")

    @property
    def current_ma(self) -> int:
        """Current limit as it stands on the wire [mA]."""
        return round(self.current * 1e3)


def positions_to_wire(mode: Mode, motors: F64) -> list[int]:
    """Convert (12,) motor angles [rad], model order, to 12 signed 16-bit numbers in wire order.

    Raises:
        ActionError: not twelve finite numbers, or one that 16 bits cannot carry.
    """
    values = np.asarray(motors, dtype=float)
    if values.shape != (12,) or not np.isfinite(values).all():
        raise ActionError(f"motor targets must be 12 finite angles [rad] in the order of robot.HAND_MOTORS; got {motors!r}")
    degrees = np.rad2deg(values[WIRE_TO_MODEL])
    counts = np.rint(degrees * (HALL_COUNTS_PER_DEG if mode in HALL_MODES else 100.0))
    if np.abs(counts).max() > 32767:
        raise ActionError(f"motor targets must stay within +-327 deg to fit the wire; got {np.rad2deg(values)} deg")
    return [int(count) for count in counts]


def motion_frames(side: Side, generation: Generation, drive: Drive, motors: F64) -> tuple[CanFrame, ...]:
    """Return one motion frame per board that sends all motors to ``motors`` (12,) [rad], model order."""
    wire = positions_to_wire(drive.mode, motors)
    frames: list[CanFrame] = []
    for board in range(6):
        pair = wire[2 * board : 2 * board + 2]
        if generation is Generation.GEN1:
            data = MOTION_GEN1.pack(drive.mode, 0b11, *pair)
        else:
            data = MOTION_GEN2.pack(drive.mode, 0b11, *pair, drive.speed, drive.speed, drive.current_ma, drive.current_ma)
        frames.append(CanFrame(Id.MOTION + side + board, data))
    return tuple(frames)


def broadcast_frame(side: Side, drive: Drive, motors: F64, feedback: bool = False) -> CanFrame:
    """Return the one frame of generation 2 that sends all motors to ``motors`` (12,) [rad]; ``feedback`` asks every board to answer."""
    wire = positions_to_wire(drive.mode, motors)
    flags = (FLAG_RIGHT if side is Side.RIGHT else 0) | (FLAG_FEEDBACK if feedback else 0)
    data = BROADCAST_HEAD.pack(drive.mode, 0xFF, 0xF0, flags)
    for board in range(6):
        pair = wire[2 * board : 2 * board + 2]
        data += BROADCAST_BOARD.pack(*pair, drive.speed, drive.speed, drive.current_ma, drive.current_ma)
    return CanFrame(BROADCAST_ID, data)


def clear_error_frame(side: Side, board: int) -> CanFrame:
    """Return the frame that lets a board go on after an error; it is answered by ``03 A4 00 01``."""
    return CanFrame(Id.CONFIG + side + board, CLEAR_ERROR)


def feedback_frame(side: Side, board: int, mode: FeedbackMode, period_units: int, enable: bool = True) -> CanFrame:
    """Return the frame that sets when a board sends feedback (kept in memory, not in flash).

    Args:
        side: the hand.
        board: its board, 0 to 5.
        mode: when.
        period_units: 0 to 255, in units of 10 ms or of 1 ms, depending on the firmware: measure it.
        enable: False switches feedback off.
    """
    if not 0 <= period_units <= 255:
        raise ConfigError(f"period_units is one byte, 0 to 255; got {period_units}")
    return CanFrame(Id.CONFIG + side + board, FEEDBACK_CONFIG + bytes([mode, period_units, enable]))


def firmware_frame(side: Side, board: int) -> CanFrame:
    """Return the frame that asks a board for its firmware version."""
    return CanFrame(Id.CONFIG + side + board, READ_FIRMWARE)


def is_harmless(frame: CanFrame) -> bool:
    """Tell whether a frame may be sent: motion, clear error, feedback mode, or reading the firmware version. Nothing else."""
    if frame.can_id & ID_MASK == Id.MOTION:
        return True
    board = frame.can_id if frame.can_id & ID_MASK == Id.CONFIG else 0
    return 1 <= board <= 12 and (frame.data in (CLEAR_ERROR, READ_FIRMWARE) or (frame.data[:2] == FEEDBACK_CONFIG and len(frame.data) == 5))


def board_of(side: Side, can_id: int) -> int | None:
    """Return the board 0 to 5 that a frame of this hand comes from or goes to, or None for another hand's."""
    board = (can_id & ~ID_MASK) - side
    return board if 0 <= board < 6 and 0 <= can_id < 0x800 else None


def angle_from_wire(hundredths_deg: int) -> float:
    """Convert a measured angle from the wire [0.01 deg] to [rad]."""
    return math.radians(hundredths_deg / 100.0)
