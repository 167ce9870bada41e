"""``dexhil real record``, ``identify`` and ``gap``: from a robot's motion to a twin that moves like it."""

from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import Progress

from dexhil_env import robot
from dexhil_env.errors import ConfigError
from dexhil_env.types import F64
from real.sysid.log import LONGEST_GAP_S, MotionLog
from real.tasks import ask_on_terminal

Kind = Literal["both", "arm", "hand"]


def record(
    config: Path,
    out: Path,
    motion: Kind = "both",
    seconds: float = 50.0,
    scale: float = 1.0,
    seed: int = 0,
    dataset: Path | None = None,
    episode: int = 0,
    yes: bool = False,
) -> None:
    """Drive the robot through a motion that shows what it is like, and write a log of commands and measurements.

    Args:
        config: settings of the robot.
        out: file to write, ``.npz``.
        motion: what moves; small motions around home.
        seconds: how long.
        scale: of the distances from home, in (0, 1]; begin with less on a robot you do not know.
        seed: of the arm's motion.
        dataset: replay the commands of an episode of this dataset instead; clear the table before.
        episode: its number.
        yes: do not ask.
    """
    from real.backend import RealBackend
    from real.config import load_config
    from real.sysid.recorder import record as record_motion

    settings, console = load_config(config), Console()
    _check_out(out, ".npz")
    plan = _plan(motion, seconds, scale, seed, dataset, episode)
    question = (
        f"Arm and hand will move for {len(plan) * robot.SERVO_PERIOD_S:.0f} s. Is the space free, your hand at the user stop? Type yes: "
    )
    if not yes and ask_on_terminal(question).strip().lower() != "yes":
        console.print("Nothing was moved.")
        return
    backend = RealBackend(settings)
    try:
        backend.recover()
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("recording", total=1.0)
            log = record_motion(
                backend, plan, {"motion": str(dataset) if dataset else motion}, lambda done: progress.update(bar, completed=done)
            )
    finally:
        backend.close()
    log.save(out)
    _tell_gaps(log, console)
    console.print(f"{len(log)} targets, {len(log.state_s)} states of the arm in {log.duration_s:.1f} s: {out}")
    console.print(f"Next: dexhil real identify --log {out}" if dataset is None else f"Next: dexhil real gap --log {out}")


def identify(log: Path, out: Path = Path("tuning.toml"), report: Path | None = None) -> None:
    """Identify friction, damping, gains and latencies from a log, and write a tuning with which the twin moves like that robot.

    Args:
        log: written by ``dexhil real record``.
        out: tuning to write.
        report: web page to write; by default beside the tuning.
    """
    from dexhil_env.store.files import write_whole
    from real.sysid.identify import identify as identify_log
    from real.sysid.page import identification_page, write_page
    from real.sysid.tables import gap_table, parameter_tables

    _check_out(out, ".toml")
    page, console, read = report or out.with_suffix(".html"), Console(), MotionLog.load(log)
    _tell_gaps(read, console)
    found = identify_log(read)
    for table in parameter_tables(found.estimates):
        console.print(table)
    console.print(gap_table({"twin": found.before, "tuned twin": found.after}))
    head = f"# Of a robot: {read.facts.get('source', 'unknown')}, {read.facts.get('date', 'unknown')}; written by dexhil real identify.\n"
    write_whole(out, lambda beside: _fill(beside, head + found.tuning.toml()))
    write_page(identification_page(found, read), page)
    console.print(f"written: {out} and {page}\nUse it: SceneConfig(tuning=RobotTuning.load({str(out)!r})), see docs/sim_to_real.md")


def gap(
    log: Path | None = None,
    dataset: Path | None = None,
    episode: int = 0,
    tuning: Path | None = None,
    out: Path = Path("gap.html"),
) -> None:
    """Give a robot's commands to the twin, and report how far the two motions are apart.

    Args:
        log: written by ``dexhil real record``; or
        dataset: folder of a dataset that was recorded on a robot. Its objects are not in the twin: contact is part of the difference.
        episode: its number.
        tuning: compare with the twin tuned by this file as well.
        out: web page to write.
    """
    from dexhil_env.sim.tuning import RobotTuning
    from real.sysid.compare import compare
    from real.sysid.page import gap_page, write_page
    from real.sysid.replay import measured, replay
    from real.sysid.tables import gap_table

    if (log is None) == (dataset is None):
        raise ConfigError("gap needs either --log FILE or --dataset FOLDER")
    _check_out(out, ".html")
    read = MotionLog.load(log) if log is not None else _episode(dataset or Path(), episode)
    tracks = {"robot": measured(read), "twin": replay(read)}
    if tuning is not None:
        tracks["tuned twin"] = replay(read, RobotTuning.load(tuning))
    found = {name: compare(tracks["robot"], track, read.mount) for name, track in tracks.items() if name != "robot"}
    write_page(gap_page(found, tracks, read), out)
    console = Console()
    console.print(gap_table(found))
    for name, each in found.items():
        palm = 1e3 * each.palm_m
        console.print(f"palm, robot against {name}: mean {palm.mean():.2f} mm, max {palm.max():.2f} mm")
    console.print(f"written: {out}")


def _tell_gaps(log: MotionLog, console: Console) -> None:
    """Warn of a recording that was disturbed."""
    if (gap_s := log.longest_gap_s) > LONGEST_GAP_S:
        console.print(
            f"[yellow]For {1e3 * gap_s:.0f} ms of this recording the arm got no targets or was not heard: the computer was busy elsewhere. "
            "Friction and latencies are less exact than their intervals say; close other programs and record again.[/]"
        )


def _plan(motion: Kind, seconds: float, scale: float, seed: int, dataset: Path | None, episode: int) -> F64:
    from real.sysid import excitation

    if dataset is not None:
        return _episode(dataset, episode).target
    if motion == "arm":
        return excitation.arm_plan(seconds, scale, seed)
    return excitation.hand_plan(seconds, scale) if motion == "hand" else excitation.both_plan(seconds, scale, seed)


def _episode(dataset: Path, episode: int) -> MotionLog:
    from real.sysid.episode import read_episode

    return read_episode(dataset, episode)


def _check_out(path: Path, suffix: str) -> None:
    """Refuse a place where nothing can be written before anything moves."""
    if path.suffix != suffix:
        raise ConfigError(f"the file to write must end in {suffix}; got {str(path)!r}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"the folder {str(path.absolute().parent)!r} does not exist; make it first")


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
