"""A person's hand and its devices: a glove's datagrams, a foot pedal, which readings are used, a calibrated hand, a steady anchor."""

import json
import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from agents.cli.operators import DeviceOptions, human, leave_terminal
from agents.job import Job
from agents.retarget.gestures import GESTURES
from agents.retarget.human import AVERAGE, pose_keypoints
from dexhil_env import robot
from dexhil_env.errors import ConfigError
from dexhil_env.hil.live.glove import BURST, LATE_S, NAMES, NEW_SENDER_S, GloveLink, read_datagram
from dexhil_env.hil.live.inbox import Inbox
from dexhil_env.hil.live.messages import MessageError
from dexhil_env.hil.live.pedal import EVENT, Pedal
from dexhil_env.hil.live.person import STEADY_COUNT, LivePerson, SteadyAnchor
from dexhil_env.hil.live.registry import make_operator
from dexhil_env.hil.live.retarget import NEW_HAND_S, LiveRetargeter
from dexhil_env.hil.live.stream import StreamWriter
from dexhil_env.hil.live.wish import LiveConfig
from dexhil_env.hil.retarget.keypoints import canonical
from dexhil_env.hil.retarget.profile import Profile
from dexhil_env.transforms import from_parts, from_rotvec, matrix_pose, rotvec
from dexhil_env.types import Verdict
from real import make
from real.backend import RealBackend

OPEN, FIST = (pose_keypoints(AVERAGE, GESTURES[name][None])[0] for name in ("open", "fist"))
ME, YOU = ("10.0.0.1", 5000), ("10.0.0.2", 5000)


def datagram(t=1.0, points=None, **more):
    return json.dumps({"t": t, "points": OPEN.tolist() if points is None else points, **more}).encode()


def test_a_hand_by_order_by_name_by_manus_node_or_mirrored_is_the_same_hand():
    room = OPEN @ from_rotvec(np.array([0.2, 1.0, -0.4])).T + [1.0, 2.0, 0.5]
    nodes = np.zeros((25, 3))
    nodes[[0, 1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19, 21, 22, 23, 24]] = room
    named = dict(zip(reversed(NAMES), room[::-1].tolist(), strict=True))
    mirrored = (room * [1.0, -1.0, 1.0]).tolist()
    for data in (
        datagram(2.5, room.tolist()), datagram(2.5, named), datagram(2.5, mirrored, hand="left"),
        json.dumps({"t": 2.5, "nodes": nodes.tolist()}).encode(),
    ):  # fmt: skip
        t, message = read_datagram(data)
        assert t == 2.5
        np.testing.assert_allclose(message["points"], canonical(OPEN), atol=1e-12)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff\x00", b"[1]", b"[" * 5000, b'{"t": 1}', datagram(t="now"), datagram(t=float("nan")), datagram(t=True),
        datagram(mood="good"), datagram(hand="third"), datagram(points=OPEN[:20].tolist()), datagram(points={"wrist": [0, 0, 0]}),
        datagram(points=7), datagram(points=[*OPEN[:20].tolist(), [0, 0, float("inf")]]),
        datagram(points=[*OPEN[:20].tolist(), [0, 0, "1"]]), datagram(points=[*OPEN[:20].tolist(), [0, 0, False]]),
        datagram(points=(1000 * OPEN).tolist()), datagram(nodes=OPEN.tolist()),
        json.dumps({"t": 1, "nodes": OPEN.tolist()}).encode(),
    ],
)  # fmt: skip
def test_malformed_datagrams_are_refused(data):
    with pytest.raises(MessageError):
        read_datagram(data)


@pytest.fixture
def link():
    made = GloveLink("127.0.0.1:0")
    yield made
    made.close()


def heard(link, data, at_s, sender=ME):
    try:
        link.hear(data, sender, round((1000 + at_s) * 1e9))
    except MessageError as error:
        return str(error)
    return "good"


def test_readings_must_be_new_in_order_in_time_and_of_one_sender(link):
    assert heard(link, datagram(5.0), 0.0) == "good"
    assert "not newer" in heard(link, datagram(5.0), 0.01)
    assert "not newer" in heard(link, datagram(4.9), 0.02)
    assert "10.0.0.2" in heard(link, datagram(5.03), 0.03, YOU)
    assert heard(link, datagram(5.04), 0.04) == "good"
    assert "late" in heard(link, datagram(5.05), 0.05 + 1.1 * LATE_S)
    assert heard(link, datagram(5.3), 0.3) == "good"
    later = 0.31 + NEW_SENDER_S
    assert heard(link, datagram(0.0), later, YOU) == "good"  # the first one has gone, and clocks start anywhere
    assert "10.0.0.1" in heard(link, datagram(7.0), later + 0.01)
    assert link.accepted == 4


def test_a_flood_is_not_read(link):
    found = [heard(link, datagram(1 + 1e-4 * number), 1e-4 * number) for number in range(500)]
    assert BURST <= found.count("good") <= BURST + 0.05 * 300 + 1
    assert "more than 300" in found[-1]
    assert "bytes" in heard(link, b" " * 9000, 1.0)


def test_a_glove_is_heard_over_the_socket_and_nonsense_is_counted(link):
    inbox = Inbox()
    link.start(inbox)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for data in (datagram(1.0), b"nonsense", datagram(1.1)):
            sender.sendto(data, ("127.0.0.1", link.port))
    end = time.monotonic() + 10
    while link.accepted + link.refused < 3 and time.monotonic() < end:
        time.sleep(0.01)
    assert (link.accepted, link.refused, "no JSON" in link.reason) == (2, 1, True)
    assert [stamped.message["type"] for stamped in inbox.take()] == ["keypoints"] * 2
    with pytest.raises(ConfigError, match="HOST:PORT"):
        GloveLink("9870")
    with pytest.raises(ConfigError, match="cannot listen"):
        GloveLink(f"127.0.0.1:{link.port}")


def test_a_pedal_is_down_until_its_last_key_is_up(tmp_path):
    path, said = tmp_path / "pedal", []
    os.mkfifo(path)
    pedal = Pedal(path, said.append, lambda: said.append("gone"))
    writer = os.open(path, os.O_WRONLY)
    events = [(1, 48, 1), (1, 48, 2), (4, 4, 7), (1, 49, 1), (1, 48, 0), (1, 49, 0), (1, 48, 1)]
    os.write(writer, b"".join(EVENT.pack(0, 0, *event) for event in events))
    os.close(writer)
    end = time.monotonic() + 10
    while "gone" not in said and time.monotonic() < end:
        time.sleep(0.01)
    pedal.close()
    assert said == [True, False, True, "gone"]
    with pytest.raises(ConfigError, match="no pedal"):
        Pedal(tmp_path / "none", said.append, list)


def test_hands_that_jump_or_have_other_bones_are_not_used_until_they_stay():
    retarget = LiveRetargeter()
    opened = retarget(OPEN, 0.0)
    spoilt = OPEN.copy()
    spoilt[8] += [0.0, 0.0, 0.3]
    assert opened is not None
    assert retarget(spoilt, 0.01) is None
    assert retarget(np.full((21, 3), np.nan), 0.02) is None
    assert np.abs(retarget(FIST, 0.03) - opened).max() <= 0.03 * robot.HAND_MAX_VELOCITY.max() + 1e-9  # and none is faster than the motors
    child = 0.6 * OPEN
    times = np.arange(0.1, 0.2 + 1.1 * NEW_HAND_S, 0.05)
    used = [retarget(child, t) is not None for t in times]
    assert not any(used[: int(NEW_HAND_S / 0.05)])
    assert used[-1]
    retarget.reset()
    np.testing.assert_array_equal(retarget(OPEN, 9.0), opened)  # a recorded stream gives the same again


def test_a_calibrated_hand_is_chosen_by_name_kept_with_the_stream_and_asked_for_at_a_repetition(tmp_path, monkeypatch):
    path = tmp_path / "me.npz"
    Profile.from_bones(AVERAGE.bones_m).save(path)
    spec = human("console", tmp_path / "data", devices=DeviceOptions(profile=path), port=0)
    operator = make_operator(spec)
    try:
        (hand,) = [made for made in [operator._retarget] if made is not None]
        assert hand.facts["profile"] == str(path)
        assert hand(1.6 * OPEN, 0.0) is None  # not this person's bones
        assert hand(OPEN, 0.1) is not None
    finally:
        operator.close()
    writer = StreamWriter(tmp_path)
    writer.begin({"config": vars(LiveConfig()), "hand": hand.facts})
    replay = make_operator(f"replay:{writer.path}")
    assert replay._retarget.facts == hand.facts
    Profile.from_bones(1.1 * AVERAGE.bones_m).save(path)
    with pytest.raises(ConfigError, match="changed since"):
        make_operator(f"replay:{writer.path}")
    path.unlink()
    with pytest.raises(ConfigError, match="does not exist"):
        make_operator(spec)


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("keyboard", {"profile": "me.npz"}, "--profile is for --operator console or aruco-glove"), ("console", {"camera": "0"}, "--camera"),
        ("scripted", {"cube_mm": 40.0}, "--cube-mm"), ("none", {"pedal": "x"}, "--pedal is for --operator keyboard or aruco-glove"),
    ],
)  # fmt: skip
def test_devices_that_an_operator_has_not_are_refused(name, options, word):
    with pytest.raises(ConfigError, match=word):
        human(name, devices=DeviceOptions(**options))


def cube_at(person, t_s, pose):
    person.hear({"type": "cube", "pose": matrix_pose(pose).tolist()}, t_s)


def test_an_anchor_is_the_mean_of_a_still_device_and_the_newest_of_a_moving_one():
    rng = np.random.default_rng(0)
    true, palm = (
        from_parts(from_rotvec(np.array([0.4, 0.5, 0.2])), np.array([0.0, 0.1, 0.5])),
        from_parts(np.eye(3), np.array([0.5, 0, 0.3])),
    )
    shift_mm, turn_mrad = [], []
    for _ in range(60):
        person = LivePerson(np.eye(3))
        arm_map = SteadyAnchor(person, "anchor", 1.0)
        for number in range(20):
            noise = from_parts(from_rotvec(rng.normal(0, 0.005, 3)), rng.normal(0, 0.0005, 3))
            cube_at(person, number / 30, from_parts(noise[:3, :3] @ true[:3, :3], true[:3, 3] + noise[:3, 3]))
        arm_map.anchor(palm, person.cube(1.0))
        cube_at(person, 1.0, true)  # the error of the anchor stays
        found = arm_map.ee_pose(person.cube(1.0))
        shift_mm.append(1e3 * np.linalg.norm(found[:3, 3] - palm[:3, 3]))
        turn_mrad.append(1e3 * np.linalg.norm(rotvec(found[:3, :3])))
    assert np.sqrt(np.mean(np.square(shift_mm))) == pytest.approx(0.5 * np.sqrt(3 / STEADY_COUNT), rel=0.25)
    assert np.sqrt(np.mean(np.square(turn_mrad))) == pytest.approx(5.0 * np.sqrt(3 / STEADY_COUNT), rel=0.25)
    person = LivePerson(np.eye(3))
    for number in range(20):
        cube_at(person, number / 30, from_parts(np.eye(3), np.array([0.005 * number, 0.0, 0.5])))
    assert np.array_equal(person.steady(person.cube(1.0)), person.cube(1.0))
    person.hear({"type": "jog", "linear": [0.1, 0, 0], "angular": [0, 0, 0]}, 1.0)
    assert np.array_equal(person.steady(np.eye(4)), np.eye(4))


@pytest.mark.parametrize(("name", "reads"), [("keyboard", False), ("aruco-glove", False), ("console", True), ("none", True)])
def test_the_terminal_of_a_robot_is_read_once(name, reads, monkeypatch):
    started, asked = [], []

    class Board:
        ask, poll, close = staticmethod(asked.append), staticmethod(str), staticmethod(str)

        def start(self):
            started.append(self)

    backend = object.__new__(RealBackend)
    monkeypatch.setattr(make, "Keyboard", Board)
    monkeypatch.setattr(make, "_assemble", lambda *words: SimpleNamespace(backend=backend, task=words[3]))
    words = {"ask": None, "keys": None} | leave_terminal(name, Path("lab.toml"))
    env = make._make_lab("plush", None, (), 32, "sparse", None, **words)
    env.task.reset(np.random.default_rng(0), {})
    assert (len(started), len(asked)) == (reads, reads)
    assert env.task.evaluate().verdict is Verdict.NONE
    assert leave_terminal(name, None) == {}
    assert "keys" not in Job("x", env_kwargs=words).header["env_kwargs"]
