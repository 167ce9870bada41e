"""``dexhil retarget``: train, calibrate, judge and replay, at tiny size."""

import json

import numpy as np
import pytest

from agents.cli import main
from agents.retarget import motion
from agents.retarget.human import sample_shape

TINY = ("--config.thumb", "5", "--config.correct", "5", "--config.batch", "32")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("hand"), np.random.default_rng(7)
    shape = sample_shape(rng)
    np.save(folder / "calibration.npy", motion.calibration(shape, rng, 0.005))
    np.save(folder / "no_fist.npy", motion.calibration(shape, rng, 0.005, skip=("fist",)))
    np.save(folder / "test.npy", motion.test(shape, rng, 0.005)[:600])
    return folder


@pytest.fixture(scope="module")
def profile(recordings):
    path = recordings / "me.npz"
    main(["retarget", "calibrate", "--keypoints", str(recordings / "calibration.npy"), "--out", str(path), *TINY])
    return path


def test_train_writes_weights_that_load(tmp_path):
    from dexhil_env.hil.retarget.network import Network

    main(["retarget", "train", "--out", str(tmp_path / "w.npz"), "--config.fingers", "5", *TINY])
    Network(dict(np.load(tmp_path / "w.npz")))


def test_a_missing_gesture_is_named(recordings, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["retarget", "calibrate", "--keypoints", str(recordings / "no_fist.npy"), "--out", str(tmp_path / "p.npz")])
    assert "fist" in capsys.readouterr().err
    assert not (tmp_path / "p.npz").exists()


def test_eval_of_a_recording_prints_and_stores_every_number(recordings, profile, tmp_path, capsys):
    main([
        "retarget", "eval", "--keypoints", str(recordings / "test.npy"), "--profile", str(profile), "--json", str(tmp_path / "e.json"),
    ])  # fmt: skip
    assert "direction of four fingers" in capsys.readouterr().out
    stored = json.loads((tmp_path / "e.json").read_text())
    assert set(stored["mean"]) == {"ours", "two stages", "uncalibrated"}
    assert stored["mean"]["ours"]["direction_deg"] < stored["bars"]["direction_deg"]


def test_replay_gives_motors(recordings, profile, tmp_path):
    out = tmp_path / "motors.npy"
    main(["retarget", "replay", "--keypoints", str(recordings / "test.npy"), "--profile", str(profile), "--out", str(out)])
    assert np.load(out).shape == (600, 12)


def test_peers_speak_of_their_absence(monkeypatch, recordings, caplog):
    from agents.retarget import peers
    from dexhil_env.hil.retarget.profile import Profile

    monkeypatch.setattr(peers, "installed", lambda module: False)
    frames = np.load(recordings / "calibration.npy")
    assert peers.peers(frames, Profile.from_keypoints(frames)) == []
    assert "dex-retargeting is not installed" in caplog.text
    assert "retarget-bench" in caplog.text
