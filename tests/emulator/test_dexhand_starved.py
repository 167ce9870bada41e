"""A program without a processor for a while does not take its own sleep for a dead bus. In invented time."""

from types import SimpleNamespace

import numpy as np
import pytest

can = pytest.importorskip("can")

from real.dexhand_config import DexHandConfig  # noqa: E402
from real.dexhand_link import HandLink  # noqa: E402
from real.dexhand_monitor import HandMonitor  # noqa: E402
from real.dexhand_protocol import Generation, Side  # noqa: E402
from real.dexhand_replies import Feedback  # noqa: E402
from real.emulator import hand_wire  # noqa: E402

MS = 1_000_000
CONFIG = DexHandConfig(interface="virtual", channel="never-opened", board_timeout_s=0.1, bus_timeout_s=0.08, reader_timeout_s=0.5)


def report(board):
    return Feedback(board, (0.0, 0.0), (0.0, 0.0), (0, 0), (0, 0))


class Bus:
    """Boards that report every 10 ms on a bus that keeps what is not read; reading takes no time, waiting does."""

    def __init__(self, now):
        self.now, self.speaking, self.waiting, self.sent_ms = now, True, [], now.ms
        self.stall_ms = 0

    def catch_up(self):
        while self.sent_ms + 10 <= self.now.ms:
            self.sent_ms += 10
            if self.speaking:
                self.waiting += range(6)

    def recv(self, timeout):
        self.catch_up()
        if not self.waiting and timeout:
            self.now.ms += 10
            self.catch_up()
        message = self.message(self.waiting.pop(0)) if self.waiting else None
        self.now.ms, self.stall_ms = self.now.ms + self.stall_ms, 0  # the thread loses its processor on its way back
        return message

    def message(self, board):
        frame = hand_wire.encode_feedback(Side.RIGHT, Generation.GEN2, board, np.zeros(2), np.zeros(2))
        return can.Message(arbitration_id=frame.can_id, data=frame.data, is_fd=True, is_extended_id=False)


@pytest.fixture
def now(monkeypatch):
    clock = SimpleNamespace(ms=1000)
    monkeypatch.setattr("real.dexhand_link.time", SimpleNamespace(monotonic_ns=lambda: clock.ms * MS, monotonic=lambda: clock.ms * 1e-3))
    return clock


@pytest.fixture
def bus(now):
    return Bus(now)


@pytest.fixture
def link(now):
    link = HandLink(CONFIG, HandMonitor(CONFIG))
    link.monitor.restart_clock(now.ms * MS)
    link._turn_ns = now.ms * MS
    return link


def read(link, bus, now, for_ms):
    end = now.ms + for_ms
    while now.ms < end and not link.monitor.faults:
        link._read_once(bus)


def test_silence_is_found_when_it_should_be(link, bus, now):
    read(link, bus, now, 200)
    assert not link.monitor.faults
    bus.speaking, begin = False, now.ms
    read(link, bus, now, 300)
    assert "bus-gone" in link.monitor.faults
    assert 80 <= now.ms - begin <= 110


def test_a_reader_that_loses_its_processor_after_it_has_looked_sees_what_came_meanwhile(link, bus, now):
    read(link, bus, now, 50)
    while bus.recv(0) is not None:
        pass
    bus.stall_ms = 600  # after the look that finds nothing
    link._read_once(bus)
    read(link, bus, now, 200)
    assert not link.monitor.faults


def test_boards_that_slept_as_long_as_the_reader_are_not_silent(link, bus, now):
    """Emulated boards on the same busy machine: nothing was sent, and nobody listened."""
    read(link, bus, now, 50)
    now.ms += 600
    bus.sent_ms = now.ms
    read(link, bus, now, 200)
    assert not link.monitor.faults


def test_boards_that_are_silent_after_a_stall_are_found(link, bus, now):
    read(link, bus, now, 50)
    bus.speaking, bus.waiting = False, []
    now.ms += 600
    begin = now.ms
    read(link, bus, now, 300)
    assert "bus-gone" in link.monitor.faults
    assert now.ms - begin <= 90


def test_silence_is_found_by_a_reader_that_always_comes_late(link, bus, now):
    bus.speaking, begin = False, now.ms
    while not link.monitor.faults and now.ms < begin + 3000:
        bus.stall_ms = 150
        link._read_once(bus)
    assert "bus-gone" in link.monitor.faults


def test_an_excuse_ends_with_the_next_report():
    monitor = HandMonitor(CONFIG)
    monitor.restart_clock(0)
    monitor.excuse(500 * MS)
    monitor.check(570 * MS)
    assert not monitor.faults
    for board in range(6):
        monitor.feed(report(board), 570 * MS)
    monitor.check(640 * MS)
    assert not monitor.faults
    monitor.check(660 * MS)
    assert "bus-gone" in monitor.faults


def test_who_watches_the_reader_and_had_no_processor_either_says_nothing(link, now):
    link.check_reader(now.ms * MS)
    now.ms += 2000
    link.check_reader(now.ms * MS)
    assert not link.monitor.faults


@pytest.mark.parametrize("every_ms", [10, 50])
def test_a_reader_that_hangs_while_others_run_is_found(link, bus, now, every_ms):
    begin = now.ms
    while not link.monitor.faults and now.ms < begin + 3000:
        now.ms += every_ms
        link.check_reader(now.ms * MS)
    assert "the reading thread" in link.monitor.faults["bus-gone"]
    assert 500 <= now.ms - begin <= 500 + 3 * every_ms
    link.monitor.forget()
    for _ in range(100):
        link._read_once(bus)
        link.check_reader(now.ms * MS)
    assert not link.monitor.faults


def test_how_long_it_may_hang_is_a_setting(now):
    config = DexHandConfig(interface="virtual", channel="never-opened", reader_timeout_s=2.0)
    patient = HandLink(config, HandMonitor(config))
    patient.monitor.restart_clock(now.ms * MS)
    for _ in range(150):
        now.ms += 10
        patient.check_reader(now.ms * MS)
    assert not patient.monitor.faults
