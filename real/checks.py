"""What ``dexhil real check`` measures. Nothing here moves the robot."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import DexHiLError
from dexhil_env.store.files import write_whole
from dexhil_env.types import U8
from real.cameras import Camera
from real.config import RealConfig
from real.dexhand import DexHand
from real.dexhand_protocol import BOARDS
from real.fr3 import FR3
from real.fr3_probe import probe
from real.kinematics import Kinematics
from real.optional import require
from real.workspace import Workspace

Verdict = Literal["OK", "WARN", "FAIL"]
WATCH_S: Final = 1.0
DARK: Final = 8.0
"""Mean brightness of a picture below which the lens may be covered [0 to 255]; ours."""


@dataclass(frozen=True)
class Row:
    """One finding.

    Attributes:
        what: was looked at.
        verdict: ``OK``, ``WARN`` (works, but look at it) or ``FAIL``.
        found: in numbers and words.
        allowed: what it should be.
        advice: what to do when it is not ``OK``.
    """

    what: str
    verdict: Verdict
    found: str
    allowed: str = ""
    advice: str = ""


def within(what: str, value: float, low: float, high: float, unit: str, advice: str, verdict: Verdict = "FAIL") -> Row:
    """Judge a number; outside of [low, high] it gets ``verdict``."""
    good = low <= value <= high
    allowed = f"{low:g} to {high:g} {unit}" if np.isfinite(high) else f"at least {low:g} {unit}"
    return Row(what, "OK" if good else verdict, f"{value:.3g} {unit}", allowed, "" if good else advice)


def attempt(what: str, work: Callable[[], Iterator[Row]]) -> list[Row]:
    """Collect rows; an error ends them with one more row that says what to do."""
    rows: list[Row] = []
    try:
        rows.extend(work())
    except DexHiLError as error:
        rows.append(Row(what, "FAIL", "does not work", "", str(error)))
    return rows


def check_computer() -> Iterator[Row]:
    """Measure how punctual this computer is."""
    period, late = robot.SERVO_PERIOD_S, list[float]()
    deadline = time.monotonic()
    for _ in range(100):
        deadline += period
        time.sleep(max(deadline - time.monotonic(), 0.0))
        late.append(1e3 * (time.monotonic() - deadline))
    p99 = float(np.quantile(late, 0.99))
    advice = "end other programs; policies belong into another process"
    yield within("computer: lateness at 200 Hz (p99)", p99, 0.0, 2.0, "ms", advice, "WARN")


def check_arm(arm: FR3, config: RealConfig) -> Iterator[Row]:
    """Look at the arm: network, mode, errors, states per second, pose. Connects it."""
    begin = time.monotonic()
    probe(config.arm.address, config.arm.connect_timeout_s)
    yield Row("arm: answers as an FR3 (FCI 10)", "OK", f"{1e3 * (time.monotonic() - begin):.0f} ms")
    arm.connect()
    first = arm.state()
    ready = first.mode == "Idle" and not first.errors
    advice = "release the user stop, unlock the joints in Franka Desk, activate FCI; a reflex is cleared by: dexhil real home"
    yield Row("arm: mode", "OK" if ready else "FAIL", f"{first.mode} {' '.join(first.errors)}".strip(), "Idle", "" if ready else advice)
    yield from _watch_arm(arm, config)
    yield from _judge_pose(arm, config)


def _watch_arm(arm: FR3, config: RealConfig) -> Iterator[Row]:
    ages, before, begin = list[float](), arm.state(), time.monotonic()
    while time.monotonic() - begin < WATCH_S:
        ages.append(arm.state().age_s)
        time.sleep(0.002)
    rate = (arm.state().robot_time_s - before.robot_time_s) / (time.monotonic() - begin)
    slow = 0.0 if config.arm.clock == "robot" else 0.98
    yield within("arm: its clock against ours", rate, slow, 1.02, "s/s", "the line loses states: use a direct cable, no switch, no WLAN")
    limit = config.arm.stale_hold_s
    yield within("arm: oldest state", max(ages), 0.0, limit, "s", "the line or this computer is too slow; see Franka's network test")
    torque = np.abs(arm.state().tau_ext).max()
    advice = "correct hand_mass and hand_com in [arm]: the arm feels a load that it does not know"
    yield within("arm: external torque at rest", float(torque), 0.0, 3.0, "Nm", advice, "WARN")


def _judge_pose(arm: FR3, config: RealConfig) -> Iterator[Row]:
    space = Workspace(config.workspace, Kinematics(config.session.mount_yaw_deg, config.session.mount_offset_m))
    trouble = space.trouble(np.concatenate([arm.state().q, robot.HAND_HOME]))
    advice = "guide the arm into the workspace by hand, or correct [workspace]"
    yield Row("arm: pose", "WARN" if trouble else "OK", trouble or "inside the workspace", "inside", advice if trouble else "")
    home = space.trouble(robot.HOME)
    yield Row("workspace: contains home", "FAIL" if home else "OK", home or "yes", "yes", "correct [workspace]" if home else "")


def check_hand(hand: DexHand, config: RealConfig) -> Iterator[Row]:
    """Look at the hand: boards, firmware, reports per second, temperatures, sensors. Connects it; nothing moves."""
    hand.connect()
    firmware = sorted(set(hand.firmware.values()))
    yield Row("hand: firmware", "OK" if len(firmware) < 2 else "FAIL", ", ".join(map(str, firmware)) or "not asked", "one version", "")
    wanted = config.hand.feedback_period_s
    yield within("hand: report period", hand.feedback_period_s, 0.5 * wanted, 2.0 * wanted, "s", "check feedback_unit_ms in [hand]", "WARN")
    worst, begin = np.zeros(6), time.monotonic()
    while time.monotonic() - begin < WATCH_S:
        worst = np.maximum(worst, hand.state().age_s)
        time.sleep(0.005)
    slowest = BOARDS[int(worst.argmax())]
    limit = config.hand.board_timeout_s
    yield within(f"hand: oldest report ({slowest})", float(worst.max()), 0.0, limit, "s", "check the cable and the bit rates")
    yield from _feel(hand, config)


def _feel(hand: DexHand, config: RealConfig) -> Iterator[Row]:
    state = hand.state()
    blind = np.flatnonzero(np.isnan(state.fingertip_force)).tolist()
    advice = "check the sensors, or set without_touch in [session]"
    yield Row("hand: fingertip sensors", "FAIL" if blind else "OK", f"silent: {blind}" if blind else "5 of 5", "5", advice if blind else "")
    if not np.isnan(state.temperature_c).all():
        hottest = float(np.nanmax(state.temperature_c))
        yield within("hand: warmest sensor", hottest, 0.0, config.hand.max_temperature_c - 10.0, "deg C", "let it cool down", "WARN")
    outside = float(np.maximum(robot.HAND_LOW - state.motor_pos, state.motor_pos - robot.HAND_HIGH).max())
    yield within("hand: motors beyond their ranges", max(outside, 0.0), 0.0, 0.1, "rad", "calibrate the hand with the maker's tool", "WARN")
    wrong = hand.faults()
    advice = "see the text; then dexhil real home"
    yield Row("hand: faults", "FAIL" if wrong else "OK", "; ".join(wrong) or "none", "none", advice if wrong else "")


def check_camera(name: str, config: RealConfig, folder: Path) -> Iterator[Row]:
    """Look through one camera: rate, age, brightness, a picture in a file."""
    settings = config.camera(name)
    advice = "another USB port (USB 3, no hub), less width and height, more light"
    with Camera(settings) as camera:
        first, begin, ages = camera.frame(), time.monotonic(), list[float]()
        while time.monotonic() - begin < WATCH_S:
            ages.append(camera.frame().age_s)
            time.sleep(0.01)
        last, faults = camera.frame(), camera.faults()
        rate = (last.sequence - first.sequence) / (time.monotonic() - begin)
    yield within(f"camera {name}: rate", rate, 0.8 * settings.fps, np.inf, "1/s", advice, "WARN")
    yield within(f"camera {name}: oldest picture", max(ages), 0.0, settings.stale_s, "s", advice)
    light = float(last.image.mean())
    yield within(f"camera {name}: brightness", light, DARK, 255.0 - DARK, "", "lens covered, no light, or overexposed", "WARN")
    seen = "; ".join(faults)
    yield Row(f"camera {name}: faults", "FAIL" if faults else "OK", seen or "none", "none", "see the text" if faults else "")
    path = folder / f"check-{name}.png"
    save_picture(path, last.image)
    yield Row(f"camera {name}: picture", "OK", str(path), "look at it")


def save_picture(path: Path, image: U8) -> None:
    """Write an RGB picture as PNG."""
    cv2 = require("cv2", "real")
    good, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert good
    write_whole(path, lambda beside: _fill(beside, data.tobytes()))


def _fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)
