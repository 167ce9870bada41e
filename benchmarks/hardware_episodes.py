"""Whole episodes on an emulated robot: how well 20 Hz are kept for minutes, and whether wild policies drive the arm beyond its limits."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import gymnasium as gym
import numpy as np
from tqdm import tqdm

from agents.recovery import recover_emulated
from agents.simple import RandomPolicy
from benchmarks.hardware_faults import lab_settings
from benchmarks.result import Result
from benchmarks.standstill import Standstills, touched
from dexhil_env import robot
from dexhil_env.env import DexHiLEnv
from dexhil_env.errors import RobotStopped
from dexhil_env.registration import REAL_IDS, make_env
from dexhil_env.types import F32, F64
from real.backend import RealBackend
from real.emulator.control_line import ControlLine
from real.emulator.emulator_config import EmulatorConfig
from real.emulator.twin_process import TwinProcess
from real.make import make_real_env

LOOP_S: Final = 600.0
"""How long the loop is watched [s]."""
LONGEST_MS: Final = 60.0
EPISODES, EPISODE_STEPS, FIRST_SEED = 100, 100, 7_200_000
"""Random episodes over both tasks, their length (5 s), their first seed."""
SWING: Final = np.concatenate([np.full(7, 0.08), np.full(12, 0.2)])
PERIODS_S: Final = np.linspace(5.0, 9.0, 19)
"""The motion under which the loop is watched: every joint swings about home [rad, s]."""


def measure_loop() -> Iterator[Result]:
    """Keep 20 Hz with both cameras and the settings of a lab; nothing stops the arm."""
    steps = round(LOOP_S / robot.CONTROL_PERIOD_S)
    with TwinProcess(EmulatorConfig("plush")) as twin, Standstills() as machine:
        settings = lab_settings(twin)
        env = make_real_env("plush", replace(settings, arm=replace(settings.arm, clock="wall")))
        try:
            env.reset(seed=FIRST_SEED)
            asked = list[float]()
            for index in tqdm(range(steps), desc="20 Hz loop", unit="step", mininterval=10):
                asked.append(time.monotonic())
                env.step(_swing(index * robot.CONTROL_PERIOD_S))
            backend = _backend(env)
            facts, begun = backend.facts(), np.array(backend.timing.begun)
        finally:
            env.close()
    yield from _loop_periods(begun, np.array(asked), machine)
    yield Result("loop, waits for late news", float(facts["holds"]), "", note=f"{facts['held_s']} s; late ticks {facts['late_ticks']}")
    for name, age in facts["age_ms"].items():
        yield Result(f"loop, age of {name}, p99", age["p99"], "ms", note=f"p50 {age['p50']}, oldest {age['max']}")


def _loop_periods(begun: F64, asked: F64, machine: Standstills) -> Iterator[Result]:
    """Compare the periods with what the computer did meanwhile."""
    periods, calls = 1e3 * np.diff(begun), 1e3 * np.diff(asked)[1:]
    still = np.array([touched(span, machine.intervals) for span in pairwise(begun)])
    spent = [1e3 * (end - begin) for begin, end in machine.intervals if begin < begun[-1] and end > begun[0]]
    long = periods > LONGEST_MS
    note = (
        f"first target to first target, {len(begun)} steps, two cameras, robot emulated on the same computer; p50 {np.median(periods):.2f}"
    )
    yield Result("loop, period p99", float(np.quantile(periods, 0.99)), "ms", at_most=51.0, note=note)
    note = f"{int(still.sum())} periods not counted, in which the whole computer stood still"
    yield Result("loop, longest period", float(periods[~still].max()), "ms", at_most=LONGEST_MS, note=note)
    note = f"{int(long.sum())} over {LONGEST_MS:g} ms, {int((long & still).sum())} of them while the computer stood still"
    yield Result("loop, longest period, all counted", float(periods.max()), "ms", note=note)
    note = f"{len(spent)} times, {sum(spent):.0f} ms in all; all processors at once" + (
        "" if machine.first else "; watched without priority"
    )
    yield Result("loop, computer's longest standstill", max(spent, default=0.0), "ms", note=note)
    yield Result("loop, call to call, p99", float(np.quantile(calls, 0.99)), "ms", note=f"longest {calls.max():.1f}")


def _swing(t_s: float) -> F32:
    return (robot.HOME + SWING * np.sin(2 * np.pi * t_s / PERIODS_S)).clip(robot.LOW, robot.HIGH).astype(np.float32)


def measure_limits() -> Iterator[Result]:
    """Let a random policy do its worst, and ask the emulator, which looks at 1 kHz, what the arm was driven to."""
    worst, stops, steps = dict[str, float](), list[str](), 0
    for index, env_id in enumerate(REAL_IDS):
        env = make_env(env_id, emulate=True, max_episode_steps=EPISODE_STEPS, cameras=())
        try:
            seeds = range(FIRST_SEED + index, FIRST_SEED + EPISODES, len(REAL_IDS))
            for seed in tqdm(seeds, desc=env_id, unit="episode", mininterval=10):
                done, stop = _wild_episode(env, seed)
                steps, stops = steps + done, stops + ([stop] if stop else [])
            for name, ratio in _ratios(env).items():
                worst[name] = max(worst.get(name, 0.0), ratio)
        finally:
            env.close()
    note = f"{EPISODES} random episodes, {steps} steps, looked at every ms"
    for name, ratio in sorted(worst.items()):
        limit = None if name.endswith("in_contact") else 100.0
        yield Result(f"random policy, {name}", 100 * ratio, "% of the limit", at_most=limit, note=note)
    kinds = {text: stops.count(text) for text in sorted(set(stops))}
    yield Result("random policy, stops", float(len(stops)), "", note="; ".join(f"{count}x {text}" for text, count in kinds.items()))


def _wild_episode(env: gym.Env[Any, F32], seed: int) -> tuple[int, str]:
    """Return the steps of an episode, and why the robot stopped in it, if it did."""
    policy, done = RandomPolicy(seed), 0
    try:
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            observation, _, terminated, truncated, _ = env.step(policy.act(observation, ""))
            over, done = terminated or truncated, done + 1
    except RobotStopped as stop:
        recover_emulated(stop, env)
        return done, str(stop).split(";")[0][:60]
    return done, ""


def _ratios(env: gym.Env[Any, F32]) -> dict[str, float]:
    with ControlLine(_backend(env).config.session.emulator) as line:
        return line.status().ratios


def _backend(env: gym.Env[Any, F32]) -> RealBackend:
    twin = env.unwrapped
    assert isinstance(twin, DexHiLEnv)
    assert isinstance(twin.backend, RealBackend)
    return twin.backend
