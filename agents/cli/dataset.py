"""``dexhil dataset ...``: look at datasets and keep them healthy."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from dexhil_env.errors import DatasetError
from dexhil_env.store import EpisodeStore, maintain
from dexhil_env.types import Source

Root = Annotated[Path, tyro.conf.Positional]


def _bar(items: Iterable[int]) -> Iterable[int]:
    return tqdm(items, unit="ep", leave=False)


def info(root: Root) -> None:
    """Say what a dataset holds: episodes, frames, successes and interventions per task and round.

    Args:
        root: dataset folder.
    """
    store = EpisodeStore.open(root)
    assert store.layout is not None
    rows: dict[tuple[str, int], list[Any]] = {}
    for index in range(len(store)):
        episode = store.read_columns(index)
        human = episode.intervention.sum() / episode.fps
        rows.setdefault((episode.instruction, episode.round), []).append((len(episode), episode.is_success, human))
    table = Table("task", "round", "episodes", "succeeded", "with intervention", "minutes", "human minutes")
    for (task, round_index), items in sorted(rows.items()):
        length, success, human = (np.array(column) for column in zip(*items, strict=True))
        minutes, labour = length.sum() / store.layout.fps / 60, human.sum() / 60
        kind = f"{round_index} (demos)" if round_index == 0 else str(round_index)
        table.add_row(task, kind, str(len(items)), str(success.sum()), str((human > 0).sum()), f"{minutes:.1f}", f"{labour:.1f}")
    console = Console()
    console.print(f"{root}: {len(store)} episodes, {store.frames} frames at {store.layout.fps} Hz, cameras {store.layout.cameras}")
    console.print(table)


def check(root: Root) -> None:
    """Read every row and frame and report problems; changes nothing. Exits with 1 if there are any.

    Args:
        root: dataset folder.
    """
    _print_report(maintain.check(root, _bar), root)


def repair(root: Root) -> None:
    """Mend a dataset after a crash. Nothing is deleted: what cannot be used goes to ROOT/quarantine.

    Args:
        root: dataset folder.
    """
    _print_report(maintain.repair(root, _bar), root)


def _print_report(report: maintain.Report, root: Path) -> None:
    for problem in report.problems:
        print(f"  problem: {problem}")
    if report.problems:
        raise DatasetError(f"{len(report.problems)} problems in {root}; `dexhil dataset repair {root}` mends what can be mended")
    print(f"{root}: {report.episodes} episodes, no problems")


def compact(root: Root) -> None:
    """Join the small files of a dataset into large ones, bit for bit; the old files go to ROOT/quarantine.

    Args:
        root: dataset folder.
    """
    store = maintain.compact(root, _bar)
    print(f"{root}: {len(store)} episodes in large files; delete {root}/quarantine when you are content")


def merge(sources: Annotated[tuple[Path, ...], tyro.conf.Positional], out: Path) -> None:
    """Write the episodes of several datasets into a new one; videos are copied, not re-encoded.

    Args:
        sources: dataset folders, in order.
        out: new dataset folder.
    """
    store = maintain.merge(list(sources), out, _bar)
    print(f"{out}: {len(store)} episodes")


def video(root: Root, out: Path = Path("episode.mp4"), episode: int = 0, scale: int = 2) -> None:
    """Write an episode as a video, all cameras side by side, with a frame around what the person drove.

    Args:
        root: dataset folder.
        out: video file.
        episode: episode number.
        scale: enlargement.
    """
    from agents.film import mark, write_video

    item = EpisodeStore.open(root).read(episode)
    if not item.images:
        raise DatasetError(f"episode {episode} of {root} was recorded without cameras")
    frames = np.concatenate(list(item.images.values()), axis=2).repeat(scale, 1).repeat(scale, 2)
    sources = [Source(int(code)) for code in item.intervention_source]
    write_video(out, mark(frames, sources), item.fps)
    print(f"{out}: {len(item)} frames, {'succeeded' if item.is_success else 'failed'}, {item.intervention.mean():.0%} driven by the person")


def import_(source: Root, map: Path, out: Path) -> None:
    """Turn somebody else's LeRobot dataset (v3.0, v2.1) into one of ours; an interrupted import goes on.

    Args:
        source: their dataset folder.
        map: JSON that says which of their columns are our state, action, pictures and labels (docs/data.md).
        out: dataset folder, new or one that holds episodes of the same layout.
    """
    from dexhil_env.store.interop.column_map import read_column_map
    from dexhil_env.store.interop.importing import import_dataset

    store = import_dataset(source, read_column_map(map), out, _bar)
    print(f"{out}: {len(store)} episodes, {store.frames} frames. Look: dexhil dataset info {out}")


def export(root: Root, out: Path, label: str = "intervention", style: Literal["bool", "sirius"] = "bool") -> None:
    """Write a dataset in LeRobot's older layout v2.1, which openpi, GR00T and Being-H read; videos are copied.

    Args:
        root: dataset folder.
        out: new folder.
        label: name of the column that says who drove (is_intervention, intervene_flag, action_modes, ...).
        style: how it is written: bool, or sirius (-1 demonstration, 0 policy, 1 person, -10 before a takeover).
    """
    from dexhil_env.store.interop.export import export_v21

    store = EpisodeStore.open(root)
    export_v21(store, out, label, style, _bar)
    print(f"{out}: {len(store)} episodes in layout v2.1")


COMMANDS: dict[str, Callable[..., None]] = {
    "info": info,
    "check": check,
    "repair": repair,
    "compact": compact,
    "merge": merge,
    "video": video,
    "import": import_,
    "export": export,
}
