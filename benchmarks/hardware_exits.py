"""How a program may end in the middle of an episode, and what the robot and the dataset make of it."""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.hardware_faults import Row, at_rest
from dexhil_env.store import EpisodeStore
from real.config import write_config
from real.emulated import emulated_config
from real.emulator.emulator_config import EmulatorConfig
from real.emulator.twin_process import TwinProcess

STEPS: Final = 20
"""Of the finished episode."""
OPEN_STEPS: Final = 11
"""Of the open one before the program ends."""
_GENTLY: Final = "the driver ends the motion gently, libfranka takes 0.2 s for it"
WAYS: Final = {
    "exception": (None, 300.0, "IDLE", OPEN_STEPS, _GENTLY),
    "SIGTERM": (signal.SIGTERM, 300.0, "IDLE", OPEN_STEPS, _GENTLY),
    "SIGKILL": (signal.SIGKILL, None, "REFLEX", 0, "the arm misses the program and brakes by itself"),
    "SIGSTOP (frozen), later SIGCONT": (
        signal.SIGSTOP,
        None,
        "REFLEX",
        OPEN_STEPS,
        "the arm misses 20 packets, the emulated one waits 0.05 s for each",
    ),
}
"""Signal, longest time until the arm's motion is over [ms], how it must end, rows of the open episode to be kept, why."""
_PROGRAM: Final = """
import sys
from dexhil_env import make_env, robot
from dexhil_env.errors import RobotStopped
from dexhil_env.recorder import EpisodeRecorder
from dexhil_env.rollout import run_episode
from dexhil_env.store import EpisodeStore

class Waves:
    def __init__(self): self.episode, self.steps = 0, 0
    def reset(self, seed=None):
        if seed is not None: self.episode, self.steps = self.episode + 1, 0
    def act(self, observation, instruction):
        self.steps += 1
        if self.episode == 2 and self.steps == 12:
            print("moving", flush=True)
            if sys.argv[3] == "exception": raise ValueError("a mistake in the program")
        target = robot.HOME.copy()
        target[0] += 0.004 * self.steps
        target[11] += 0.02 * self.steps
        return target.astype("float32")

env = make_env("DexHiL-PlushReal-v0", config=sys.argv[1], cameras=(), max_episode_steps=%d)
policy, store = Waves(), EpisodeStore(sys.argv[2])
for seed in range(2):
    try:
        store.append(run_episode(env, policy, seed, EpisodeRecorder("plush")))
    except BaseException as end:
        print(end, flush=True)
        store.append(end.episode)
        if not isinstance(end, RobotStopped): raise
env.close()
"""


def measure_exits() -> Iterator[Row]:
    """End a program in every way."""
    for way in WAYS:
        with TwinProcess(EmulatorConfig("plush", cameras=())) as twin, tempfile.TemporaryDirectory() as folder:
            yield _measure(way, twin, Path(folder))


def _measure(way: str, twin: TwinProcess, folder: Path) -> Row:
    number, wanted_ms, end, open_rows, why = WAYS[way]
    row = Row(way, wanted_ms, why)
    write_config(emulated_config(twin.config), folder / "robot.toml")
    program = [sys.executable, "-c", _PROGRAM % STEPS, str(folder / "robot.toml"), str(folder / "data"), way]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as client:
        try:
            assert client.stdout is not None
            if client.stdout.readline() != "moving\n":
                row.text = "no trial: the program ended before"
                return row
            begin = time.monotonic()
            if number is not None:
                client.send_signal(number)
            while twin.line.status().mode == "MOVE" and time.monotonic() - begin < 5.0:
                time.sleep(0.002)
            row.noticed_ms = 1e3 * (time.monotonic() - begin)
            row.arm, row.hand = at_rest(twin)
            if number is signal.SIGSTOP:
                client.send_signal(signal.SIGCONT)
                row.text = client.stdout.readline().strip()
                row.raised_ms = 1e3 * (time.monotonic() - begin)
            client.wait(20.0)
        finally:
            client.kill()
    row.state, row.right_state = "-", row.arm == f"holds ({end})"
    stored = EpisodeStore.open(folder / "data")
    row.kept, row.driven = sum(len(stored.read(i)) for i in range(len(stored))), STEPS + open_rows
    return row
