"""The two policies of the real-time chunking benchmark, equal but for what they are given in training; trained once, minutes each."""

import logging
from dataclasses import replace
from pathlib import Path

from agents.cli.demo import SHIPPED
from agents.collect import StoreView
from agents.data import ChunkDataset
from agents.trainer import POLICY_FOLDER, TrainConfig, train
from agents.vla.config import VLAConfig, preset
from dexhil_env.store import EpisodeStore

log = logging.getLogger(__name__)

RUNS = Path(__file__).resolve().parents[1] / "runs" / "rtc"
TASK, STEPS, MAX_DELAY = "plush", 1500, 8


def config(max_delay: int) -> VLAConfig:
    """Network of 16 actions per chunk that is given up to ``max_delay`` of them."""
    return replace(preset("tiny"), rtc_max_delay=max_delay)


def trained(max_delay: int) -> Path:
    """Return the policy's folder; train it on the shipped demonstrations when it is missing."""
    run = RUNS / f"delay-{max_delay}"
    if not (run / POLICY_FOLDER / "config.json").exists():
        log.warning("training a policy for this benchmark in %s: %d steps, minutes; it is kept", run, STEPS)
        store = EpisodeStore.open(SHIPPED / "data")
        shown = StoreView(store, [index for index in range(len(store)) if store.read_columns(index).task == TASK])
        data = ChunkDataset(shown, config(max_delay), cache=RUNS / "frames")
        train(config(max_delay), data, TrainConfig(steps=STEPS, save_every=100, tensorboard=False, progress=False), run)
    return run / POLICY_FOLDER
