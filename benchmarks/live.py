"""A person at live devices: from the press to the first command, rates, ages, with both cameras drawn for the policy and for the page."""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from agents.job import Job
from agents.runner import Runner
from benchmarks.result import Result
from dexhil_env.clock import be_punctual
from dexhil_env.hil.console.operator import ConsoleOperator
from dexhil_env.hil.live.inbox import Inbox
from dexhil_env.hil.live.operator import HumanOperator
from dexhil_env.hil.live.registry import OperatorSpec
from dexhil_env.hil.live.wish import LiveConfig
from dexhil_env.registration import ENV_IDS, task_name

SECONDS = 30.0
ARM_HZ, HAND_HZ, PRESS_S = 30.0, 90.0, (0.4, 1.2)
"""What the stand-in for a person sends, and how long it holds and lets go."""


class Robot:
    """Says everything that a headset says, over the websocket, at its rates."""

    def __init__(self, operator: ConsoleOperator) -> None:
        server = operator.server
        self._open = ExitStack()
        self._socket = self._open.enter_context(connect(f"ws://127.0.0.1:{server.port}/ws?token={server.token}", max_size=None))
        self.frames = 0
        for work in (self._read, self._arm, self._hand, self._press):
            threading.Thread(target=work, daemon=True).start()

    def _say(self, **message: object) -> bool:
        try:
            self._socket.send(json.dumps(message))
        except ConnectionClosed:
            return False
        return True

    def _read(self) -> None:
        try:
            for _ in self._socket:
                self.frames += 1
        except ConnectionClosed:
            return

    def _arm(self) -> None:
        for t in _beat(ARM_HZ):
            pose = [0.03 * np.sin(t), 0.02 * np.cos(t), 0.5, 1.0, 0.0, 0.0, 0.0]
            if not self._say(type="cube", pose=pose):
                return

    def _hand(self) -> None:
        for t in _beat(HAND_HZ):
            if not self._say(type="motors", values=[0.3 + 0.2 * float(np.sin(3 * t))] * 12):
                return

    def _press(self) -> None:
        rng = np.random.default_rng(0)
        for on in itertools.cycle((True, False)):
            time.sleep(rng.uniform(*PRESS_S))
            if not self._say(type="engage", arm=on, hand=on):
                return

    def close(self) -> None:
        """Hang up."""
        self._open.close()


def _beat(rate_hz: float) -> Iterator[float]:
    start = time.monotonic()
    for number in itertools.count():
        time.sleep(max(0.0, start + number / rate_hz - time.monotonic()))
        yield time.monotonic() - start


def measure() -> Iterator[Result]:
    """Measure every task of the twin."""
    be_punctual()
    for env_id in ENV_IDS:
        yield _in_process(env_id)
        yield from _through_the_console(env_id)


def _in_process(env_id: str) -> Result:
    """Press at random moments, with both cameras drawn for the policy."""
    inbox = Inbox()
    operator = HumanOperator(inbox)
    runner = Runner(Job(env_id, "zero", OperatorSpec("console"), {"image_size": 128}, max_episode_steps=round(20 * SECONDS)), operator)

    def press() -> None:
        rng = np.random.default_rng(1)
        for on in itertools.cycle((True, False)):
            time.sleep(rng.uniform(0.05, 0.2))
            inbox.put({"type": "engage", "arm": on, "hand": on})

    threading.Thread(target=press, daemon=True).start()
    waits = np.array([each["press_to_command_ms"] for each in runner.run(4_960_001).extra["takeovers"]])
    runner.close()
    note = f"{len(waits)} presses; p50 {np.median(waits):.1f}, p99 {np.quantile(waits, 0.99):.1f}, max {waits.max():.1f} ms; a tick is 11.1"
    return Result(
        f"live {task_name(env_id)}, press to command in process, p95", float(np.quantile(waits, 0.95)), "ms", at_most=11.1, note=note
    )


def _through_the_console(env_id: str) -> Iterator[Result]:
    operator = ConsoleOperator(LiveConfig(), port=0)
    job = Job(env_id, "zero", OperatorSpec("console"), {"image_size": 128}, max_episode_steps=round(20 * SECONDS))
    runner, periods, look = Runner(job, operator), list[float](), operator.on_period
    operator.on_period = lambda periods=periods, look=look: (periods.append(time.monotonic()), look())[1]
    person = Robot(operator)
    facts = runner.run(4_960_000).extra
    frames = person.frames
    person.close()
    runner.close()
    name = task_name(env_id)
    waits = np.array([each["press_to_command_ms"] for each in facts["takeovers"]])
    steps_ms = 1e3 * np.diff(periods)
    note = f"{len(waits)} presses over the websocket, p50 {np.median(waits):.1f}, p95 {np.quantile(waits, 0.95):.1f} ms"
    yield Result(f"live {name}, press to command, max", float(waits.max()), "ms", at_most=60.0, note=note)
    spread = f"periods p50 {np.median(steps_ms):.1f}, p99 {np.quantile(steps_ms, 0.99):.1f} ms; page {frames / SECONDS:.0f} pictures/s each"
    yield Result(f"live {name}, policy", 1e3 * len(steps_ms) / steps_ms.sum(), "Hz", at_least=19.5, note=spread)
    devices = facts["devices"]
    for limb, least in (("arm", 28.0), ("hand", 88.0)):
        age = devices["age_ms"][limb]
        note = f"age of the reading when it is used p50 {age['p50']:.1f}, p99 {age['p99']:.1f} ms"
        yield Result(f"live {name}, {limb} commands", devices[f"{limb}_hz"], "Hz", at_least=least, note=note)
