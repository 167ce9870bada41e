"""What a study is: fixed before it starts, written beside its results."""

import json
import math
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from agents.dagger import EVAL_SEED
from agents.study.arms import ARMS, DEFAULT_ARMS, MAIN_ARMS
from agents.trainer import TrainConfig
from agents.vla.config import PRESETS, VLAConfig
from agents.weights import WeightConfig
from dexhil_env.errors import ConfigError
from dexhil_env.hil.motion import MotionConfig
from dexhil_env.hil.scripted import ScriptedConfig

STUDY_TASKS: Final[dict[str, dict[str, Any]]] = {
    "DexHiL-PlushSim-v0": {
        "toy_x_m": (0.40, 0.72), "toy_y_m": (-0.24, 0.24), "toy_yaw_rad": (-math.pi, math.pi), "randomise_physics": True,
    },
    "DexHiL-TissueSim-v0": {"pack_x_m": (0.46, 0.70), "pack_y_m": (-0.15, 0.15), "pack_yaw_rad": (-1.9, -0.7)},
}  # fmt: skip
"""How hard the tasks are: chosen on tuning seeds so that a policy of 30 demonstrations has room to gain (docs/study_log.md)."""
OFFLINE_TASKS: Final[dict[str, dict[str, Any]]] = {
    "DexHiL-PlushSim-v0": {"toy_x_m": (0.49, 0.63), "toy_y_m": (-0.09, 0.09), "toy_yaw_rad": (0.6, 2.5)},
    "DexHiL-TissueSim-v0": {"pack_x_m": (0.53, 0.63), "pack_y_m": (-0.06, 0.06), "pack_yaw_rad": (-1.6, -1.0)},
}
"""Scenes of demonstrations that were recorded elsewhere, in the study ``moved``: a fifth of the area where the policy works, and a part of
the angles. In the middle of :data:`STUDY_TASKS`; chosen once, not tuned."""
STUDY_HUMAN: Final = ScriptedConfig(
    handback="when_safe", give_up_s=5.0,
    motion=MotionConfig(
        max_speed=0.15, max_acceleration=0.6, max_turn_rate=0.75, max_turn_acceleration=3.0,
        max_finger_rate=1.2, max_finger_acceleration=8.0,
    ),
)  # fmt: skip
"""The simulated human: moves as slowly as people do with a robot (a demonstration takes 5 to 6 s), gives the arm back after 1 s without
risk, and gives a trial up after 5 s, twice what a correction takes."""

STUDY_VLA: Final = VLAConfig(shift_px=2, brightness=0.1, state_dropout=0.0, state_noise=0.0)
"""The tiny policy; hiding the state in training cost success in every pilot."""


@dataclass(frozen=True)
class StudyConfig:
    """One study. The protocol is the paper's: 30 demonstrations per task, 3 rounds of 10 corrections per task, one policy for both tasks.

    Attributes:
        env_ids: environments; one policy learns all of them.
        env_kwargs: further arguments of each environment, by id: how hard the tasks are.
        demo_kwargs: arguments that differ while demonstrations are recorded, by id: where the warm-up (and the Baseline) come from.
        arms: what is compared, names of :data:`agents.study.arms.ARMS`.
        every_round: arms that are evaluated after every round; the others after the last one only.
        seeds: training seeds; each has its own demonstrations, corrections, initial weights and batches.
        rounds: rounds of post-training.
        demos: demonstrations per environment for the warm-up.
        corrections: corrected episodes (or further demonstrations, for the Baseline) per environment and round.
        max_tries: attempts per environment and round, as a multiple of ``corrections``, after which a round goes on with fewer.
        vla: the network.
        warmup: training of the warm-up.
        round: training of each round; the same for all arms.
        operator: habits of the simulated human.
        eval_episodes: evaluation episodes per environment and policy.
        eval_seed: first evaluation seed; the same seeds for all arms, so that comparisons are paired.
        max_episode_steps: time limit of an episode [control periods of 50 ms].
        image_size: camera image size [px].
    """

    env_ids: tuple[str, ...] = ("DexHiL-PlushSim-v0", "DexHiL-TissueSim-v0")
    env_kwargs: dict[str, dict[str, Any]] = field(default_factory=lambda: deepcopy(STUDY_TASKS))
    demo_kwargs: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    arms: tuple[str, ...] = DEFAULT_ARMS
    every_round: tuple[str, ...] = MAIN_ARMS
    seeds: tuple[int, ...] = (0, 1, 2)
    rounds: int = 3
    demos: int = 30
    corrections: int = 10
    max_tries: int = 4
    vla: VLAConfig = STUDY_VLA
    warmup: TrainConfig = field(default_factory=lambda: TrainConfig(steps=800, tensorboard=False))
    round: TrainConfig = field(default_factory=lambda: TrainConfig(steps=1000, lr=5e-4, warmup=30, tensorboard=False))
    operator: ScriptedConfig = STUDY_HUMAN
    eval_episodes: int = 50
    eval_seed: int = EVAL_SEED
    max_episode_steps: int = 300
    image_size: int = 128

    def __post_init__(self) -> None:
        """Refuse studies that cannot work."""
        unknown = [name for name in (*self.arms, *self.every_round) if name not in ARMS]
        if unknown:
            raise ConfigError(f"unknown arms {unknown}; known are {list(ARMS)}")
        missing = [name for name in self.arms if ARMS[name].data == "shared" and ARMS[name].share not in self.arms]
        if missing:
            raise ConfigError(f"arms {missing} use the corrections of {[ARMS[name].share for name in missing]}; add those to --config.arms")
        if not self.env_ids or not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"env_ids and different seeds are needed; got {self.env_ids}, {self.seeds}")
        if min(self.rounds, self.demos, self.corrections, self.max_tries, self.eval_episodes) < 1:
            raise ConfigError("rounds, demos, corrections, max_tries and eval_episodes must be at least 1")

    def operator_of(self, arm: str) -> ScriptedConfig:
        """Return the simulated human of an arm."""
        return replace(self.operator, **ARMS[arm].operator)


def smoke() -> StudyConfig:
    """A study of seconds: proves the machinery, says nothing about the methods."""
    brief = TrainConfig(steps=4, batch_size=4, warmup=1, log_every=2, save_every=2, tensorboard=False)
    return StudyConfig(
        env_kwargs={}, operator=ScriptedConfig(), arms=("dexhil", "dagger", "baseline", "on-site"), seeds=(0,), rounds=1, demos=1,
        corrections=1,
        max_tries=2, vla=PRESETS["debug"], warmup=brief, round=brief, eval_episodes=1, max_episode_steps=100, image_size=32,
    )  # fmt: skip


def moved() -> StudyConfig:
    """The study of a policy that works elsewhere than it was demonstrated: scenes vary more than in the offline demonstrations.

    Everything else is as in the paper's protocol; the Baseline's further demonstrations are offline ones too.
    """
    return StudyConfig(
        demo_kwargs=deepcopy(OFFLINE_TASKS),
        arms=("dexhil", "dagger", "baseline", "control", "no-filter", "trimmed", "loss", "on-site"),
        every_round=("dexhil",),
    )


def described(config: StudyConfig) -> dict[str, Any]:
    """Return a configuration with the definitions of its arms, as it is written to disk."""
    return {**asdict(config), "definitions": {name: asdict(ARMS[name]) for name in config.arms}}


def read_config(folder: Path) -> StudyConfig:
    """Read the configuration of a study folder.

    Raises:
        ConfigError: it holds none, or one of another version.
    """
    path = folder / "config.json"
    if not path.exists():
        raise ConfigError(f"{folder} is no study (config.json is missing); start one with `dexhil study run {folder}`")
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    values.pop("definitions", None)
    try:
        values |= {"vla": VLAConfig.from_dict(values["vla"]), "warmup": _training(values["warmup"]), "round": _training(values["round"])}
        operator = values["operator"]
        values["operator"] = ScriptedConfig(**{**operator, "motion": MotionConfig(**operator["motion"])})
        fixed: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return StudyConfig(**fixed)
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{path} was written by another version: {error}") from error


def _training(values: dict[str, Any]) -> TrainConfig:
    return TrainConfig(**{**values, "betas": tuple(values["betas"]), "weights": WeightConfig(**values["weights"])})
