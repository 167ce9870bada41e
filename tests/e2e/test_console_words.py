"""``--operator``: a person in the other commands, played by a program that speaks the console's websocket, and at a terminal."""

import json
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("websockets", reason="the console needs the extra dexhil[teleop]")
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import agents.dagger
from agents.cli import main
from agents.collect import Quota, collect
from agents.job import Job
from agents.report import _takeovers
from agents.rollouts import run_many
from dexhil_env.errors import ConfigError
from dexhil_env.hil.console.operator import ConsoleOperator
from dexhil_env.hil.live.registry import OperatorSpec
from dexhil_env.hil.live.waiting import PersonLeft
from dexhil_env.hil.live.wish import LiveConfig
from dexhil_env.store import EpisodeStore
from dexhil_env.types import Source

ENV_ID, TOKEN = "DexHiL-PlushSim-v0", "a-token-of-the-test"
JOB = Job(ENV_ID, "zero", env_kwargs={"image_size": 32}, max_episode_steps=200)


class Person:
    """Plays a list of (mode to wait for, messages) for every episode, then leaves."""

    def __init__(self, port, script):
        self.port, self.script, self.state = port, script, {}
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        for _ in range(300):
            try:
                with connect(f"ws://127.0.0.1:{self.port}/ws?token={TOKEN}", max_size=None) as self.socket:
                    self._play()
                return
            except OSError:
                time.sleep(0.1)

    def _play(self):
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        for mode, messages in self.script:
            while self.state.get("mode") != mode:
                self.socket.send('{"type":"heartbeat"}')
                time.sleep(0.03)
            for message in messages:
                self.socket.send(json.dumps(message))
                time.sleep(0.06)
        reader.join(60.0)

    def _read(self):
        try:
            for frame in self.socket:
                self.state = json.loads(frame[4 : 4 + struct.unpack("<I", frame[:4])[0]])
        except ConnectionClosed:
            return


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


TAKE, GIVE = {"type": "engage", "arm": True, "hand": True}, {"type": "engage", "arm": False, "hand": False}
JOG = {"type": "jog", "linear": [0.15, 0.0, 0.0], "angular": [0.0, 0.0, 0.0]}
ALIVE = {"type": "heartbeat"}
GOOD, START, LEAVE = {"type": "verdict", "value": "success"}, {"type": "start"}, {"type": "quit"}


def spec(port, devices=None, **config):
    return OperatorSpec("console", LiveConfig(wait_for_start=True, **config), {"port": port, "token": TOKEN}, devices)


def test_demonstrations_of_a_person(tmp_path):
    port, store = free_port(), EpisodeStore(tmp_path / "demos")
    Person(port, [("READY", [START]), ("HOLD", [TAKE]), ("HUMAN", [*[JOG] * 8, GIVE]), ("HOLD", [*[ALIVE] * 8, GOOD])])
    job = replace(JOB, operator=spec(port, release="hold"))
    assert collect(job, store, Quota(1), 5, progress=False) == [0]
    episode = store.read(0)
    assert episode.is_success
    assert (episode.intervention_source == Source.BOTH).all()
    moving = np.abs(np.diff(episode.action[:, :7], axis=0)).max(axis=1) > 1e-4
    assert moving.any()
    assert not moving[-3:].any()  # the person had let go


@pytest.mark.parametrize("ahead", [False, True], ids=["quick policy", "policy that plans ahead"])
def test_corrections_of_a_person_repeat_from_the_device_stream(tmp_path, capsys, planner, ahead):
    port = free_port()
    Person(port, [("READY", [TAKE]), ("HUMAN", [*[JOG] * 8, GIVE]), ("AUTO", [*[ALIVE] * 12, GOOD]), ("READY", [LEAVE])])
    job = replace(JOB, operator=spec(port, str(tmp_path / "devices")), **({"policy": planner, "delay": "measured"} if ahead else {}))
    episodes = run_many(job, range(7, 9))
    episode = next(episodes)
    assert len(episode.extra["chunks"]["starts"]) == 1 if ahead else "chunks" not in episode.extra
    with pytest.raises(PersonLeft):
        next(episodes)
    (file,) = (tmp_path / "devices").glob("*.jsonl")
    main(["rollout", "--operator", f"replay:{file}", "--out", str(tmp_path / "again")])
    assert "1 of 1 succeeded" in capsys.readouterr().out
    again = EpisodeStore.open(tmp_path / "again").read_columns(0)
    assert np.array_equal(again.action, episode.action)
    assert np.array_equal(again.intervention_source, episode.intervention_source)
    assert again.extra["replayed"] == file.name


def test_a_round_of_corrections_is_a_persons(tmp_path, monkeypatch):
    jobs = []
    monkeypatch.setattr(agents.dagger, "collect", lambda job, *rest: jobs.append(job))
    person = OperatorSpec("console")
    config = agents.dagger.RunConfig(env_ids=(ENV_ID,), corrections=2)
    agents.dagger.DaggerRun(config, tmp_path / "run", person=person).collect_corrections(1)
    agents.dagger.DaggerRun(config, tmp_path / "run").collect_corrections(1)  # the same run goes on with the simulated human
    assert [job.operator for job in jobs] == [person, config.operator]
    assert [job.max_episode_steps for job in jobs] == [agents.dagger.LIVE_EPISODE_STEPS, None]
    assert [job.live for job in jobs] == [True, False]


def test_the_report_shows_what_a_persons_takeovers_were_like(tmp_path):
    port = free_port()
    Person(port, [("READY", [TAKE]), ("HUMAN", [*[JOG] * 4, GOOD])])
    (episode,) = run_many(replace(JOB, operator=spec(port)), [7])
    page = _takeovers(SimpleNamespace(episodes=[episode]))
    rows = re.findall(r"<tr><td>([^<]*)</td><td>1</td><td>([^<]*)</td>", page)
    assert {"press to first command [ms]", "blocked ticks", "arm: drift while held still [rad]"} <= {name for name, _ in rows}
    assert dict(rows)["blocked ticks"] == "0"
    assert "a person" in page


def test_who_cannot_demonstrate_or_watch_is_said(capsys):
    for arguments, word in (
        (("collect", "--policy", "none", "--out", "x"), "add --operator console"),
        (("rollout", "--operator", "ghost"), "unknown operator"),
        (("dagger", "x", "--operator", "none"), "somebody must correct"),
    ):
        with pytest.raises(SystemExit):
            main(list(arguments))
        assert word in capsys.readouterr().err
    with pytest.raises(ConfigError, match="there is none"):
        next(run_many(Job(ENV_ID, operator=OperatorSpec("keyboard"), env_kwargs={"cameras": ()}), [0]))


def test_the_keyboard_of_a_terminal(tmp_path):
    master, slave = pty.openpty()
    code = "from agents.cli import main; main()"
    command = [sys.executable, "-c", code, "rollout", "--policy", "zero", "--operator", "keyboard", "-n", "1", "--image-size", "32"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "data")], stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = []
    threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True).start()
    try:
        while "take over" not in "".join(lines):
            assert process.poll() is None, "".join(lines)
            time.sleep(0.1)
        time.sleep(3.0)
        for keys in ("\n", " ", "\x1b[C" * 5, "g"):
            os.write(master, keys.encode())
            time.sleep(0.7)
        os.write(master, b" ")
        time.sleep(0.5)
        os.write(master, b"\n")
        process.wait(30)
    finally:
        process.kill()
    time.sleep(0.2)
    assert re.search("success after", "".join(lines)), "".join(lines)
    episode = EpisodeStore.open(tmp_path / "data").read_columns(0)
    assert episode.extra["operator"] == "keyboard"
    assert len(episode.extra["takeovers"]) == 1
    assert episode.action[:, 7:].max() > 1.0


def test_the_console_says_its_address():
    operator = ConsoleOperator(port=0, token=TOKEN)
    try:
        assert operator.server.url == f"http://127.0.0.1:{operator.server.port}/?token={TOKEN}"
    finally:
        operator.close()
