"""The boards' end of the DexHand021 wire: commands to numbers, reports to frames. Pure; used by the firmware emulator and by tests."""

from dataclasses import dataclass

import numpy as np

from dexhil_env.types import F64
from real import dexhand_protocol as wire
from real.dexhand_protocol import CanFrame, Generation, Id, Mode, Side
from real.dexhand_replies import ENCODERS, ERROR_MARK, GEN2_TAIL, HOT_MARK, MOTORS, TACTILE, MotorError

LENGTHS = (*range(9), 12, 16, 20, 24, 32, 48, 64)
"""Lengths that a CAN-FD frame can have."""


@dataclass(frozen=True, slots=True)
class Motion:
    """A motion command as one board understands it.

    Attributes:
        mode: control mode.
        enabled: per motor.
        target: per motor [rad].
        speed: per motor; 0 when the frame carries none.
        current: limit per motor [A]; 0 when the frame carries none.
        feedback: the sender asks for a report.
    """

    mode: Mode
    enabled: tuple[bool, bool]
    target: tuple[float, float]
    speed: tuple[int, int] = (0, 0)
    current: tuple[float, float] = (0.0, 0.0)
    feedback: bool = False


def pad(data: bytes, length: int = 0) -> bytes:
    """Fill with zeros up to ``length``, then up to the next length that CAN-FD knows."""
    wanted = max(len(data), length)
    return data.ljust(next(size for size in LENGTHS if size >= wanted), b"\0")


def decode_motion(generation: Generation, board: int, data: bytes) -> Motion | None:
    """Read a board's own motion frame; None when its length or mode is wrong."""
    gen1 = generation is Generation.GEN1
    if len(data) != (wire.MOTION_GEN1 if gen1 else wire.MOTION_GEN2).size or data[0] not in set(Mode):
        return None
    mode, enable = Mode(data[0]), (bool(data[1] & 1), bool(data[1] & 2))
    if gen1:
        return Motion(mode, enable, _target(mode, board, *wire.MOTION_GEN1.unpack(data)[2:]))
    _, _, raw1, raw2, speed1, speed2, current1, current2 = wire.MOTION_GEN2.unpack(data)
    return Motion(mode, enable, _target(mode, board, raw1, raw2), (speed1, speed2), (current1 * 1e-3, current2 * 1e-3))


def decode_broadcast(side: Side, board: int, data: bytes) -> Motion | None:
    """Read one board's part of a broadcast; None when the frame is for the other hand or not sound."""
    if len(data) != 64 or data[0] not in set(Mode) or bool(data[3] & wire.FLAG_RIGHT) is not (side is Side.RIGHT):
        return None
    mode = Mode(data[0])
    bits = (data[1] << 8 | data[2]) << 2 * board
    at = wire.BROADCAST_HEAD.size + board * wire.BROADCAST_BOARD.size
    raw1, raw2, speed1, speed2, current1, current2 = wire.BROADCAST_BOARD.unpack_from(data, at)
    return Motion(
        mode,
        (bool(bits & 0x8000), bool(bits & 0x4000)),
        _target(mode, board, raw1, raw2),
        (speed1, speed2),
        (current1 * 1e-3, current2 * 1e-3),
        bool(data[3] & wire.FLAG_FEEDBACK),
    )


def _target(mode: Mode, board: int, raw1: int, raw2: int) -> tuple[float, float]:
    counts = wire.HALL_COUNTS_PER_DEG[2 * board : 2 * board + 2] if mode in wire.HALL_MODES else np.array([100.0, 100.0])
    first, second = np.deg2rad(np.array([raw1, raw2]) / counts)
    return float(first), float(second)


def encode_feedback(
    side: Side,
    generation: Generation,
    board: int,
    position: F64,
    current: F64,
    force: float = 0.0,
    temperature_c: float = 30.0,
    errors: tuple[MotorError, MotorError] = (MotorError.NONE, MotorError.NONE),
) -> CanFrame:
    """Return a report.

    Args:
        side: the hand.
        generation: of its firmware.
        board: its board, 0 to 5.
        position: (2,) motor angles [rad].
        current: (2,) [A].
        force: contact force on the fingertip, reported as normal force [N].
        temperature_c: of the tactile sensor [deg C].
        errors: error bits, sent by generation 2.
    """
    degrees = np.rad2deg(position)
    milliamps = np.clip(np.rint(current * 1e3), -32768, 32767).astype(int)
    hall = np.rint(degrees * wire.HALL_COUNTS_PER_DEG[2 * board : 2 * board + 2]).astype(int)
    hundredths = np.clip(np.rint(degrees * 100), -32768, 32767).astype(int)
    data = MOTORS.pack(milliamps[0], 0, hall[0], milliamps[1], 0, hall[1], *hundredths)
    data += bytes(TACTILE.size) if board == wire.PALM else TACTILE.pack(force, 0, 0.0, 0, 0, 0, round(temperature_c))
    data += ENCODERS.pack(*(int(value) & 0xFFF for value in np.rint(degrees * 4096 / 360)))
    if generation is Generation.GEN2:
        data += GEN2_TAIL.pack(*errors, 0.0, 0.0)
    return CanFrame(Id.FEEDBACK + side + board, pad(data, 64))


def encode_error(side: Side, generation: Generation, board: int, errors: tuple[MotorError, MotorError]) -> CanFrame:
    """Return the frame with which a board says that it stopped."""
    which = bool(errors[0]) | bool(errors[1]) << 1
    codes = [errors[0] | errors[1] << 4] if generation is Generation.GEN1 else [*errors]
    return CanFrame(Id.ERROR + side + board, pad(bytes([ERROR_MARK, which, *codes]), 64))


def encode_overheated(side: Side, board: int) -> CanFrame:
    """Return the frame with which a board says that it is too hot."""
    return CanFrame(Id.ERROR + side + board, pad(bytes([HOT_MARK] * 6), 64))


def encode_reply(side: Side, board: int, head: bytes, content: bytes = b"\x00\x01") -> CanFrame:
    """Return a config reply; without ``content`` it says done."""
    return CanFrame(Id.CONFIG_REPLY + side + board, pad(head + content))
