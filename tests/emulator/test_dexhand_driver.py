"""The hand driver against emulated boards: on a bus inside this process, and on a socket to another one. Every fault is found."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

can = pytest.importorskip("can")

from dexhil_env import robot  # noqa: E402
from dexhil_env.errors import ActionError, ConfigError, DeviceError, DeviceTimeout  # noqa: E402
from real.dexhand import DexHand, DexHandConfig  # noqa: E402
from real.dexhand_protocol import CLEAR_ERROR, CanFrame, Generation, Mode, Side, is_harmless  # noqa: E402
from real.dexhand_replies import MotorError  # noqa: E402
from tests.emulator.hand_rig import PATIENT, Rig, until  # noqa: E402

FF_MCP = robot.HAND_MOTORS.index("ff_mcp")
INDEX, MIDDLE = 2, 3
GOAL = np.linspace(0.15, 0.28, 12)


@pytest.fixture
def make() -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def build(*args, **kwargs) -> Rig:
        rigs.append(Rig(*args, **kwargs))
        return rigs[-1]

    yield build
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make) -> Rig:
    """A started hand; the unit of its period is known, so that connecting is quick."""
    rig = make(feedback_unit_ms=10)
    rig.hand.connect()
    rig.hand.start()
    return rig


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
    rig = make(feedback_unit_ms=10, command_timeout_s=0.05, max_velocity=0.2)
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


# ---- faults -----------------------------------------------------------------------------------------------------------------------


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
    rig.follow_for(goal, 1.0)
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


def test_an_adapter_that_hangs_is_found(rig, monkeypatch):
    driver_bus = rig.hand._link._bus
    monkeypatch.setattr(driver_bus, "recv", lambda timeout=None: time.sleep(1.5))
    assert rig.fault("bus-gone: the reading thread", 2.0)


def test_a_writing_thread_that_dies_is_a_fault(rig, monkeypatch):
    monkeypatch.setattr(rig.hand._guard, "step", lambda goal: 1 / 0)
    monkeypatch.setattr("threading.excepthook", lambda args: None)
    assert rig.fault("writer")
    monkeypatch.undo()
    rig.hand.recover()
    rig.hand.start()
    assert rig.follow(GOAL, lambda: rig.at(GOAL))


# ---- another process --------------------------------------------------------------------------------------------------------------


def serve(path: str) -> subprocess.Popen[bytes]:
    code = f"from real.emulator.hand_boards import serve; serve({path!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    assert until(lambda: os.path.exists(path), 20.0)
    return process


def test_a_hand_in_another_process_that_is_killed(tmp_path):
    path = str(tmp_path / "hand.sock")
    server = serve(path)
    hand = DexHand(DexHandConfig("dexhil-unix", path, feedback_unit_ms=10, **PATIENT))
    try:
        with hand:
            hand.start()

            def arrived() -> bool:
                hand.command(GOAL, time.monotonic_ns())
                return bool(np.abs(hand.state().motor_pos - GOAL).max() < 0.01)

            assert until(arrived)
            server.send_signal(signal.SIGKILL)
            server.wait()
            began = time.monotonic()
            assert until(lambda: bool(hand.faults()))
            assert time.monotonic() - began < 0.25, "a closed socket tells at once"
            with pytest.raises(DeviceError):
                hand.recover()
            server = serve(path)  # takes over the socket that the killed one left behind
            assert until(lambda: _recovered(hand), 10.0)
            hand.start()
            assert until(arrived)
    finally:
        server.kill()
        server.wait()


def _recovered(hand: DexHand) -> bool:
    try:
        hand.recover()
    except (DeviceError, DeviceTimeout):
        return False
    return True


def test_unix_bus_is_a_bus_for_many(tmp_path):
    from real.can_bus import UnixBus

    path = tmp_path / "bus"

    def take(bus: UnixBus):
        message = bus.recv(1.0)
        assert message is not None
        return message

    with UnixBus(path, server=True) as hub, UnixBus(path) as one, UnixBus(path) as two:
        assert hub.recv(0.05) is None
        sent = can.Message(arbitration_id=0x109, data=bytes(range(64)), is_fd=True, bitrate_switch=True, is_extended_id=False)
        one.send(sent)
        assert take(hub).equals(sent, timestamp_delta=None, check_direction=False, check_channel=False)
        assert take(two).equals(sent, timestamp_delta=None, check_direction=False, check_channel=False)
        assert one.recv(0.05) is None, "nobody hears himself"
        hub.send(can.Message(arbitration_id=0x40, is_error_frame=True, is_extended_id=False))
        for member in (one, two):
            assert take(member).is_error_frame
        with pytest.raises(can.CanInitializationError, match="another hub"):
            UnixBus(path, server=True)
        for _ in range(3000):
            hub.send(sent)  # nobody reads: frames are lost, the hub is not held up
        while two.recv(0.05) is not None:
            pass
        hub.send(sent)
        assert take(two).arbitration_id == 0x109, "it is still a member"
        hub.shutdown()
        with pytest.raises(can.CanOperationError, match="gone"):
            [one.recv(0.01) for _ in range(1000)]
        with pytest.raises(can.CanOperationError, match="cannot send"):
            two.send(sent)
    assert not path.exists()
