"""A policy on a thread of its own: the robot does not stand while it thinks, and a key does not wait for it."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillThinking
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.rollout import Actor
from dexhil_env.types import F32, Observation

PATIENCE_S: Final = 0.004
"""How long a control period waits for an answer before it goes on with the last action [s]; less than a servo tick."""


class ThreadedPolicy:
    """Asks a policy on another thread. An answer that comes late is executed in the next period; until then the last action stays.

    An answer to an observation from before a takeover is never executed: the first :meth:`reset` makes it void, and until a fresh one is
    there the robot is to stay where it is measured. While a person drives, the policy is reset in every period; the answers that come
    meanwhile are those of the last period or so, which is what the hand-back begins with.

    Args:
        policy: the policy.
        note: told at every look whether the answer was there, for a recording.
        answers: such notes of a recorded run, to repeat it exactly.

    Attributes:
        late: periods without a fresh answer, since the last reset with a seed.
    """

    def __init__(self, policy: Actor, note: Callable[[bool], None] | None = None, answers: deque[bool] | None = None) -> None:
        self._policy, self._note, self._answers = policy, note, answers
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="policy")
        self._job: Future[F32] | None = None
        self._void = self._forget = self._resetting = self._reset_now = False
        self._last: F32 | None = None
        self._first = True
        self.late = 0

    def reset(self, seed: int | None = None) -> None:
        """Make what is being thought void; with ``seed``, start an episode."""
        if not self._resetting:
            self._void, self._last = self._job is not None, None
        self._forget = self._resetting = self._reset_now = True
        if seed is not None:
            self._drop_job()
            self._policy.reset(seed)
            self._void = self._forget = self._resetting = self._reset_now = False
            self._first, self.late, self._last = True, 0, None

    def _drop_job(self) -> None:
        if self._job is not None:
            self._job.exception()
            self._job, self._void = None, False

    def _think(self, observation: Observation, instruction: str, forget: bool) -> F32:
        if forget:
            self._policy.reset()
        return self._policy.act(observation, instruction)

    def act(self, observation: Observation, instruction: str) -> F32:
        """Return the newest valid action (19,) [rad]."""
        self._resetting, self._reset_now = self._reset_now, False
        if self._job is not None and self._void:
            if not self._ready(self._job):
                return self._go_on(observation)
            self._drop_job()
        if self._job is None:
            self._job = self._worker.submit(self._think, observation, instruction, self._forget)
            self._forget = False
        if not (self._first or self._ready(self._job)):  # before the first answer there is nothing to go on with
            return self._go_on(observation)
        self._last, self._job, self._first = self._job.result(), None, False
        return self._last

    def _go_on(self, observation: Observation) -> F32:
        self.late += 1
        return self._last if self._last is not None else stay(observation)

    def _ready(self, job: "Future[F32]") -> bool:
        if self._answers is not None:
            ready = self._answers.popleft() if self._answers else True
            if ready:
                job.exception()
            return ready
        try:
            job.exception(PATIENCE_S)
        except StillThinking:
            ready = False
        else:
            ready = True
        if self._note is not None:
            self._note(ready)
        return ready

    def close(self) -> None:
        """End the thread."""
        self._worker.shutdown(wait=True, cancel_futures=True)


def stay(observation: Observation) -> F32:
    """Return the measured joints (19,) as targets [rad]."""
    now = np.concatenate([observation["arm_joint_pos"], observation["hand_motor_pos"]])
    return np.clip(now, robot.LOW, robot.HIGH).astype(np.float32)
