"""Frames that make no sense crash neither end, and frames that could change the boards are never sent."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexhil_env import robot
from dexhil_env.errors import ActionError, ConfigError, DeviceError
from real import dexhand_protocol as wire
from real.dexhand_config import DexHandConfig
from real.dexhand_link import HandLink
from real.dexhand_monitor import HandMonitor
from real.dexhand_protocol import CanFrame, Drive, FeedbackMode, Generation, Mode, Side
from real.dexhand_replies import Feedback, decode
from real.emulator import hand_wire
from real.emulator.hand_boards import BoardsConfig, HandBoards
from real.emulator.hand_body import KinematicBody

angles = st.lists(st.floats(-0.4, 2.6), min_size=12, max_size=12).map(np.array)


# ---- frames that make no sense ----------------------------------------------------------------------------------------------------


can_ids = st.integers(0, 0x1FFF) | st.builds(int.__add__, st.sampled_from([int(kind) for kind in wire.Id]), st.integers(0, 13))
heads = st.sampled_from([b"", b"\xee", b"\xef", b"\xff", b"\x03\xa4", b"\x03\x74", b"\x01\x02", b"\x44", b"\x33\x03"])
contents = st.builds(lambda head, rest: (head + rest)[:64], heads, st.binary(max_size=64))


@settings(max_examples=400, deadline=None)
@given(can_ids, contents, st.sampled_from([None, *Generation]))
def test_no_frame_crashes_the_host(can_id, data, generation):
    monitor = HandMonitor(DexHandConfig())
    reply = decode(Side.RIGHT, generation, can_id, data)
    if reply is not None:
        monitor.feed(reply, 1)
        monitor.check(2)
        monitor.warnings(3)
    if isinstance(reply, Feedback):
        assert np.isfinite([*reply.position, *reply.current]).all()
        assert reply.tactile is None or math.isfinite(reply.tactile.force)


def test_no_length_crashes_the_host():
    for kind in wire.Id:
        for head in (b"", b"\xee", b"\xef", b"\xff" * 6, wire.CLEAR_ERROR, wire.READ_FIRMWARE):
            for length in range(65):
                for generation in (None, *Generation):
                    decode(Side.RIGHT, generation, kind + 7, head.ljust(64, b"\xff")[:length])


@settings(max_examples=400, deadline=None)
@given(can_ids, contents, st.sampled_from(Generation))
def test_no_frame_crashes_the_boards(can_id, data, generation):
    boards = HandBoards(KinematicBody(), BoardsConfig(generation=generation))
    boards.receive(can_id, data, 0.0)
    for now_s in (0.0, 0.01):
        boards.step(now_s)
    assert np.isfinite(boards.body.read().motor_pos).all()


# ---- what is never sent -----------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(Side), st.integers(0, 5), st.sampled_from(FeedbackMode), st.integers(0, 255), st.booleans(), angles)
def test_every_frame_that_can_be_built_is_harmless(side, board, mode, units, enable, motors):
    frames = [
        wire.clear_error_frame(side, board),
        wire.feedback_frame(side, board, mode, units, enable),
        wire.firmware_frame(side, board),
        wire.broadcast_frame(side, Drive(), motors),
        *wire.motion_frames(side, Generation.GEN1, Drive(), motors),
        *wire.motion_frames(side, Generation.GEN2, Drive(), motors),
    ]
    for frame in frames:
        assert wire.is_harmless(frame)
        assert len(frame.data) in hand_wire.LENGTHS
        assert frame.can_id >= 0x100 or frame.data[0] != 0x02
        assert frame.can_id != wire.GLOBAL_CONFIG_ID


def test_only_three_config_heads_pass():
    passed = {(a, b) for a in range(256) for b in range(256) if wire.is_harmless(CanFrame(0x009, bytes([a, b])))}
    assert passed == {(0x03, 0xA4), (0x01, 0x02)}
    assert wire.is_harmless(CanFrame(0x009, bytes.fromhex("0374010a01")))


@pytest.mark.parametrize(
    ("can_id", "content"),
    [
        (0x009, "02 50 10 00"),  # write
        (0x009, "02 04"),  # save to flash
        (0x0FF, "03 71"),  # factory reset
        (0x0FF, "03 75"),  # reboot
        (0x009, "03 70 01"),
        (0x009, "03 76"),
        (0x009, "03 a4 02"),
        (0x000, "03 a4"),
        (0x301, "00"),  # upgrade
    ],
)
def test_the_link_refuses_to_send_what_could_harm(can_id, content):
    frame = CanFrame(can_id, bytes.fromhex(content))
    assert not wire.is_harmless(frame)
    config = DexHandConfig(interface="virtual", channel="never-opened")
    with pytest.raises(DeviceError, match="never sent"):
        HandLink(config, HandMonitor(config)).send(frame)


@pytest.mark.parametrize("motors", [np.zeros(11), np.full(12, np.nan), np.full(12, 7.0)])
def test_targets_that_do_not_fit_the_wire(motors):
    with pytest.raises(ActionError):
        wire.motion_frames(Side.RIGHT, Generation.GEN1, Drive(), motors)


def test_drives_that_make_no_sense():
    drives: list[dict[str, Any]] = [{"mode": Mode.SPEED}, {"speed": 40000}, {"current": 0.3}, {"current": 0.0}]
    for wrong in drives:
        with pytest.raises(ConfigError):
            Drive(**wrong)
    impossible = {"mode": Mode.IMPEDANCE_GRASP, "generation": Generation.GEN1}
    configs: list[dict[str, Any]] = [{"period_s": 0.001}, impossible, {"bus_timeout_s": 0.02}, {"feedback_unit_ms": 5}]
    for wrong in configs:
        with pytest.raises(ConfigError):
            DexHandConfig(**wrong)


def test_ranges_are_the_smaller_of_maker_and_model():
    high = dict(zip(robot.HAND_MOTORS, np.rad2deg(wire.HAND_HIGH), strict=True))
    assert high["th_rot"] == pytest.approx(126.05, abs=0.1)
    assert high["ff_spr"] == pytest.approx(17.2, abs=0.1)
    assert high["mf_mcp"] == pytest.approx(74.5, abs=0.1)
    assert sorted(wire.WIRE_TO_MODEL) == list(range(12))
