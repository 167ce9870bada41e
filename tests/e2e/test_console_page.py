"""A person at the browser console: whole episodes through the page, in a headless browser."""

import json
import threading
import time

import numpy as np
import pytest

from dexhil_env.store import EpisodeStore
from dexhil_env.types import ARM, HAND, Source
from tests.e2e.console_rig import Console, browser, mode, need_browser, until, watch

need_browser()

STAMP_PRESSES = """
window.presses = [];
addEventListener("keydown", (event) => { if (event.code === "Space") presses.push(performance.timeOrigin + event.timeStamp); }, true);
"""
PRESS_TO_COMMAND_MS = 60.0
"""From the key in the browser to the first human command at the servo; the median of a few presses on a busy machine."""


@pytest.fixture
def console(tmp_path, request):
    made = Console(tmp_path / "data", *getattr(request, "param", ("--policy", "zero", "-n", "2", "--seconds", "30")))
    made.out = tmp_path / "data"
    yield made
    made.close()


def episodes(console):
    store = EpisodeStore.open(console.out)
    return [store.read_columns(index) for index in range(len(store))]


def drag(page, dx, dy, steps=10):
    box = page.locator("#front").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, steps + 1):
        page.mouse.move(x + dx * step / steps, y + dy * step / steps)
        time.sleep(0.03)
    page.mouse.up()


def test_a_whole_corrected_episode_through_the_page(console):
    with browser() as page:
        page.goto(console.url)
        mode(page, "READY")
        assert page.inner_text("#instruction") == "Grab that yellow plushie"
        page.evaluate(STAMP_PRESSES)
        page.keyboard.press("Enter")
        mode(page, "AUTO")
        for _ in range(4):
            page.keyboard.down("Space")
            mode(page, "HUMAN")
            time.sleep(0.2)
            page.keyboard.up("Space")
            mode(page, "AUTO")
        page.keyboard.down("Space")
        mode(page, "HUMAN")
        drag(page, 60, 0)
        page.keyboard.press("KeyG")
        until(page, "Math.min(...state.wanted) > 0.9")
        assert page.inner_text("#meaning") == "you drive arm and hand"
        assert page.evaluate("bitmaps.front.width > 100 && bitmaps.wrist.width > 100")
        assert page.evaluate("getComputedStyle(document.getElementById('cameras')).borderColor") == "rgb(255, 122, 69)"
        page.keyboard.up("Space")
        mode(page, "AUTO")
        page.click("#tags button:nth-child(2)")
        time.sleep(0.2)
        page.keyboard.press("Enter")
        mode(page, "READY")
        assert page.inner_text("#card-title").startswith("Success")
        assert page.inner_text("#tally").startswith("1 of 1")
        presses = page.evaluate("presses")
        page.click("#quit")
        assert not page.errors
    assert "success" in console.finish()
    (episode,) = episodes(console)
    assert episode.is_success
    assert episode.extra["tags"] == ["closed too early"]
    takeovers = episode.extra["takeovers"]
    assert [each["limbs"] for each in takeovers] == ["both"] * 5
    assert all(each["blocked_ticks"] == 0 and each["arm_jump_rad"] <= 1e-6 and each["hand_jump_rad"] <= 0.05 for each in takeovers)
    assert set(np.unique(episode.intervention_source)) == {Source.POLICY, Source.BOTH}
    human = np.flatnonzero(episode.intervention)
    assert np.abs(np.ptp(episode.action[human][:, ARM], axis=0)).max() > 0.02
    assert episode.action[human][:, HAND].max() > 1.0
    assert np.median(latencies_ms(console, presses, takeovers)) <= PRESS_TO_COMMAND_MS


def latencies_ms(console, presses, takeovers):
    """From the key event in the browser to the first human command [ms]; both clocks are this machine's."""
    stream = next(console.out.with_name("data-devices").glob("*.jsonl"))
    rows = [json.loads(line) for line in stream.read_text().splitlines()]
    arrivals = [row["ns"] for row in rows if row.get("m", {}).get("type") == "engage" and row["m"]["arm"]]
    offset_ns = time.time_ns() - time.monotonic_ns()
    found = [
        (ns + offset_ns) / 1e6 + each["press_to_command_ms"] - press for ns, each, press in zip(arrivals, takeovers, presses, strict=True)
    ]
    print("press in the browser to command [ms]:", np.round(found, 1))
    return found


@pytest.mark.parametrize("console", [("--policy", "zero", "-n", "2", "--seconds", "4")], indirect=True)
def test_closing_the_tab_in_a_takeover_holds_the_robot_and_keeps_the_episode(console):
    with browser() as page:
        watch(page, console)
        page.keyboard.down("Space")
        mode(page, "HUMAN")
        page.keyboard.down("ArrowRight")
        time.sleep(0.8)
        page.close(run_before_unload=False)
        console.wait_for(r"after 4\.0 s")
        again = page.context.new_page()
        again.goto(console.url)
        mode(again, "READY")
        again.click("#quit")
    console.finish()
    (episode,) = episodes(console)
    assert len(episode) == 80
    assert episode.truncated[-1]
    first = int(np.flatnonzero(episode.intervention)[0])
    assert (episode.intervention_source[first:] == Source.BOTH).all()
    assert np.ptp(episode.action[first : first + 16, ARM], axis=0).max() > 0.02
    assert np.ptp(episode.action[-20:], axis=0).max() < 1e-4


def test_strangers_and_floods_do_not_disturb_an_episode(console):
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect

    address = console.url.replace("http", "ws", 1).replace("/?", "/ws?")

    def flood():
        with connect(address) as socket:
            try:
                for number in range(200_000):
                    socket.send('{"type":"engage","arm":true,"hand":true}' if number % 2 else "{nonsense")
            except ConnectionClosed:
                return

    with browser() as page:
        watch(page, console)
        stranger = threading.Thread(target=flood)
        stranger.start()
        for wrong in (address[:-1] + "x", address):
            with pytest.raises(InvalidStatus):
                connect(wrong, origin="https://evil.example")
        stranger.join(20)
        assert not stranger.is_alive()
        assert page.evaluate("state.mode") == "AUTO"  # a watcher's press is none
        until(page, "state.refused > 1000")
        started, begun = time.monotonic(), page.evaluate("state.t_s")
        time.sleep(1.0)
        rate = (page.evaluate("state.t_s") - begun) / (time.monotonic() - started)
        page.keyboard.down("Space")
        mode(page, "HUMAN", 2.0)
        page.keyboard.up("Space")
        page.keyboard.press("Backspace")
        mode(page, "READY")
        page.click("#quit")
    assert "refused" in console.finish()
    (episode,) = episodes(console)
    assert 0.8 < rate < 1.2
    assert not episode.is_success
    assert len(episode.extra["takeovers"]) == 1


PAD = """
window.pad = { connected: true, id: "Stub Gamepad", axes: [0, 0, 0, 0], buttons: [...Array(17)].map(() => ({ value: 0 })) };
navigator.getGamepads = () => [window.pad];
"""


def test_a_gamepad_drives_arm_and_hand(console):
    with browser() as page:
        watch(page, console, PAD)
        page.evaluate("pad.buttons[5].value = 1")
        mode(page, "HUMAN")
        page.evaluate("pad.axes[1] = -1; pad.buttons[7].value = 1")
        until(page, "Math.min(...state.wanted) > 0.9")
        before = page.evaluate("state.ee")
        time.sleep(0.6)
        after = page.evaluate("state.ee")
        page.evaluate("pad.buttons[5].value = 0; pad.axes[1] = 0")
        mode(page, "AUTO")
        page.evaluate("pad.buttons[3].value = 1")
        mode(page, "READY")
        page.click("#quit")
    assert after[0] < before[0] - 0.02  # away from the front camera, which looks back at the robot
    console.finish()
    assert episodes(console)[0].is_success
