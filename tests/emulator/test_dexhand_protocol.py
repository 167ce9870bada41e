"""The wire of the hand: bytes written down from the maker's documents, and round trips."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexhil_env import robot
from real import dexhand_protocol as wire
from real.dexhand_protocol import CanFrame, Drive, FeedbackMode, Generation, Mode, Side
from real.dexhand_replies import (
    Acknowledged,
    ErrorReport,
    Feedback,
    Firmware,
    Malformed,
    MotorError,
    Overheated,
    StartUp,
    WarningReport,
    decode,
)
from real.emulator import hand_wire

INDEX = 2
GENERATIONS = [Generation.GEN1, Generation.GEN2]


def pose(**degrees: float) -> np.ndarray:
    motors = np.zeros(12)
    for name, value in degrees.items():
        motors[robot.HAND_MOTORS.index(name)] = math.radians(value)
    return motors


# ---- golden bytes -----------------------------------------------------------------------------------------------------------------


def test_motion_of_generation_1():
    frames = wire.motion_frames(Side.RIGHT, Generation.GEN1, Drive(Mode.CASCADED_PID), pose(ff_dip=10, ff_mcp=20, th_rot=-1.5))
    assert [frame.can_id for frame in frames] == [0x107, 0x108, 0x109, 0x10A, 0x10B, 0x10C]
    assert frames[INDEX].data.hex(" ") == "44 03 e8 03 d0 07"
    assert frames[1].data.hex(" ") == "44 03 6a ff 00 00"


def test_motion_of_generation_2():
    drive = Drive(Mode.IMPEDANCE_GRASP, speed=20000, current=0.150)
    frames = wire.motion_frames(Side.LEFT, Generation.GEN2, drive, pose(ff_dip=10, ff_mcp=20))
    assert [frame.can_id for frame in frames] == [0x101, 0x102, 0x103, 0x104, 0x105, 0x106]
    assert frames[INDEX].data.hex(" ") == "77 03 e8 03 d0 07 20 4e 20 4e 96 96"


def test_broadcast():
    frame = wire.broadcast_frame(Side.RIGHT, Drive(), pose(th_dip=1, ff_dip=10, ff_mcp=20, lf_mcp=30), feedback=True)
    assert frame.can_id == 0x100
    assert len(frame.data) == 64
    assert frame.data[:4].hex(" ") == "44 ff f0 03"
    assert frame.data[4:14].hex(" ") == "64 00 00 00 98 3a 98 3a 14 14"
    assert frame.data[24:34].hex(" ") == "e8 03 d0 07 98 3a 98 3a 14 14"
    assert frame.data[54:64].hex(" ") == "00 00 b8 0b 98 3a 98 3a 14 14"
    assert wire.broadcast_frame(Side.LEFT, Drive(), pose()).data[3] == 0


def test_hall_modes_count_motor_turns():
    frame = wire.motion_frames(Side.RIGHT, Generation.GEN1, Drive(Mode.HALL), pose(th_rot=36, ff_spr=9))[1]
    assert frame.data.hex(" ") == "33 03 b0 01 f0 00"  # 36 deg x 1.8 x 20 / 3 = 432; 9 deg x 4.0 x 20 / 3 = 240


def test_config_frames():
    assert wire.clear_error_frame(Side.RIGHT, INDEX) == CanFrame(0x009, bytes.fromhex("03a4"))
    assert wire.feedback_frame(Side.LEFT, 0, FeedbackMode.PERIODIC, 10) == CanFrame(0x001, bytes.fromhex("0374010a01"))
    assert wire.feedback_frame(Side.LEFT, 5, FeedbackMode.ON_CHANGE, 0, enable=False) == CanFrame(0x006, bytes.fromhex("0374030000"))
    assert wire.firmware_frame(Side.RIGHT, 5) == CanFrame(0x00C, bytes.fromhex("0102"))


FEEDBACK = bytes.fromhex(
    "7800 e2ff dc05  d3ff 1000 f9ff  a011 06ff"  # 120 mA, -30 rpm, 1500; -45 mA, 16 rpm, -7; 45.12 deg, -2.50 deg
    "00001040 07000000 00004040 01000000 5a00 41010000 29000000"  # 2.25 N, 3.0 N, 90 deg, 321, 41 deg C
    "0102 ff0f  04 01 00000040 0000803e"  # encoders, motor 1 stalled, motor 2 overloaded, impedance 2.0 and 0.25
).ljust(64, b"\0")


def test_feedback_of_generation_2():
    reply = decode(Side.RIGHT, Generation.GEN2, 0x189, FEEDBACK)
    assert isinstance(reply, Feedback)
    assert reply.board == INDEX
    assert np.rad2deg(reply.position) == pytest.approx([45.12, -2.50])
    assert reply.current == pytest.approx((0.120, -0.045))
    assert (reply.speed_rpm, reply.hall_counts) == ((-30, 16), (1500, -7))
    assert reply.tactile is not None
    assert (reply.tactile.force, reply.tactile.temperature_c, reply.tactile.proximity) == (3.75, 41.0, 321)
    assert reply.tactile.direction == pytest.approx(math.pi / 2)
    assert reply.errors == (MotorError.STALL, MotorError.OVERLOAD)
    assert reply.impedance == (2.0, 0.25)


def test_generation_1_does_not_read_what_lies_behind_its_report():
    reply = decode(Side.RIGHT, Generation.GEN1, 0x189, FEEDBACK[:46].ljust(64, b"\xaa"))
    assert isinstance(reply, Feedback)
    assert reply.errors == (MotorError.NONE, MotorError.NONE)
    assert reply.impedance == (0.0, 0.0)


def test_short_feedback_has_angles_but_no_touch():
    reply = decode(Side.RIGHT, Generation.GEN1, 0x189, FEEDBACK[:16])
    assert isinstance(reply, Feedback)
    assert reply.tactile is None
    assert np.rad2deg(reply.position) == pytest.approx([45.12, -2.50])
    assert isinstance(decode(Side.RIGHT, Generation.GEN1, 0x189, FEEDBACK[:15]), Malformed)


def test_palm_has_no_touch():
    reply = decode(Side.RIGHT, Generation.GEN2, 0x188, FEEDBACK)
    assert isinstance(reply, Feedback)
    assert reply.tactile is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1e6])
def test_unsound_force_is_no_reading(bad):
    data = bytearray(FEEDBACK)
    struct.pack_into("<f", data, 16, bad)
    reply = decode(Side.RIGHT, Generation.GEN2, 0x189, bytes(data))
    assert isinstance(reply, Feedback)
    assert reply.tactile is None


@pytest.mark.parametrize(
    ("content", "errors"),
    [
        ("ee 01 04", (MotorError.STALL, MotorError.NONE)),  # captured from a hand by its maker, there padded to 64 bytes
        ("ee 02 40", (MotorError.NONE, MotorError.STALL)),  # generation 1: motor 2 in the high half
        ("ee 02 00 04", (MotorError.NONE, MotorError.STALL)),  # generation 2: a byte of its own
        ("ee 03 12", (MotorError.HALL, MotorError.OVERLOAD)),
        ("ee 03 08 01", (MotorError.PARAMETER, MotorError.OVERLOAD)),
    ],
)
@pytest.mark.parametrize("padded", [False, True])
def test_errors(content, errors, padded):
    data = bytes.fromhex(content)
    assert decode(Side.RIGHT, None, 0x609, data.ljust(64, b"\0") if padded else data) == ErrorReport(INDEX, errors)


def test_other_reports():
    def read(can_id: int, content: str):
        return decode(Side.RIGHT, Generation.GEN2, can_id, bytes.fromhex(content))

    assert read(0x60C, "ff ff ff ff ff ff 00 00") == Overheated(5)
    assert read(0x607, "ef 01 02") == WarningReport(0, b"\x01\x02")
    assert read(0x087, "03 a4 00 01") == Acknowledged(0, wire.CLEAR_ERROR, True)
    assert read(0x087, "03 74 00 00") == Acknowledged(0, wire.FEEDBACK_CONFIG, False)
    assert read(0x088, "01 02 4a 63") == Firmware(1, 25418)
    assert read(0x407, "01") == StartUp(0)
    assert isinstance(read(0x609, "12 34"), Malformed)
    assert isinstance(read(0x089, ""), Malformed)


@pytest.mark.parametrize("can_id", [0x181, 0x186, 0x601, 0x18D, 0x107, 0x100, 0x009, 0x0FF, 0x909, 0x989])
def test_frames_of_the_other_hand_and_of_the_host_are_not_ours(can_id):
    assert decode(Side.RIGHT, Generation.GEN2, can_id, FEEDBACK) is None


# ---- round trips ------------------------------------------------------------------------------------------------------------------

angles = st.lists(st.floats(-0.4, 2.6), min_size=12, max_size=12).map(np.array)


@settings(max_examples=50, deadline=None)
@given(angles, st.sampled_from(Side), st.sampled_from([Mode.CASCADED_PID, Mode.HALL, Mode.MIT_TORQUE]), st.floats(0.01, 0.255))
def test_motion_arrives_at_the_boards(motors, side, mode, current):
    drive = Drive(mode, 1234, current)
    received = {
        "gen1": [
            hand_wire.decode_motion(Generation.GEN1, i, f.data)
            for i, f in enumerate(wire.motion_frames(side, Generation.GEN1, drive, motors))
        ],
        "gen2": [
            hand_wire.decode_motion(Generation.GEN2, i, f.data)
            for i, f in enumerate(wire.motion_frames(side, Generation.GEN2, drive, motors))
        ],
        "broadcast": [hand_wire.decode_broadcast(side, i, wire.broadcast_frame(side, drive, motors).data) for i in range(6)],
    }
    resolution = math.radians(0.006 if mode is not Mode.HALL else 0.05)
    for kind, boards in received.items():
        back = np.empty(12)
        for board, motion in enumerate(boards):
            assert motion is not None
            assert (motion.mode, motion.enabled) == (mode, (True, True))
            assert kind == "gen1" or motion.current == pytest.approx((current, current), abs=0.0006)
            back[wire.WIRE_TO_MODEL[2 * board : 2 * board + 2]] = motion.target
        assert np.abs(back - motors).max() < resolution


@settings(max_examples=50, deadline=None)
@given(angles, st.sampled_from(Side), st.sampled_from(Generation), st.integers(0, 5), st.floats(0, 20), st.floats(10, 80))
def test_feedback_arrives_at_the_host(motors, side, generation, board, force, temperature_c):
    errors = (MotorError.STALL, MotorError.NONE)
    frame = hand_wire.encode_feedback(side, generation, board, motors[:2], motors[2:4] / 10, force, temperature_c, errors)
    reply = decode(side, generation, frame.can_id, frame.data)
    assert len(frame.data) == 64
    assert isinstance(reply, Feedback)
    assert reply.board == board
    assert reply.position == pytest.approx(tuple(motors[:2]), abs=1e-4)
    assert reply.current == pytest.approx(tuple(motors[2:4] / 10), abs=6e-4)
    assert reply.errors == (errors if generation is Generation.GEN2 else (MotorError.NONE, MotorError.NONE))
    assert (reply.tactile is None) == (board == wire.PALM)
    if reply.tactile is not None:
        assert reply.tactile.force == pytest.approx(force, abs=1e-5)
        assert reply.tactile.temperature_c == pytest.approx(temperature_c, abs=0.51)


@pytest.mark.parametrize("generation", GENERATIONS)
@given(st.integers(0, 15), st.integers(0, 15), st.integers(0, 5))
def test_error_frames_arrive_at_the_host(generation, code1, code2, board):
    errors = (MotorError(code1), MotorError(code2))
    frame = hand_wire.encode_error(Side.RIGHT, generation, board, errors)
    assert decode(Side.RIGHT, generation, frame.can_id, frame.data) == ErrorReport(board, errors)
