"""A training that is killed without warning goes on as if nothing had happened."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
from safetensors.numpy import load_file

FOLLOWED = [sys.executable, "-m", "agents.cli", "train", "--preset", "debug"]
OPTIONS = ["--config.steps", "40", "--config.batch-size", "4", "--config.save-every", "5", "--config.log-every", "1"]

KILLED_AFTER = 12


def losses(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss/flow"], row["grad_norm"]) for row in rows]


def test_kill_9_and_the_same_command_give_identical_losses_and_weights(demos, tmp_path):
    def command(name):
        return [*FOLLOWED, "--data", str(demos), "--out", str(tmp_path / name), *OPTIONS, "--config.no-progress", "--config.no-tensorboard"]

    subprocess.run(command("whole"), check=True, capture_output=True, timeout=120)
    cut = tmp_path / "cut"
    process = subprocess.Popen(command("cut"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not ((cut / "metrics.jsonl").exists() and len((cut / "metrics.jsonl").read_text().splitlines()) > KILLED_AFTER):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (cut / "policy").exists(), "killed before its end"
    subprocess.run(command("cut"), check=True, capture_output=True, timeout=120)
    assert losses(cut) == losses(tmp_path / "whole")
    one, two = (load_file(next((tmp_path / name / "policy").glob("*.safetensors"))) for name in ("cut", "whole"))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
