import pytest

from agents.collect import Quota, collect
from agents.rollouts import Job
from dexhil_env.store import EpisodeStore

SEED = 1_000_000


@pytest.fixture(scope="session")
def demos(tmp_path_factory):
    """Two demonstrations of the plush task, as users record them but with small images."""
    root = tmp_path_factory.mktemp("demos") / "plush"
    collect(Job("DexHiL-PlushSim-v0", env_kwargs={"image_size": 32}), EpisodeStore(root), Quota(2), SEED, progress=False)
    return root
