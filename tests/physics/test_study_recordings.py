"""Who records what in a study, and what is trained on."""

from dataclasses import replace
from pathlib import Path

import pytest

from agents.study import recordings
from agents.study.arms import WARMUP
from agents.study.config import OFFLINE_TASKS, STUDY_TASKS, StudyConfig, moved
from agents.study.recordings import Recordings
from dexhil_env.store import EpisodeStore
from tests.unit.agents_fixture import make_episode

PLUSH, TISSUE = "DexHiL-PlushSim-v0", "DexHiL-TissueSim-v0"
SMALL = replace(moved(), demos=2, corrections=1, rounds=2)


@pytest.fixture
def asked(monkeypatch):
    """Recordings are asked for, not made."""
    jobs = []
    monkeypatch.setattr(recordings, "collect", lambda job, store, quota, first, progress: jobs.append((job, store.root, quota, first)))
    return jobs


def test_demonstrations_come_from_elsewhere_and_the_policy_works_here(asked, tmp_path: Path) -> None:
    for arm, policy in ((WARMUP, None), ("on-site", "p"), ("dexhil", "p")):
        Recordings(SMALL, tmp_path, 1, arm, int(arm != WARMUP)).collect(policy)
    scenes = [job.env_kwargs["toy_x_m"] for job, *_ in asked if job.env_id == PLUSH]
    here, elsewhere = STUDY_TASKS[PLUSH]["toy_x_m"], OFFLINE_TASKS[PLUSH]["toy_x_m"]
    assert scenes == [elsewhere, here, here]
    assert here[0] < elsewhere[0] < elsewhere[1] < here[1]
    assert all(job.env_kwargs["randomise_physics"] for job, *_ in asked if job.env_id == PLUSH)
    assert [job.policy for job, *_ in asked] == ["expert"] * 4 + ["p"] * 2
    assert [quota.wanted for *_, quota, _ in asked] == [4, 4, 1, 1, 1, 1]
    assert len({first for *_, first in asked}) == 6, "no scene is used twice"
    assert asked[0][1] != asked[2][1]


def test_without_a_move_all_is_recorded_in_the_same_scenes(asked, tmp_path: Path) -> None:
    Recordings(StudyConfig(), tmp_path, 0, WARMUP, 0).collect(None)
    assert asked[0][0].env_kwargs["toy_x_m"] == STUDY_TASKS[PLUSH]["toy_x_m"]


def record(root: Path, rounds: list[int]) -> None:
    """One episode per environment and entry."""
    store = EpisodeStore(root)
    for number, round_index in enumerate(rounds):
        for task, env_id in enumerate((PLUSH, TISSUE)):
            episode = make_episode("b" * 6, seed=10 * len(str(root)) + number, round_=round_index, task=task)
            episode.extra |= {"env_id": env_id, "seed": number}
            store.append(episode)


@pytest.mark.parametrize(
    ("arm", "round_index", "offline", "other"),
    [(WARMUP, 0, 2, 0), ("baseline", 1, 3, 0), ("baseline", 2, 4, 0), ("dexhil", 1, 2, 1), ("dagger", 2, 2, 2), ("on-site", 2, 2, 2)],
)
def test_every_arm_trains_on_its_own_budget(tmp_path: Path, arm: str, round_index: int, offline: int, other: int) -> None:
    record(tmp_path / "demonstrations", [0, 0, 0, 0])
    record(tmp_path / "dexhil" / "corrections", [1, 2])
    record(tmp_path / "on-site" / "demonstrations", [0, 0])
    cell = Recordings(SMALL, tmp_path, 0, arm, round_index)
    assert len(cell.dataset()) == 2 * (offline + other)
    facts = cell.facts()
    if arm == "dagger":
        assert facts == {}, "it lives on DexHiL's recordings"
    else:
        assert [fact["attempts"] for fact in facts.values()] == [2 if arm == WARMUP else 1] * 2
