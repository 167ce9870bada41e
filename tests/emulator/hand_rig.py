"""A hand driver with emulated boards at the other end of python-can's virtual bus."""

import itertools
import time
from collections.abc import Callable
from typing import Any

import can
import numpy as np

from real.dexhand import DexHand, DexHandConfig
from real.dexhand_protocol import Generation
from real.emulator.hand_boards import BoardsConfig, HandBoards
from real.emulator.hand_body import KinematicBody
from tests.emulator.waiting import until

PATIENT: dict[str, Any] = {"board_timeout_s": 0.4, "bus_timeout_s": 0.3, "command_timeout_s": 0.5}
"""Time-outs for a loaded machine; the exact ones are tested in invented time."""
_channels = itertools.count()


class Rig:
    """Boards on a thread, a driver, and a third node that listens."""

    def __init__(self, generation: Generation = Generation.GEN2, boards: dict[str, Any] | None = None, **config: Any) -> None:
        channel = f"hand-{next(_channels)}"
        self.bus = can.Bus(interface="virtual", channel=channel)
        self.ear = can.Bus(interface="virtual", channel=channel)
        self.body = KinematicBody()
        self.boards = HandBoards(self.body, BoardsConfig(generation=generation, stall_time_s=0.15, **(boards or {})))
        self.boards.start(self.bus)
        self.hand = DexHand(DexHandConfig(interface="virtual", channel=channel, **{**PATIENT, **config}))

    def follow(self, goal: np.ndarray, done: Callable[[], bool], timeout_s: float = 3.0) -> bool:
        """Command ``goal`` at 100 Hz until ``done``."""

        def tick() -> bool:
            self.hand.command(goal, time.monotonic_ns())
            return done()

        return until(tick, timeout_s)

    def follow_for(self, goal: np.ndarray, duration_s: float) -> None:
        self.follow(goal, lambda: False, duration_s)

    def at(self, goal: np.ndarray, tolerance: float = 0.01) -> bool:
        return bool(np.abs(self.hand.state().motor_pos - goal).max() < tolerance)

    def fault(self, kind: str, timeout_s: float = 3.0) -> bool:
        return until(lambda: any(text.startswith(kind) for text in self.hand.faults()), timeout_s)

    def heard(self) -> list[can.Message]:
        """Everything that was sent on the bus since the last call."""
        messages: list[can.Message] = []
        while (message := self.ear.recv(0)) is not None:
            messages.append(message)
        return messages

    def close(self) -> None:
        self.hand.close()
        self.boards.stop()
        self.bus.shutdown()
        self.ear.shutdown()
