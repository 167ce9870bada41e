"""What a user types. Verbs run in this process; two commands are checked as processes by test_wheel.py."""

import json
import shutil

import imageio.v3 as iio
import pytest

from agents.cli import VERBS, main
from dexhil_env.store import EpisodeStore

PLUSH = "DexHiL-PlushSim-v0"


def exit_code(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def call(capsys, *arguments):
    capsys.readouterr()
    main([str(argument) for argument in arguments])
    return capsys.readouterr().out


def test_usage_names_every_verb(capsys):
    usage = call(capsys)
    assert call(capsys, "--help") == usage
    assert all(f"  {verb} " in usage for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb(verb, capsys):
    assert exit_code(verb, "--help") in (0, None)
    assert f"dexhil {verb}" in capsys.readouterr().out


def test_unknown_verb_exits_with_2(capsys):
    assert exit_code("dance") == 2
    assert "unknown verb 'dance'" in capsys.readouterr().err


def test_evaluation_of_doing_nothing(tmp_path, capsys):
    file = tmp_path / "zero.json"
    out = call(capsys, "eval", "--env", PLUSH, "--policy", "zero", "--episodes", 2, "--json", file, "--workers", 1)
    result = json.loads(file.read_text())
    assert (result["n_episodes"], result["n_success"], result["pc_success"]) == (2, 0, 0.0)
    low, high = result["pc_success_ci95"]
    assert low == 0.0
    assert 50.0 < high < 100.0
    assert "0/2" in out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("eval", "--policy", "nonsense", "--workers", 1), "unknown policy 'nonsense'"),
        (("eval", "--env", "DexHiL-SockSim-v0", "--workers", 1), "unknown environment id"),
        (("dataset", "info", "/nonexistent/folder"), "/nonexistent/folder"),
        (("report", "/nonexistent/folder"), "no run folder"),
    ],
)
def test_mistakes_end_in_one_clear_line(arguments, word, capsys):
    assert exit_code(*arguments) == 1
    error = capsys.readouterr().err
    (line,) = [line for line in error.splitlines() if line.startswith("dexhil ")]
    assert word in line
    assert "Traceback" not in error


def test_collect_then_look_at_the_dataset(tmp_path, capsys):
    root, clip = tmp_path / "data", tmp_path / "episode.mp4"
    arguments = ("collect", "--out", root, "--env", PLUSH, "--episodes", 2, "--image-size", 32, "--workers", 1)
    assert "2 episodes" in call(capsys, *arguments)
    assert "2 episodes of this kind, 2 in all" in call(capsys, *arguments)  # nothing left to do
    assert "2 episodes" in call(capsys, "dataset", "info", root)
    assert "no problems" in call(capsys, "dataset", "check", root)
    call(capsys, "dataset", "video", root, "--out", clip, "--episode", 1)
    before = EpisodeStore.open(root).read(1)
    assert iio.improps(clip, plugin="pyav").shape == (len(before), 64, 128, 3)
    call(capsys, "dataset", "compact", root)
    assert "no problems" in call(capsys, "dataset", "check", root)
    after = EpisodeStore.open(root).read(1)
    assert (after.action == before.action).all()
    assert (after.images["front"] == before.images["front"]).all()


def test_check_finds_a_broken_video(demos, tmp_path, capsys):
    root = shutil.copytree(demos, tmp_path / "data")
    next(root.rglob("*.mp4")).write_bytes(b"no video")
    assert exit_code("dataset", "check", root) == 1
    assert "repair" in capsys.readouterr().err


def test_doctor_says_ready(capsys):
    assert "Ready" in call(capsys, "doctor")


def test_play_writes_a_video(tmp_path, capsys):
    clip = tmp_path / "play.mp4"
    out = call(capsys, "play", "--env", PLUSH, "--policy", "expert", "--seed", 0, "--video", clip)
    assert str(clip) in out
    assert iio.improps(clip, plugin="pyav").shape[0] > 20


def test_rollout_keeps_every_episode(capsys, tmp_path):
    said = call(capsys, "rollout", "--policy", "zero", "-n", 2, "--seed", 5, "--out", tmp_path / "kept", "--image-size", 32)
    assert "seed 5: never closed" in said
    assert "0 of 2 succeeded" in said
    kept = EpisodeStore(tmp_path / "kept")
    assert [kept.facts(i)["seed"] for i in range(len(kept))] == [5, 6]
    assert exit_code("rollout", "--env", "DexHiL-PlushReal-v0") == 1
    assert "--emulate" in capsys.readouterr().err
