"""Scores of all methods on one person, real or generated."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from agents.retarget import metrics, motion
from agents.retarget.calibrate import calibrate, clean
from agents.retarget.human import HandShape, fit_shape, sample_shape
from agents.retarget.methods import Entry, ours
from agents.retarget.motion import HZ, sweep
from dexhil_env.errors import ConfigError
from dexhil_env.hil.retarget.profile import Profile
from dexhil_env.types import F64

log = logging.getLogger(__name__)

LATENCY_FRAMES: Final = 1000
SIZES: Final = (0.88, 1.12, None)
"""Size of each generated person over the mean: small, large, drawn."""
_PERSON_SEED: Final = 1000
_SLOW_STRIDE: Final = 3
"""Slow peers see every third frame; the numbers that depend on the rate know it."""


@dataclass(frozen=True)
class Person:
    """What a method is judged on.

    Attributes:
        name: of the person.
        keypoints: (T, 21, 3) test recording, canonical, without gaps [m].
        hz: its rate.
        profile: the person's measured numbers.
        shape: bones, for the slow pinches.
        calibration: clean frames (T, 21, 3) of the calibration [m].
        calibration_s: CPU time of the calibration [s].
    """

    name: str
    keypoints: F64
    hz: float
    profile: Profile
    shape: HandShape
    calibration: F64
    calibration_s: float

    def thinned(self) -> "Person":
        """Return the person with every third test frame."""
        return replace(self, keypoints=self.keypoints[::_SLOW_STRIDE], hz=self.hz / _SLOW_STRIDE)


def generated(count: int, seed: int = _PERSON_SEED) -> Iterator[Person]:
    """Yield persons that training has not seen, after their calibration of 30 s."""
    for index in range(count):
        rng = np.random.default_rng(seed + index)
        shape = sample_shape(rng, SIZES[index % len(SIZES)])
        gap_m = float(rng.uniform(0.002, 0.010))
        recording, test = motion.calibration(shape, rng, gap_m), motion.test(shape, rng, gap_m)
        yield _person(f"person {index + 1}", recording, test, HZ, strict=True)


def recorded(keypoints: F64, hz: float, calibration: F64 | None, profile: Profile | None) -> Person:
    """Make a person of a recording (T, 21, 3) [m]; without calibration frames or a profile its first third calibrates."""
    if profile is not None:
        usable = clean(keypoints, strict=False)
        return Person("recording", usable, hz, profile, fit_shape(usable), usable, 0.0)
    if calibration is None:
        third = len(keypoints) // 3
        calibration, keypoints = keypoints[:third], keypoints[third:]
    return _person("recording", calibration, clean(keypoints, strict=False), hz, strict=False)


def _person(name: str, recording: F64, test: F64, hz: float, *, strict: bool) -> Person:
    started, usable = time.process_time(), clean(recording, strict=strict)
    profile = calibrate(recording, strict=strict)
    took_s = time.process_time() - started
    return Person(name, test, hz, profile, fit_shape(usable), usable, took_s)


def entries_for(person: Person, *, peers: bool, ablations: bool) -> list[Entry]:
    """Return the columns of the table for one person."""
    entries = ours(person.profile)
    if ablations:
        from agents.retarget.ablations import ablations as trained

        entries += trained(person.calibration, person.profile)
    if peers:
        from agents.retarget.peers import peers as others

        entries += others(person.calibration, person.profile)
    return entries


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Attributes:
        results: numbers by method, one dict per person.
        person: the first person.
        entries: the methods as fitted to the first person.
    """

    results: dict[str, list[dict[str, float]]]
    person: Person
    entries: list[Entry]


def compare(persons: Iterator[Person], *, peers: bool = False, ablations: bool = False) -> Comparison:
    """Judge every method on every person; ablations on the first one only, because each is trained from nothing.

    Raises:
        ConfigError: there is no person.
    """
    results: dict[str, list[dict[str, float]]] = {}
    first: tuple[Person, list[Entry]] | None = None
    for person in persons:
        entries = entries_for(person, peers=peers, ablations=ablations and first is None)
        first = first or (person, entries)
        for entry in entries:
            log.info("%s: %s", person.name, entry.name)
            numbers = judge(entry, person.thinned() if entry.slow else person)
            if entry.name == "ours":
                numbers["calibration_s"] = person.calibration_s
            results.setdefault(entry.name, []).append(numbers)
    if first is None:
        raise ConfigError("there is nobody to judge the methods on; give at least one person")
    return Comparison(results, *first)


def average(results: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Average every number of every method over the persons who have it."""
    table: dict[str, dict[str, float]] = {}
    for name, rows in results.items():
        values = {key: [row[key] for row in rows if np.isfinite(row.get(key, np.nan))] for key in rows[0]}
        table[name] = {key: float(np.mean(list_)) if list_ else float("nan") for key, list_ in values.items()}
    return table


def judge(entry: Entry, person: Person, seed: int = 0) -> dict[str, float]:
    """Return every number of one method on one person."""
    result = metrics.score(person.keypoints, entry.run(person.keypoints), person.profile, person.hz)
    rng = np.random.default_rng(seed)
    sweeps: list[dict[str, float]] = []
    for finger in range(3):  # the little finger of a stiff palm does not reach the thumb
        frames = sweep(person.shape, finger, rng, float(person.profile.contact_m[finger]))
        warm = np.concatenate([np.repeat(frames[:1], 20, axis=0), frames])  # for methods that start from their last answer
        sweeps.append(metrics.score_sweep(frames, entry.run(warm)[20:], finger, person.profile))
    result |= {key: float(np.mean([part[key] for part in sweeps])) for key in sweeps[0]}
    result["sweep_gain_worst"] = max(part["sweep_gain"] for part in sweeps)
    result["noise_deg_per_mm"] = metrics.noise(entry.run, person.keypoints, rng)
    result["latency_p50_ms"], result["latency_p99_ms"] = entry.latency_ms(person.keypoints[:LATENCY_FRAMES])
    return result
