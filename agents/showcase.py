"""Choose and film the episodes that tell a run's story: before, the takeover, after."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.evaluate import EvalResult
from agents.film import COLOURS, film, source_spans
from agents.job import Job
from dexhil_env.hil.scripted import ScriptedConfig
from dexhil_env.registration import task_name


@dataclass(frozen=True)
class Clip:
    """A filmed episode.

    Attributes:
        path: video file.
        caption: what is seen.
        spans: (start, end, CSS colour) of the human's time, as fractions of the clip.
    """

    path: Path
    caption: str
    spans: list[tuple[float, float, str]]


def telling_seeds(first: EvalResult, last: EvalResult, count: int) -> list[int]:
    """Seeds on which the later policy succeeds and the earlier fails; filled up with the first seeds."""
    won = [seed for seed, a, b in zip(first.seeds, first.success, last.success, strict=True) if b and not a]
    return (won + [seed for seed in first.seeds if seed not in won])[:count]


def film_run(
    folder: Path, config: dict[str, Any], names: list[str], results: dict[str, dict[str, EvalResult]], target: Path, count: int
) -> list[Clip]:
    """Film ``count`` seeds per environment: warm-up policy, warm-up policy with the simulated human, newest policy."""
    rounds = [name for name in names if name.startswith("round-") and results[name]]
    clips: list[Clip] = []
    if len(rounds) < 2:
        return clips
    for env_id in config["env_ids"]:
        task = task_name(env_id)
        for seed in telling_seeds(results[rounds[0]][env_id], results[rounds[-1]][env_id], count):
            stories = (
                ("before", "round-0", None, f"{task}, seed {seed}: the warm-up policy alone"),
                ("takeover", "round-0", ScriptedConfig(), f"{task}, seed {seed}: the simulated human watches it and takes over"),
                ("after", rounds[-1], None, f"{task}, seed {seed}: the policy after {rounds[-1].replace('-', ' ')}, alone"),
            )
            for word, name, operator, caption in stories:
                path = target / f"{task}-{seed}-{word}.mp4"
                policy = str(folder / name / "train" / "policy")
                episode = film(Job(env_id, policy, operator, {"image_size": config["image_size"]}), seed, path)
                length = len(episode)
                spans = [(start / length, end / length, f"rgb{COLOURS[source]}") for start, end, source in source_spans(episode)]
                outcome = "success" if episode.is_success else "no success"
                clips.append(Clip(path, f"{caption}: {outcome} after {length / episode.fps:.1f} s", spans))
    return clips
