"""The state machine: only what the table allows happens, and a stop stays a stop until a person clears it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexhil_env.errors import DeviceError, RobotStopped
from real.safety import STOPPED, TRANSITIONS, Event, Safety, State

_WAY = {
    State.IDLE: [],
    State.READY: [Event.HOMED],
    State.RUN: [Event.HOMED, Event.RUN],
    State.HOLD: [Event.HOMED, Event.RUN, Event.LATE],
    State.FAULT: [Event.FAULT],
    State.ESTOP: [Event.STOP],
}


def machine(state: State) -> Safety:
    safety = Safety(clock=itertools.count().__next__)
    for event in _WAY[state]:
        safety.tell(event, f"on the way to {state}")
    assert safety.state is state
    return safety


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_what_is_not_in_the_table_is_refused_and_changes_nothing(state, event):
    safety = machine(state)
    assert safety.allows(event) == ((state, event) in TRANSITIONS)
    if safety.allows(event):
        assert safety.tell(event, "now") is TRANSITIONS[state, event]
        return
    before = list(safety.history)
    with pytest.raises(RobotStopped if state in STOPPED else DeviceError, match=f"on the way to {state}" if state in STOPPED else state):
        safety.tell(event, "now")
    assert safety.state is state
    assert safety.history == before


@pytest.mark.parametrize("state", State)
def test_from_everywhere_a_fault_stops_and_so_does_a_person(state):
    assert machine(state).tell(Event.FAULT, "broken") in STOPPED
    assert machine(state).tell(Event.STOP, "button") is State.ESTOP


@given(st.lists(st.sampled_from([event for event in Event if event is not Event.RECOVER])))
def test_nothing_but_recover_ends_a_stop(events):
    safety = machine(State.FAULT)
    for event in events:
        if safety.allows(event):
            safety.tell(event, "again")
        assert safety.stopped
    safety.tell(Event.RECOVER, "a person")
    assert safety.state is State.IDLE
    assert safety.reasons == ()


def test_a_run_needs_a_reset_first():
    with pytest.raises(DeviceError, match=r"call reset\(\)"):
        machine(State.IDLE).tell(Event.RUN, "step")
    safety = machine(State.FAULT)
    safety.tell(Event.RECOVER, "a person")
    assert not safety.allows(Event.RUN)


def test_a_stop_names_every_reason_and_what_to_do():
    safety = machine(State.RUN)
    safety.tell(Event.FAULT, "arm: reflex")
    safety.tell(Event.FAULT, "hand: board-stale index")
    safety.tell(Event.FAULT, "arm: reflex")
    with pytest.raises(RobotStopped, match=r"FAULT.*arm: reflex; hand: board-stale index.*recover\(\)") as caught:
        safety.refuse_stopped()
    assert caught.value.faults == ("arm: reflex", "hand: board-stale index")
    safety.tell(Event.STOP, "user stop pressed")
    with pytest.raises(RobotStopped, match="stopped by a person"):
        safety.refuse_stopped()
    machine(State.RUN).refuse_stopped()


def test_the_history_has_time_and_reason_of_every_change():
    safety = Safety(clock=itertools.count(5.0).__next__)
    for event in (Event.HOMED, Event.RUN, Event.LATE, Event.RESUME, Event.REST):
        safety.tell(event, f"because {event}")
    safety.tell(Event.REST, "once more")  # nothing changes: no line
    assert [(step.time_s, step.before, step.after) for step in safety.history] == [
        (5.0, State.IDLE, State.READY), (6.0, State.READY, State.RUN), (7.0, State.RUN, State.HOLD), (8.0, State.HOLD, State.RUN),
        (9.0, State.RUN, State.IDLE),
    ]  # fmt: skip
    assert str(safety.history[2]) == "7.000 s: RUN -> HOLD (late: because late)"


def test_a_fault_that_is_told_again_and_again_is_one_line():
    safety = machine(State.RUN)
    for _ in range(50):
        safety.tell(Event.FAULT, "camera-stale front")
    assert sum(step.after is State.FAULT for step in safety.history) == 1
