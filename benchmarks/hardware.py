"""Timing of the hardware link against emulated devices, on a quiet machine: ``python -m benchmarks.hardware arm``.

``loop``: the 20 Hz loop for ten minutes; ``limits``: 100 episodes of a random policy, about 20 minutes;
``faults`` breaks everything once, and writes the fault table. Needs ``dexhil[real]``. The emulated arm asks for real-time
scheduling when it may, and counts every answer that is not back within its millisecond, as the robot does.
"""

import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.hardware_episodes import measure_limits, measure_loop
from benchmarks.hardware_fault_table import measure_faults
from benchmarks.result import Result
from dexhil_env import robot
from dexhil_env.types import F64
from real.emulator.arm_body import MujocoArm
from real.emulator.arm_process import ArmProcess
from real.emulator.fci_box import ControlBox
from real.emulator.fci_config import FciConfig
from real.fr3 import FR3, FR3Config

AMPLITUDE, FREQUENCY_HZ, SECONDS = 0.15, 0.25, 8.0
"""The test motion of every joint: a sine [rad, Hz, s], begun at rest."""


def measure_arm() -> Iterator[Result]:
    """Cost of a cycle, pace of the server, and delay, error and jitter of streams at three rates."""
    yield Result("arm emulator, one cycle", _cycle_ms(), "ms", at_most=0.4, note="box and body, torques, median of 2000")
    with ArmProcess(FciConfig("127.77.1.1", realtime=True)) as arm, FR3(FR3Config("127.77.1.1")) as fr3:
        before, start = arm.status(), time.monotonic()
        time.sleep(3.0)
        after = arm.status()
        pace = (after.time_ms - before.time_ms) / (time.monotonic() - start)
        yield Result("arm emulator, cycles", pace, "Hz", at_least=990.0, note="idle client connected, 3 s")
        for rate_hz in (20, 30, 200):
            fr3.home(robot.ARM_HOME, 0.2)
            yield from _stream(fr3, rate_hz)
        status = arm.status()
        for name in ("torque", "torque_rate", "measured_velocity", "measured_acceleration", "measured_jerk"):
            note = f"worst {status.worst[name]:.3g}, SI units; all streams"
            yield Result(f"arm, {name}", 100 * status.ratios[name], "% of the limit", at_most=100.0, note=note)
        yield Result("arm emulator, cycles begun 5 ms late", float(status.cycles_late), "", note="all of this run")


def _cycle_ms() -> float:
    from real.emulator.fci_wire import COMMAND, Command, Controller, Generator

    box = ControlBox(MujocoArm())
    box.request(Command.MOVE, 1, np.array([Controller.EXTERNAL, Generator.JOINT_VELOCITY], "<u4").tobytes() + bytes(48))
    command, spent = np.zeros(1, COMMAND), list[float]()
    for _ in range(2000):
        start = time.perf_counter()
        box.tick(command)
        spent.append(time.perf_counter() - start)
    return 1e3 * float(np.median(spent))


def _sine(t: float) -> float:
    grown = min(t, 2.0) / 2.0
    return AMPLITUDE * grown * grown * (3 - 2 * grown) * float(np.sin(2 * np.pi * FREQUENCY_HZ * t))


def _stream(fr3: FR3, rate_hz: int) -> Iterator[Result]:
    fr3.start()
    home, begin, due = fr3.state().q, time.monotonic(), time.monotonic()
    rows, calls, late = list[tuple[float, float]](), list[float](), list[float]()
    ages, success = list[float](), list[float]()
    while (t := time.monotonic() - begin) < SECONDS:
        if t + begin >= due:
            late.append(t + begin - due)
            due += 1 / rate_hz
            start = time.perf_counter()
            fr3.command(home + _sine(t), time.monotonic_ns())
            calls.append(time.perf_counter() - start)
        state = fr3.state()
        rows.append((state.stamp_ns * 1e-9 - begin, float(state.q[0] - home[0])))
        ages.append(state.age_s)
        success.append(state.success_rate if t > 0.5 else 1.0)
        time.sleep(0.002)
    fr3.stop()
    delay, residual = _fit(np.array(rows), _sine)
    note = f"{rate_hz} Hz set points, sine {FREQUENCY_HZ} Hz +-{AMPLITUDE} rad"
    yield Result(f"arm, delay at {rate_hz} Hz", 1e3 * delay, "ms", at_most=80.0, note=note)
    yield Result(f"arm, error beside the delay at {rate_hz} Hz", 1e3 * residual, "mrad", at_most=2.0, note="rms of joint 1")
    yield Result(
        f"arm, command() at {rate_hz} Hz", 1e3 * max(calls), "ms", at_most=5.0, note=f"longest; median {1e3 * np.median(calls):.3f}"
    )
    yield Result(
        f"arm, age of the state at {rate_hz} Hz", 1e3 * max(ages), "ms", at_most=50.0, note=f"oldest; median {1e3 * np.median(ages):.1f}"
    )
    yield Result(f"arm, packets in time at {rate_hz} Hz", 100 * min(success), "%", at_least=90.0, note="lowest of any 100")


def _fit(rows: F64, wanted: Callable[[float], float]) -> tuple[float, float]:
    """Delay [s] and rms error [rad] of the best shift of the wanted motion."""
    rows = rows[rows[:, 0] > 2.5]
    shifts = np.arange(0.0, 0.2, 0.001)
    errors = [float(np.sqrt(np.mean((rows[:, 1] - [wanted(t - shift) for t in rows[:, 0]]) ** 2))) for shift in shifts]
    return float(shifts[int(np.argmin(errors))]), min(errors)


SECTIONS = {"arm": measure_arm, "loop": measure_loop, "limits": measure_limits, "faults": measure_faults}


def main(names: list[str]) -> int:
    failed = False
    for name in names or SECTIONS:
        for result in SECTIONS[name]():
            failed |= result.verdict == "FAIL"
            print(f"{result.name:45} {result.value:9.2f} {result.unit:14} {result.limit:9} {result.verdict:5} {result.note}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
