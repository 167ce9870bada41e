"""``dexhil collect | train | dagger``: make data and policies."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from agents.cli.robot import robot_options
from agents.collect import Quota, up_to_round
from agents.collect import collect as run_collection
from agents.dagger import CORRECTION_SEED, DEMO_SEED, DaggerRun, RunConfig
from agents.data import ChunkDataset
from agents.filters import FilterConfig
from agents.policy import load_policy
from agents.rollouts import Job, default_workers
from agents.trainer import POLICY_FOLDER, TrainConfig
from agents.trainer import train as run_training
from agents.vla.config import PRESETS
from agents.weights import WeightConfig
from dexhil_env.errors import ConfigError
from dexhil_env.hil.scripted import ScriptedConfig
from dexhil_env.registration import ENV_IDS
from dexhil_env.store import EpisodeStore

Operator = Literal["scripted", "none"]


def collect(
    out: Path,
    env: str = ENV_IDS[0],
    policy: str = "expert",
    operator: Operator = "none",
    config: Path | None = None,
    emulate: bool = False,
    episodes: int = 30,
    seed: int = DEMO_SEED,
    round: int | None = None,
    image_size: int = 128,
    workers: int | None = None,
) -> None:
    """Record episodes as a LeRobot v3.0 dataset; an interrupted recording goes on where it stopped.

    With --operator none, successful episodes of the policy are recorded (with --policy expert: demonstrations). With --operator
    scripted, the simulated human watches the policy and corrects it; --episodes then counts successful corrections, and every attempt
    is kept.

    Args:
        out: dataset folder; made if needed.
        env: environment id.
        policy: expert, zero, random, or a policy folder.
        operator: who watches.
        config: settings of the robot, for a real id.
        emulate: an emulated robot, for a real id.
        episodes: how many episodes are wanted.
        seed: first seed.
        round: DAgger round for the record; by default 0 for demonstrations and 1 for corrections.
        image_size: camera image size [px].
        workers: processes; by default one per processor.
    """
    watched = operator == "scripted"
    if round is None:
        round = int(watched)
    options = {"image_size": image_size, **robot_options(env, config, emulate)}
    job = Job(env, policy, ScriptedConfig() if watched else None, options, round_index=round)
    store = EpisodeStore(out)
    if watched and seed == DEMO_SEED:
        seed = CORRECTION_SEED
    quota = Quota(episodes, "correction" if watched else "demonstration")
    indices = run_collection(job, store, quota, seed, workers or default_workers())
    print(f"{out}: {len(indices)} episodes of this kind, {len(store)} in all. Look: dexhil dataset info {out}")


def train(
    data: Path,
    out: Path,
    start: Path | None = None,
    preset: str = "tiny",
    last_round: int = 1_000_000,
    config: TrainConfig = TrainConfig(),
    filters: FilterConfig = FilterConfig(),
    weights: WeightConfig = WeightConfig(),
) -> None:
    """Fit a policy to a dataset; the same command continues an interrupted training.

    Args:
        data: dataset folder.
        out: run folder; the policy lies in OUT/policy, curves in OUT/tensorboard.
        start: policy folder to start from; its normaliser stays fixed.
        preset: network to train from scratch when there is no --start.
        last_round: newest round of the dataset to use.
        config: steps, learning rate, batch, seed, ...
        filters: which frames are trained on.
        weights: how much corrections count (eq. 7).
    """
    if preset not in PRESETS:
        raise ConfigError(f"unknown preset {preset!r}; choose from {sorted(PRESETS)}")
    beginning = load_policy(start) if start is not None else PRESETS[preset]
    vla = beginning if start is None else beginning.config  # type: ignore[union-attr]
    dataset = ChunkDataset(up_to_round(EpisodeStore.open(data), last_round), vla, filters)  # type: ignore[arg-type]
    run_training(beginning, dataset, replace(config, weights=weights), out)
    print(f"policy: {out / POLICY_FOLDER}\nevaluate it: dexhil eval --policy {out / POLICY_FOLDER} --env ...")


def dagger(
    out: Annotated[Path, tyro.conf.Positional],
    config: RunConfig = RunConfig(),
    workers: int | None = None,
) -> None:
    """Warm-up, then rounds of correction, weighted retraining and evaluation; the same command continues an interrupted run.

    Args:
        out: run folder.
        config: the whole run.
        workers: processes for rollouts; by default one per processor.
    """
    from agents.report import write_report

    run = DaggerRun(config, out, workers or default_workers())
    run.run()
    print(f"report: {write_report(out)}")
