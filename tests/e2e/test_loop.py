"""The whole loop at tiny size: demonstrations, warm-up, corrections, weighted retraining, control, evaluation, report."""

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import imageio.v3 as iio
import pytest
from safetensors.numpy import load_file

from agents.collect import up_to_round
from agents.dagger import DaggerRun, RunConfig
from agents.report import write_report
from agents.trainer import TrainConfig
from agents.vla.config import PRESETS
from dexhil_env.errors import ConfigError

PLUSH = "DexHiL-PlushSim-v0"
TRAINING = TrainConfig(steps=20, batch_size=8, warmup=5, log_every=5, save_every=0)
CONFIG = RunConfig(
    env_ids=(PLUSH,),
    demos=2,
    corrections=1,
    rounds=1,
    control=True,
    vla=PRESETS["debug"],
    warmup=TRAINING,
    round=replace(TRAINING, steps=10),
    eval_episodes=2,
    image_size=32,
)
POLICIES = ("round-0", "round-1", "control-1")


class References(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self, text):
        super().__init__()
        self.found = set()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found |= {value for key, value in attrs if key in ("src", "href", "poster") and not value.startswith("#")}


def times(folder):
    """Time of the last change of every result; config.json is written again by every start."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path != folder / "config.json"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loop") / "run"
    DaggerRun(CONFIG, folder, progress=False).run()
    return folder


def test_every_stage_leaves_its_result(run):
    for name in POLICIES:
        assert (run / name / "train/policy/model.safetensors").exists()
        result = json.loads((run / name / f"eval-{PLUSH}.json").read_text())
        assert result["n_episodes"] == 2
        assert result["seeds"] == [CONFIG.eval_seed, CONFIG.eval_seed + 1]


def test_corrections_are_in_the_data(run):
    store = DaggerRun(CONFIG, run, progress=False).store
    rounds = [store.read_columns(i).round for i in range(len(store))]
    assert rounds[:2] == [0, 0]
    assert set(rounds[2:]) == {1}
    assert len(up_to_round(store, 0)) == 2
    corrected = [episode for episode in map(store.read_columns, range(2, len(store))) if episode.is_success and episode.intervention.any()]
    assert len(corrected) == CONFIG.corrections
    assert not store.read_columns(0).intervention.any()


def test_second_start_does_nothing(run):
    before = times(run)
    DaggerRun(CONFIG, run, progress=False).run()
    assert times(run) == before


def test_interrupted_run_goes_on_and_ends_the_same(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    for name in ("round-1", "control-1"):
        shutil.rmtree(folder / name)
    (folder / f"round-0/eval-{PLUSH}.json").unlink()
    DaggerRun(CONFIG, folder, progress=False).run()
    for name in POLICIES:
        ours, theirs = (load_file(root / name / "train/policy/model.safetensors") for root in (folder, run))
        assert ours.keys() == theirs.keys()
        assert all((ours[key] == theirs[key]).all() for key in theirs)
        found, wanted = (json.loads((root / name / f"eval-{PLUSH}.json").read_text()) for root in (folder, run))
        assert (found["success"], found["steps"]) == (wanted["success"], wanted["steps"])
    assert len(list(folder.glob("data/data/**/*.parquet"))) == len(list(run.glob("data/data/**/*.parquet")))


def test_other_settings_are_refused(run):
    with pytest.raises(ConfigError, match="demos was 2, now 3"):
        DaggerRun(replace(CONFIG, demos=3), run)


def test_report_is_whole(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    page = write_report(folder, videos=1)
    text = page.read_text(encoding="utf-8")
    references = References(text)
    assert "table" in references.tags
    assert all(word in text for word in ("warm-up", "round 1", "control 1", "Human effort"))
    videos = [name for name in references.found if name.endswith(".mp4")]
    assert len(videos) == 3
    for name in references.found:
        assert "://" not in name
        assert (page.parent / name).exists()
    for name in videos:
        assert iio.improps(page.parent / name, plugin="pyav").shape[0] > 10
        assert iio.imread(page.parent / name, plugin="pyav", index=5).std() > 0
