"""The environment on an emulated robot, shared by the tests of a module, and what they do with it."""

import time

import numpy as np

from dexhil_env import make_env, robot
from dexhil_env.registration import REAL_IDS

SIZE = 64
HOLD_S = 0.6


class Seat:
    """One environment on the robot that tests share; a robot serves one program at a time."""

    def __init__(self, settings):
        self._settings, self._env = settings, None

    def take(self):
        if self._env is None:
            self._env = make_env(REAL_IDS[0], config=self._settings, image_size=SIZE)
        return self._env

    def leave(self):
        if self._env is not None:
            self._env.close()
            self._env = None


def still(env, count):
    """Steps that ask for nothing."""
    for _ in range(count):
        result = env.step(env.unwrapped.servo.commanded.astype(np.float32))
    return result


def stands(twin, within_s=3.0):
    """The robot comes to rest and stays there."""
    deadline, before = time.monotonic() + within_s, twin.line.status()
    while time.monotonic() < deadline:
        time.sleep(0.2)
        after = twin.line.status()
        if np.abs(after.q - before.q).max() < 1e-3 and np.abs(after.hand - before.hand).max() < 5e-3 and after.mode != "MOVE":
            return True
        before = after
    return False


def gentle(count, seed=0):
    """Slow targets for every joint that stay in the free space around home."""
    rng = np.random.default_rng(seed)
    rate, phase = rng.uniform(0.1, 0.2, 19), rng.uniform(0, 0.3, 19)
    reach = np.concatenate([np.full(7, 0.08), np.full(12, 0.25)])
    low, high = robot.LOW.astype(np.float32), robot.HIGH.astype(np.float32)
    for k in range(1, count + 1):
        yield np.clip(robot.HOME + reach * np.sin(rate * k) * (1 + phase), low, high).astype(np.float32)


def drive(env, seed, steps):
    """Observations and infos of an episode of gentle targets."""
    observation, info = env.reset(seed=seed)
    rows, infos = [observation], [info]
    for action in gentle(steps):
        observation, _, _, _, info = env.step(action)
        rows.append(observation)
        infos.append(info)
    return rows, infos


class Bad:
    """A policy that knows nothing of the toy: it waves."""

    def __init__(self):
        self.steps = 0

    def reset(self, seed=None):
        pass

    def act(self, observation, instruction):
        self.steps += 1
        return (robot.HOME + 0.05 * np.sin(0.3 * self.steps) * (np.arange(19) == 0)).astype(np.float32)
