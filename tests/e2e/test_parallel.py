"""Two gloo processes on the CPU: DDP and FSDP2 learn what one process learns, save what one process loads, and resume exactly."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agents.checkpoint import read_tensors
from agents.parallel.config import ScaleConfig
from agents.parallel.tuning import part_of
from agents.policy import load_policy
from agents.trainer import STATE_FILE, train
from dexhil_env.errors import ConfigError
from tests.e2e.parallel_worker import CONFIG, FAST, data


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("parallel")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "tests.e2e.parallel_worker", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_policy(folder / "policy").state_dict()


def largest_difference(a, b) -> float:
    assert set(a) == set(b)
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def test_two_processes_learn_what_one_learns_from_the_same_samples(runs, tmp_path):
    one = train(CONFIG, data(), FAST, tmp_path, scale=ScaleConfig(accumulate=2)).state_dict()
    start = train(CONFIG, data(), FAST, tmp_path / "half").state_dict()
    for name in ("ddp", "fsdp2"):
        assert largest_difference(weights(runs / name), one) < 1e-5
    assert largest_difference(start, one) > 1e-4  # half of the samples lead elsewhere


def test_one_process_loads_the_checkpoint_of_two_bit_for_bit(runs):
    state, meta = read_tensors(runs / "fsdp2" / STATE_FILE)
    policy = weights(runs / "fsdp2")
    names = [name.removeprefix("average.") for name in state if name.startswith("average.")]
    assert names
    assert all(torch.equal(policy[name], state[f"average.{name}"]) for name in names)
    assert int(meta["step"]) == FAST.steps
    assert json.loads(meta["identity"])["scale"]["processes"] == 2


def test_interrupted_and_resumed_shares_equal_uninterrupted_ones(runs):
    states = [read_tensors(runs / name / STATE_FILE)[0] for name in ("fsdp2", "cut")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    logs = [[json.loads(line) for line in (runs / name / "metrics.jsonl").read_text().splitlines()] for name in ("fsdp2", "cut")]
    assert [row["loss/flow"] for row in logs[0]] == [row["loss/flow"] for row in logs[1]]


def test_bfloat16_shares_keep_float32_weights_and_train_expert_and_adapters_only(runs):
    state, _ = read_tensors(runs / "bf16" / STATE_FILE)
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    learnt = {name.removeprefix("model.") for name in state if name.startswith("model.")}
    assert any("lora" in name for name in learnt)
    assert all("lora" in name or part_of(name) == "expert" for name in learnt)
    assert not any("lora" in name for name in weights(runs / "bf16"))


def test_ranks_without_torchrun_are_explained(tmp_path):
    with pytest.raises(ConfigError, match="torchrun"):
        train(CONFIG, data(), FAST, tmp_path, scale=ScaleConfig(parallel="fsdp2"))
