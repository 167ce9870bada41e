"""The states of a robot in use, as a table of allowed transitions. Pure: it decides and remembers, others act.

A stop stays a stop: FAULT and ESTOP are left by ``RECOVER`` alone, and only a person asks for that. Everything that happens is logged and
kept with its time and reason. This software is no substitute for the arm's user stop.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dexhil_env.errors import DeviceError, RobotStopped

logger = logging.getLogger(__name__)


class State(StrEnum):
    """What the robot is allowed to do.

    IDLE: stands, nothing is promised about its pose. READY: stands at home, an episode may begin. RUN: follows targets. HOLD: stands for a
    moment because news are late, and goes on by itself. FAULT: has stopped, something is wrong. ESTOP: has been stopped by a person.
    """

    IDLE = "IDLE"
    READY = "READY"
    RUN = "RUN"
    HOLD = "HOLD"
    FAULT = "FAULT"
    ESTOP = "ESTOP"


class Event(StrEnum):
    """What may happen."""

    HOMED = "homed"
    RUN = "run"
    LATE = "late"
    RESUME = "resume"
    REST = "rest"
    FAULT = "fault"
    STOP = "stop"
    RECOVER = "recover"


STOPPED: Final = (State.FAULT, State.ESTOP)
TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (State.IDLE, Event.HOMED): State.READY,
    (State.IDLE, Event.REST): State.IDLE,
    (State.READY, Event.RUN): State.RUN,
    (State.READY, Event.REST): State.IDLE,
    (State.RUN, Event.LATE): State.HOLD,
    (State.RUN, Event.REST): State.IDLE,
    (State.HOLD, Event.RESUME): State.RUN,
    (State.HOLD, Event.REST): State.IDLE,
    (State.FAULT, Event.FAULT): State.FAULT,
    (State.FAULT, Event.RECOVER): State.IDLE,
    (State.ESTOP, Event.FAULT): State.ESTOP,
    (State.ESTOP, Event.STOP): State.ESTOP,
    (State.ESTOP, Event.RECOVER): State.IDLE,
    **{(state, Event.FAULT): State.FAULT for state in (State.IDLE, State.READY, State.RUN, State.HOLD)},
    **{(state, Event.STOP): State.ESTOP for state in (State.IDLE, State.READY, State.RUN, State.HOLD, State.FAULT)},
}
"""Every transition that there is; what is not here is refused."""
_ADVICE: Final = {
    State.IDLE: "call reset(): it brings the robot home",
    State.READY: "the robot is at home and waits for the first step",
    State.RUN: "an episode runs",
    State.HOLD: "the robot waits for late news",
}
_RECOVER: Final = "Look at the robot, remove the cause, then call recover() and reset()"


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state, or one more reason for a stop.

    Attributes:
        time_s: when [s].
        before, event, after: what happened.
        reason: why, in words.
    """

    time_s: float
    before: State
    event: Event
    after: State
    reason: str

    def __str__(self) -> str:
        return f"{self.time_s:.3f} s: {self.before} -> {self.after} ({self.event}: {self.reason})"


class Safety:
    """The state machine. May be used from several threads.

    Args:
        clock: time for the record [s].

    Attributes:
        history: every transition, oldest first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.history: list[Transition] = []
        self._clock = clock
        self._lock = threading.RLock()
        self._state = State.IDLE
        self._reasons: list[str] = []

    @property
    def state(self) -> State:
        """Present state."""
        return self._state

    @property
    def stopped(self) -> bool:
        """Nothing moves until a person has cleared it."""
        return self._state in STOPPED

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the robot has stopped, oldest first; empty when it has not."""
        with self._lock:
            return tuple(self._reasons)

    def allows(self, event: Event) -> bool:
        """Tell whether an event may happen now."""
        return (self._state, event) in TRANSITIONS

    def tell(self, event: Event, reason: str) -> State:
        """Let something happen.

        Args:
            event: what.
            reason: why, for the record and for error texts.

        Returns:
            The state afterwards.

        Raises:
            RobotStopped: the robot has stopped, and this event does not clear that.
            DeviceError: the event makes no sense in this state.
        """
        with self._lock:
            before = self._state
            after = TRANSITIONS.get((before, event))
            if after is None:
                self.refuse_stopped()
                raise DeviceError(f"{event!s} ({reason}) is not possible in state {before}; {_ADVICE[before]}")
            self._remember(event, after, reason)
            if after is not before or after in STOPPED:
                self._log(Transition(self._clock(), before, event, after, reason))
            self._state = after
            return after

    def refuse_stopped(self) -> None:
        """Raise when the robot has stopped.

        Raises:
            RobotStopped: names every reason, and what to do.
        """
        with self._lock:
            if self._state in STOPPED:
                what = "was stopped by a person" if self._state is State.ESTOP else "has stopped"
                raise RobotStopped(f"the robot {what} ({self._state}): {'; '.join(self._reasons)}. {_RECOVER}", tuple(self._reasons))

    def _remember(self, event: Event, after: State, reason: str) -> None:
        if after not in STOPPED:
            self._reasons.clear()
        elif event in (Event.FAULT, Event.STOP) and reason not in self._reasons:
            self._reasons.append(reason)

    def _log(self, step: Transition) -> None:
        known = self.history and step.before is step.after and self.history[-1].reason == step.reason
        if not known:  # a fault that is told twice is one line
            self.history.append(step)
            logger.log(logging.WARNING if step.after in (*STOPPED, State.HOLD) else logging.INFO, "robot: %s", step)
