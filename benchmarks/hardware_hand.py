"""Hand and camera drivers against their emulators: rates, delays, and how soon a fault is found. Needs the extra ``dexhil[real]``."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.result import Result, cpu_s
from real.cameras import Camera, CameraConfig
from real.dexhand import DexHand, DexHandConfig
from real.emulator.mjpeg import MjpegServer

DURATION_S = 3.0
POSE = np.full(12, 0.2)


def until(done: Callable[[], bool], timeout_s: float = 5.0) -> float | None:
    """Wait; return how long it took [s], or None."""
    start = time.perf_counter()
    while time.perf_counter() - start < timeout_s:
        if done():
            return time.perf_counter() - start
        time.sleep(0.0005)
    return None


def milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def command_for(hand: DexHand, duration_s: float) -> np.ndarray:
    """Command at 100 Hz; return the ages of the oldest report, seen at every command [s]."""
    ages: list[float] = []
    until(lambda: bool(ages.append(_tick(hand, POSE))), duration_s)
    return np.array(ages)


def _tick(hand: DexHand, pose: np.ndarray) -> float:
    hand.command(pose, time.monotonic_ns())
    time.sleep(0.01)
    return float(hand.state().age_s.max())


def measure_hand() -> Iterator[Result]:
    note = "emulated boards in another process, kinematic body, Unix-socket bus"
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "hand")
        server = subprocess.Popen([sys.executable, "-c", f"from real.emulator.hand_boards import serve; serve({path!r})"])
        try:
            until(Path(path).exists, 20.0)
            hand = DexHand(DexHandConfig("dexhil-unix", path))
            start = time.perf_counter()
            with hand:
                yield Result("hand: connect, firmware and period measured", (time.perf_counter() - start) * 1e3, "ms", note=note)
                yield Result("hand: period of the reports", hand.feedback_period_s * 1e3, "ms", at_most=15, note="10 ms asked for")
                hand.start()
                ages = np.empty(0)

                def work() -> None:
                    nonlocal ages
                    ages = command_for(hand, DURATION_S)

                used = cpu_s(work)
                yield Result("hand: driver, processor share", 100 * used / DURATION_S, "%", at_most=25, note=note)
                yield Result("hand: age of the oldest report, median", float(np.median(ages)) * 1e3, "ms", at_most=20, note=note)
                yield Result("hand: age of the oldest report, 99 %", float(np.quantile(ages, 0.99)) * 1e3, "ms", at_most=50, note=note)
                moved = until(lambda: bool(_moved(hand, hand.state().motor_pos.copy())))
                yield Result("hand: command to measured motion", milliseconds(moved), "ms", at_most=60, note=note)
                server.kill()
                yield Result("hand: killed server found", milliseconds(until(lambda: bool(hand.faults()))), "ms", at_most=100, note=note)
        finally:
            server.kill()
            server.wait()


def _moved(hand: DexHand, before: np.ndarray) -> bool:
    hand.command(POSE + 0.1, time.monotonic_ns())
    return bool(until(lambda: float(np.abs(hand.state().motor_pos - before).max()) > 0.02, 1.0))


def measure_camera() -> Iterator[Result]:
    note = "MJPEG over loopback, 640 x 480, 30 a second"
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 120, (480, 640, 3), dtype=np.uint8) // 8 + value for value in (0, 120)]
    shown = [0]
    with (
        MjpegServer({"front": lambda: pictures[shown[0]]}) as server,
        Camera(CameraConfig("front", "opencv", server.url("front"))) as camera,
    ):
        first = camera.frame().sequence
        used = cpu_s(lambda: time.sleep(DURATION_S))
        rate = (camera.frame().sequence - first) / DURATION_S
        yield Result("camera: pictures", rate, "1/s", at_least=27, note=note)
        yield Result("camera: reader and server, processor share", 100 * used / DURATION_S, "%", note=note)
        delays = [_delay(camera, shown) for _ in range(20)]
        known = [delay for delay in delays if delay is not None]
        median = float(np.median(known)) * 1e3 if known else None
        yield Result(
            "camera: change of the scene to the picture, median", median, "ms", at_most=80, note="up to 33 ms wait for the next picture"
        )
        server.faults["front"].freeze = True
        frozen = until(lambda: any("frozen" in fault for fault in camera.faults()))
        yield Result("camera: frozen stream found", milliseconds(frozen), "ms", at_most=600, note="10 equal pictures")
        server.faults["front"].freeze = False
        server.faults["front"].drop = 1.0
        stale = until(lambda: any("stale" in fault for fault in camera.faults()))
        yield Result("camera: silent stream found", milliseconds(stale), "ms", at_most=250, note="stale after 150 ms")


def _delay(camera: Camera, shown: list[int]) -> float | None:
    time.sleep(0.1)
    shown[0] = 1 - shown[0]
    return until(lambda: (camera.frame().image[::8, ::8].mean() > 60) == bool(shown[0]), 1.0)


def measure() -> Iterator[Result]:
    yield from measure_hand()
    yield from measure_camera()
