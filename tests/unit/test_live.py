"""A person at live devices: words, inbox, stream, virtual devices, a policy on its own thread."""

import json
import threading
import time
from collections import deque

import numpy as np
import pytest

from dexhil_env import robot
from dexhil_env.clock import Pace
from dexhil_env.errors import ConfigError, DatasetError
from dexhil_env.hil.hand_map import HandAnchor, reach
from dexhil_env.hil.live import grasps
from dexhil_env.hil.live.answers import ThreadedPolicy
from dexhil_env.hil.live.inbox import CAPACITY, Inbox, Stamped
from dexhil_env.hil.live.messages import GRASPS, MessageError, check
from dexhil_env.hil.live.person import LEASH_M, MAX_FINGER_RATE, MAX_SPEED, LivePerson
from dexhil_env.hil.live.registry import OperatorSpec, make_operator
from dexhil_env.hil.live.stream import StreamWriter, read_recording
from dexhil_env.hil.live.terminal import KeyMeaning, split_keys
from dexhil_env.hil.live.wish import LiveConfig
from dexhil_env.hil.mapping import ArmAnchor
from dexhil_env.transforms import from_parts, from_rotvec

POSE = [0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0]
GOOD = [
    {"type": "heartbeat"}, {"type": "engage", "arm": True, "hand": False}, {"type": "jog", "linear": [0.1, 0, 0], "angular": [0, 0, 0]},
    {"type": "cube", "pose": POSE}, {"type": "synergy", "value": 0.5, "grasp": "pinch"}, {"type": "fingers", "values": [0, 1, 0.5, 0, 0]},
    {"type": "keypoints", "points": [[0.0, 0.1, 0.2]] * 21}, {"type": "verdict", "value": "redo"}, {"type": "note", "text": "slipped"},
]  # fmt: skip
BAD = [
    None, [], "engage", {}, {"type": "dance"}, {"type": ["engage"]}, {"type": "engage", "arm": True},
    {"type": "engage", "arm": 1, "hand": True},
    {"type": "engage", "arm": True, "hand": True, "leg": True}, {"type": "jog", "linear": [9.0, 0, 0], "angular": [0, 0, 0]},
    {"type": "jog", "linear": [float("nan"), 0, 0], "angular": [0, 0, 0]}, {"type": "jog", "linear": [0, 0], "angular": [0, 0, 0]},
    {"type": "cube", "pose": [0.0] * 7}, {"type": "synergy", "value": 2.0, "grasp": "pinch"},
    {"type": "synergy", "value": 1.0, "grasp": "paw"},
    {"type": "fingers", "values": [0, 1, 0.5, 0, -1]}, {"type": "keypoints", "points": [[0.0, 0.1]] * 21},
    {"type": "verdict", "value": "win"},
    {"type": "note", "text": "x" * 401}, {"type": "note", "text": {"a": 1}}, {"type": "pause", "on": "yes"},
]  # fmt: skip


def test_known_messages_pass_and_all_others_are_refused():
    assert [check(message) for message in GOOD] == GOOD
    for message in BAD:
        with pytest.raises(MessageError):
            check(message)


def test_a_flood_of_readings_never_costs_a_press():
    inbox = Inbox()
    press = {"type": "engage", "arm": True, "hand": True}
    inbox.put(press, 1)
    for stamp in range(3 * CAPACITY):
        inbox.put({"type": "heartbeat"}, stamp)
    news = inbox.take()
    assert len(news) == CAPACITY
    assert news[0].message == press
    assert news[-1].t_ns == 3 * CAPACITY - 1
    assert inbox.take() == []


def test_a_stream_is_read_back_also_after_a_crash(tmp_path):
    writer = StreamWriter(tmp_path / "devices")
    writer.begin({"seed": 7})
    writer.hear(3, 0.015, Stamped(GOOD[1], 11))
    writer.answer(False)
    writer.hear(3, 0.015, Stamped(GOOD[2], 12))
    text = writer.path.read_text()  # nothing was closed: this is what a crash leaves
    (tmp_path / "cut.jsonl").write_text(text[:-9])
    found, cut = read_recording(writer.path), read_recording(tmp_path / "cut.jsonl")
    assert found.header["seed"] == 7
    assert [each.message for each in found.take(3)] == [GOOD[1], check(GOOD[2])]
    assert (list(found.answers), found.take(4), found.ticks) == ([False], [], None)
    assert [each.message for each in cut.take(3)] == [GOOD[1]]
    writer.end(9)
    assert read_recording(writer.path).ticks == 9
    broken = tmp_path / "broken.jsonl"
    broken.write_text(text.replace('"engage"', '"dance"'))
    with pytest.raises(DatasetError, match="line 2"):
        read_recording(broken)
    with pytest.raises(DatasetError, match="no device stream"):
        read_recording(tmp_path / "none.jsonl")


@pytest.mark.parametrize("turn_deg", [0.0, 45.0, -120.0])
def test_the_grip_of_the_cube_does_not_matter_when_it_is_anchored(turn_deg):
    R_base_cam = from_rotvec(np.array([0.4, -2.0, 0.9]))
    palm = from_parts(from_rotvec(np.array([0.3, 1.1, -0.2])), np.array([0.5, 0.1, 0.3]))
    cube = from_parts(from_rotvec(np.array([0.0, 0.0, np.radians(turn_deg)])), np.array([0.1, 0.0, 0.6]))
    shift, twist = np.array([0.05, 0.02, -0.04]), from_rotvec(np.array([0.0, 0.3, 0.1]))
    moved = from_parts(twist @ cube[:3, :3], cube[:3, 3] + shift)
    anchored = ArmAnchor(alignment="anchor", R_base_cam=R_base_cam)
    anchored.anchor(palm, cube)
    found = anchored.ee_pose(moved)
    assert np.allclose(anchored.ee_pose(cube), palm, atol=1e-12)
    assert np.allclose(found[:3, 3] - palm[:3, 3], R_base_cam @ shift, atol=1e-12)
    assert np.allclose(found[:3, :3] @ palm[:3, :3].T, R_base_cam @ twist @ R_base_cam.T, atol=1e-12)
    fixed = ArmAnchor(from_parts(R_base_cam.T @ palm[:3, :3], np.zeros(3)))  # calibrated for a cube that is not turned
    fixed.anchor(palm, cube)
    way = fixed.ee_pose(from_parts(cube[:3, :3], cube[:3, 3] + [0.1, 0.0, 0.0]))[:3, 3] - palm[:3, 3]
    off_deg = np.degrees(np.arccos(way @ (R_base_cam[:, 0]) / 0.1))
    assert off_deg == pytest.approx(abs(turn_deg), abs=1e-4)


def test_the_scale_of_the_arm_and_its_inverse():
    anchor = ArmAnchor(alignment="anchor", scale=0.5)
    palm, cube = from_parts(np.eye(3), np.array([0.5, 0.0, 0.2])), from_parts(np.eye(3), np.array([0.0, 0.1, 0.6]))
    anchor.anchor(palm, cube)
    moved = from_parts(np.eye(3), cube[:3, 3] + [0.2, 0.0, 0.0])
    assert np.allclose(anchor.ee_pose(moved)[:3, 3], [0.6, 0.0, 0.2])
    assert np.allclose(anchor.cube_pose(anchor.ee_pose(moved)), moved)
    with pytest.raises(ConfigError, match="alignment"):
        ArmAnchor(alignment="sideways")


def driven(person, seconds, dt=0.01, start=0.0):
    """Poses and gloves of a person over time."""
    times = start + np.arange(1, round(seconds / dt) + 1) * dt
    return np.array([person.cube(t)[:3, 3] for t in times]), np.array([person.glove(t) for t in times])


def test_the_virtual_cube_moves_as_it_is_jogged_and_stops_when_nothing_comes():
    person = LivePerson(np.eye(3))
    person.begin(0.0, np.eye(4), robot.HAND_HOME)
    person.hear({"type": "jog", "linear": [0.1, 0.0, 0.0], "angular": [0.0, 0.0, 0.0]}, 0.0)
    way, _ = driven(person, 1.0)
    assert way[9, 0] == pytest.approx(0.01)
    assert way[-1, 0] == pytest.approx(0.025, abs=1e-3)  # a quarter of a second, then it is too old
    person.hear({"type": "nudge", "linear": [0.0, 0.1, 0.0], "angular": [0.0, 0.0, 0.0]}, 1.0)
    way, _ = driven(person, 1.0, start=1.0)
    assert np.abs(np.diff(way, axis=0)).max() < MAX_SPEED * 0.01 + 1e-9
    assert way[-1, 1] == pytest.approx(0.1)


def test_sliders_start_from_the_robots_hand_and_never_jump():
    person = LivePerson(np.eye(3))
    hand = grasps.shape("power", 0.7)
    person.hear({"type": "synergy", "value": 0.1, "grasp": "pinch"}, 0.0)  # from before the takeover
    person.begin(1.0, np.eye(4), hand)
    assert np.array_equal(person.glove(1.0), hand)
    person.hand_driven = True
    person.hear({"type": "fingers", "values": [*grasps.closures(hand)[:4], 0.0]}, 1.0)
    _, fingers = driven(person, 1.0, start=1.0)
    assert np.allclose(fingers[-1, :10], hand[:10])
    assert np.allclose(fingers[-1, 10:], 0.0)
    assert np.abs(np.diff(fingers, axis=0)).max() <= MAX_FINGER_RATE * 0.01 + 1e-9


def test_the_virtual_cube_does_not_run_away_from_an_arm_that_cannot_follow():
    person, arm_map = LivePerson(np.eye(3)), ArmAnchor(alignment="anchor")
    palm = from_parts(from_rotvec(np.array([0.0, 2.0, 0.0])), np.array([0.5, 0.0, 0.2]))
    person.begin(0.0, palm, robot.HAND_HOME)
    arm_map.anchor(palm, person.cube(0.0))
    person.hear({"type": "nudge", "linear": [0.0, 0.0, 0.5], "angular": [0.0, 0.0, 0.0]}, 0.0)
    for t in np.arange(0.0, 1.0, 0.02):
        person.cube(float(t))
        person.leash(arm_map, palm)
    assert np.linalg.norm(arm_map.ee_pose(person.last_cube)[:3, 3] - palm[:3, 3]) <= LEASH_M + 1e-9


def test_grasps_are_within_the_motors_ranges_and_found_again():
    for grasp in GRASPS:
        for value in np.linspace(0, 1, 9):
            hand = grasps.shape(grasp, value)
            assert (hand >= robot.HAND_LOW).all()
            assert (hand <= robot.HAND_HIGH).all()
            if grasp != "open":
                assert grasps.nearest(grasp, hand) == pytest.approx(value, abs=0.02)
    assert np.allclose(grasps.closures(grasps.CLOSED["power"]), 1.0)


@pytest.mark.parametrize(("robot_share", "own_share"), [(0.7, 0.2), (0.0, 1.0), (1.0, 0.0), (0.3, 0.3), (0.05, 0.95)])
def test_opening_and_closing_the_hand_once_reaches_both_ends_without_a_jump(robot_share, own_share):
    hand_map = HandAnchor(pick_up=True)
    hand_map.anchor(robot.HAND_HIGH * robot_share, robot.HAND_HIGH * own_share)
    before = hand_map.motors(robot.HAND_HIGH * own_share)
    assert np.allclose(before, robot.HAND_HIGH * robot_share)
    assert max(reach(hand_map)) < 0.01
    assert np.array_equal(hand_map.motors(robot.HAND_HIGH * own_share), before)
    way = [np.linspace(a, b, 400) for a, b in ((own_share, 0.0), (0.0, 1.0), (1.0, 0.0))]
    commands = np.array([hand_map.motors(robot.HAND_HIGH * share) for share in np.concatenate(way)])
    assert np.abs(np.diff(commands, axis=0)).max() < 4 * robot.HAND_HIGH.max() / 400 + 0.012


class Thinker:
    """A policy that thinks as long as it is told to, and says which observation it saw."""

    def __init__(self):
        self.gate, self.seen, self.resets = threading.Event(), [], 0
        self.gate.set()

    def reset(self, seed=None):
        self.resets += 1

    def act(self, observation, instruction):
        self.gate.wait(5.0)
        self.seen.append(observation["k"])
        return np.full(19, observation["k"], np.float32)


def look(k):
    return {"k": k, "arm_joint_pos": robot.ARM_HOME, "hand_motor_pos": robot.HAND_HOME}


def conduct(policy, thinker, script):
    """Run a script of observations; "slow" and "quick" switch the thinker, "reset" resets, "wait" lets it finish."""
    found = []
    for word in script:
        if word == "slow":
            thinker.gate.clear()
        elif word == "quick":
            thinker.gate.set()
            time.sleep(0.02)
        elif word == "reset":
            policy.reset()
        else:
            found.append(float(policy.act(look(word), "do")[0]))
    return found


SCRIPT = [1, 2, "slow", 3, 4, "quick", 5, "slow", 6, "reset", 7, "quick", 8, 9]  # fmt: skip
DRIVEN = ["reset", 10, "slow", "reset", 11, "reset", 12, "quick", "reset", 13, "reset", 14, 15]
"""A person drives from 10 on, and gives back after 14."""


def test_a_late_answer_holds_the_last_action_and_a_void_one_is_never_executed():
    thinker, answers = Thinker(), []
    policy = ThreadedPolicy(thinker, answers.append)
    policy.reset(0)
    found = conduct(policy, thinker, SCRIPT + DRIVEN)
    home = float(np.float32(robot.HOME[0]))
    assert found[:9] == [1, 2, 2, 2, 3, 3, home, 8, 9]  # 6 was thought before the reset: never executed
    assert found[9:] == [10, 10, 10, 11, 14, 15]  # while a person drives, a late answer is used
    assert policy.late == 6
    policy.close()
    again = Thinker()
    repeated = ThreadedPolicy(again, answers=deque(answers))
    repeated.reset(0)
    assert conduct(repeated, again, [word for word in SCRIPT + DRIVEN if word not in ("slow", "quick")]) == found
    assert again.seen == thinker.seen
    repeated.close()


def test_ticks_are_spread_over_time_and_a_long_delay_is_not_made_up_for():
    pace, period_s = Pace(0.01, slack_s=0.02), 0.01
    started = time.monotonic()
    for _ in range(11):
        pace.wait()
    assert time.monotonic() - started >= 10 * period_s - 1e-4
    time.sleep(0.05)
    pace.wait()
    assert pace.dropped_s > 0.02


def test_the_keys_of_a_terminal():
    keys = KeyMeaning()
    assert split_keys("r\x1b[Ag") == ["r", "\x1b[A", "g"]
    assert keys.of("\x1b[A")["linear"][1] > 0
    assert keys.of("\n") == {"type": "start"}
    assert keys.of("2") is None
    assert keys.of(" ") == {"type": "engage", "arm": True, "hand": False}
    assert keys.of("1") == {"type": "engage", "arm": True, "hand": True}
    assert keys.of(" ") == {"type": "engage", "arm": False, "hand": False}
    assert keys.of("g") == {"type": "synergy", "value": 1.0, "grasp": "power"}
    assert keys.of("\n") == {"type": "verdict", "value": "success"}
    assert keys.of("z") is None
    for key in ("r", "f", "w", "s", "q", "e", "a", "d", "c", "p", "n", "x", "!", "\x7f"):
        assert check(json.loads(json.dumps(keys.of(key))))


def test_operators_by_name(tmp_path):
    with pytest.raises(ConfigError, match="unknown operator 'ghost'"):
        OperatorSpec("ghost")
    with pytest.raises(DatasetError, match="no device stream"):
        make_operator(f"replay:{tmp_path / 'none.jsonl'}")
    with pytest.raises(ConfigError, match="release"):
        LiveConfig(release="drop")
