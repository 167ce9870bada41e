"""The hand driver against emulated boards on a bus inside this process: it finds, follows, holds and lets go."""

import math
import sys
import time

import numpy as np
import pytest

can = pytest.importorskip("can")

from dexhil_env import robot  # noqa: E402
from dexhil_env.errors import ActionError, ConfigError, DeviceError, DeviceTimeout  # noqa: E402
from real.dexhand import DexHand, DexHandConfig  # noqa: E402
from real.dexhand_protocol import CanFrame, Generation, Mode, Side, is_harmless  # noqa: E402
from real.dexhand_replies import MotorError  # noqa: E402
from tests.emulator.hand_rig import PATIENT  # noqa: E402
from tests.emulator.waiting import until  # noqa: E402

MIDDLE = 3
GOAL = np.linspace(0.15, 0.28, 12)


# ---- a healthy hand ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("generation", "unit_ms"), [(Generation.GEN1, 10), (Generation.GEN2, 1), (Generation.GEN2, 10)])
def test_finds_the_boards_and_follows(make, generation, unit_ms):
    rig = make(generation, {"feedback_unit_ms": unit_ms})
    rig.body.position[:] = pose = np.linspace(0.05, 0.2, 12)
    rig.hand.connect()
    assert rig.hand.generation is generation
    assert 0.005 < rig.hand.feedback_period_s < 0.03, "10 ms were asked for"
    assert (rig.body.position == pose).all(), "connecting moves nothing"

    rig.hand.start()
    assert until(lambda: rig.boards.boards[0].motion.mode is Mode.CASCADED_PID)
    time.sleep(0.05)
    assert rig.body.position == pytest.approx(pose, abs=0.001), "the hand is held where it is"
    rig.heard()
    assert rig.follow(GOAL, lambda: rig.at(GOAL))
    state = rig.hand.state()
    assert state.fingertip_force == pytest.approx(np.zeros(5))
    assert state.temperature_c == pytest.approx(np.full(5, 30.0))
    assert (state.age_s >= 0).all()
    assert not rig.hand.faults()

    sent = [message for message in rig.heard() if message.arbitration_id & 0x780 == 0x100]
    assert {message.arbitration_id for message in sent} == ({0x100} if generation is Generation.GEN2 else set(range(0x107, 0x10D)))
    assert all(message.is_fd and message.bitrate_switch and not message.is_extended_id for message in sent)


def test_commands_are_clamped_and_slowed_down(rig):
    rig.follow(np.full(12, 9.0), lambda: False, 0.05)
    assert rig.hand.target.max() < 0.05 * 5.0 * 3, "no jump, however far the goal"
    assert rig.follow(np.full(12, 9.0), lambda: rig.at(np.minimum(robot.HAND_HIGH, 2.6), 0.02))
    for wrong in (np.zeros(11), np.full(12, math.nan)):
        with pytest.raises(ActionError):
            rig.hand.command(wrong, time.monotonic_ns())


def test_old_commands_are_not_executed(rig):
    rig.hand.command(GOAL, time.monotonic_ns() - 10_000_000_000)
    time.sleep(0.1)
    assert rig.hand.target.max() < 0.01
    assert any(text.startswith("command-late") for text in rig.hand.state().errors)


def test_without_commands_the_hand_holds(make):
    rig = make(feedback_unit_ms=10, command_timeout_s=0.05, max_velocity=0.6)
    rig.hand.connect()
    rig.hand.start()
    rig.hand.command(np.ones(12), time.monotonic_ns())
    time.sleep(0.3)
    held = rig.hand.target
    assert 0 < held.max() < 0.9
    time.sleep(0.1)
    assert (rig.hand.target == held).all()
    assert not rig.hand.faults()
    assert rig.follow(GOAL, lambda: rig.at(GOAL), 5.0), "it goes on with the next command"


def test_stop_holds_until_start(rig):
    assert rig.follow(GOAL, lambda: rig.at(GOAL))
    rig.hand.stop()
    assert not rig.hand.running
    rig.heard()
    rig.follow_for(np.zeros(12), 0.1)
    assert rig.hand.target == pytest.approx(GOAL)
    assert any(message.arbitration_id == 0x100 for message in rig.heard()), "it goes on telling the boards to hold"
    rig.hand.start()
    assert rig.hand.target == pytest.approx(GOAL)
    assert rig.follow(np.zeros(12), lambda: rig.at(np.zeros(12)))


def test_limp_only_when_asked(make, rig):
    assert rig.follow(GOAL, lambda: rig.at(GOAL))
    rig.hand.close()
    rig.hand.close()
    assert rig.boards.boards[0].motion.mode is Mode.CASCADED_PID
    with pytest.raises(DeviceError, match="connect"):
        rig.hand.start()
    rig.hand.connect()
    rig.hand.release()
    assert until(lambda: all(board.motion.mode is Mode.ZERO_TORQUE for board in rig.boards.boards))

    other = make(Generation.GEN1, feedback_unit_ms=10, release_on_close=True)

    def crash() -> None:
        with other.hand:
            other.hand.start()
            assert until(lambda: other.boards.boards[0].motion.mode is Mode.CASCADED_PID)
            raise KeyError

    with pytest.raises(KeyError):
        crash()
    assert until(lambda: other.boards.boards[0].motion.mode is Mode.ZERO_TORQUE)


def test_nothing_but_harmless_frames_is_sent(rig):
    rig.body.block("ff_mcp", 0.2)
    rig.follow_for(np.full(12, 0.25), 0.5)
    rig.boards.inject(MIDDLE, MotorError.PARAMETER)
    assert rig.fault("motor-error middle")
    rig.hand.recover()
    rig.hand.release()
    replies = {0x080, 0x180, 0x600}
    sent = [message for message in rig.heard() if message.arbitration_id & 0x780 not in replies]
    assert len(sent) > 50
    assert all(is_harmless(CanFrame(message.arbitration_id, bytes(message.data))) for message in sent)


# ---- connecting -------------------------------------------------------------------------------------------------------------------


def test_a_wrong_unit_is_found(make):
    with pytest.raises(DeviceTimeout, match="feedback_unit_ms"):
        make(boards={"feedback_unit_ms": 10}, feedback_unit_ms=1, bus_timeout_s=0.1).hand.connect()
    with pytest.raises(DeviceError, match="feedback_unit_ms"):
        make(boards={"feedback_unit_ms": 1}, feedback_unit_ms=10, feedback_period_s=0.02, bus_timeout_s=0.3).hand.connect()


def test_boards_that_do_not_answer(make):
    rig = make(boards={"answers_firmware": False}, connect_timeout_s=0.2)
    with pytest.raises(DeviceTimeout, match="set generation"):
        rig.hand.connect()
    rig = make(boards={"answers_firmware": False, "side": Side.LEFT}, connect_timeout_s=0.2)
    with pytest.raises(DeviceTimeout, match="no report from thumb, palm, index, middle, ring, little"):
        DexHand(DexHandConfig("virtual", rig.hand.config.channel, generation=Generation.GEN2, connect_timeout_s=0.2)).connect()
    left = DexHand(DexHandConfig("virtual", rig.hand.config.channel, generation=Generation.GEN2, side=Side.LEFT, **PATIENT))
    with left:
        assert left.state().motor_pos == pytest.approx(np.zeros(12), abs=1e-3)


def test_missing_python_can_is_said_clearly(monkeypatch):
    monkeypatch.setitem(sys.modules, "can", None)
    with pytest.raises(ConfigError, match=r"pip install 'dexhil\[real\]'"):
        DexHand(DexHandConfig()).connect()


@pytest.mark.parametrize(("interface", "channel"), [("no-such-adapter", "0"), ("socketcan", "can9"), ("dexhil-unix", "/nowhere/hand")])
def test_missing_adapter_is_said_clearly(interface, channel):
    with pytest.raises(DeviceError, match="cannot be opened"):
        DexHand(DexHandConfig(interface, channel)).connect()
