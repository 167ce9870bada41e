"""``dexhil serve``: let other programs and machines use a policy."""

import secrets
import time
from pathlib import Path

from agents.policy import load_policy
from agents.serve.server import PolicyServer, ServeConfig
from agents.serve.vla import ServedVLA


def serve(policy: Path, config: ServeConfig = ServeConfig(), device: str = "cpu", new_token: bool = False, threads: int = 1) -> None:
    """Serve a policy over a websocket in openpi's protocol (msgpack, no pickle), until Ctrl-C.

    Clients: dexhil eval --policy ws://HOST:PORT, openpi's client, or anything that sends our observation keys and "prompt" and reads
    "actions" (T, 19) [rad]. From another machine, best through ssh: ssh -L 8000:localhost:8000 SERVER.

    Args:
        policy: policy folder.
        config: address, port, token, batching.
        device: where to run it, e.g. cuda.
        new_token: make up a token and print it.
        threads: torch threads.
    """
    import torch

    torch.set_num_threads(threads)
    from dataclasses import replace

    if new_token:
        config = replace(config, token=secrets.token_urlsafe(24))
    served = ServedVLA(load_policy(policy).to(device))
    with PolicyServer(served, config) as server:
        print(f"serving {policy} on ws://{config.host}:{server.port}; observation keys: {', '.join(served.needs)}")
        if config.token:
            print(f"token: {config.token}   (clients: DEXHIL_TOKEN, or the header 'Authorization: Api-Key TOKEN')")
        try:
            while True:
                time.sleep(60.0)
                _tell(server)
        except KeyboardInterrupt:
            _tell(server)


def _tell(server: PolicyServer) -> None:
    counts = server.batcher.counts
    if counts.batches:
        mean_ms = 1e3 * counts.infer_s / counts.batches
        print(f"{counts.requests} requests in {counts.batches} batches (largest {counts.largest}), {mean_ms:.1f} ms each")
