"""``dexhil retarget train | calibrate | eval``: from a person's hand to the DexHand021."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agents.retarget.calibrate import calibrate as make_profile
from agents.retarget.evaluate import average, compare, generated, recorded
from agents.retarget.metrics import BARS
from agents.retarget.train import PERSONAL, TrainConfig, train_shipped
from dexhil_env.errors import ConfigError
from dexhil_env.hil.retarget.keypoints import HandFrame, load_recording
from dexhil_env.hil.retarget.profile import Profile
from dexhil_env.hil.retarget.retargeter import HandTracker, Retargeter
from dexhil_env.store.files import write_json

log = logging.getLogger(__name__)


def train(out: Path, seed: int = 0, config: TrainConfig = TrainConfig()) -> None:
    """Train the weights that ship, on generated hands; about a minute of CPU time.

    Args:
        out: .npz file; in a checkout assets/retarget/weights.npz replaces the shipped ones.
        seed: of hands, weights and order.
        config: length and loss weights.
    """
    started = time.process_time()
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as file:
        weights: dict[str, Any] = {**train_shipped(config, seed).arrays()}
        np.savez(file, **weights)
    print(f"weights: {out} ({time.process_time() - started:.0f} s of CPU time)")


def calibrate(keypoints: Path, out: Path, hz: float = 90.0, left: bool = False, seed: int = 0, config: TrainConfig = PERSONAL) -> None:
    """Fit the retargeting to a person's hand, from 30 s of recording; about half a minute of CPU time.

    Record one after the other: 3 s open hand, 3 s spread fingers, 3 s fist, 9 s slow opening and closing, 2 s of pinch with each of the
    four fingers, 4 s of circles with the thumb.

    Args:
        keypoints: .npy file (T, 21, 3) in metres, any frame of reference; order in docs/retargeting.md.
        out: profile to write (.npz).
        hz: rate of the recording.
        left: it is a left hand.
        seed: of the training.
        config: length and loss weights of the training.
    """
    recording = load_recording(keypoints, left=left)
    _check(hz)
    if len(recording) < 15 * hz:
        raise ConfigError(f"{keypoints} lasts {len(recording) / hz:.0f} s; a calibration takes about 30 s, at least 15")
    profile = make_profile(recording, config=config, seed=seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    profile.save(out)
    contact = ", ".join(f"{1000 * value:.1f}" for value in profile.contact_m)
    closed = ", ".join(f"{share:.2f}" for share in (profile.dmin_m / profile.dmax_m)[1:])
    print(f"profile: {out}\n  fingertips touch at {contact} mm (index to little), fist at {closed} of the straight finger")


def evaluate(
    keypoints: Path | None = None,
    hz: float = 90.0,
    calibration: Path | None = None,
    profile: Path | None = None,
    left: bool = False,
    peers: bool = False,
    ablations: bool = False,
    persons: int = 3,
    json: Path | None = None,
    picture: Path | None = None,
) -> None:
    """Measure the retargeting on held-out generated persons, or on your recording, beside other methods.

    Args:
        keypoints: .npy recording (T, 21, 3) in metres to judge on; without one, generated persons are used.
        hz: rate of the recordings.
        calibration: .npy recording to calibrate from; without it and without a profile the first third of ``keypoints`` serves.
        profile: finished profile, instead of a calibration.
        left: the recordings are of a left hand.
        peers: also dex-retargeting and dexi-rs, where installed.
        ablations: also one network for all fingers, no L_kin, and GeoRT's terms alone, on the first person (minutes).
        persons: how many generated persons.
        json: write all numbers here.
        picture: write a picture of gestures by methods here (.png).
    """
    _check(hz)
    if keypoints is None and (calibration is not None or profile is not None):
        raise ConfigError("--calibration and --profile belong to a recording; give --keypoints too")
    if persons < 1:
        raise ConfigError(f"--persons must be at least 1; got {persons}")
    if keypoints is None:
        people = generated(persons)
    else:
        own = None if calibration is None else load_recording(calibration, left=left)
        known = None if profile is None else Profile.load(profile)
        people = iter([recorded(load_recording(keypoints, left=left), hz, own, known)])
    outcome = compare(people, peers=peers, ablations=ablations)
    mean = average(outcome.results)
    show(mean)
    if json is not None:
        stored = {name: [_known(row) for row in rows] for name, rows in outcome.results.items()}
        means = {name: _known(numbers) for name, numbers in mean.items()}
        write_json(json, {"bars": {bar.key: bar.limit for bar in BARS}, "persons": stored, "mean": means})
        print(f"numbers: {json}")
    if picture is not None:
        from agents.retarget.picture import draw

        draw(outcome.person, outcome.entries, picture)
        print(f"picture: {picture}")


def _known(numbers: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: a number that no frame tells is null."""
    return {key: None if np.isnan(value) else value for key, value in numbers.items()}


def show(table: dict[str, dict[str, float]]) -> None:
    """Print the table: one row per number, one column per method; green meets the bar, red does not."""
    printed = Table("number", "bar", *table, title="hand retargeting, mean over persons")
    for bar in BARS:
        limit = "" if bar.limit is None else f"{'<=' if bar.smaller else '>='} {bar.limit:g}"
        cells: list[str] = []
        for numbers in table.values():
            value = numbers.get(bar.key, float("nan"))
            colour = {True: "green", False: "red", None: "default"}[bar.met(value)]
            cells.append("n/a" if np.isnan(value) else f"[{colour}]{value:.{bar.digits}f}[/]")
        printed.add_row(escape(bar.title), limit, *cells)
    Console(width=max(Console().width, 60 + 12 * len(table))).print(printed)


def replay(keypoints: Path, out: Path, hz: float = 90.0, profile: Path | None = None, left: bool = False) -> None:
    """Turn a recording into motor angles, as the 90 Hz loop would.

    Args:
        keypoints: .npy recording (T, 21, 3) in metres.
        out: .npy file (T, 12) of motor targets [rad].
        hz: rate of the recording.
        profile: the person's profile; without one the hand is measured on the way.
        left: it is a left hand.
    """
    _check(hz)
    tracker = HandTracker(Retargeter.load(profile))
    frames = load_recording(keypoints, left=left)
    np.save(out, np.stack([tracker.update(HandFrame(frame, index / hz)) for index, frame in enumerate(frames)]))
    print(f"motors: {out}, {tracker.refused} of {len(frames)} frames refused")


def _check(hz: float) -> None:
    if not 5 <= hz <= 1000:
        raise ConfigError(f"--hz must lie in [5, 1000]; got {hz}")


COMMANDS = {"train": train, "calibrate": calibrate, "eval": evaluate, "replay": replay}
