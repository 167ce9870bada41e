import numpy as np
import pytest
import torch

from agents.chunking import ChunkQueue, to_absolute, to_relative
from agents.data import ChunkDataset, closing_target
from agents.filters import FilterConfig
from agents.frames import resize
from agents.vla.config import preset
from dexhil_env.errors import DatasetError
from tests.unit.agents_fixture import demos, make_episode

CONFIG = preset("debug")


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_relative_arm_round_trip(kind):
    chunk, arm = kind(np.random.default_rng(0).normal(size=(3, 16, 19))), kind(np.arange(21.0).reshape(3, 7))
    relative = to_relative(chunk, arm)
    assert bool((relative[..., 7:] == chunk[..., 7:]).all())
    assert np.allclose(relative[1, 5, :7], chunk[1, 5, :7] - arm[1])
    assert np.allclose(to_absolute(relative, arm), chunk)


def test_queue_executes_the_first_actions_of_a_chunk_only():
    queue = ChunkQueue(3)
    queue.refill(np.arange(16 * 19, dtype=np.float32).reshape(16, 19))
    assert [queue.pop()[0] for _ in range(3)] == [0, 19, 38]
    assert len(queue) == 0
    queue.refill(np.zeros((16, 19), np.float32))
    queue.clear()
    assert len(queue) == 0


def test_labels_are_the_next_actions_of_the_same_episode():
    episodes = demos(2, length=20)
    data = ChunkDataset(episodes, CONFIG)
    assert len(data) == 40
    chunk, is_pad = data.labels(np.array([0, 10, 39]))
    assert np.array_equal(chunk[0], episodes[0].action[:16])
    assert not is_pad[0].any()
    assert np.flatnonzero(is_pad[1]).tolist() == list(range(10, 16))
    assert np.array_equal(chunk[1, :10], episodes[0].action[10:])
    assert is_pad[2].sum() == 15


def test_batch_holds_what_was_recorded():
    episodes = demos(2, length=20)
    batch = ChunkDataset(episodes, CONFIG).batch(np.array([3, 25]))
    assert batch["task"] == [episodes[0].instruction, episodes[1].instruction]
    assert np.array_equal(batch["observation.state"][1][:19], episodes[1].state[5, :19])
    for camera in CONFIG.cameras:
        assert batch[f"observation.images.{camera}"].shape == (2, 32, 32, 3)
        assert np.array_equal(batch[f"observation.images.{camera}"][1], resize(episodes[1].images[camera][5:6], 32)[0])


def test_every_anchor_comes_once():
    data = ChunkDataset(demos(2, length=11), CONFIG)
    assert sum(len(batch["task"]) for batch in data.batches(5)) == 22


class Store:
    """What a dataset asks of an episode store, with a count of decodes."""

    def __init__(self, root, episodes):
        self.root, self.episodes, self.decodes = root, episodes, 0

    def __len__(self):
        return len(self.episodes)

    def read(self, i, images=True):
        self.decodes += 1
        return self.episodes[i]

    def read_columns(self, i):
        from dataclasses import replace

        return replace(self.episodes[i], images={})


def test_frames_are_decoded_once_and_the_cache_notices_changes(tmp_path):
    store = Store(tmp_path, demos(3))
    first = ChunkDataset(store, CONFIG).batch(np.arange(5))
    again = ChunkDataset(store, CONFIG).batch(np.arange(5))
    assert store.decodes == 3
    assert torch.equal(first["observation.images.wrist"], again["observation.images.wrist"])
    assert not list((tmp_path / ".cache").rglob("*.tmp"))
    store.episodes[1] = make_episode("b" * 24, seed=77, round_=0)
    ChunkDataset(store, CONFIG)
    assert store.decodes == 4


def test_dropped_episodes_are_not_decoded(tmp_path):
    store = Store(tmp_path, [*demos(1), make_episode("ppp", success=False)])
    ChunkDataset(store, CONFIG)
    assert store.decodes == 1


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(DatasetError, match="no trainable"):
        ChunkDataset([make_episode("ppp", success=False)], CONFIG, FilterConfig())
    episode = make_episode()
    del episode.images["wrist"]
    with pytest.raises(DatasetError, match="camera"):
        ChunkDataset([episode], CONFIG)


def test_closing_moment():
    episode = make_episode("b" * 20, round_=0)
    episode.action[:12, 7:] = 0.0
    episode.action[12:, 7:] = 1.0
    target, valid = closing_target(episode)
    assert np.array_equal(target, np.repeat(episode.state[12:13, :7], 20, 0))
    assert valid.tolist() == [True] * 13 + [False] * 7
    episode.action[3:6, 7:] = 1.0  # a premature grasp, opened again: the final one counts
    np.testing.assert_array_equal(closing_target(episode)[0][0], episode.state[12, :7])
    episode.action[:, 7:] = 0.5
    assert not closing_target(episode)[1].any()


def test_resize_keeps_means_and_exact_sizes():
    frames = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    assert np.array_equal(resize(frames, 64), frames)
    assert resize(frames, 48).shape == (2, 48, 48, 3)
    assert resize(frames, 48).mean() == pytest.approx(frames.mean(), abs=1.0)


def test_reads_the_real_store(tmp_path):
    from dexhil_env.store import EpisodeStore

    store = EpisodeStore(tmp_path / "data")
    episode = make_episode("b" * 20, round_=0, size=32)
    episode.images = {name: np.repeat(frames[:1], 20, 0) // 8 * 8 for name, frames in episode.images.items()}
    store.append(episode)
    data = ChunkDataset(store, CONFIG)
    batch = data.batch(np.arange(20))
    assert len(data) == 20
    assert np.allclose(batch["action"][0], episode.action[:16], atol=1e-6)
    assert batch["task"][0] == episode.instruction
    assert list((tmp_path / "data" / ".cache" / "frames").glob("*.npy"))
