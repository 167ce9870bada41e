"""How many episodes run at once, and where: processes of this machine, or actors of a Ray cluster."""

import os
import re
from dataclasses import dataclass

from dexhil_env.errors import ConfigError


@dataclass(frozen=True)
class RayWorkers:
    """Actors of a Ray cluster, one processor each.

    Attributes:
        count: how many.
        address: of the cluster; empty starts one on this machine.
    """

    count: int
    address: str = ""


Workers = int | RayWorkers


def default_workers() -> int:
    """Number of worker processes: the processors this process may use, at most 8."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def parse_workers(text: str | None) -> Workers:
    """Read what stands behind ``--workers``: a number, ``ray:N`` (a cluster on this machine) or ``ray:N@ADDRESS``.

    Raises:
        ConfigError: anything else.
    """
    if text is None:
        return default_workers()
    match = re.fullmatch(r"(ray:)?([1-9]\d*)(?:@(\S+))?", text.strip())
    if match is None or (match[3] and not match[1]):
        raise ConfigError(f"--workers is a number of processes, ray:N, or ray:N@ADDRESS (ray:64@auto: a running cluster); got {text!r}")
    count = int(match[2])
    return RayWorkers(count, match[3] or "") if match[1] else count
