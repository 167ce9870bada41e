"""Episodes on a Ray cluster: the same seeds give the same episodes as one process, in the same order."""

import importlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from agents.job import Job
from agents.runner import Runner
from agents.workers import RayWorkers
from dexhil_env.episode import Episode
from dexhil_env.errors import ConfigError

QUEUED = 2
"""Episodes that wait at an actor, so that it never idles."""


class _Worker:
    """Lives on some machine of the cluster."""

    def __init__(self, job: Job) -> None:
        import torch

        torch.set_num_threads(1)
        self._runner = Runner(job)

    def run(self, seed: int) -> Episode:
        """Run one episode."""
        return self._runner.run(seed)


def run_on_ray(job: Job, seeds: Iterable[int], workers: RayWorkers) -> Iterator[Episode]:
    """Yield one episode per seed, in the order of the seeds; an actor that dies is started again and its episodes run again.

    Args:
        job: what to run; a policy folder must lie where every machine of the cluster finds it.
        seeds: taken lazily, so a caller that has enough may stop.
        workers: how many actors, and which cluster.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster at that address.
    """
    ray = _start(workers)
    remote: Any = ray.remote(num_cpus=1, max_restarts=3, max_task_retries=3)(_Worker)
    actors = deque(remote.remote(job) for _ in range(workers.count))
    pending: deque[Any] = deque()
    try:
        for seed in seeds:
            pending.append(actors[0].run.remote(seed))
            actors.rotate(-1)
            if len(pending) >= QUEUED * workers.count:
                yield ray.get(pending.popleft())
        while pending:
            yield ray.get(pending.popleft())
    finally:
        for actor in actors:
            ray.kill(actor)


def _start(workers: RayWorkers) -> Any:
    try:
        ray: Any = importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise ConfigError("--workers ray:N needs Ray; install it with: pip install 'dexhil[ray]'") from error
    if not ray.is_initialized():
        local: dict[str, Any] = {"num_cpus": workers.count, "include_dashboard": False}
        options = {"address": workers.address} if workers.address else local
        try:
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(f"no Ray cluster at {workers.address!r}: {error}; start one with: ray start --head") from error
    return ray
