"""``dexhil real check`` and ``home`` on an emulated robot: they find what is wrong, and move nothing unasked."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from dexhil_env import robot
from real import check as verb
from real import checks
from real.check_moves import move_arm, move_hand
from real.config import write_config
from real.dexhand import DexHand
from real.emulated import emulated_config
from real.emulator.emulator_config import EmulatorConfig
from real.emulator.twin_process import TwinProcess
from real.fr3 import FR3
from tests.emulator.arm_fixtures import PATIENCE_S, free_address

pytest.importorskip("franky")


@pytest.fixture(scope="module")
def twin():
    with TwinProcess(EmulatorConfig("plush", image_size=64, patience_s=PATIENCE_S, cameras=("front",))) as process:
        yield process


@pytest.fixture
def config(twin):
    return emulated_config(twin.config)


@pytest.fixture
def asked(monkeypatch):
    """Questions, answered with what stands in ``replies``."""
    prompts = []
    monkeypatch.setenv("COLUMNS", "400")  # no cell of the table is broken into lines
    monkeypatch.setattr(verb, "ask_on_terminal", lambda prompt: prompts.append(prompt) or "no")
    return prompts


def verdicts(rows):
    return {row.what.split(" (")[0]: row.verdict for row in rows}


def test_a_good_robot_is_found_good_and_nothing_moves(twin, config, tmp_path, asked, capsys):
    write_config(config, tmp_path / "robot.toml")
    before = twin.line.status()
    verb.check(tmp_path / "robot.toml", move=True, pictures=tmp_path)
    after = twin.line.status()
    assert len(asked) == 1
    assert "Type yes" in asked[0]
    np.testing.assert_allclose(after.q, before.q, atol=1e-3)
    assert not any("move started" in what for _, what in after.events)
    text = capsys.readouterr().out
    assert "Nothing was moved" in text
    assert "FAIL" not in text
    assert (tmp_path / "check-front.png").stat().st_size > 1000


def test_what_is_broken_is_named_and_the_rest_is_checked_all_the_same(twin, config, tmp_path, asked, capsys, monkeypatch):
    monkeypatch.setattr("real.checks.WATCH_S", 0.5)
    twin.line.camera("front", freeze=True)
    gone = replace(config, arm=replace(config.arm, address=free_address()))
    write_config(gone, tmp_path / "robot.toml")
    try:
        with pytest.raises(SystemExit) as caught:
            verb.check(tmp_path / "robot.toml", move=True, pictures=tmp_path)
    finally:
        twin.line.mend()
    assert caught.value.code == 1
    assert asked == [], "what has failed is not moved"
    text = "".join(capsys.readouterr().out.split())
    for part in ("FCIisactivated", "camera-frozenfront", "hand:firmware", "mendwhathasfailed"):
        assert part in text, part


def test_the_moves_come_back_to_where_they_began(twin, config, monkeypatch):
    monkeypatch.setattr("real.check_moves.MOVE_SPEED", 0.3)
    monkeypatch.setattr("real.check_moves.HAND_SPEED", 2.0)
    monkeypatch.setattr("real.check_moves._SETTLE_S", 0.15)
    with FR3(config.arm) as arm, DexHand(config.hand) as hand:
        start = arm.state().q
        rows = [*move_arm(arm, hand, config, robot.ARM_JOINTS[5:]), *move_hand(hand, ("th_rot", "lf_dip"))]
        assert set(verdicts(rows).values()) == {"OK"}
        assert len(rows) == 4
        np.testing.assert_allclose(arm.state().q, start, atol=2e-3)


def test_home_asks_first_and_clears_a_reflex(twin, config, tmp_path, asked, capsys):
    write_config(config, tmp_path / "robot.toml")
    twin.line.reflex(6)
    verb.home(tmp_path / "robot.toml")
    assert "Nothing was moved" in capsys.readouterr().out
    assert twin.line.status().mode == "REFLEX"
    verb.home(tmp_path / "robot.toml", yes=True)
    assert "at home" in capsys.readouterr().out
    status = twin.line.status()
    assert status.mode == "IDLE"
    np.testing.assert_allclose(status.q, robot.ARM_HOME, atol=0.02)


def test_brackets_in_findings_reach_the_reader(capsys):
    row = checks.Row("camera [front]", "FAIL", "[red] is found", "[a, b]", "correct [hand] and [[cameras]]")
    Console(width=200).print(verb.as_table([row]))
    text = capsys.readouterr().out
    for part in (row.what, row.found, row.allowed, row.advice):
        assert part in text
