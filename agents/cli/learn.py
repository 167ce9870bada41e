"""``dexhil collect | train | dagger``: make data and policies."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from agents.cli.operators import DeviceOptions, Devices, human, leave_terminal, time_limit
from agents.cli.robot import robot_options
from agents.collect import Quota, up_to_round
from agents.collect import collect as run_collection
from agents.dagger import CORRECTION_SEED, DEMO_SEED, DaggerRun, RunConfig
from agents.data import ChunkDataset
from agents.filters import FilterConfig
from agents.job import Delay, Job
from agents.parallel import spread
from agents.parallel.config import ScaleConfig
from agents.policy import VLAPolicy, load_policy
from agents.trainer import POLICY_FOLDER, TrainConfig
from agents.trainer import train as run_training
from agents.vla.config import PRESETS, VLAConfig
from agents.weights import WeightConfig
from agents.workers import parse_workers
from dexhil_env.errors import ConfigError
from dexhil_env.hil.live.registry import OperatorSpec
from dexhil_env.registration import ENV_IDS
from dexhil_env.store import EpisodeStore


def collect(
    out: Path,
    env: str = ENV_IDS[0],
    policy: str = "expert",
    operator: str = "none",
    config: Path | None = None,
    emulate: bool = False,
    episodes: int = 30,
    seed: int = DEMO_SEED,
    round: int | None = None,
    image_size: int = 128,
    workers: str | None = None,
    delay: Delay | None = None,
    devices: Devices = DeviceOptions(),
) -> None:
    """Record episodes as a LeRobot v3.0 dataset; an interrupted recording goes on where it stopped.

    With --operator none, successful episodes of the policy are recorded (with --policy expert: demonstrations). With --operator
    scripted, the simulated human watches the policy and corrects it; --episodes then counts successful corrections, and every attempt
    is kept. With --operator console, keyboard or aruco-glove you do that; with --policy none you demonstrate: you drive from the start.

    Args:
        out: dataset folder; made if needed.
        env: environment id.
        policy: expert, zero, random, or a policy folder; none with a person who demonstrates.
        operator: who watches: none, scripted, console, keyboard or aruco-glove.
        config: settings of the robot, for a real id.
        emulate: an emulated robot, for a real id.
        episodes: how many episodes are wanted.
        seed: first seed.
        round: DAgger round for the record; by default 0 for demonstrations and 1 for corrections.
        image_size: camera image size [px].
        workers: processes, by default one per processor; or ray:N, ray:N@ADDRESS (docs/scale.md).
        delay: the policy plans on while its last chunk is executed, as in dexhil eval; measured with a person or a robot.
        devices: what you have in the hands.
    """
    demonstrate = policy == "none"
    if demonstrate and operator in ("none", "scripted"):
        raise ConfigError("--policy none is for a person who demonstrates: add --operator console")
    watched = operator != "none" and not demonstrate
    person = human(operator, out, demonstrate=demonstrate, devices=devices, episodes=episodes)
    if round is None:
        round = int(watched)
    options = {"image_size": image_size, **robot_options(env, config, emulate), **leave_terminal(operator, config)}
    job = Job(env, "zero" if demonstrate else policy, person, options, round_index=round, max_episode_steps=time_limit(person), delay=delay)
    store = EpisodeStore(out)
    if watched and seed == DEMO_SEED:
        seed = CORRECTION_SEED
    quota = Quota(episodes, "correction" if watched else "demonstration")
    indices = run_collection(job, store, quota, seed, parse_workers(workers))
    print(f"{out}: {len(indices)} episodes of this kind, {len(store)} in all. Look: dexhil dataset info {out}")


def train(
    data: Path,
    out: Path,
    start: Path | None = None,
    preset: str = "tiny",
    backbone: str | None = None,
    last_round: int = 1_000_000,
    rtc_max_delay: int | None = None,
    config: TrainConfig = TrainConfig(),
    scale: Annotated[ScaleConfig, tyro.conf.arg(name="")] = ScaleConfig(),
    filters: FilterConfig = FilterConfig(),
    weights: WeightConfig = WeightConfig(),
) -> None:
    """Fit a policy to a dataset; the same command continues an interrupted training.

    On several GPUs: torchrun --nproc-per-node N -m agents.cli train ... --parallel fsdp2 --config.device cuda (docs/large_models.md).

    Args:
        data: dataset folder.
        out: run folder; the policy lies in OUT/policy, curves in OUT/tensorboard.
        start: policy folder to start from; its normaliser stays fixed.
        preset: network to train when there is no --start.
        backbone: folder or hub id of a pretrained vision-language model or Being-H0.5 checkpoint, for a large preset.
        last_round: newest round of the dataset to use.
        rtc_max_delay: learn to continue 0 to this many given actions, for --delay of eval and rollout (docs/learning.md); by default as
            --start did, or not at all.
        config: steps, learning rate, batch, seed, ...
        scale: what learns, in which precision, on how many processes.
        filters: which frames are trained on.
        weights: how much corrections count (eq. 7).
    """
    spread.join(scale, config.device)
    beginning: VLAPolicy | VLAConfig = load_policy(start) if start is not None else beginning_of(preset, backbone)
    if rtc_max_delay is not None:
        beginning = _given_actions(beginning, rtc_max_delay)
    vla = beginning if isinstance(beginning, VLAConfig) else beginning.config
    with spread.first_rank_first():  # frames are decoded once
        dataset = ChunkDataset(up_to_round(EpisodeStore.open(data), last_round), vla, filters)
    run_training(beginning, dataset, replace(config, weights=weights), out, scale=scale)
    if spread.rank() == 0:
        print(f"policy: {out / POLICY_FOLDER}\nevaluate it: dexhil eval --policy {out / POLICY_FOLDER} --env ...")
    spread.leave()


def _given_actions(beginning: VLAPolicy | VLAConfig, most: int) -> VLAPolicy | VLAConfig:
    """Return what training starts from, to be given up to ``most`` actions; the network is the same."""
    if isinstance(beginning, VLAConfig):
        return replace(beginning, rtc_max_delay=most)
    beginning.config = replace(beginning.config, rtc_max_delay=most)
    return beginning


def beginning_of(preset: str, backbone: str | None) -> VLAConfig:
    """Return the configuration of a training from scratch or from a pretrained backbone."""
    if preset not in PRESETS:
        raise ConfigError(f"unknown preset {preset!r}; choose from {sorted(PRESETS)}")
    if backbone is None:
        return PRESETS[preset]
    from agents.vla.sources import with_backbone

    return with_backbone(PRESETS[preset], backbone)


def dagger(
    out: Annotated[Path, tyro.conf.Positional],
    config: RunConfig = RunConfig(),
    operator: str = "scripted",
    workers: str | None = None,
    devices: Devices = DeviceOptions(),
) -> None:
    """Warm-up, then rounds of correction, weighted retraining and evaluation; the same command continues an interrupted run.

    Args:
        out: run folder.
        config: the whole run.
        operator: who corrects: scripted, console, keyboard or aruco-glove. A run may change it; every episode says who it was.
        workers: processes for rollouts, by default one per processor; or ray:N, ray:N@ADDRESS (docs/scale.md).
        devices: what you have in the hands.
    """
    from agents.report import write_report

    person = human(operator, out / "data", devices=devices, episodes=config.corrections)
    if person is None:
        raise ConfigError("somebody must correct: --operator scripted, console, keyboard or aruco-glove")
    run = DaggerRun(config, out, parse_workers(workers), person=person if isinstance(person, OperatorSpec) else None)
    run.run()
    print(f"report: {write_report(out)}")
