"""What a run folder holds, read for its report."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.evaluate import EvalResult
from dexhil_env.episode import Episode
from dexhil_env.errors import DatasetError
from dexhil_env.store import EpisodeStore


@dataclass(frozen=True)
class RunData:
    """What a run folder holds.

    Attributes:
        folder: the run.
        config: its configuration.
        names: policies in order: ``round-0``, ``round-1``, ``control-1``, ...
        results: policy -> environment -> evaluation.
        losses: policy -> rows of ``metrics.jsonl``.
        episodes: all recorded episodes, without images.
    """

    folder: Path
    config: dict[str, Any]
    names: list[str]
    results: dict[str, dict[str, EvalResult]]
    losses: dict[str, list[dict[str, Any]]]
    episodes: list[Episode]


def read_run(folder: str | Path) -> RunData:
    """Read a run folder.

    Raises:
        DatasetError: it is no run.
    """
    folder = Path(folder)
    if not (folder / "config.json").exists():
        raise DatasetError(f"{folder} is no run folder (config.json is missing); make one with `dexhil dagger {folder}` or `dexhil demo`")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found = [path.name for path in folder.iterdir() if path.name.startswith(("round-", "control-"))]
    names = sorted(found, key=lambda name: (int(name.split("-")[1]), name.startswith("control")))
    results = {
        name: {path.stem.removeprefix("eval-"): EvalResult.load(path) for path in sorted((folder / name).glob("eval-*.json"))}
        for name in names
    }
    losses: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        path = folder / name / "train" / "metrics.jsonl"
        losses[name] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    store = EpisodeStore(folder / "data")
    return RunData(folder, config, names, results, losses, [store.read_columns(i) for i in range(len(store))])
