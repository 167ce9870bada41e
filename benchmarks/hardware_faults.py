"""Every fault of the robot once, in the middle of an episode: ``python -m benchmarks.hardware faults``.

Each row starts an emulated robot, drives it through its true wires with the time-outs of a lab (``assets/real/lab.toml``), breaks one thing
through the fault channel, and looks at what the program, the robot and the disk made of it.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import numpy as np

from benchmarks.hardware_stall import STALLED, Stall
from dexhil_env import robot
from dexhil_env.env import DexHiLEnv
from dexhil_env.errors import DeviceError, DexHiLError, RobotStopped
from dexhil_env.recorder import EpisodeRecorder
from dexhil_env.rollout import run_episode
from dexhil_env.store import EpisodeStore
from dexhil_env.types import F32, Observation
from real.backend import RealBackend
from real.config import RealConfig
from real.dexhand_config import DexHandConfig
from real.emulated import emulated_config
from real.emulator.control_line import ControlLine
from real.emulator.emulator_config import EmulatorConfig
from real.emulator.fci_wire import ErrorBit
from real.emulator.twin_process import TwinProcess
from real.make import make_real_env
from real.safety import State

SIZE: Final = 64
INJECT_AT: Final = 16
"""Steps of the episode before the fault: 0.8 s, so that the share of packets is judged already."""
GO_ON: Final = 80
"""Steps after a fault that does not stop the robot."""
OPENED: Final = "opens the finger, goes on"
OPENED_RAD: Final = 0.02
"""A finger that stalled is opened by 2 deg; more than this of it must be seen."""
ATTEMPTS: Final = 3
"""A busy machine breaks a lab's time-outs by itself; then the row is begun anew, and says so."""
STALL_S: Final = 0.5


@dataclass(frozen=True)
class Fault:
    """One way to break the robot.

    Attributes:
        name: in words.
        inject: breaks it.
        wanted_ms: longest time until the program must have noticed [ms]; None where nobody has said.
        state: in which the safety machine must end.
        source: of the wanted time.
    """

    name: str
    inject: Callable[[ControlLine], object]
    wanted_ms: float | None
    state: State
    source: str


FAULTS: Final = (
    Fault("reflex", lambda line: line.reflex(ErrorBit.CARTESIAN_REFLEX), 50, State.FAULT, "one control period"),
    Fault("reflex by a push", lambda line: line.push([0, 0, 0, 85.0, 0, 0, 0]), 50, State.FAULT, "one control period"),
    Fault("user stop", lambda line: line.user_stop(True), 50, State.ESTOP, "one control period"),
    Fault("connection lost", lambda line: line.line(loss=1.0), 250, State.FAULT, "stale_fault_s + one control period"),
    Fault("power cut", lambda line: line.kill(), 250, State.FAULT, "stale_fault_s + one control period"),
    Fault("arm frozen for 1.5 s", lambda line: line.freeze(1.5), 250, State.FAULT, "stale_fault_s + one control period"),
    Fault("packets 0.5 s late", lambda line: line.line(delay_s=0.5), 250, State.FAULT, "stale_fault_s + one control period"),
    Fault("30 % of the packets lost", lambda line: line.line(loss=0.3), None, State.FAULT, "share of the last 100 packets below 80 %"),
    Fault("hand board silent", lambda line: line.mute("index"), 150, State.FAULT, "board_timeout_s + one control period"),
    Fault("CAN bus off", lambda line: line.bus_off(), 50, State.FAULT, "one control period"),
    Fault("finger stalled", lambda line: line.block(STALLED, 0.3), 550, State.RUN, "from full torque at rest on: 0.5 s and a period"),
    Fault("finger hot", lambda line: line.heat("thumb", 70.0), 100, State.FAULT, "two control periods"),
    Fault("camera frozen", lambda line: line.camera("front", freeze=True), 450, State.FAULT, "10 pictures and the news of them"),
    Fault("camera silent", lambda line: line.camera("front", drop=1.0), 200, State.FAULT, "stale_s + one control period"),
    Fault("camera spoilt", lambda line: line.camera("front", corrupt=True), 200, State.FAULT, "stale_s + one control period"),
)


@dataclass
class Row:
    """What became of one fault.

    Attributes:
        fault: its name.
        wanted_ms: until it must be noticed [ms]; ``source``: who says so.
        noticed_ms: until the state machine left RUN, or from a motor's full torque until the driver knew of its stall [ms].
        raised_ms: until ``step`` raised [ms]; None where it goes on.
        state: of the state machine in the end; ``right_state``: whether that is the right one.
        arm: what the arm does afterwards; ``hand``: what the hand does.
        kept: rows of the open episode that were read back from disk.
        driven: steps of the episode before the fault.
        text: what the program was told.
        attempts: how often the row was begun.
    """

    fault: str
    wanted_ms: float | None
    source: str
    noticed_ms: float | None = None
    raised_ms: float | None = None
    state: str = "-"
    right_state: bool = False
    arm: str = "-"
    hand: str = "-"
    kept: int = 0
    driven: int = INJECT_AT
    text: str = ""
    attempts: int = 1

    @property
    def good(self) -> bool:
        """In time, in the right state, robot at rest, data kept, advice given; of a stall, that the episode went on."""
        in_time = self.noticed_ms is not None and (self.wanted_ms is None or self.noticed_ms <= self.wanted_ms)
        told = not self.text or "recover()" in self.text
        safe = not {"moves", "keeps pressing"} & {self.arm, self.hand}
        return in_time and told and safe and self.right_state and self.kept >= self.driven


class Breaks:
    """A policy that moves arm and hand a little, and breaks the robot once."""

    def __init__(self, fault: Fault, line: ControlLine, backend: RealBackend) -> None:
        self._fault, self._line = fault, line
        self.steps = 0
        self.injected_s: float | None = None
        self.stall = Stall(backend)

    def reset(self, seed: int | None = None) -> None:
        """Nothing is remembered."""

    def act(self, observation: Observation, instruction: str) -> F32:  # noqa: ARG002
        """Return the next target (19,) [rad]."""
        if self.steps == INJECT_AT:
            self.injected_s = time.monotonic()
            self._fault.inject(self._line)
            self.stall.start()
        self.steps += 1
        target = robot.HOME.copy()
        target[0] += 0.05 * np.sin(0.15 * self.steps)
        target[7 + robot.HAND_MOTORS.index(STALLED)] += 0.3 * min(self.steps / INJECT_AT, 1.0) if self.injected_s is None else 1.2
        return target.astype(np.float32)


def lab_settings(twin: TwinProcess) -> RealConfig:
    """Return settings for an emulated robot with the time-outs of a lab instead of patient ones."""
    made, arm, hand = emulated_config(twin.config), lab_arm(), DexHandConfig("dexhil-unix", twin.config.can_path)
    eyes = tuple(replace(eye, stale_s=0.15, read_timeout_s=0.5) for eye in made.cameras)
    return replace(made, arm=replace(made.arm, **arm), hand=hand, cameras=eyes)


def lab_arm() -> dict[str, Any]:
    """Return the arm's time-outs by name, as they are without an emulated robot [s]."""
    from real.fr3_config import FR3Config

    usual = FR3Config("127.0.0.1")
    return {name: getattr(usual, name) for name in ("stale_hold_s", "stale_fault_s", "dead_man_s", "dead_man_stop_s")}


def measure_fault(fault: Fault) -> Row:
    """Break one robot; a trial that a busy machine has ended before the fault is begun anew."""
    row = Row(fault.name, fault.wanted_ms, fault.source)
    for row.attempts in range(1, ATTEMPTS + 1):
        with TwinProcess(EmulatorConfig("plush", cameras=("front",), image_size=SIZE, hand_stall_s=STALL_S)) as twin:
            try:
                env = make_real_env("plush", lab_settings(twin), cameras=("front",), image_size=SIZE)
            except DexHiLError as error:
                row.text = f"no trial: {error}"
                continue
            try:
                if _trial(env, twin, fault, row):
                    break
            finally:
                env.close()
    return row


def _trial(env: DexHiLEnv, twin: TwinProcess, fault: Fault, row: Row) -> bool:
    """Fill the row; tell whether the fault could be injected at all."""
    assert isinstance(env.backend, RealBackend)
    policy, recorder = Breaks(fault, twin.line, env.backend), EpisodeRecorder("plush")
    before, episode = len(env.backend.safety.history), None
    try:
        episode = run_episode(gym.wrappers.TimeLimit(env, INJECT_AT + GO_ON), policy, 1, recorder)
    except RobotStopped as stop:
        row.text, episode = str(stop).replace(twin.config.can_path, "its socket"), stop.episode
        if policy.injected_s is not None:
            row.raised_ms = 1e3 * (time.monotonic() - policy.injected_s)
    if policy.injected_s is None:
        row.text = f"no trial: {row.text}"
        return False
    row.noticed_ms = _noticed_ms(env.backend, before, policy)
    row.state, row.right_state = str(env.backend.safety.state), env.backend.safety.state is fault.state
    row.arm, row.hand = _going_on(twin, policy.stall) if fault.state is State.RUN else at_rest(twin)
    row.kept = _kept(episode)
    return True


def _noticed_ms(backend: RealBackend, before: int, policy: Breaks) -> float | None:
    injected_s = policy.injected_s
    assert injected_s is not None
    left = [step.time_s for step in backend.safety.history[before:] if step.before is State.RUN and step.time_s >= injected_s]
    return 1e3 * (left[0] - injected_s) if left else policy.stall.noticed_ms


def _kept(episode: Any) -> int:
    """Write what was recorded to a dataset, and count the rows that are read back."""
    if episode is None:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        EpisodeStore(Path(folder) / "data").append(episode)
        return len(EpisodeStore.open(Path(folder) / "data").read(0))


def _going_on(twin: TwinProcess, stall: Stall) -> tuple[str, str]:
    """Tell what arm and hand do after a stall: the arm goes on, the finger was opened a little."""
    mode = twin.line.status().mode
    return "goes on" if mode == "MOVE" else f"holds ({mode})", OPENED if stall.opened_rad > OPENED_RAD else "keeps pressing"


def at_rest(twin: TwinProcess, within_s: float = 4.0) -> tuple[str, str]:
    """Tell what arm and hand do: ``holds``, with the arm's mode, ``moves``, or ``no power``."""
    deadline = time.monotonic() + within_s
    try:
        before = twin.line.status()
        while True:
            time.sleep(0.25)
            after = twin.line.status()
            arm = np.abs(after.q - before.q).max() < 1e-3 and after.mode != "MOVE"
            hand = np.abs(after.hand - before.hand).max() < 5e-3
            if (arm and hand) or time.monotonic() > deadline:
                return f"holds ({after.mode})" if arm else "moves", "holds" if hand else "moves"
            before = after
    except DeviceError:
        return "no power: brakes", "no power"


def measure_rows() -> Iterator[Row]:
    """Break everything once."""
    for fault in FAULTS:
        yield measure_fault(fault)
