"""What a cell of the grid records, and what it trains on.

seed-0/demonstrations/            dataset of all demonstrations of a training seed
seed-0/dexhil/corrections/        dataset of an arm's own attempts, all rounds
seed-0/on-site/demonstrations/    dataset of an arm's own demonstrations
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.collect import JoinedView, Quota, StoreView, collect
from agents.dagger import CORRECTION_SEED, DEMO_SEED, SEED_STRIDE, SEEDS_PER_ROUND
from agents.job import Job
from agents.study.arms import ARMS, WARMUP, DataSource
from agents.study.config import StudyConfig
from agents.study.facts import collection_facts
from dexhil_env.hil.scripted import ScriptedConfig
from dexhil_env.store import EpisodeStore

ON_SITE_SEED = DEMO_SEED + 500_000
"""First seed of demonstrations that are recorded where the policy works; far from those of the warm-up."""


class Recordings:
    """The recordings of one cell.

    Args:
        config: of the study.
        home: folder of the training seed.
        seed, arm, round_index: which cell.
        progress: show bars.
    """

    def __init__(self, config: StudyConfig, home: Path, seed: int, arm: str, round_index: int, *, progress: bool = False) -> None:
        self.config, self.home, self.seed, self.arm, self.round = config, home, seed, arm, round_index
        self.progress = progress
        self.source: DataSource | None = None if arm == WARMUP else ARMS[arm].data if arm in ARMS else "none"
        self._demonstrations = EpisodeStore(home / "demonstrations")

    def job(self, env_id: str, policy: str, operator: ScriptedConfig | None = None) -> Job:
        """Return a job where the policy works."""
        limits = {"image_size": self.config.image_size, **self.config.env_kwargs.get(env_id, {})}
        return Job(env_id, policy, operator, limits, round_index=self.round, max_episode_steps=self.config.max_episode_steps)

    def collect(self, policy: str | None) -> None:
        """Record what this cell adds.

        Args:
            policy: folder of the policy before this round; the warm-up has none.
        """
        for index, env_id in enumerate(self.config.env_ids):
            if self.source is None:
                self._demonstrate(env_id, index)
            elif self.source == "own":
                assert policy is not None
                self._correct(env_id, index, policy)
            elif self.source == "on-site":
                job = self._expert(env_id, elsewhere=False)
                first = self.seed * SEED_STRIDE + ON_SITE_SEED + index * SEEDS_PER_ROUND
                collect(job, self.store, Quota(self.round * self.config.corrections), first, progress=self.progress)

    def _expert(self, env_id: str, *, elsewhere: bool) -> Job:
        """The person demonstrates, in the scenes of the offline recordings or where the policy works."""
        job = replace(self.job(env_id, "expert"), round_index=0, policy_kwargs={"motion": self.config.operator.motion})
        return replace(job, env_kwargs={**job.env_kwargs, **self.config.demo_kwargs.get(env_id, {})}) if elsewhere else job

    def _demonstrate(self, env_id: str, index: int) -> None:
        """Record all demonstrations that any arm will use, at once: the Baseline's later ones come from the same stream."""
        config = self.config
        more = config.rounds * config.corrections if any(ARMS[arm].data == "offline" for arm in config.arms) else 0
        first = self.seed * SEED_STRIDE + DEMO_SEED + index * SEEDS_PER_ROUND
        collect(self._expert(env_id, elsewhere=True), self._demonstrations, Quota(config.demos + more), first, progress=self.progress)

    def _correct(self, env_id: str, index: int, policy: str) -> None:
        config = self.config
        quota = Quota(config.corrections, "correction", config.max_tries, required=False)
        first = self.seed * SEED_STRIDE + CORRECTION_SEED + (self.round * len(config.env_ids) + index) * SEEDS_PER_ROUND
        collect(self.job(env_id, policy, config.operator_of(self.arm)), self.store, quota, first, progress=self.progress)

    @property
    def store(self) -> EpisodeStore:
        """The dataset that this cell adds to, or that its arm shares."""
        if self.source in (None, "offline", "none"):
            return self._demonstrations
        owner = ARMS[self.arm].share if self.source == "shared" else self.arm
        return EpisodeStore(self.home / owner / ("demonstrations" if self.source == "on-site" else "corrections"))

    def facts(self) -> dict[str, Any]:
        """Return what this cell has cost a person, by environment; nothing for an arm that lives on another's recordings."""
        new = self.source in (None, "own", "offline", "on-site")
        return {env_id: collection_facts(self.store, env_id, self._mine(env_id)) for env_id in self.config.env_ids} if new else {}

    def _of(self, store: EpisodeStore, env_id: str) -> list[int]:
        return [i for i in range(len(store)) if store.facts(i)["env_id"] == env_id]

    def _mine(self, env_id: str) -> list[int]:
        """Return the episodes of the store that this cell has added."""
        store, each = self.store, self.config.corrections  # opening it reads the whole index
        ours = self._of(store, env_id)
        if self.source is None:
            return ours[: self.config.demos]
        if self.source == "own":
            return [i for i in ours if store.facts(i)["round"] == self.round]
        first = (self.config.demos if self.source == "offline" else 0) + (self.round - 1) * each
        return ours[first : first + each]

    def dataset(self) -> JoinedView:
        """Return everything that this cell trains on."""
        config, extra = self.config, self.round * self.config.corrections
        count = config.demos + (extra if self.source == "offline" else 0)
        offline = [i for env_id in config.env_ids for i in self._of(self._demonstrations, env_id)[:count]]
        parts = [StoreView(self._demonstrations, offline)]
        if self.source in ("own", "shared"):
            store = self.store
            parts.append(StoreView(store, [i for i in range(len(store)) if store.facts(i)["round"] <= self.round]))
        elif self.source == "on-site":
            parts.append(StoreView(self.store, [i for env_id in config.env_ids for i in self._of(self.store, env_id)[:extra]]))
        return JoinedView(parts)
