"""Devices of the person's own computer, read by the page: an emulated headset with hand tracking, and a webcam that films the cube."""

import io
import shutil
import subprocess
import tarfile
import time

import numpy as np
import pytest

from dexhil_env.store import EpisodeStore
from dexhil_env.types import ARM
from tests.e2e.console_rig import Console, browser, mode, need_browser, until, watch

need_browser()

IWER = "iwer@2.5.0"
WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
HEADSET = """
const device = new IWER.XRDevice(IWER.metaQuest3);
device.installRuntime({ forceInstall: true });
device.primaryInputMode = "hand";
device.hands.right.position.set(0.2, 1.2, -0.4);
device.hands.left.position.set(-0.2, 1.2, -0.4);
window.headset = device;
"""


@pytest.fixture(scope="module")
def iwer(tmp_path_factory):
    """Script of the WebXR emulator, from the npm registry."""
    folder = tmp_path_factory.mktemp("iwer")
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine")
    packed = subprocess.run(["npm", "pack", IWER, "--silent"], cwd=folder, capture_output=True, timeout=120, check=False)
    archives = list(folder.glob("*.tgz"))
    if packed.returncode or not archives:
        pytest.skip(f"{IWER} cannot be fetched: {packed.stderr.decode()[:200]}")
    with tarfile.open(archives[0]) as archive:
        script = archive.extractfile("package/build/iwer.min.js")
        assert script is not None
        return script.read().decode()


@pytest.fixture
def console(tmp_path):
    made = Console(tmp_path / "data", "--policy", "zero", "-n", "2", "--seconds", "180")
    made.out = tmp_path / "data"
    yield made
    made.close()


def finished(console, page):
    page.keyboard.press("Enter")
    mode(page, "READY")
    page.evaluate("document.getElementById('quit').click()")  # an emulated headset lays its picture over the page
    console.finish()
    return EpisodeStore.open(console.out).read_columns(0)


def test_a_headset_moves_arm_and_fingers(console, iwer):
    with browser(*WEBGL) as page:
        watch(page, console, iwer, HEADSET)
        page.click("#xr-on")
        until(page, "xrFrames > 20")
        time.sleep(0.3)
        page.evaluate("headset.hands.left.updatePinchValue(1)")  # the left hand's pinch takes over
        mode(page, "HUMAN")
        time.sleep(0.3)
        start, fingers = page.evaluate("state.ee"), page.evaluate("state.wanted")
        for step in range(1, 16):
            page.evaluate(f"headset.hands.right.position.set(0.2 + {0.1 * step / 15}, 1.2, -0.4)")
            time.sleep(0.03)
        time.sleep(0.6)
        moved = page.evaluate("state.ee")
        page.evaluate("headset.hands.right.updatePinchValue(1)")
        time.sleep(1.2)
        pinched = page.evaluate("state.wanted")
        page.evaluate("headset.hands.left.updatePinchValue(0)")
        mode(page, "AUTO")
        devices = page.evaluate("state.devices")
        episode = finished(console, page)
        assert not page.errors
    way = np.subtract(moved, start)
    assert np.linalg.norm(way) == pytest.approx(0.1, abs=0.02)
    assert way[1] > 0.07  # to the right in the front picture is mostly the robot's left
    assert abs(way[2]) < 0.02
    assert pinched[1] > fingers[1] + 0.15
    assert devices["wrist"]["hz"] > 3  # software rendering draws the headset
    assert episode.extra["takeovers"][0]["arm_jump_rad"] <= 1e-6
    assert episode.extra["takeovers"][0]["hand_jump_rad"] <= 0.05


SPACEMOUSE = """
const device = new EventTarget();
Object.assign(device, { opened: false, open: async () => { device.opened = true; }, close: async () => {} });
const hid = new EventTarget();
hid.requestDevice = async () => [device];
Object.defineProperty(navigator, "hid", { value: hid });
window.report = (id, ...numbers) => {
  const data = new DataView(new ArrayBuffer(2 * numbers.length));
  numbers.forEach((number, i) => data.setInt16(2 * i, number, true));
  device.dispatchEvent(Object.assign(new Event("inputreport"), { reportId: id, data }));
};
window.unplug = () => hid.dispatchEvent(Object.assign(new Event("disconnect"), { device }));
window.push = setInterval(() => { if (window.pushed) report(1, ...window.pushed); }, 20);
"""


def test_a_spacemouse_moves_and_turns_the_palm_and_holds_when_it_is_silent_or_gone(console):
    with browser() as page:
        watch(page, console, SPACEMOUSE)
        page.click("#cap-on")
        until(page, "cap.device !== null")
        page.evaluate("report(3, 1)")
        mode(page, "HUMAN")
        start = page.evaluate("state.ee")
        page.evaluate("pushed = [0, 0, -350, 0, 0, 0]")  # lifted; and noise of a cap at rest
        time.sleep(0.6)
        page.evaluate("pushed = null")  # a device that falls silent is no push for ever
        time.sleep(0.8)
        lifted = page.evaluate("state.ee")
        time.sleep(0.5)
        rested = page.evaluate("state.ee")
        page.evaluate("pushed = [10, -10, 5, 0, 0, 0]")
        time.sleep(0.5)
        page.evaluate("pushed = [0, -350, 0, 0, 0, 350]; report(3, 3)")  # away, turned, and a grasp
        until(page, "Math.min(...state.wanted) > 0.9")
        away = page.evaluate("state.ee")
        page.evaluate("pushed = null; unplug()")
        mode(page, "HOLD")
        page.keyboard.press("Space")
        mode(page, "AUTO")
        episode = finished(console, page)
        assert not page.errors
    assert lifted[2] - start[2] > 0.03
    assert np.linalg.norm(np.subtract(rested, lifted)) < 0.004
    assert np.linalg.norm(np.subtract(away, rested)[:2]) > 0.03
    assert abs(away[2] - rested[2]) < 0.02
    human = episode.action[episode.intervention]
    assert np.ptp(human[:, ARM][:, 6]) > 0.1  # the last joint turns the palm about the vertical
    assert episode.extra["takeovers"][0]["arm_jump_rad"] <= 1e-6


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A film of the cube: it stands still, goes 6 cm to the right of the picture, and comes back."""
    pytest.importorskip("cv2", reason="the cube tracker needs the extra dexhil[real]")
    from PIL import Image

    from tests.unit.test_cube import draw, pose

    shares = np.concatenate(
        [np.zeros(45), 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, 30)), np.ones(45), 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, 30))]
    )
    known = {}
    path = tmp_path_factory.mktemp("film") / "cube.mjpeg"
    with path.open("wb") as file:
        for share in np.round(shares, 2):
            if share not in known:
                buffer = io.BytesIO()
                grey = draw(pose(0.4, 0.5, 0.2, at=(-0.03 + 0.06 * float(share), 0.0, 0.45)))
                Image.fromarray(grey).convert("RGB").save(buffer, "JPEG", quality=95)
                known[share] = buffer.getvalue()
            file.write(known[share])
    return path


def test_a_webcam_that_films_the_cube_moves_the_arm(console, film):
    camera = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}")
    with browser(*camera) as page:
        page.context.grant_permissions(["camera"])
        watch(page, console)
        page.click("#cam-on")
        until(page, "state.devices.cube && state.devices.cube.hz > 5")
        page.keyboard.down("Space")
        mode(page, "HUMAN")
        places = []
        for _ in range(60):
            places.append(page.evaluate("state.ee"))
            time.sleep(0.1)
        rate = page.evaluate("state.devices.cube.hz")
        page.keyboard.up("Space")
        mode(page, "AUTO")
        episode = finished(console, page)
        assert not page.errors
    way = np.ptp(np.array(places), axis=0)
    print("cube at", rate, "Hz; the palm went", way)
    assert np.linalg.norm(way) == pytest.approx(0.06, abs=0.02)  # the picture's scale is 10 % off: a typical lens is assumed
    assert way[1] > way[0]
    assert np.ptp(episode.action[episode.intervention][:, ARM], axis=0).max() > 0.02
    assert episode.extra["takeovers"][0]["arm_jump_rad"] <= 1e-6
