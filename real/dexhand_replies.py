"""DexHand021 over CAN-FD, boards to host: what a frame says, in SI units. No frame crashes the decoder.

Padding: CAN-FD knows only some lengths (48, 64 ...), so a reply may carry bytes behind its content.
"""

import math
import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from real.dexhand_protocol import (
    CLEAR_ERROR,
    FEEDBACK_CONFIG,
    ID_MASK,
    PALM,
    READ_FIRMWARE,
    Generation,
    Id,
    Side,
    angle_from_wire,
    board_of,
)

MOTORS: Final = struct.Struct("<8h")
"""Current [mA], speed [rpm], hall count of motor 1, the same of motor 2, then both angles [0.01 deg]."""
TACTILE: Final = struct.Struct("<fIfIHII")
"""Normal force [N], its change, tangential force [N], its change, direction [deg], proximity, temperature [deg C]."""
ENCODERS: Final = struct.Struct("<HH")
GEN2_TAIL: Final = struct.Struct("<BBff")
"""Error byte of both motors, impedance of both motors; behind the encoders, generation 2 only."""
TACTILE_AT, ENCODERS_AT, TAIL_AT = 16, 42, 46
MAX_FORCE: Final = 100.0
"""Above this a tactile reading is garbage [N]; the sensors are rated for 20 N."""
ERROR_MARK, WARNING_MARK, HOT_MARK = 0xEE, 0xEF, 0xFF


class MotorError(IntFlag):
    """Error bits of one motor. An erroring board ignores motion until it is cleared."""

    NONE = 0
    OVERLOAD = 1
    HALL = 2
    STALL = 4
    PARAMETER = 8


@dataclass(frozen=True, slots=True)
class Tactile:
    """Fingertip sensor.

    Attributes:
        normal, tangential: force [N].
        direction: direction of the tangential force, 0 at the fingertip [rad].
        proximity: raw reading.
        temperature_c: [deg C].
    """

    normal: float
    tangential: float
    direction: float
    proximity: int
    temperature_c: float

    @property
    def force(self) -> float:
        """Magnitude of the contact force [N]."""
        return math.hypot(self.normal, self.tangential)


@dataclass(frozen=True, slots=True)
class Feedback:
    """Regular report of one board; pairs are (motor 1, motor 2), the distal motor first.

    Attributes:
        board: 0 to 5.
        position: motor angles [rad].
        current: [A]; its sign is not documented.
        speed_rpm, hall_counts: raw readings of the motor shafts.
        tactile: None for the palm, for a short frame, and when the reading is not a sound number.
        errors: error bits; generation 2 only, else NONE.
        impedance: resistance to movement, no published unit; generation 2 only, else 0.
    """

    board: int
    position: tuple[float, float]
    current: tuple[float, float]
    speed_rpm: tuple[int, int]
    hall_counts: tuple[int, int]
    tactile: Tactile | None = None
    errors: tuple[MotorError, MotorError] = (MotorError.NONE, MotorError.NONE)
    impedance: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """A board stopped: it ignores motion until it is cleared."""

    board: int
    errors: tuple[MotorError, MotorError]


@dataclass(frozen=True, slots=True)
class WarningReport:
    """A board warns: hall limit or hot; ``raw`` is its content."""

    board: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Overheated:
    """A board is too hot and ignores motion."""

    board: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A board did (or refused) what a config frame asked for; ``command`` is that frame's two-byte head."""

    board: int
    command: bytes
    ok: bool


@dataclass(frozen=True, slots=True)
class Firmware:
    """A board's firmware version."""

    board: int
    version: int


@dataclass(frozen=True, slots=True)
class StartUp:
    """A board has just started (power was cut, or it rebooted)."""

    board: int


@dataclass(frozen=True, slots=True)
class Malformed:
    """A frame of this hand that makes no sense."""

    board: int
    reason: str


Reply = Feedback | ErrorReport | WarningReport | Overheated | Acknowledged | Firmware | StartUp | Malformed


def decode(side: Side, generation: Generation | None, can_id: int, data: bytes) -> Reply | None:
    """Read one frame from the bus.

    Args:
        side: the hand we talk to.
        generation: of its firmware; None while it is unknown (then only what both share is read).
        can_id: 11-bit identifier.
        data: content, padded or not.

    Returns:
        what it says, or None for a frame of another hand or of the host.
    """
    board = board_of(side, can_id)
    if board is None:
        return None
    kind = can_id & ID_MASK
    if kind == Id.FEEDBACK:
        return _feedback(board, generation, data)
    if kind == Id.ERROR:
        return _error(board, data)
    if kind == Id.CONFIG_REPLY:
        return _config_reply(board, data)
    return StartUp(board) if kind == Id.START_UP else None


def _feedback(board: int, generation: Generation | None, data: bytes) -> Feedback | Malformed:
    if len(data) < MOTORS.size:
        return Malformed(board, f"feedback of {len(data)} bytes; at least {MOTORS.size} expected")
    current1, speed1, hall1, current2, speed2, hall2, angle1, angle2 = MOTORS.unpack_from(data)
    errors, impedance = (MotorError.NONE, MotorError.NONE), (0.0, 0.0)
    if generation is Generation.GEN2 and len(data) >= TAIL_AT + GEN2_TAIL.size:
        error1, error2, *rest = GEN2_TAIL.unpack_from(data, TAIL_AT)
        errors, impedance = (MotorError(error1 & 0xF), MotorError(error2 & 0xF)), (rest[0], rest[1])
    return Feedback(
        board,
        position=(angle_from_wire(angle1), angle_from_wire(angle2)),
        current=(current1 * 1e-3, current2 * 1e-3),
        speed_rpm=(speed1, speed2),
        hall_counts=(hall1, hall2),
        tactile=None if board == PALM else _tactile(data),
        errors=errors,
        impedance=impedance,
    )


def _tactile(data: bytes) -> Tactile | None:
    if len(data) < TACTILE_AT + TACTILE.size:
        return None
    normal, _, tangential, _, direction_deg, proximity, temperature_c = TACTILE.unpack_from(data, TACTILE_AT)
    sound = abs(normal) <= MAX_FORCE and abs(tangential) <= MAX_FORCE and temperature_c <= 150  # NaN fails every comparison
    return Tactile(normal, tangential, math.radians(direction_deg), proximity, float(temperature_c)) if sound else None


def _error(board: int, data: bytes) -> ErrorReport | WarningReport | Overheated | Malformed:
    if data[:6] == bytes([HOT_MARK] * 6):
        return Overheated(board)
    if len(data) >= 3 and data[0] == WARNING_MARK:
        return WarningReport(board, bytes(data[1:8]))
    if len(data) < 3 or data[0] != ERROR_MARK:
        return Malformed(board, f"error frame {data[:8].hex(' ') or 'without content'}")
    # Generation 1 packs both motors into byte 2, generation 2 gives motor 2 a byte of its own; the other place is zero.
    second = data[2] >> 4 | (data[3] & 0xF if len(data) > 3 else 0)
    return ErrorReport(board, (MotorError(data[2] & 0xF), MotorError(second)))


def _config_reply(board: int, data: bytes) -> Acknowledged | Firmware | Malformed:
    head = bytes(data[:2])
    if len(data) >= 4 and head == READ_FIRMWARE:
        return Firmware(board, int.from_bytes(data[2:4], "little"))
    if len(data) >= 4 and head in (CLEAR_ERROR, FEEDBACK_CONFIG):
        return Acknowledged(board, head, data[2:4] == b"\x00\x01")
    return Malformed(board, f"config reply {data[:8].hex(' ') or 'without content'}")
