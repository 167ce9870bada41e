"""The CAN bus between processes: a hand at its other end, and what a bus is."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

can = pytest.importorskip("can")

from dexhil_env.errors import DeviceError, DeviceTimeout  # noqa: E402
from real.dexhand import DexHand, DexHandConfig  # noqa: E402
from tests.emulator.hand_rig import PATIENT  # noqa: E402
from tests.emulator.waiting import until  # noqa: E402

GOAL = np.linspace(0.15, 0.28, 12)


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
