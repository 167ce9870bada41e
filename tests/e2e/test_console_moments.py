"""Moments at the console that can be had again: a verdict that is taken back, a single step in a pause, the last seconds once more."""

import time

import numpy as np
import pytest

from dexhil_env.store import EpisodeStore
from tests.e2e.console_rig import Console, begin, browser, mode, need_browser, until, watch

need_browser()

SUM = "(id) => { const c = document.querySelector(`#${id} canvas`); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let s = 0; for (let i = 0; i < d.length; i += 40) s += d[i]; return s; }"  # noqa: E501
"""A number that says which picture a camera's canvas shows."""


@pytest.fixture(params=["zero"])
def console(tmp_path, request):
    made = Console(tmp_path / "data", "--policy", request.param, "-n", "3", "--seconds", "30")
    made.out = tmp_path / "data"
    yield made
    made.close()


def test_a_verdict_is_taken_back_before_the_next_scene_is_laid(console, tmp_path):
    with browser() as page:
        watch(page, console)
        time.sleep(0.5)
        page.keyboard.press("Enter")  # a slip: it was no success
        mode(page, "JUDGED")
        assert page.inner_text("#second-title").startswith("Success")
        page.screenshot(path=str(tmp_path / "judged.png"))
        page.keyboard.press("KeyU")
        until(page, "state.verdict === 'none'")
        assert page.inner_text("#second-title") == "Taken back"
        page.screenshot(path=str(tmp_path / "taken_back.png"))
        time.sleep(5.5)  # it waits for the person
        assert page.evaluate("state.mode") == "JUDGED"
        page.keyboard.press("Backspace")
        begin(page)
        page.keyboard.press("Backspace")
        mode(page, "JUDGED")
        page.click("#keep")
        begin(page)
        page.keyboard.press("Enter")
        mode(page, "JUDGED")
        page.keyboard.press("Home")  # corrected in one go: the same scene again
        mode(page, "READY")
        assert page.inner_text("#tally").startswith("0 of 2")
        page.click("#quit")
        assert not page.errors
    console.finish()
    store = EpisodeStore.open(console.out)
    episodes = [store.read_columns(index) for index in range(len(store))]
    assert [episode.extra["verdict"] for episode in episodes] == ["failure", "failure", "discard"]
    assert [episode.is_success for episode in episodes] == [False] * 3
    assert [bool(episode.truncated[-1]) for episode in episodes] == [False, False, True]
    assert [episode.extra["redo"] for episode in episodes] == [False, False, True]


@pytest.mark.parametrize("console", ["random"], indirect=True)  # moves all the time
def test_a_step_in_a_pause_is_one_control_period_and_the_last_seconds_are_seen_again(console, tmp_path):
    with browser() as page:
        watch(page, console)
        assert page.is_hidden("#step")
        until(page, "state.t_s > 6")
        page.keyboard.press("KeyP")
        mode(page, "HOLD")
        time.sleep(0.3)
        before = page.evaluate("state.t_s")
        for number in range(1, 4):
            page.keyboard.press("Period")
            until(page, f"Math.abs(state.t_s - {before + 0.05 * number}) < 1e-6")
        time.sleep(0.3)
        assert page.evaluate("state.t_s") == pytest.approx(before + 0.15)
        now = page.evaluate(SUM, "front"), page.evaluate(SUM, "wrist")
        page.screenshot(path=str(tmp_path / "paused.png"))
        page.keyboard.press("KeyL")
        shown = []
        for _ in range(8):
            time.sleep(0.4)
            shown.append((page.evaluate(SUM, "front"), page.evaluate(SUM, "wrist")))
        word = page.inner_text("#replay-time")
        page.screenshot(path=str(tmp_path / "replay.png"))
        page.keyboard.press("KeyL")
        until(page, "replaying === null")
        time.sleep(0.2)
        assert (page.evaluate(SUM, "front"), page.evaluate(SUM, "wrist")) == now  # the present again
        assert len(set(shown)) >= 6
        assert all(front != now[0] and wrist != now[1] for front, wrist in shown[:6])
        assert 0.5 < float(word.split()[1][1:]) < 3.0
        assert page.evaluate("film[film.length - 1].t - film[0].t") == pytest.approx(5.0, abs=0.3)
        page.keyboard.press("KeyL")
        page.keyboard.press("KeyP")
        mode(page, "AUTO")
        page.keyboard.down("Space")  # who drives sees the present
        mode(page, "HUMAN")
        until(page, "replaying === null")
        assert page.is_disabled("#replay")
        page.keyboard.up("Space")
        mode(page, "AUTO")
        page.keyboard.press("Backspace")
        mode(page, "JUDGED")
        page.click("#keep")
        mode(page, "READY")
        assert page.is_enabled("#replay")  # the last episode can be looked at
        page.click("#quit")
        assert not page.errors
    console.finish()
    episode = EpisodeStore.open(console.out).read_columns(0)
    assert not episode.intervention[: round(before / 0.05) + 3].any()
    assert np.diff(episode.t_obs_ns).max() == pytest.approx(5e7, rel=1e-6)
