import numpy as np
import pytest

from agents.data import ChunkDataset
from agents.filters import DROPPED, PALM_HEIGHT, FilterConfig, select
from agents.vla.config import preset
from agents.weights import FrameClass
from dexhil_env.types import HAND
from tests.unit.agents_fixture import make_episode

DEMO, HUMAN, ROLL = FrameClass.DEMO, FrameClass.INTERVENTION, FrameClass.ROLLOUT
KEEP_IDLE = FilterConfig(trim_idle_rad=0.0)


def anchors(episode, config=KEEP_IDLE):
    return select(episode, config).anchor.tolist()


def test_only_the_last_intervention_to_completion_is_kept():
    assert anchors(make_episode("ppbbpphhppp")) == [DROPPED] * 6 + [HUMAN, HUMAN, ROLL, ROLL, ROLL]


def test_rows_after_completion_are_dropped():
    episode = make_episode("ppbbppp")
    episode.success[4:] = True
    assert anchors(episode) == [DROPPED, DROPPED, HUMAN, HUMAN, ROLL, DROPPED, DROPPED]


@pytest.mark.parametrize("drivers", ["ppbbpp", "pppppp"])
def test_failures_are_dropped(drivers):
    episode = make_episode(drivers, success=False)
    assert set(anchors(episode)) == {DROPPED}
    assert set(anchors(episode, FilterConfig(drop_failures=False))) != {DROPPED}


def test_success_without_intervention():
    assert set(anchors(make_episode("pppp"))) == {ROLL}
    assert set(anchors(make_episode("pppp"), FilterConfig(intervention_free="drop"))) == {DROPPED}


def test_frames_that_open_a_closed_hand_can_be_dropped():
    episode = make_episode("ppbbbbbb")
    episode.action[2:, HAND] = np.array([1.0, 0.6, 0.2, 0.18, 0.5, 1.0])[:, None]
    only = FilterConfig(trim_idle_rad=0.0, trim_reopening=True)
    assert anchors(episode, only) == [DROPPED] * 4 + [HUMAN] * 4
    episode.action[2:, HAND] = np.linspace(0.2, 1.0, 6)[:, None]
    assert anchors(episode, only) == [DROPPED] * 2 + [HUMAN] * 6


def test_policy_frames_after_a_handback_can_be_dropped():
    episode = make_episode("pbboopp")
    assert ROLL in anchors(episode)
    kept = anchors(episode, FilterConfig(trim_idle_rad=0.0, policy_frames="drop"))
    assert kept == [DROPPED, HUMAN, HUMAN, DROPPED, DROPPED, DROPPED, DROPPED]
    twice = anchors(make_episode("bbppbb"), FilterConfig(trim_idle_rad=0.0, last_intervention=False, policy_frames="drop"))
    assert twice == [HUMAN, HUMAN, DROPPED, DROPPED, HUMAN, HUMAN]


def test_demonstrations_are_kept_whole_even_if_recorded_as_human():
    assert set(anchors(make_episode("bbbb", round_=0), FilterConfig())) == {DEMO}
    later = make_episode("bbbb", round_=2)
    later.extra["kind"] = "demo"
    assert set(anchors(later)) == {DEMO}


def test_handover_rows_are_neither_anchor_nor_label():
    selection = select(make_episode("pbboopp"), KEEP_IDLE)
    assert selection.anchor.tolist() == [DROPPED, HUMAN, HUMAN, DROPPED, DROPPED, ROLL, ROLL]
    assert (selection.label[3:5] == DROPPED).all()


def test_idle_frames_after_the_takeover_are_trimmed():
    episode = make_episode("ppbbbbb")
    episode.action[2:5] = episode.action[2]
    assert anchors(episode, FilterConfig()) == [DROPPED] * 5 + [HUMAN, HUMAN]
    episode.action[2:] = episode.action[2]
    assert HUMAN not in anchors(episode, FilterConfig())


def test_retreat_is_trimmed_but_a_final_lift_is_not():
    config = FilterConfig(trim_idle_rad=0.0, trim_retreat=True)
    episode = make_episode("p" + "b" * 8)
    episode.state[1:, PALM_HEIGHT] = [0.1, 0.15, 0.2, 0.15, 0.1, 0.1, 0.1, 0.1]
    assert anchors(episode, config) == [DROPPED] * 3 + [HUMAN] * 6
    episode.state[1:, PALM_HEIGHT] = np.linspace(0.1, 0.3, 8)
    assert anchors(episode, config) == [DROPPED] + [HUMAN] * 8


def dataset(episode, config):
    return ChunkDataset([episode], preset("debug"), config)


def test_a_chunk_ends_where_the_driver_changes():
    episode = make_episode("pp" + "b" * 5 + "p" * 6)
    masked, kept = dataset(episode, KEEP_IDLE), dataset(episode, FilterConfig(trim_idle_rad=0.0, boundary="keep"))
    chunk, is_pad = masked.labels(np.array([0]))
    assert (~is_pad).sum() == 5
    assert (chunk[0, 5:] == chunk[0, 4]).all()
    assert (~kept.labels(np.array([0]))[1]).sum() == 11


def test_include_pre_takeover_labels_are_human_actions_only():
    episode = make_episode("pppp" + "b" * 4 + "pp")
    data = dataset(episode, FilterConfig(trim_idle_rad=0.0, include_pre_takeover=2))
    assert data.classes.tolist() == [HUMAN] * 6 + [ROLL] * 2
    chunk, is_pad = data.labels(np.array([0]))
    assert np.flatnonzero(~is_pad[0]).tolist() == [2, 3, 4, 5]
    assert np.array_equal(chunk[0, 2:6], episode.action[4:8])


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("config", [
    FilterConfig(), KEEP_IDLE, FilterConfig(last_intervention=False, drop_failures=False, trim_retreat=True),
    FilterConfig(last_intervention=False, drop_failures=False, include_pre_takeover=3),
])  # fmt: skip
def test_no_action_of_the_policy_becomes_an_intervention_label(seed, config):
    rng = np.random.default_rng(seed)
    drivers = "".join(letter * int(rng.integers(1, 6)) for letter in rng.choice(list("ppabho"), 8))
    episode = make_episode(drivers, seed=seed, success=bool(rng.integers(2)))
    selection = select(episode, config)
    if not config.include_pre_takeover:
        assert episode.intervention[selection.anchor == HUMAN].all()
    assert not episode.handover[selection.anchor != DROPPED].any()
    if (selection.anchor == DROPPED).all():
        return
    data = dataset(episode, config)
    chunk, is_pad = data.labels(np.arange(len(data)))
    human = {row.tobytes() for row in episode.action[episode.intervention]}
    labels = chunk[data.classes == HUMAN][~is_pad[data.classes == HUMAN]]
    assert all(row.tobytes() in human for row in labels)
    blended = {row.tobytes() for row in episode.action[episode.handover]}
    assert not any(row.tobytes() in blended for row in chunk[~is_pad])
