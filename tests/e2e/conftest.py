from dataclasses import replace

import pytest
import torch

from agents.collect import Quota, collect
from agents.data import ChunkDataset
from agents.job import Job
from agents.policy import VLAPolicy
from agents.vla.config import preset
from dexhil_env.store import EpisodeStore
from tests.unit.agents_fixture import demos as made_up

SEED = 1_000_000


@pytest.fixture(scope="session")
def demos(tmp_path_factory):
    """Two demonstrations of the plush task, as users record them but with small images."""
    root = tmp_path_factory.mktemp("demos") / "plush"
    collect(Job("DexHiL-PlushSim-v0", env_kwargs={"image_size": 32}), EpisodeStore(root), Quota(2), SEED, progress=False)
    return root


@pytest.fixture(scope="session")
def planner(tmp_path_factory):
    """Folder of an untrained policy that plans chunks and takes prefixes."""
    torch.manual_seed(0)
    config = replace(preset("debug"), rtc_max_delay=8)
    return str(VLAPolicy(config, ChunkDataset(made_up(), config).statistics()).save(tmp_path_factory.mktemp("policy")))
