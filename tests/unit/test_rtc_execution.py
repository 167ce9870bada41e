"""Executing one chunk while the next is computed, in simulated time and on a thread."""

import threading
from collections import deque

import numpy as np
import pytest

from agents.async_chunks import AsyncChunks
from agents.simple import HoldPolicy
from dexhil_env import robot
from dexhil_env.errors import ConfigError, RemoteError

REST = robot.HOME[0].astype(np.float32)


class Planner:
    """Row r of chunk c is 100 c + r in every joint; remembers what it was asked."""

    def __init__(self, n_exec=4, longest_prefix=3, horizon=8):
        self.n_exec, self.longest_prefix, self.horizon = n_exec, longest_prefix, horizon
        self.asked, self.prefixes, self.resets = [], [], []

    def reset(self, seed=None):
        self.resets.append(seed)

    def plan(self, observation, instruction, prefix=None):
        chunk = np.repeat(100.0 * len(self.asked) + np.arange(self.horizon, dtype=np.float32)[:, None], 19, 1)
        self.asked.append(observation["period"])
        self.prefixes.append(None if prefix is None else prefix[:, 0].tolist())
        return chunk


class Slow(Planner):
    """Answers when it is let."""

    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.gate, self.done = threading.Semaphore(0), threading.Semaphore(0)

    def plan(self, observation, instruction, prefix=None):
        self.gate.acquire(timeout=5.0)
        try:
            return super().plan(observation, instruction, prefix)
        finally:
            self.done.release()

    def let(self, chunks):
        """Let the worker answer, and wait until the answer is there."""
        self.gate.release()
        self.done.acquire(timeout=5.0)
        chunks._job.answer.exception(5.0)


def drive(chunks, periods, first=0, before=None):
    """Act for some periods; ``before`` is called with the number of each. Returns the first joint's targets."""
    said = []
    for period in range(first, first + periods):
        if before is not None:
            before(period)
        seen = {"arm_joint_pos": robot.HOME[:7], "hand_motor_pos": robot.HOME[7:], "period": period}
        said.append(float(chunks.act(seen, "go")[0]))
    return said


def test_without_delay_it_is_the_chunk_queue():
    planner = Planner()
    assert drive(AsyncChunks(planner, 0), 12) == [0, 1, 2, 3, 100, 101, 102, 103, 200, 201, 202, 203]
    assert planner.asked == [0, 4, 8]
    assert planner.prefixes == [None] * 3


def test_the_next_chunk_takes_over_where_it_stands_by_then():
    planner = Planner()
    chunks = AsyncChunks(planner, 2)
    # rest, the first chunk from its row 0, then each from row 2: it was asked for two periods before
    assert drive(chunks, 14) == [REST, REST, 0, 1, 2, 3, 102, 103, 104, 105, 202, 203, 204, 205]
    assert planner.asked == [0, 4, 8, 12]
    assert chunks.facts() == {"latencies": [2, 2, 2], "seams": [6, 10], "starts": [2], "late": 0}


@pytest.mark.parametrize("delay", [1, 2, 3])
def test_the_prefix_is_what_is_executed_meanwhile(delay):
    planner = Planner(longest_prefix=3)
    said = drive(AsyncChunks(planner, delay), 20)
    assert planner.prefixes[0] is None
    for asked, prefix in zip(planner.asked[1:-1], planner.prefixes[1:-1], strict=True):
        assert prefix == said[asked : asked + delay]


def test_the_prefix_is_bounded_by_what_the_policy_knows():
    short, none = Planner(longest_prefix=2), Planner(longest_prefix=0)
    for planner in (short, none):
        drive(AsyncChunks(planner, 3), 10)
    assert [len(prefix) for prefix in short.prefixes[1:]] == [2] * len(short.prefixes[1:])
    assert none.prefixes == [None] * len(none.asked)


def test_a_plan_that_has_run_out_holds_its_last_target():
    planner = Planner(horizon=5)
    chunks = AsyncChunks(planner, 4)
    assert drive(chunks, 12)[4:] == [0, 1, 2, 3, 104, 104, 104, 104]
    assert chunks.log.late == 3


def test_it_looks_whenever_it_asks():
    planner = Planner()
    chunks = AsyncChunks(planner, 2)
    looks = []
    drive(chunks, 20, before=lambda period: looks.append(chunks.looks_next))
    assert all(looks[period] for period in planner.asked)
    assert sum(looks) < 10


@pytest.mark.parametrize("delay", [2, 3])
def test_a_takeover_makes_plan_and_pending_answer_void(delay):
    planner = Planner()
    chunks = AsyncChunks(planner, delay)
    drive(chunks, 5)
    assert planner.asked == [0, 4]  # the second is being computed
    taken = drive(chunks, 10, first=5, before=lambda period: chunks.reset())
    assert set(taken) == {REST}
    assert planner.asked[2:] == []  # nothing is asked while a person drives
    back = drive(chunks, delay + 4, first=15)
    assert planner.asked[2] == 15  # a fresh look in the first period of its own
    assert planner.prefixes[2] is None
    assert back == [REST] * delay + [200, 201, 202, 203]
    assert chunks.log.starts == [delay, 15 + delay]


def test_an_episode_begins_anew():
    planner = Planner()
    chunks = AsyncChunks(planner, 2)
    first = drive(chunks, 9)
    planner.asked.clear()
    chunks.reset(7)
    assert planner.resets == [7]
    assert drive(chunks, 9) == first


def test_the_loop_never_waits_for_the_thread():
    planner = Slow()
    chunks = AsyncChunks(planner)
    assert drive(chunks, 3) == [REST] * 3  # would hang here for five seconds if it waited
    planner.let(chunks)
    assert drive(chunks, 5, first=3) == [0, 1, 2, 3, 4]  # and asks for the next one in period 4
    assert chunks.expected_delay == 3
    planner.let(chunks)
    assert planner.prefixes == [None, [1, 2, 3]]
    assert drive(chunks, 2, first=8) == [104, 105]
    planner.gate.release()
    chunks.close()


def test_a_pending_answer_on_the_thread_is_void_after_a_reset():
    planner = Slow()
    chunks = AsyncChunks(planner)
    drive(chunks, 1)
    chunks.reset()
    assert drive(chunks, 1, first=1) == [REST]
    planner.let(chunks)
    assert drive(chunks, 1, first=2) == [REST]  # thrown away, asked again
    planner.let(chunks)
    assert drive(chunks, 2, first=3) == [100, 101]
    assert planner.asked == [0, 2]
    chunks.close()


def test_recorded_answers_repeat_a_run():
    noted, planner = [], Slow()
    chunks = AsyncChunks(planner, note=noted.append)

    def sometimes(period):
        if period in (2, 6, 11):
            planner.let(chunks)

    said = drive(chunks, 14, before=sometimes)
    planner.gate.release()
    chunks.close()
    again = AsyncChunks(Planner(), answers=deque(noted))
    assert drive(again, 14) == said
    assert True in noted
    assert False in noted
    again.close()


def test_an_error_of_the_policy_reaches_the_loop():
    class Broken(Planner):
        def plan(self, observation, instruction, prefix=None):
            raise RemoteError("gone")

    chunks = AsyncChunks(Broken())
    drive(chunks, 1)
    chunks._job.answer.exception(5.0)
    with pytest.raises(RemoteError, match="gone"):
        drive(chunks, 1)
    chunks.close()


def test_who_does_not_plan_is_refused():
    with pytest.raises(ConfigError, match="HoldPolicy"):
        AsyncChunks(HoldPolicy(), 2)
    with pytest.raises(ConfigError, match="0 or more"):
        AsyncChunks(Planner(), -1)
