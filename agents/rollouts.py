"""Run many episodes, in this process or in several; the results do not depend on how many."""

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Final

from agents.job import Job
from agents.recovery import GoOn, ask_to_recover
from agents.runner import Runner
from agents.workers import RayWorkers, Workers
from dexhil_env.episode import Episode
from dexhil_env.errors import RobotStopped
from dexhil_env.hil.live.registry import OperatorSpec
from dexhil_env.registration import REAL_IDS

HOMING_TRIES: Final = 3
"""So often a robot may stop on its way to the same scene."""
_runner: Runner | None = None


def _start(job: Job) -> None:
    import torch

    torch.set_num_threads(1)
    global _runner  # noqa: PLW0603  (one runner per worker process)
    _runner = Runner(job)


def _run(seed: int) -> Episode:
    assert _runner is not None
    return _runner.run(seed)


def _run_one(runner: Runner, seed: int, go_on: GoOn, precious: bool) -> Iterator[Episode]:
    """Yield the episode of a seed. A robot that stops on its way home, before the scene's first step, begins the same scene again."""
    for attempt in range(1, HOMING_TRIES + 1):
        try:
            yield runner.run(seed)
            return
        except RobotStopped as stop:
            if stop.episode is not None:
                yield stop.episode
            if not go_on(stop, runner.env) or (stop.episode is None and attempt == HOMING_TRIES):
                raise
            if stop.episode is not None:
                return
        except BaseException as error:
            # a person's time is kept; in the twin with a simulated human the same seed makes the same episode again
            episode: Episode | None = getattr(error, "episode", None)
            if episode is not None and precious:
                yield episode
            raise


def _run_here(job: Job, seeds: Iterable[int], go_on: GoOn) -> Iterator[Episode]:
    import torch

    torch.set_num_threads(1)
    runner = Runner(job)
    try:
        for seed in seeds:
            yield from _run_one(runner, seed, go_on, job.live or job.env_id in REAL_IDS)
    finally:
        runner.close()
        if job.env_id in REAL_IDS:
            runner.env.close()


def run_many(job: Job, seeds: Iterable[int], workers: Workers = 1, go_on: GoOn = ask_to_recover) -> Iterator[Episode]:
    """Yield one episode per seed, in the order of the seeds.

    Args:
        job: what to run.
        seeds: taken lazily, so a caller that has enough may stop.
        workers: processes, 1 runs in this one, or actors of a Ray cluster. A robot and a live person have one, whatever is asked for.
        go_on: asked when a robot has stopped, after the interrupted episode was yielded; True when a person has looked and it may go on.

    Raises:
        RobotStopped: the robot has stopped and nobody says that it may go on.
    """
    if workers == 1 or job.env_id in REAL_IDS or isinstance(job.operator, OperatorSpec):
        yield from _run_here(job, seeds, go_on)
        return
    if isinstance(workers, RayWorkers):
        from agents.on_ray import run_on_ray

        yield from run_on_ray(job, seeds, workers)
        return
    context = multiprocessing.get_context("spawn")
    source = iter(seeds)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(job,)) as pool:
        pending: deque[Future[Episode]] = deque()
        try:
            for seed in source:
                pending.append(pool.submit(_run, seed))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
