"""Watches arm and hand together: one that stops, stops the other; and an episode that nobody continues ends in an orderly way."""

import logging
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from dexhil_env.errors import DeviceError
from real.dexhand import DexHand
from real.fr3 import FR3
from real.safety import Event, Safety, State

logger = logging.getLogger(__name__)

PERIOD_S: Final = 0.05
REST_SHARE: Final = 0.7
"""Between two steps the arm may wait for this share of its own dead-man's time; then the episode ends before that counts as a fault."""
_USER_STOP: Final = "user stop"


class Supervisor:
    """The one who stops the robot.

    Args:
        arm, hand: drivers.

    Attributes:
        safety: state and history.
        paused: why the last episode has ended without being finished; "" when it has not.
    """

    def __init__(self, arm: FR3, hand: DexHand) -> None:
        self._arm, self._hand = arm, hand
        self.safety = Safety()
        self.paused = ""
        self._patience_s = REST_SHARE * arm.config.dead_man_stop_s
        self._lock = threading.RLock()
        self._busy = self._closed = False
        self._idle_since = 0.0

    def start(self) -> None:
        """Keep watch from now on; the drivers are connected."""
        self._idle_since = self._arm.now()
        threading.Thread(target=self._keep, name="robot-supervisor", daemon=True).start()

    def close(self) -> None:
        """Keep watch no longer."""
        with self._lock:
            self._closed = True

    @contextmanager
    def occupied(self) -> Generator[None]:
        """While the robot is led, the one who leads it calls :meth:`check`."""
        with self._lock:
            self._busy = True
        try:
            yield
        finally:
            with self._lock:
                if not self._closed:
                    self._idle_since = self._arm.now()
                self._busy = False

    def check(self) -> None:
        """Look at arm and hand.

        Raises:
            RobotStopped: the robot has stopped, or must stop and stands now.
        """
        self._look()
        self.safety.refuse_stopped()

    def stop(self, event: Event, *reasons: str) -> None:
        """Stop the robot.

        Args:
            event: ``FAULT``, or ``STOP`` when a person wants it.
            *reasons: why, in words.
        """
        for text in reasons:
            self.safety.tell(event, text)
        self.halt()

    def rest(self, reason: str, gently: bool = False) -> None:
        """End an episode: arm and hand hold; ``gently`` brakes the arm within its limits before."""
        with self._lock:
            if self.safety.state in (State.RUN, State.HOLD, State.READY):
                if gently:
                    self._arm.brake()
                self.halt()
                self.safety.tell(Event.REST, reason)

    def pause(self, reason: str) -> None:
        """End an episode that nobody continues; the next step is told why."""
        self.paused = reason
        self.rest(reason)

    def halt(self) -> None:
        """Let arm and hand hold where they are."""
        self._hand.stop()
        self._arm.stop()

    def recover(self) -> None:
        """Clear a stop because a person asks for it; nothing moves.

        Raises:
            DeviceError: the cause is still there; the robot stays stopped.
        """
        with self.occupied():
            self.halt()
            self._arm.recover()
            self._hand.recover()
            left = self.faults()
            if left:
                raise DeviceError(f"the robot cannot recover: {'; '.join(left)}")
            if self.safety.stopped:
                self.safety.tell(Event.RECOVER, "asked for by a person")
                self.paused = "it was stopped and has recovered"

    def faults(self) -> list[str]:
        """Return what is wrong with arm and hand now."""
        return [f"arm: {text}" for text in self._arm.faults()] + [f"hand: {text}" for text in self._hand.faults()]

    def _look(self) -> None:
        known = self.safety.reasons
        new = [text for text in self.faults() if text not in known]
        for text in new:
            self.safety.tell(Event.STOP if _USER_STOP in text else Event.FAULT, text)
        if new:
            self.halt()

    def _keep(self) -> None:
        """Thread: notice faults between steps, and end what nobody continues."""
        while not self._closed:
            time.sleep(PERIOD_S)
            try:
                with self._lock:
                    if not self._busy and not self._closed:
                        self._keep_once()
            except DeviceError as error:
                if not self._closed:
                    logger.warning("robot: %s", error)

    def _keep_once(self) -> None:
        self._look()
        if self.safety.state in (State.RUN, State.HOLD) and self._arm.now() - self._idle_since > self._patience_s:
            self.pause(f"no step for {self._patience_s:g} s")
