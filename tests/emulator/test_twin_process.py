"""The process of an emulated robot: how it begins, how it ends, and at which pace it lives."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("can")
pytest.importorskip("cv2")

import dexhil_env  # noqa: F401  (registers the environments)
from dexhil_env.errors import DeviceError
from real.emulator.control_line import ControlLine
from real.emulator.emulator_config import EmulatorConfig, RealityConfig
from real.emulator.twin_process import TwinProcess
from tests.emulator.waiting import until


def plain(**changes):
    return EmulatorConfig(**{"cameras": (), "patience_s": 0.2, **changes})


def test_tissue_in_slow_motion_on_a_perturbed_robot_and_a_power_cut():
    reality = RealityConfig(arm_friction=1.5, hand_latency_s=0.02, encoder_noise=1e-4, hand_gain=0.8)
    with TwinProcess(plain(task="tissue", pace=0.3, reality=reality)) as twin:
        rng = np.random.default_rng(1)
        twin.line.lay(rng.bit_generator.state)
        metrics = twin.line.judge().evaluation.metrics
        assert 0.1 < metrics["extracted_fraction"] < 0.5
        begin, wall = twin.line.status().time_s, time.monotonic()
        time.sleep(1.0)
        passed = (twin.line.status().time_s - begin) / (time.monotonic() - wall)
        assert 0.1 < passed < 0.35
        folder = os.path.dirname(twin.config.control_path)
        twin.line.kill()
        assert until(lambda: not twin.alive)
        with pytest.raises(DeviceError, match="closed"):
            twin.line.status()
        with pytest.raises(DeviceError, match="dexhil real emulate"):
            ControlLine(twin.config.control_path)
        twin.close()
        assert not os.path.exists(folder)
        twin.close()


def gone(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] == "Z"
    return True


def test_it_dies_with_the_program_that_started_it():
    script = (
        "import sys, time\n"
        "from real.emulator.emulator_config import EmulatorConfig\n"
        "from real.emulator.twin_process import TwinProcess\n"
        "twin = TwinProcess(EmulatorConfig(cameras=()))\n"  # no main guard: a plain script must do
        "print(twin.pid, twin.config.control_path, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as program:
        pid, path = program.stdout.readline().split()
        assert not gone(int(pid))
        program.send_signal(signal.SIGKILL)
        program.wait()
        try:
            assert until(lambda: gone(int(pid)))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        assert not os.path.exists(os.path.dirname(path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_runs_until_it_is_stopped(number):
    command = [sys.executable, "-c", "from agents.cli import main; main(['real', 'emulate', '--image-size', '32'])"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        lines = [program.stdout.readline()]
        while "robot time" not in lines[-1]:
            assert lines[-1], lines
            lines.append(program.stdout.readline())
        text = "".join(lines)
        assert "DexHiL-PlushReal-v0" in text
        path = next(each.split()[-1] for each in lines if "control line" in each)
        assert ControlLine(path).status().mode == "IDLE"
        program.send_signal(number)
        assert program.wait(10) == 0
        assert "has ended" in program.stdout.read()
        assert not os.path.exists(path)
