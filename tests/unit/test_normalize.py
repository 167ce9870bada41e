from dataclasses import replace

import numpy as np
import pytest

from agents.data import ChunkDataset
from agents.normalize import Normalizer, VectorStats
from agents.vla.config import preset
from dexhil_env.errors import CheckpointError, ConfigError
from tests.unit.agents_fixture import demos

ROWS = np.random.default_rng(0).normal([1.0, -5.0, 0.0], [2.0, 0.1, 1.0], (5000, 3))


def test_quantiles_map_to_one():
    stats = VectorStats.of(ROWS)
    assert np.allclose(np.quantile(stats.normalize(ROWS), [0.01, 0.99], axis=0), [[-1] * 3, [1] * 3], atol=1e-5)


def test_mean_std_standardises():
    scaled = VectorStats.of(ROWS, "mean_std").normalize(ROWS)
    assert np.allclose(scaled.mean(0), 0, atol=1e-5)
    assert np.allclose(scaled.std(0), 1, atol=1e-5)


@pytest.mark.parametrize("mode", ["quantiles", "mean_std"])
def test_constant_dimensions_keep_scale_one(mode):
    stats = VectorStats.of(np.concatenate([ROWS, np.full((5000, 1), 0.3), 1e-5 * ROWS[:, :1]], 1), mode)
    assert stats.scale[3:].tolist() == [1.0, 1.0]
    assert stats.normalize(np.array([0, 0, 0, 0.3, 0]))[3] == pytest.approx(0.0, abs=1e-6)


def test_round_trip_without_clipping():
    stats = VectorStats.of(ROWS)
    assert np.allclose(stats.denormalize(stats.normalize(ROWS * 10)), ROWS * 10, atol=1e-4)


def test_json_keeps_every_bit():
    normalizer = Normalizer(VectorStats.of(ROWS), VectorStats.of(ROWS * 2), "mean_std")
    again = Normalizer.from_json(normalizer.to_json())
    assert again.digest() == normalizer.digest()
    assert again.mode == "mean_std"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"mode": "quantiles"}', '{"mode":"x","state":{"centre":[0],"scale":[0]},"action":{"centre":[0],"scale":[1]}}']
)
def test_damaged_text_is_refused(text):
    with pytest.raises(CheckpointError, match="normaliser"):
        Normalizer.from_json(text)


def test_nonsense_is_refused():
    with pytest.raises(ConfigError, match="mode"):
        VectorStats.of(ROWS, "minmax")
    with pytest.raises(ConfigError, match="row"):
        VectorStats.of(ROWS[:0])


def test_dataset_statistics_are_those_of_the_valid_relative_labels():
    episodes = demos(2)
    data = ChunkDataset(episodes, preset("debug"))
    stats = data.statistics("mean_std").action
    labels = np.concatenate([e.action[t : t + 16] - np.r_[e.state[t, :7], np.zeros(12)] for e in episodes for t in range(len(e))])
    assert np.allclose(stats.centre, labels.mean(0), atol=1e-4)
    absolute = ChunkDataset(episodes, replace(preset("debug"), relative_arm=False)).statistics("mean_std").action
    assert np.allclose(absolute.centre[7:], stats.centre[7:], atol=1e-5)
    assert not np.allclose(absolute.centre[:7], stats.centre[:7], atol=1e-2)
