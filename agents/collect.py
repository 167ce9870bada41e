"""Fill a dataset: demonstrations of the expert, or episodes of a policy under the eye of the simulated human."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tqdm import tqdm

from agents.job import Job
from agents.recovery import GoOn, ask_to_recover
from agents.rollouts import run_many
from agents.workers import Workers
from dexhil_env.episode import Episode
from dexhil_env.errors import DatasetError
from dexhil_env.store import EpisodeStore

MAX_TRIES_PER_EPISODE = 8
"""A collection that needs more attempts than this per wanted episode stops with an explanation."""


@dataclass(frozen=True)
class Quota:
    """How many episodes are wanted, and which ones count.

    Attributes:
        wanted: number of episodes that count.
        kind: ``"demonstration"`` (a success) or ``"correction"`` (a success with an intervention).
        max_tries: attempts per wanted episode after which a collection ends.
        required: whether ending short of ``wanted`` is an error; else what was recorded is kept and the collection counts as complete.
    """

    wanted: int
    kind: str = "demonstration"
    max_tries: int = MAX_TRIES_PER_EPISODE
    required: bool = True

    def counts(self, episode: Episode) -> bool:
        """Return whether an episode counts."""
        return episode.is_success and (self.kind == "demonstration" or bool(episode.intervention.any()))


def collect(
    job: Job,
    store: EpisodeStore,
    quota: Quota,
    first_seed: int,
    workers: Workers = 1,
    progress: bool = True,
    go_on: GoOn = ask_to_recover,
) -> list[int]:
    """Record attempts into ``store`` until the quota is filled; continues where an interrupted collection stopped.

    Every attempt is kept, also failed ones: filters choose at training time. Demonstrations that fail are the exception: they are
    counted and left out, as a demonstrator would discard them. ``go_on`` is asked when a robot has stopped.

    Returns:
        indices of this job's episodes in the store.

    Raises:
        DatasetError: far more attempts than expected were needed.
    """
    mine = [i for i in range(len(store)) if _belongs(store.facts(i), job, first_seed)]
    old = [store.read_columns(i) for i in mine]
    have = sum(quota.counts(episode) for episode in old)
    tried, limit = max((int(episode.extra["seed"]) - first_seed + 1 for episode in old), default=0), quota.max_tries * quota.wanted
    bar = tqdm(total=quota.wanted, initial=have, desc=f"{quota.kind}s {job.env_id.split('-')[1]}", unit="ep", disable=not progress)
    episodes: Iterator[Episode] = iter(())
    if have < quota.wanted and (tried < limit or quota.required):
        episodes = run_many(job, count(first_seed + tried), workers, go_on)
    for episode in episodes:
        tried += 1
        counts = quota.counts(episode)
        if counts or quota.kind == "correction" or "interrupted" in episode.extra:  # a robot that stopped is worth a look
            mine.append(store.append(episode))
        have += counts
        bar.update(int(counts))
        bar.set_postfix_str(f"{tried} tries")
        if have >= quota.wanted or (tried >= limit and not quota.required):
            break
        if tried > limit:
            raise DatasetError(
                f"only {have} of {quota.wanted} {quota.kind}s after {tried} attempts on {job.env_id}; "
                "the policy may already succeed almost always (nothing to correct), or the expert fails: look at the recorded episodes"
            )
    close: Callable[[], None] | None = getattr(episodes, "close", None)
    if close is not None:
        close()
    bar.close()
    return mine


def _belongs(facts: dict[str, Any], job: Job, first_seed: int) -> bool:
    return facts["round"] == job.round_index and facts.get("env_id") == job.env_id and int(facts.get("seed", -1)) >= first_seed


class StoreView:
    """Some episodes of a store, in the shape that :class:`agents.data.ChunkDataset` reads.

    Args:
        store: the dataset.
        indices: episodes to show.
    """

    def __init__(self, store: EpisodeStore, indices: list[int]) -> None:
        self._store, self._indices = store, indices
        self.root: Path = store.root

    def __len__(self) -> int:
        """Count the episodes."""
        return len(self._indices)

    def read(self, index: int, images: bool = True) -> Episode:
        """Read one episode."""
        return self._store.read(self._indices[index], images)

    def read_columns(self, index: int) -> Episode:
        """Read one episode without images."""
        return self._store.read_columns(self._indices[index])


class JoinedView:
    """Several views one after the other.

    Args:
        views: what to show; frames are cached by content, so give :class:`agents.data.ChunkDataset` a ``cache`` folder.
    """

    def __init__(self, views: list[StoreView]) -> None:
        self._places = [(view, index) for view in views for index in range(len(view))]

    def __len__(self) -> int:
        """Count the episodes."""
        return len(self._places)

    def read(self, index: int, images: bool = True) -> Episode:
        """Read one episode."""
        view, place = self._places[index]
        return view.read(place, images)

    def read_columns(self, index: int) -> Episode:
        """Read one episode without images."""
        view, place = self._places[index]
        return view.read_columns(place)


def up_to_round(store: EpisodeStore, last_round: int) -> StoreView:
    """Show the episodes of rounds 0 to ``last_round``."""
    return StoreView(store, [i for i in range(len(store)) if store.facts(i)["round"] <= last_round])
