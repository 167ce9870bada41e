"""One chunk inference and one training step of the ``tiny`` policy on one thread."""

from collections.abc import Iterator

import torch

from benchmarks import bench_inference
from benchmarks.result import Result


def measure() -> Iterator[Result]:
    torch.set_num_threads(1)
    inference, training = bench_inference.measure("tiny")
    most_inference, most_training = bench_inference.LIMITS_MS["tiny"]
    yield Result("tiny: inference of one chunk", inference, "ms", at_most=most_inference, note="CPU time, one thread")
    yield Result("tiny: training step", training, "ms", at_most=most_training, note=f"CPU time, one thread, B={bench_inference.BATCH}")
