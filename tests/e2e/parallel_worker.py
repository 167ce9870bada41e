"""What each process of tests/e2e/test_parallel.py runs: trainings of one small policy, spread in several ways."""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from agents import trainer
from agents.data import ChunkDataset
from agents.parallel import spread
from agents.parallel.config import ScaleConfig
from agents.trainer import TrainConfig, train
from agents.vla.config import preset
from tests.unit.agents_fixture import demos, make_episode

CONFIG = replace(preset("hf-tiny"), image_size=28, image_tokens=1, layers=2, grad_checkpoint=True, noise_samples=1)
FAST = TrainConfig(steps=4, batch_size=4, warmup=1, save_every=2, log_every=1, tensorboard=False, progress=False)


def data() -> ChunkDataset:
    return ChunkDataset([*demos(2), make_episode("pppp" + "b" * 10, task=1)], CONFIG)


def interrupt(at: int) -> None:
    """Make the next training stop after a number of steps, on all ranks alike."""
    take_step = trainer.Learner.take_step

    def stopping(self: trainer.Learner):
        if self.step == at:
            trainer.Learner.take_step = take_step
            raise KeyboardInterrupt
        return take_step(self)

    trainer.Learner.take_step = stopping


def main(out: Path) -> None:
    dataset = data()
    policies = {}
    for name in ("ddp", "fsdp2"):
        policies[name] = train(CONFIG, dataset, FAST, out / name, scale=ScaleConfig(parallel=name))
    first = {key: value.clone() for key, value in policies["fsdp2"].state_dict().items()}
    for other in range(spread.size()):  # every rank got the same whole policy
        probe = torch.stack([value.double().sum() for value in first.values()])
        torch.distributed.broadcast(probe, other)
        assert torch.equal(probe, torch.stack([value.double().sum() for value in first.values()])), "ranks differ"
    interrupt(3)
    try:
        train(CONFIG, dataset, FAST, out / "cut", scale=ScaleConfig(parallel="fsdp2"))
        raise AssertionError("was not interrupted")
    except KeyboardInterrupt:
        pass
    train(CONFIG, dataset, FAST, out / "cut", scale=ScaleConfig(parallel="fsdp2"))
    train(CONFIG, dataset, replace(FAST, steps=2), out / "bf16", scale=ScaleConfig(parallel="fsdp2", precision="bf16", tune="lora"))
    insulated = replace(CONFIG, insulate=True)
    train(insulated, dataset, replace(FAST, steps=1), out / "insulated", scale=ScaleConfig(parallel="ddp"))
    spread.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
