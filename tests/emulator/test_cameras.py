"""Cameras, live over loopback, with a server that freezes, drops, spoils and dies; and a recorded RealSense stream."""

import itertools
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

from dexhil_env.errors import ConfigError, DeviceError, DeviceTimeout
from real.cameras import Camera, CameraConfig
from real.emulator.mjpeg import MjpegServer, StreamFaults
from tests.emulator.waiting import until

WIDTH, HEIGHT = 160, 120
PATIENT: dict[str, Any] = {"stale_s": 0.4, "reconnect_s": 0.1}
"""For a loaded machine."""


def scene() -> np.ndarray:
    """Red above, blue below."""
    image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[: HEIGHT // 2, :, 0] = 200
    image[HEIGHT // 2 :, :, 2] = 150
    return image


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer({"front": scene, "wrist": scene}) as server:
        yield server


@pytest.fixture
def camera(server) -> Iterator[Camera]:
    with Camera(CameraConfig("front", "opencv", server.url("front"), WIDTH, HEIGHT, **PATIENT)) as camera:
        yield camera


@pytest.fixture
def broken(server) -> StreamFaults:
    return server.faults["front"]


def kinds(camera: Camera) -> set[str]:
    return {fault.split()[0] for fault in camera.faults()}


def well(camera: Camera) -> bool:
    return until(lambda: not camera.faults())


def test_pictures_arrive_fresh_and_in_order(camera):
    first = camera.frame()
    assert until(lambda: camera.frame().sequence >= first.sequence + 15), "30 a second are sent"
    last = camera.frame()
    assert last.image.shape == (HEIGHT, WIDTH, 3)
    assert last.image.dtype == np.uint8
    assert last.image[:50].mean(axis=(0, 1)) == pytest.approx([200, 0, 0], abs=8), "RGB, not BGR"
    assert last.image[70:].mean(axis=(0, 1)) == pytest.approx([0, 0, 150], abs=8)
    assert last.t_ns > first.t_ns
    assert 0 <= last.age_s < 0.4
    assert (time.monotonic_ns() - last.t_ns) * 1e-9 >= last.age_s
    assert not camera.faults()
    last.image[:] = 0
    assert camera.frame().image.max() > 0, "a frame is a copy"


def test_latency_is_subtracted(server):
    with Camera(CameraConfig("front", "opencv", server.url("front"), WIDTH, HEIGHT, latency_s=0.5, **PATIENT)) as camera:
        assert camera.frame().age_s >= 0.5
        assert not camera.faults()


def test_frozen(camera, broken):
    broken.freeze = True
    assert until(lambda: "camera-frozen" in kinds(camera))
    assert "camera-stale" not in kinds(camera), "pictures arrive, but always the same"
    broken.freeze = False
    assert well(camera)
    assert camera.reconnects == 0


def test_silence_is_stale_then_gone_then_well_again(camera, broken):
    broken.drop = 1.0
    assert until(lambda: "camera-stale" in kinds(camera))
    assert until(lambda: "camera-gone" in kinds(camera))
    assert camera.frame().age_s > 0.4, "the last picture can be had, with its age"
    broken.drop = 0.0
    assert well(camera)
    assert camera.reconnects >= 1


def test_some_drops_are_no_fault(camera, broken):
    broken.drop = 0.5
    first = camera.frame()
    time.sleep(1.0)
    assert not camera.faults()
    assert 5 <= camera.frame().sequence - first.sequence <= 20


def test_spoilt_pictures_now_and_then_are_no_fault():
    number = itertools.count()

    def source() -> np.ndarray:
        server.faults["front"].corrupt = next(number) % 10 == 9
        return scene()

    with MjpegServer({"front": source}) as server:
        config = CameraConfig("front", "opencv", server.url("front"), WIDTH, HEIGHT, **PATIENT)
        with Camera(config) as camera:
            assert until(lambda: camera.frame().sequence > 22)
            assert not camera.faults()
            assert camera.reconnects == 0


def test_a_spoilt_stream_is_a_fault(camera, broken):
    broken.corrupt = True
    assert until(lambda: "camera-stale" in kinds(camera))
    broken.corrupt = False
    assert well(camera)


def test_a_delayed_stream_falls_behind(camera, broken):
    broken.delay_s = 0.6
    assert until(lambda: "camera-stale" in kinds(camera))
    assert well(camera), "then it runs again, late by as much; only latency_s can tell"


def test_server_killed_and_restarted(server, camera):
    first = camera.frame().sequence
    server.close()
    assert until(lambda: "camera-gone" in kinds(camera))
    assert until(lambda: "cannot be opened" in camera.faults()[0])
    with MjpegServer({"front": scene}, port=server.port):
        assert well(camera)
        assert camera.frame().sequence > first
    assert camera.reconnects >= 1


def test_wrong_size(server):
    with pytest.raises(DeviceError, match=r"shape \(120, 160, 3\) arrive, \(480, 640, 3\) is configured"):
        Camera(CameraConfig("front", "opencv", server.url("front"))).connect()


def test_size_that_changes(monkeypatch):
    size = [HEIGHT, WIDTH]  # not over the network: FFmpeg scales what comes to the first size

    class Changing:
        def read(self):
            time.sleep(0.01)
            return np.random.default_rng().integers(0, 255, (*size, 3), dtype=np.uint8)

        def close(self):
            pass

    monkeypatch.setattr("real.cameras.open_source", lambda config: Changing())
    with Camera(CameraConfig("front", "opencv", 0, WIDTH, HEIGHT, **PATIENT)) as camera:
        assert not camera.faults()
        size[:] = 240, 320
        assert until(lambda: kinds(camera) == {"camera-shape", "camera-stale"})
        assert camera.frame().image.shape == (HEIGHT, WIDTH, 3), "only pictures of the right size are handed out"
        size[:] = HEIGHT, WIDTH
        assert well(camera)


def test_without_a_camera(server):
    missing = f"http://127.0.0.1:{server.port}/nothing"
    with pytest.raises(DeviceError, match="cannot be opened"):
        Camera(CameraConfig("front", "opencv", missing)).connect()
    with pytest.raises(DeviceError, match="/dev/video"):
        Camera(CameraConfig("front", "opencv", 99)).connect()
    server.faults["wrist"].drop = 1.0
    camera = Camera(CameraConfig("wrist", "opencv", server.url("wrist"), WIDTH, HEIGHT, connect_timeout_s=0.3, read_timeout_s=0.2))
    with pytest.raises((DeviceError, DeviceTimeout)):
        camera.connect()
    assert kinds(camera) == {"camera-gone"}
    with pytest.raises(DeviceError, match="connect"):
        camera.frame()
    camera.close()


def test_close_twice_and_connect_again(camera):
    with pytest.raises(DeviceError, match="already"):
        camera.connect()
    camera.close()
    camera.close()
    assert kinds(camera) == {"camera-gone"}
    camera.connect()
    assert well(camera)


@pytest.mark.parametrize(("kind", "module", "extra"), [("opencv", "cv2", "real"), ("realsense", "pyrealsense2", "realsense")])
def test_missing_library_is_said_clearly(monkeypatch, kind, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install 'dexhil\[{extra}\]'"):
        Camera(CameraConfig("front", kind, "")).connect()


@pytest.mark.parametrize("wrong", [{"kind": "webcam"}, {"width": 0}, {"stale_s": 0.0}, {"kind": "realsense", "source": 0}])
def test_configurations_that_make_no_sense(wrong):
    with pytest.raises(ConfigError, match="front"):
        CameraConfig(**{"name": "front", "kind": "opencv", "source": 0, **wrong})


def record(path: str, pictures: int) -> None:
    """Record a RealSense stream from a device in software."""
    rs = pytest.importorskip("pyrealsense2")
    device = rs.software_device()
    sensor = device.add_sensor("colour")
    stream = rs.video_stream()
    stream.type, stream.fmt = rs.stream.color, rs.format.rgb8
    stream.index, stream.uid, stream.width, stream.height, stream.fps, stream.bpp = 0, 1, 640, 480, 30, 3
    profile = sensor.add_video_stream(stream)
    recorder = rs.recorder(path, device)
    recorded = recorder.query_sensors()[0]
    recorded.open(profile)
    recorded.start(lambda frame: None)
    rng = np.random.default_rng(0)
    for number in range(pictures):
        image = np.full((480, 640, 3), (200, 100, 50), dtype=np.uint8)
        image[:64, :64] = rng.integers(0, 255, (64, 64, 3))
        frame = rs.software_video_frame()
        frame.pixels, frame.stride, frame.bpp = np.ascontiguousarray(image), 640 * 3, 3
        frame.timestamp, frame.domain, frame.frame_number = number * 33.3, rs.timestamp_domain.hardware_clock, number
        frame.profile = profile.as_video_stream_profile()
        sensor.on_video_frame(frame)
        time.sleep(0.01)
    recorded.stop()
    recorded.close()


def test_recorded_realsense(tmp_path):
    path = str(tmp_path / "stream.db3")
    record(path, 20)
    with Camera(CameraConfig("wrist", "realsense", path, stale_s=0.3)) as camera:
        frame = camera.frame()
        assert frame.image.shape == (480, 640, 3)
        assert tuple(frame.image[300, 300]) == (200, 100, 50)
        assert until(lambda: "camera-stale" in kinds(camera)), "the recording ends"
