"""Real-time execution of chunks: the policy plans on while the robot executes, so that the control loop never waits for it."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from agents.chunking import ChunkPolicy
from dexhil_env.errors import ConfigError
from dexhil_env.hil.live.answers import stay
from dexhil_env.types import F32, Observation

REMEMBERED: Final = 10
"""Latencies that the estimate looks back at; it is the largest of them."""


@dataclass(frozen=True)
class _Plan:
    """A chunk (T, 19) whose row 0 belongs to period ``start``."""

    start: int
    actions: F32

    def at(self, period: int) -> F32:
        """Return the target of a period; after the last one the last one stays."""
        return self.actions[min(period - self.start, len(self.actions) - 1)]


@dataclass
class _Job:
    """A chunk being computed, asked for in period ``asked`` with or without a plan being executed."""

    asked: int
    fresh: bool
    answer: "Future[F32]"
    void: bool = False


@dataclass
class ChunkLog:
    """What happened since the episode began, in control periods.

    Attributes:
        latencies: how long each answer took.
        seams: periods in which a chunk took over from another one.
        starts: periods in which a chunk began from rest: at the start and after a hand-back.
        late: periods in which the plan had run out.
    """

    latencies: list[int] = field(default_factory=list)
    seams: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    late: int = 0


class AsyncChunks:
    """Executes a chunk while the next one is computed from the newest observation.

    A chunk that is asked for in period t has its row 0 there; when the answer comes d periods later, execution goes on with row d. The
    targets of the periods in between are decided already. A policy trained with ``rtc_max_delay`` is given them as prefix, so the new
    chunk continues the old one; with any other policy the two merely meet (the limiter smooths what remains). The next chunk is asked
    for ``n_exec`` periods after the last one.

    :meth:`reset` makes the plan and whatever is being computed void. Then, as at the start, the robot stays where it is until an answer
    to a newer observation is there, which is executed from its row 0. While resets follow one another period by period, a person
    drives: nothing is asked, so that the hand-back need not wait for an answer that is void.

    Args:
        policy: makes the chunks.
        delay: periods that every answer takes, in simulated time: runs with equal seeds are bit-equal. None computes on another thread
            and takes the answer when it is there.
        note: told at every look at the thread whether the answer was there, for a recording.
        answers: such notes of a recorded run, to repeat it exactly.

    Attributes:
        log: seams and latencies since the last reset with a seed.

    Raises:
        ConfigError: the policy does not plan ahead, or a negative delay.
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        delay: int | None = None,
        note: Callable[[bool], None] | None = None,
        answers: deque[bool] | None = None,
    ) -> None:
        if not isinstance(policy, ChunkPolicy):
            raise ConfigError(f"{type(policy).__name__} decides period by period; a delay is for policies that plan chunks of actions")
        if delay is not None and delay < 0:
            raise ConfigError(f"a delay is 0 or more control periods; got {delay}")
        self._policy, self._delay, self._note, self._answers = policy, delay, note, answers
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="chunks") if delay is None else None
        self._begin()

    def _begin(self) -> None:
        self._period = self._asked = 0
        self._recent: deque[int] = deque(maxlen=REMEMBERED)
        self._plan: _Plan | None = None
        self._job: _Job | None = None
        self._resets, self._acted, self._forget = 0, True, False
        self.log = ChunkLog()

    def reset(self, seed: int | None = None) -> None:
        """Make plan and pending answer void; a seed starts an episode."""
        if seed is not None:
            if self._job is not None:
                self._job.answer.exception()  # the policy must not be reset while it computes
            self._policy.reset(seed)
            self._begin()
            return
        self._plan, self._forget = None, True
        if self._acted:
            self._resets, self._acted = self._resets + 1, False
        if self._job is not None:
            self._job.void = True

    @property
    def looks_next(self) -> bool:
        """Whether the next :meth:`act` may ask the policy, and so looks at its observation."""
        return self._due

    @property
    def _due(self) -> bool:
        return self._plan is None or self._period - self._asked >= self._policy.n_exec

    def act(self, observation: Observation, instruction: str) -> F32:
        """Return the target (19,) [rad] of this period; never waits."""
        if self._acted:  # no reset since the last period
            self._resets = 0
        driven, self._acted = self._resets > 1, True
        self._take()
        if self._job is None and not driven and self._due:
            self._ask(observation, instruction)
            if self._delay == 0:
                self._take()
        action = self._plan.at(self._period) if self._plan is not None else stay(observation)
        if self._plan is not None and self._period - self._plan.start >= len(self._plan.actions):
            self.log.late += 1
        self._period += 1
        return action

    def _take(self) -> None:
        """Take the answer over if it is there."""
        job = self._job
        if job is None or not self._ready(job):
            return
        self._job = None
        actions = job.answer.result()
        if job.void:
            return
        latency = self._period - job.asked
        self._recent.append(latency)
        self.log.latencies.append(latency)
        (self.log.starts if job.fresh else self.log.seams).append(self._period)
        self._plan = _Plan(self._period if job.fresh else job.asked, actions)

    def _ready(self, job: _Job) -> bool:
        if self._delay is not None:
            return self._period - job.asked >= self._delay
        if self._answers is not None:
            return self._answers.popleft() if self._answers else True
        ready = job.answer.done()
        if self._note is not None:
            self._note(ready)
        return ready

    def _ask(self, observation: Observation, instruction: str) -> None:
        forget, self._forget = self._forget, False
        prefix = self._prefix()
        self._asked = self._period

        def think() -> F32:
            if forget:
                self._policy.reset()
            return self._policy.plan(observation, instruction, prefix)

        answer = _computed(think) if self._worker is None else self._worker.submit(think)
        self._job = _Job(self._period, self._plan is None, answer)

    def _prefix(self) -> F32 | None:
        """Return the targets that are decided already: of as many periods as the answer will probably take."""
        length = min(self.expected_delay, self._policy.longest_prefix)
        if self._plan is None or length == 0:
            return None
        return np.stack([self._plan.at(self._period + ahead) for ahead in range(length)])

    @property
    def expected_delay(self) -> int:
        """Periods that the next answer will probably take: the longest of the last few."""
        return self._delay if self._delay is not None else max(self._recent, default=0)

    def facts(self) -> dict[str, object]:
        """Return what an episode says of its chunks, JSON-serialisable."""
        log = self.log
        return {"latencies": list(log.latencies), "seams": list(log.seams), "starts": list(log.starts), "late": log.late}

    def close(self) -> None:
        """End the thread."""
        if self._worker is not None:
            self._worker.shutdown(wait=True, cancel_futures=True)


def _computed(work: Callable[[], F32]) -> "Future[F32]":
    """Compute now; whether the answer counts as there is a question of simulated time."""
    answer: Future[F32] = Future()
    answer.set_result(work())
    return answer
