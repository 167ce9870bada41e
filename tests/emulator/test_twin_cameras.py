"""The cameras of the emulated robot, without the robot: a picture is of the moment it was taken, and nothing is drawn for nobody."""

import threading
import time

import numpy as np
import pytest

pytest.importorskip("cv2")

from dexhil_env.errors import ConfigError, DeviceError, RenderError
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.make import make_task
from real.emulator import twin_cameras
from real.emulator.emulator_config import EmulatorConfig, RealityConfig
from real.emulator.twin_cameras import TwinCameras

SIZE = 48


@pytest.fixture(scope="module")
def backend():
    backend = SimBackend(make_task("plush"))
    rng = np.random.default_rng(0)
    backend.reset(rng)
    backend.task.reset(rng, {})
    return backend


def config(**changes):
    return EmulatorConfig(**{"address": "127.0.0.1", "image_size": SIZE, "fps": 5.0, **changes})


@pytest.fixture
def cameras(backend):
    cameras = TwinCameras(backend, config())
    yield cameras
    cameras.close()
    cameras.close()


def ask(cameras, name):
    """Wait for the next picture on a thread, as a stream does."""
    got = []
    thread = threading.Thread(target=lambda: got.append(cameras._next(name)))
    thread.start()
    time.sleep(0.02)
    return thread, got


def test_the_next_picture_is_of_the_moment_it_was_taken(backend, cameras):
    waiting = [ask(cameras, name) for name in ("front", "wrist")]
    cameras.expose()
    expected = {name: backend.picture(name, SIZE, SIZE) for name in ("front", "wrist")}
    for (thread, got), name in zip(waiting, expected, strict=True):
        thread.join(5)
        np.testing.assert_array_equal(got[0], expected[name])
    before = backend.save_state()
    backend.data.qpos[backend._arm_qpos] += 0.3
    backend.restore_state(backend.save_state())
    np.testing.assert_array_equal(cameras._next("front"), expected["front"])  # nothing was taken since: the last one again
    backend.restore_state(before)


def test_nothing_is_drawn_for_nobody(backend, cameras):
    cameras._asked_s = dict.fromkeys(cameras._asked_s, -10.0)
    number = cameras._number
    cameras.expose()
    time.sleep(0.1)
    assert cameras._number == number


def test_faults_and_the_delay_of_the_robot_add_up(backend):
    cameras = TwinCameras(backend, config(pace=0.5, reality=RealityConfig(camera_delay_s=0.1)))
    front, wrist = cameras.server.faults["front"], cameras.server.faults["wrist"]
    assert front.delay_s == wrist.delay_s == pytest.approx(0.2), "robot time, sent in wall time"
    cameras.fault("front", None, 0.5, 0.3, None)
    assert (front.drop, front.delay_s, front.freeze, wrist.drop) == (0.5, pytest.approx(0.5), False, 0.0)
    cameras.fault("front", True, None, None, None)
    assert (front.drop, front.freeze) == (0.5, True)
    cameras.mend()
    assert (front.drop, front.delay_s, front.freeze) == (0.0, pytest.approx(0.2), False)
    with pytest.raises(ConfigError, match="front"):
        cameras.fault("top", True, None, None, None)
    cameras.close()


def test_a_taken_port_says_so(backend, cameras):
    with pytest.raises(DeviceError, match="another camera_port"):
        TwinCameras(backend, config(camera_port=cameras.server.port))


def test_without_opengl_it_does_not_start(backend, monkeypatch):
    def broken(*_):
        raise RenderError("no OpenGL here")

    monkeypatch.setattr(twin_cameras, "renderer_for", broken)
    with pytest.raises(RenderError, match="no OpenGL here"):
        TwinCameras(backend, config())
