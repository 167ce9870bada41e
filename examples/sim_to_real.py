"""From the twin to a robot: how much does a policy lose, and does one round of correction on the robot bring it back?

The robot is emulated and set away from the twin (friction, latency, noise, camera delay); the true drivers talk to it over the wire. A
control is trained for as many steps without the corrections: what it gains is training, not correction. Every part is kept in the folder,
so the same command continues an interrupted run. About 90 minutes on two idle cores.

    python examples/sim_to_real.py runs/sim_to_real
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from agents.cli.demo import SHIPPED
from agents.collect import JoinedView, Quota, StoreView, collect
from agents.data import ChunkDataset
from agents.evaluate import EvalResult, evaluate_once
from agents.filters import FilterConfig
from agents.job import Job
from agents.policy import load_policy
from agents.recovery import recover_emulated
from agents.statistics import compare_paired, wilson_interval
from agents.trainer import POLICY_FOLDER, TrainConfig, train
from agents.weights import WeightConfig
from agents.workers import default_workers
from dexhil_env.hil.scripted import ScriptedConfig
from dexhil_env.registration import ENV_IDS, REAL_IDS, task_name
from dexhil_env.sim.scene import SceneConfig
from dexhil_env.sim.tuning import RobotTuning
from dexhil_env.store import EpisodeStore
from dexhil_env.store.files import write_json
from real.fr3_config import FR3Config

REALITY: dict[str, float] = {
    "arm_friction": 2.0, "arm_damping": 1.5, "hand_gain": 0.8, "hand_latency_s": 0.03, "camera_delay_s": 0.04, "encoder_noise": 2e-4,
}  # fmt: skip
EVAL_SEED, CORRECTION_SEED = 3_200_000, 2_900_000
"""First seeds of evaluation and of corrections; used for nothing else."""


@dataclass(frozen=True)
class Settings:
    """What to run.

    Attributes:
        episodes: evaluation episodes per task and place.
        corrections: corrected episodes per task in the round on the robot.
        steps: training steps of the round.
        policy: policy folder; by default the warm-up policy that ships with the repository.
        demonstrations: dataset of its demonstrations.
    """

    episodes: int = 30
    corrections: int = 10
    steps: int = 1000
    policy: Path = SHIPPED / "round-0" / "train" / POLICY_FOLDER
    demonstrations: Path = SHIPPED / "data"


def measure(folder: Path, name: str, policy: Path, settings: Settings, places: tuple[str, ...]) -> dict[str, EvalResult]:
    """Evaluate in the twin, in the twin with the robot's limits, over the wire on a robot like the twin, and on the perturbed robot."""
    gentle = SceneConfig(tuning=RobotTuning(arm_speed=FR3Config.speed, arm_acceleration=FR3Config.acceleration))
    seeds = range(EVAL_SEED, EVAL_SEED + settings.episodes)
    found: dict[str, EvalResult] = {}
    for env_id, real_id in zip(ENV_IDS, REAL_IDS, strict=True):
        all_places: dict[str, tuple[str, dict[str, Any], int]] = {
            "twin": (env_id, {}, default_workers()),
            "limits": (env_id, {"scene": gentle}, default_workers()),
            "wire": (real_id, {"emulate": True}, 1),
            "robot": (real_id, {"emulate": True, "reality": REALITY}, 1),
        }
        for place in places:
            key = f"{task_name(env_id)}-{place}"
            where, options, workers = all_places[place]
            job = Job(where, str(policy), env_kwargs=options)
            found[key] = evaluate_once(folder / f"{name}-{key}.json", job, seeds, workers, go_on=recover_emulated)
            low, high = found[key].interval
            print(f"{name:>7} {key:<13} {found[key].n_success}/{len(seeds)}  [{low:.0%}, {high:.0%}]", flush=True)
    return found


def correct(folder: Path, settings: Settings) -> EpisodeStore:
    """Collect one round's corrections by the simulated human, over the wire, on the perturbed robot."""
    corrections = EpisodeStore(folder / "corrections")
    quota = Quota(settings.corrections, "correction", max_tries=6, required=False)
    for index, real_id in enumerate(REAL_IDS):
        job = Job(real_id, str(settings.policy), ScriptedConfig(handback="when_safe"), {"emulate": True, "reality": REALITY}, round_index=1)
        collect(job, corrections, quota, CORRECTION_SEED + 10_000 * index, go_on=recover_emulated)
    return corrections


def retrain(folder: Path, name: str, settings: Settings, *extra: EpisodeStore) -> Path:
    """Train the policy on its demonstrations and ``extra``, weighted; return the new policy's folder."""
    target = folder / name
    if not (target / POLICY_FOLDER / "config.json").exists():
        shutil.rmtree(target, ignore_errors=True)
        start, demonstrations = load_policy(settings.policy), EpisodeStore.open(settings.demonstrations)
        parts = [StoreView(store, list(range(len(store)))) for store in (demonstrations, *extra)]
        data = ChunkDataset(JoinedView(parts), start.config, FilterConfig(intervention_free="drop"), cache=folder / f"{name}-frames")
        train(start, data, replace(TrainConfig(steps=settings.steps, lr=5e-4, warmup=30), weights=WeightConfig()), target)
    return target / POLICY_FOLDER


def pooled(results: dict[str, EvalResult]) -> dict[str, list[bool]]:
    """Return the outcomes by task and place, and by place over both tasks, whose episodes are as many."""
    outcomes = {key: list(result.success) for key, result in results.items()}
    for place in dict.fromkeys(key.rsplit("-", 1)[1] for key in results):
        outcomes[f"both-{place}"] = [good for key, result in results.items() if key.endswith(f"-{place}") for good in result.success]
    return outcomes


def summarise(results: dict[str, dict[str, EvalResult]]) -> dict[str, Any]:
    """Successes of every policy in every place with intervals, and differences, paired by seed.

    Args:
        results: by policy and place; ``before`` is the policy that came from the twin.
    """
    rows: dict[str, Any] = {}
    outcomes = {name: pooled(found) for name, found in results.items()}
    before = outcomes["before"]
    for name, found in outcomes.items():
        for key, good in found.items():
            rows[f"{name} {key}"] = row = {"success": sum(good), "n": len(good), "ci95": wilson_interval(sum(good), len(good))}
            line = f"{name:>8} {key:<14} {sum(good):>3} of {len(good)}"
            others = {"before": before[key]} if name != "before" else {}
            if not key.endswith("-twin"):
                others["twin before"] = before[key.rsplit("-", 1)[0] + "-twin"]
            if name == "after" and key in outcomes.get("control", {}):
                others["control"] = outcomes["control"][key]
            for other, was in others.items():
                change = compare_paired(was, good)
                row[f"minus {other}"] = {"difference": change.difference, "ci95": [change.low, change.high], "p": change.p_value}
                line += f"   minus {other}: {change.difference:+.0%} [{change.low:+.0%}, {change.high:+.0%}]"
            print(line)
    return rows


def main(folder: tyro.conf.Positional[Path], settings: Settings = Settings()) -> None:
    """Measure, correct one round on the robot, measure again."""
    folder.mkdir(parents=True, exist_ok=True)
    before = measure(folder, "before", settings.policy, settings, ("twin", "limits", "wire", "robot"))
    after = measure(folder, "after", retrain(folder, "train", settings, correct(folder, settings)), settings, ("robot", "twin", "limits"))
    control = measure(folder, "control", retrain(folder, "control", settings), settings, ("robot",))
    summary: dict[str, Any] = {"reality": REALITY, "episodes": settings.episodes, "first_seed": EVAL_SEED}
    summary["results"] = summarise({"before": before, "after": after, "control": control})
    write_json(folder / "summary.json", summary)


if __name__ == "__main__":
    tyro.cli(main)
