"""The policy server under load: eight clients at once, against the same policy asked in this process."""

import threading
import time

import numpy as np

from agents.data import ChunkDataset
from agents.policy import VLAPolicy
from agents.serve.remote import RemotePolicy
from agents.serve.server import PolicyServer, ServeConfig
from agents.serve.vla import ServedVLA
from agents.vla.config import preset
from benchmarks.result import Result
from dexhil_env import robot
from dexhil_env.types import F32
from tests.unit.agents_fixture import demos

CLIENTS, SECONDS = 8, 5.0


def observation(seed: int) -> dict[str, F32]:
    """What a client of 96 px cameras sends."""
    rng = np.random.default_rng(seed)
    state = {"hand_motor_pos": 12, "fingertip_force": 5, "ee_pose": 7}
    seen = {name: rng.uniform(0, 0.3, width).astype(np.float32) for name, width in state.items()}
    pictures = {f"image_{name}": rng.integers(0, 255, (96, 96, 3), dtype=np.uint8) for name in ("front", "wrist")}
    return {**seen, **pictures, "arm_joint_pos": robot.ARM_HOME.astype(np.float32)}  # type: ignore[dict-item]


def load(address: str) -> tuple[float, list[float]]:
    """Let all clients ask as fast as they are answered; requests per second and the waiting times [s]."""
    waits: list[float] = []
    end = time.monotonic() + SECONDS

    def ask(index: int) -> None:
        client, seen = RemotePolicy(address), observation(index)
        while (begun := time.monotonic()) < end:
            client.infer(seen, "go")
            waits.append(time.monotonic() - begun)
        client.close()

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(waits) / SECONDS, waits


def measure() -> list[Result]:
    """Measure it all."""
    config = preset("tiny")
    policy = VLAPolicy(config, ChunkDataset(demos(), config).statistics()).eval()
    seen = {**observation(0), "prompt": "go"}
    policy.infer(seen)
    begun = time.monotonic()
    for _ in range(30):
        policy.infer(seen)
    alone = 30 / (time.monotonic() - begun)
    results: list[Result] = []
    for name, largest in (("one by one", 1), ("batched", 32)):
        with PolicyServer(ServedVLA(policy), ServeConfig(port=0, max_batch=largest)) as server:
            rate, waits = load(f"ws://127.0.0.1:{server.port}")
            counts = server.batcher.counts
        late_ms = 1e3 * np.quantile(waits, 0.99)
        note = f"{CLIENTS} clients, {SECONDS:g} s, tiny; {counts.requests / counts.batches:.1f} per pass, 99 %: {late_ms:.0f} ms"
        results.append(Result(f"served chunks, {name}", rate, "1/s", note=note))
        results.append(Result(f"wait for a chunk, {name}", 1e3 * float(np.median(waits)), "ms", note="median"))
    results.append(Result("chunks in process", alone, "1/s", note="the same policy, no server"))
    ratio = (results[2].value or 0.0) / alone
    return [
        *results,
        Result("batched service / in process", ratio, "x", at_least=1.0, note="the socket and 8 clients cost less than batching gains"),
    ]
