"""The paper's devices, from the command line: a film of the cube, a glove that sends datagrams, keys in a terminal."""

import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from agents.cli.rollout import recorded_job
from agents.job import Job
from agents.retarget.gestures import GESTURES
from agents.retarget.human import AVERAGE, pose_keypoints
from agents.runner import Runner
from dexhil_env.hil.live.registry import make_operator
from dexhil_env.store import EpisodeStore
from dexhil_env.types import ARM, HAND, Source

cv2 = pytest.importorskip("cv2", reason="the cube tracker needs the extra dexhil[real]")

FPS, STILL_S, MOVE_S, WAY_M = 30, 2.0, 1.0, 0.06
CLOSED = np.array([pose_keypoints(AVERAGE, ((1 - s) * GESTURES["open"] + s * GESTURES["fist"])[None])[0] for s in np.linspace(0, 1, 46)])


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """The cube stands still, goes 6 cm to the right of the picture, stands still, and comes back."""
    from benchmarks.cube import sweep
    from real.emulator.cube_camera import CubeCamera

    ramp, stay = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, round(FPS * MOVE_S))), np.zeros(round(FPS * STILL_S))
    camera, start = CubeCamera(rng=np.random.default_rng(0)), sweep(0.0, 0.4)
    path = tmp_path_factory.mktemp("film") / "cube.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (640, 480))
    for share in np.concatenate([stay, ramp, stay + 1.0, 1.0 - ramp]):
        pose = start.copy()
        pose[0, 3] += WAY_M * (share - 0.5)
        writer.write(cv2.cvtColor(camera.film(pose[None]), cv2.COLOR_RGB2BGR))
    writer.release()
    camera.close()
    return path


class Glove:
    """Sends a hand at 90 Hz, and now and then nonsense."""

    def __init__(self, port):
        self.share, self._ending = 0.0, threading.Event()
        self._socket, self._to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), ("127.0.0.1", port)
        threading.Thread(target=self._loop, daemon=True).start()

    def _loop(self):
        start, shown = time.monotonic(), 0.0
        for number in range(100_000):
            if self._ending.wait(max(0.0, start + number / 90 - time.monotonic())):
                return
            shown += float(np.clip(self.share - shown, -0.02, 0.02))
            points = CLOSED[round(45 * shown)] + np.array([0.3, -0.2, 1.0])  # in the frame of the glove's room
            self._socket.sendto(json.dumps({"t": 1e6 + number / 90, "points": np.round(points, 5).tolist()}).encode(), self._to)
            if number % 50 == 0:
                self._socket.sendto(b'{"t": 1, "points": [[0, 0, NaN]]}', self._to)

    def close(self):
        self._ending.set()


class Terminal:
    """A command in a terminal of its own: what it prints, and keys for it."""

    def __init__(self, *arguments):
        self._keys, theirs = pty.openpty()
        command = [sys.executable, "-c", "from agents.cli import main; main()", *map(str, arguments)]
        words = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=words)
        os.close(theirs)
        self.said = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while data := os.read(self.process.stdout.fileno(), 4096):
            self.said += data.decode(errors="replace")

    def press(self, key):
        os.write(self._keys, key.encode())

    def wait_for(self, pattern, seconds=60.0):
        """Wait for something new."""
        end, begin = time.monotonic() + seconds, len(self.said)
        while not re.search(pattern, self.said[max(begin - 80, 0) :]):
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, (pattern, self.said[-2000:])
            time.sleep(0.02)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._keys)


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_cube_and_glove_correct_an_episode_and_the_stream_does_it_again(film, tmp_path):
    out, port = tmp_path / "data", free_port()
    options = ("--policy", "zero", "--operator", "aruco-glove", "--camera", film, "--glove", f"127.0.0.1:{port}")
    terminal = Terminal("collect", "--out", out, "--image-size", "32", "--episodes", "1", *options)
    glove = Glove(port)
    try:
        terminal.wait_for(r"READY .*cube seen, \d tags .*glove \d+ Hz")
        terminal.press("\n")
        terminal.wait_for("AUTO")
        terminal.press(" ")
        terminal.wait_for("HUMAN")
        glove.share = 1.0
        time.sleep(2 * (STILL_S + MOVE_S) + 0.5)  # wherever the film is, the cube goes there or back once
        terminal.press(" ")
        terminal.wait_for("AUTO")
        terminal.press("\n")
        terminal.process.wait(60)
    finally:
        glove.close()
        terminal.close()
    assert terminal.process.returncode == 0, terminal.said
    assert "1 episodes of this kind" in terminal.said
    assert "refused (" in terminal.said  # the nonsense
    episode = EpisodeStore.open(out).read_columns(0)
    assert episode.is_success
    (takeover,) = episode.extra["takeovers"]
    print({key: takeover[key] for key in takeover if key != "reason"}, episode.extra["devices"])
    assert (takeover["limbs"], takeover["blocked_ticks"]) == ("both", 0)
    assert takeover["arm_jump_rad"] <= 1e-6
    assert takeover["hand_jump_rad"] <= 0.05
    assert set(np.unique(episode.intervention_source)) == {Source.POLICY, Source.BOTH}
    driven = episode.action[episode.intervention]
    assert driven[-1, HAND][4:].min() > 0.8  # the person's fist
    way = np.ptp(palm(driven[:, ARM]), axis=0)
    print("the palm went", way)
    assert np.linalg.norm(way) == pytest.approx(WAY_M, abs=0.008)
    again(out, episode)


def palm(joints):
    """Where the palm is commanded (T, 3)."""
    from dexhil_env.hil.ik import ArmIK
    from dexhil_env.sim.scene import SceneConfig, build_spec

    ik = ArmIK(build_spec(SceneConfig()).compile())
    return np.array([ik.forward(each.astype(float))[:3, 3] for each in joints])


def again(out, episode):
    """The recorded stream gives the same actions without camera and glove."""
    stream = str(out.with_name("data-devices") / episode.extra["device_stream"])
    job, seed, _ = recorded_job(stream, Job("DexHiL-PlushSim-v0", keep_images=False))
    repeated = Runner(job, make_operator(f"replay:{stream}")).run(seed)
    assert np.array_equal(repeated.action, episode.action)
    assert np.array_equal(repeated.intervention_source, episode.intervention_source)
