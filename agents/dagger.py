"""Warm-up and rounds of human-in-the-loop post-training (DexHiL paper, eq. 8 to 12).

A run is one folder. Every stage leaves its result there, so an interrupted run goes on where it stopped:

    config.json                what was asked for
    data/                      all episodes, demonstrations and attempts of every round, one LeRobot v3.0 dataset
    round-0/                   warm-up: train/ (policy in train/policy), eval-<task>.json
    round-1/, round-2/, ...    the same after each round of corrections
    control-1/, ...            the same number of training steps without corrections (optional)
"""

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from agents.collect import Quota, StoreView, collect, up_to_round
from agents.data import ChunkDataset
from agents.evaluate import EvalResult, evaluate_once
from agents.filters import FilterConfig
from agents.job import Job
from agents.policy import VLAPolicy, load_policy
from agents.settings import changed
from agents.trainer import POLICY_FOLDER, TrainConfig, train
from agents.vla.config import VLAConfig
from agents.weights import WeightConfig
from agents.workers import Workers
from dexhil_env.errors import ConfigError
from dexhil_env.hil.live.registry import OperatorSpec
from dexhil_env.hil.scripted import ScriptedConfig
from dexhil_env.store import EpisodeStore
from dexhil_env.store.files import write_json

logger = logging.getLogger(__name__)

DEMO_SEED = 1_000_000
CORRECTION_SEED = 2_000_000
EVAL_SEED = 3_000_000
"""First seed of each purpose. Nothing is ever tuned on seeds from ``EVAL_SEED`` on; use 4,000,000 and above for that."""
TUNING_SEED = 4_000_000
LIVE_EPISODE_STEPS = 1200
"""Time limit of an episode with a person, 60 s: people are slower than the simulated human."""
SEEDS_PER_ROUND = 10_000
SEED_STRIDE = 100_000_000
"""Training seeds are this far apart, so that no scene is shared between them."""


@dataclass(frozen=True)
class RunConfig:
    """One post-training run.

    Attributes:
        env_ids: environments; one policy learns all of them, told apart by the instruction.
        demos: demonstrations per environment for the warm-up; the paper uses 30, fewer leave room for corrections in the twin.
        corrections: corrected episodes per environment and round.
        rounds: rounds of correction.
        control: after each round, also train a policy for as many steps without the corrections.
        vla: the network.
        warmup: training of the warm-up.
        round: training of each round.
        weights: how corrections count.
        filters: what is trained on.
        operator: habits of the simulated human.
        eval_episodes: evaluation episodes per environment and policy; 0 skips evaluation.
        eval_seed: first evaluation seed.
        seed: shifts the seeds of demonstrations and corrections, and seeds training.
        image_size: camera image size [px].
    """

    env_ids: tuple[str, ...] = ("DexHiL-PlushSim-v0", "DexHiL-TissueSim-v0")
    demos: int = 12
    corrections: int = 10
    rounds: int = 2
    control: bool = False
    vla: VLAConfig = field(default_factory=VLAConfig)
    warmup: TrainConfig = field(default_factory=lambda: TrainConfig(steps=2000))
    round: TrainConfig = field(default_factory=lambda: TrainConfig(steps=1000, lr=3e-4, warmup=50))
    weights: WeightConfig = field(default_factory=WeightConfig)
    filters: FilterConfig = field(default_factory=FilterConfig)
    operator: ScriptedConfig = field(default_factory=ScriptedConfig)
    eval_episodes: int = 50
    eval_seed: int = EVAL_SEED
    seed: int = 0
    image_size: int = 128

    def __post_init__(self) -> None:
        """Refuse runs that cannot work."""
        if not self.env_ids or self.demos < 1 or min(self.corrections, self.rounds, self.eval_episodes) < 0:
            raise ConfigError(f"env_ids must be given, demos >= 1, corrections, rounds and eval_episodes >= 0; got {self}")


class DaggerRun:
    """A run in its folder.

    Args:
        config: what to do.
        folder: run folder; an existing one is continued and must have the same configuration.
        workers: processes for rollouts.
        progress: show progress bars.
        person: a live operator who corrects instead of the simulated human.

    Raises:
        ConfigError: the folder belongs to another configuration.
    """

    def __init__(
        self, config: RunConfig, folder: str | Path, workers: Workers = 1, progress: bool = True, person: OperatorSpec | None = None
    ) -> None:
        self.person = person
        self.config, self.folder, self.workers, self.progress = config, Path(folder), workers, progress
        self.folder.mkdir(parents=True, exist_ok=True)
        self._claim()
        self.store = EpisodeStore(self.folder / "data")
        self._seed_shift = config.seed * SEED_STRIDE

    def _claim(self) -> None:
        path = self.folder / "config.json"
        wanted = json.loads(json.dumps(asdict(self.config)))
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            # more rounds or evaluation episodes may be asked for later; the rest decides what the results mean
            differing = changed(wanted, found, ("rounds", "eval_episodes", "control"))
            if differing:
                raise ConfigError(f"{self.folder} holds a run with other settings: {'; '.join(differing)}. Choose another folder")
        write_json(path, wanted)

    def _job(self, env_id: str, policy: str, round_index: int) -> Job:
        return Job(env_id, policy, env_kwargs={"image_size": self.config.image_size}, round_index=round_index)

    def policy_folder(self, name: str) -> Path:
        """Folder of a trained policy; ``name`` is ``round-<i>`` or ``control-<i>``."""
        return self.folder / name / "train" / POLICY_FOLDER

    # ------------------------------------------------------------------ stages

    def collect_demonstrations(self) -> None:
        """Record the offline data D0."""
        for index, env_id in enumerate(self.config.env_ids):
            first = self._seed_shift + DEMO_SEED + index * SEEDS_PER_ROUND
            collect(self._job(env_id, "expert", 0), self.store, Quota(self.config.demos), first, self.workers, self.progress)

    def collect_corrections(self, round_index: int) -> None:
        """Deploy the policy of the round before under supervision: D_i' (eq. 8)."""
        policy = str(self.policy_folder(f"round-{round_index - 1}"))
        for index, env_id in enumerate(self.config.env_ids):
            job = replace(self._job(env_id, policy, round_index), operator=self.person or self.config.operator)
            if self.person is not None:
                job = replace(job, max_episode_steps=LIVE_EPISODE_STEPS)
            first = self._seed_shift + CORRECTION_SEED + (round_index * len(self.config.env_ids) + index) * SEEDS_PER_ROUND
            collect(job, self.store, Quota(self.config.corrections, "correction"), first, self.workers, self.progress)

    def train_warmup(self) -> VLAPolicy:
        """Fit the policy to D0."""
        return self._train("round-0", up_to_round(self.store, 0), self.config.vla, self.config.warmup)

    def train_round(self, round_index: int) -> VLAPolicy:
        """Warm-start from the round before and fit D_i = D_{i-1} U D_i' with weights (eq. 9 to 12)."""
        start = load_policy(self.policy_folder(f"round-{round_index - 1}"))
        training = replace(self.config.round, weights=self.config.weights)
        return self._train(f"round-{round_index}", up_to_round(self.store, round_index), start, training)

    def train_control(self, round_index: int) -> VLAPolicy:
        """Train as long as the round did, on demonstrations only."""
        before = "round-0" if round_index == 1 else f"control-{round_index - 1}"
        return self._train(f"control-{round_index}", up_to_round(self.store, 0), load_policy(self.policy_folder(before)), self.config.round)

    def _train(self, name: str, episodes: StoreView, start: VLAPolicy | VLAConfig, training: TrainConfig) -> VLAPolicy:
        folder = self.policy_folder(name)
        if (folder / "config.json").exists():
            return load_policy(folder)
        dataset = ChunkDataset(episodes, self.config.vla, self.config.filters)
        training = replace(training, seed=training.seed + self.config.seed, progress=self.progress)
        logger.info("training %s on %d episodes, %d frames", name, len(episodes), len(dataset))
        return train(start, dataset, training, self.folder / name / "train")

    def evaluate(self, name: str) -> dict[str, EvalResult]:
        """Evaluate a policy on every environment; results are read back when they exist."""
        results: dict[str, EvalResult] = {}
        config = self.config
        for env_id in config.env_ids:
            path = self.folder / name / f"eval-{env_id}.json"
            seeds = range(config.eval_seed, config.eval_seed + config.eval_episodes)
            job = self._job(env_id, str(self.policy_folder(name)), 0)
            results[env_id] = evaluate_once(path, job, seeds, self.workers, self.progress)
        return results

    def run(self) -> dict[str, dict[str, EvalResult]]:
        """Do whatever is not done yet and return the evaluations by policy name."""
        self.collect_demonstrations()
        self.train_warmup()
        results = {"round-0": self.evaluate("round-0")} if self.config.eval_episodes else {}
        for index in range(1, self.config.rounds + 1):
            if not (self.policy_folder(f"round-{index}") / "config.json").exists():
                self.collect_corrections(index)
            self.train_round(index)
            if self.config.control:
                self.train_control(index)
            for name in (f"round-{index}", f"control-{index}"):
                if self.config.eval_episodes and (self.policy_folder(name) / "config.json").exists():
                    results[name] = self.evaluate(name)
        return results
