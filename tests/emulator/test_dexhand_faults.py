"""The hand driver against emulated boards and an adapter that fail: every fault is found, and recovers when it is mended."""

import math
import time

import numpy as np
import pytest

can = pytest.importorskip("can")

from dexhil_env import robot  # noqa: E402
from dexhil_env.errors import DeviceError, DeviceTimeout  # noqa: E402
from real.dexhand_protocol import CLEAR_ERROR, Generation  # noqa: E402
from real.dexhand_replies import MotorError  # noqa: E402
from tests.emulator.waiting import until  # noqa: E402

FF_MCP = robot.HAND_MOTORS.index("ff_mcp")
INDEX, MIDDLE = 2, 3
GOAL = np.linspace(0.15, 0.28, 12)


@pytest.mark.parametrize("generation", [Generation.GEN1, Generation.GEN2])
def test_a_stalled_finger_stops_closing_and_backs_off(make, generation):
    rig = make(generation, feedback_unit_ms=10)
    rig.hand.connect()
    rig.hand.start()
    rig.body.block("ff_mcp", 0.4)
    goal = np.full(12, 0.25)
    goal[FF_MCP] = 1.0
    assert rig.follow(goal, lambda: bool(rig.hand.state().stalled[FF_MCP]))
    board = rig.boards.boards[INDEX]
    assert rig.follow(goal, lambda: rig.at(np.where(np.arange(12) == FF_MCP, 0.4 - math.radians(2), goal), 0.005))
    rig.follow_for(goal, 0.7)
    assert 1 <= board.clears <= 3, "the board was let go on, not at every tick"
    assert rig.hand.target[FF_MCP] < 0.4
    assert not rig.hand.faults()
    rig.body.block("ff_mcp", math.inf)
    goal[FF_MCP] = 0.1
    assert rig.follow(goal, lambda: rig.at(goal))
    goal[FF_MCP] = 0.8
    assert rig.follow(goal, lambda: rig.at(goal))


def test_a_finger_that_keeps_stalling_is_a_fault(make):
    rig = make(feedback_unit_ms=10, clears_per_minute=2, clear_interval_s=0.1)
    rig.hand.connect()
    rig.hand.start()
    rig.boards.faults.deaf_to_clear.add(INDEX)
    rig.boards.inject(INDEX, MotorError.NONE, MotorError.STALL)
    rig.heard()
    assert rig.fault("stall-limit index")
    time.sleep(0.3)
    assert sum(bytes(message.data) == CLEAR_ERROR for message in rig.heard()) == 2
    assert not rig.hand.running


def test_the_driver_itself_trips_on_high_current(make):
    rig = make(Generation.GEN1, {"stall_angle": 9.0}, feedback_unit_ms=10, current_trip=0.25)
    rig.hand.connect()
    rig.hand.start()
    rig.body.block("ff_mcp", 0.2)
    assert rig.follow(np.full(12, 0.25), lambda: bool(rig.hand.state().stalled[FF_MCP]))
    assert rig.follow(np.full(12, 0.25), lambda: rig.hand.state().current.max() < 0.1)


def test_a_broken_motor_is_a_fault_until_recovered(rig):
    rig.boards.inject(MIDDLE, MotorError.HALL)
    assert rig.fault("motor-error middle")
    before = rig.hand.target
    rig.follow_for(GOAL, 0.1)
    assert rig.hand.target == pytest.approx(before), "the hand holds"
    with pytest.raises(DeviceError, match="recover"):
        rig.hand.start()
    rig.hand.recover()
    assert not rig.hand.running, "a stop stays a stop until start()"
    rig.hand.start()
    assert rig.follow(GOAL, lambda: rig.at(GOAL))


def test_a_mute_board_is_a_fault(rig):
    rig.boards.faults.muted.add(MIDDLE)
    assert rig.fault("board-stale middle")
    assert [text for text in rig.hand.faults() if "middle" not in text] == []
    assert rig.hand.state().age_s[MIDDLE] > 0.3
    with pytest.raises(DeviceError, match="middle"):
        rig.hand.recover()
    rig.boards.faults.muted.clear()
    rig.hand.recover()
    assert not rig.hand.faults()


def test_a_hot_finger_is_a_fault(rig):
    rig.boards.faults.temperature_c[1] = 60.0
    assert rig.fault("hot index")
    assert rig.fault("overheated index"), "the board says so itself"
    assert rig.hand.state().temperature_c[1] == 60.0
    rig.boards.faults.temperature_c[1] = 40.0
    assert until(lambda: rig.hand.state().temperature_c[1] == 40.0)
    rig.hand.recover()
    assert not rig.hand.faults()


def test_bad_frames_are_a_fault(rig):
    rig.boards.faults.garbage.add(INDEX)
    assert rig.fault("bad-frames")


def test_a_board_that_restarts_is_a_fault(rig):
    rig.bus.send(can.Message(arbitration_id=0x409, data=b"\x01", is_extended_id=False))
    assert rig.fault("restarted index")


def test_bus_off_is_found_at_once(rig):
    rig.boards.bus_off(rig.bus)
    began = time.monotonic()
    assert rig.fault("bus-off")
    assert time.monotonic() - began < 0.25, "long before the boards' silence would tell"
    rig.boards.faults.silent = False
    rig.hand.recover()
    rig.hand.start()
    assert rig.follow(GOAL, lambda: rig.at(GOAL))


def test_a_dead_bus_is_found_and_recovers(make):
    rig = make(feedback_unit_ms=10, connect_timeout_s=0.3)
    rig.hand.connect()
    rig.hand.start()
    rig.boards.faults.silent = True
    assert rig.fault("bus-gone")
    rig.heard()
    time.sleep(0.1)
    assert not rig.heard(), "nothing is sent into a dead bus"
    with pytest.raises(DeviceTimeout):
        rig.hand.recover()
    assert rig.hand.faults(), "still gone"
    rig.boards.faults.silent = False
    rig.hand.recover()
    rig.hand.start()
    assert rig.follow(GOAL, lambda: rig.at(GOAL))


def test_an_adapter_that_refuses_to_send_is_found(rig, monkeypatch):
    def refuse(self, msg, timeout=None):
        if msg.arbitration_id == 0x100:
            raise can.CanOperationError("no buffer space")
        return send(self, msg, timeout)

    send = type(rig.bus).send
    monkeypatch.setattr(type(rig.bus), "send", refuse)
    assert rig.fault("bus-gone: sending fails: no buffer space")


def test_silence_is_found_on_a_bus_that_others_flood(rig, monkeypatch):
    foreign = can.Message(arbitration_id=0x181, data=bytes(8), is_extended_id=False)
    monkeypatch.setattr(rig.hand._link._bus, "recv", lambda timeout=None: time.sleep(1e-4) or foreign)
    assert rig.fault("bus-gone: no board")


def test_an_adapter_that_hangs_is_found(make, monkeypatch):
    rig = make(feedback_unit_ms=10, reader_timeout_s=0.2)
    rig.hand.connect()
    rig.hand.start()
    driver_bus = rig.hand._link._bus
    monkeypatch.setattr(driver_bus, "recv", lambda timeout=None: time.sleep(0.6))
    assert rig.fault("bus-gone: the reading thread", 2.0)


def test_a_writing_thread_that_dies_is_a_fault(rig, monkeypatch):
    monkeypatch.setattr(rig.hand._guard, "step", lambda goal: 1 / 0)
    monkeypatch.setattr("threading.excepthook", lambda args: None)
    assert rig.fault("writer")
    monkeypatch.undo()
    rig.hand.recover()
    rig.hand.start()
    assert rig.follow(GOAL, lambda: rig.at(GOAL))
