"""How a takeover is mapped: anchored without a jump, absolute with one, or blended in."""

from dataclasses import replace

import numpy as np
import pytest

from agents.job import Job
from agents.runner import Runner
from dexhil_env import robot
from dexhil_env.errors import ConfigError
from dexhil_env.hil.ik import ArmIK
from dexhil_env.hil.mapping import BLEND_S, ArmDirect, BlendIn
from dexhil_env.hil.motion import STEADY
from dexhil_env.hil.scripted import ScriptedConfig
from dexhil_env.hil.teleop import Teleop
from dexhil_env.registration import ENV_IDS, make_env
from dexhil_env.transforms import from_parts, from_rotvec
from dexhil_env.types import ARM, HAND

STATE_ONLY = {"cameras": ()}
SEED = 4_900_000
CONFIG = ScriptedConfig(motion=STEADY, reaction_sd_s=0.0)


class Still:
    """A person who holds the own palm and fingers still, somewhere else than the robot's."""

    def __init__(self, palm, fingers):
        self.palm, self.fingers, self.begun = palm, fingers, 0

    def begin(self, t_s, T_base_ee, hand):
        self.begun += 1

    def cube(self, t_s):
        return self.palm

    def glove(self, t_s):
        return self.fingers


@pytest.fixture(scope="module")
def ik():
    return ArmIK(make_env(ENV_IDS[0], **STATE_ONLY).unwrapped.backend.model)


def commands(ik, mapping, seconds=1.0):
    """Commands (T, 19) of a still person, 6 cm and 0.2 rad off, at the servo rate."""
    home = ik.forward(robot.ARM_HOME)
    palm = from_parts(from_rotvec(np.array([0.0, 0.2, 0.0])) @ home[:3, :3], home[:3, 3] + [0.06, 0.0, 0.0])
    teleop = Teleop(ik, Still(palm, robot.HAND_HOME + 0.3), mapping=mapping)
    teleop.engage(arm=True, hand=True)
    found = []
    for tick in range(round(seconds / robot.SERVO_PERIOD_S)):
        command = teleop.poll(tick * robot.SERVO_PERIOD_S, robot.HOME)
        found.append(np.concatenate([command.arm, command.hand]))
    return np.array(found), palm


def test_an_anchored_takeover_stays_where_the_robot_is(ik):
    found, _ = commands(ik, "anchor")
    assert np.array_equal(found[0], robot.HOME)
    assert np.abs(found - robot.HOME).max() < 1e-2  # holding still, but for the pull of the elbow to its posture


def test_a_direct_takeover_goes_at_once_where_the_person_is(ik):
    found, palm = commands(ik, "direct")
    assert np.allclose(ik.forward(found[0, ARM]), palm, atol=1e-3)
    assert np.allclose(found[0, HAND], np.minimum(0.3, robot.HAND_HIGH))


def test_a_blended_takeover_gets_there_smoothly_in_its_time(ik):
    found, palm = commands(ik, "blend")
    direct, _ = commands(ik, "direct")
    jump = np.abs(direct[0] - robot.HOME).max()
    assert np.array_equal(found[0], robot.HOME)
    assert np.abs(np.diff(found, axis=0)).max() < 0.15 * jump  # at most 1.875 times the mean speed, in commands of 1/30 s
    halfway = round(BLEND_S / 2 / robot.SERVO_PERIOD_S)
    assert 0.2 < np.abs(found[halfway, HAND] - robot.HAND_HOME).max() / 0.3 < 0.8
    end = round((BLEND_S + robot.ARM_COMMAND_PERIOD_S) / robot.SERVO_PERIOD_S) + 1
    assert np.allclose(ik.forward(found[end, ARM]), palm, atol=1e-3)
    assert np.allclose(found[end, HAND], direct[end, HAND])


def test_the_blend_follows_a_moving_command():
    blend = BlendIn(0.5)
    blend.begin(2.0, np.array([1.0, -1.0]))
    assert np.array_equal(blend(2.0, np.array([5.0, 5.0])), [1.0, -1.0])
    assert np.allclose(blend(2.25, np.array([3.0, 1.0])), [2.0, 0.0])
    assert np.array_equal(blend(2.5, np.array([3.0, 1.0])), [3.0, 1.0])
    assert np.array_equal(BlendIn()(0.0, np.array([3.0])), [3.0])


def test_the_absolute_map_and_its_inverse():
    rng = np.random.default_rng(0)
    poses = [from_parts(from_rotvec(rng.normal(size=3)), rng.normal(size=3)) for _ in range(4)]
    arm_map = ArmDirect(T_cube_ee=poses[0], T_base_cam=poses[1])
    before = arm_map.ee_pose(poses[2])
    arm_map.anchor(poses[3], poses[3])
    assert np.array_equal(arm_map.ee_pose(poses[2]), before)  # a takeover changes nothing
    assert np.allclose(arm_map.cube_pose(before), poses[2], atol=1e-12)


def takeover(env_id, config, seed=SEED):
    """Jumps (arm, hand) [rad] of the first takeover from a policy that stays at home, and the executed actions around it (T, 19)."""
    episode = Runner(Job(env_id, "zero", config, STATE_ONLY, max_episode_steps=80)).run(seed)
    events = [event for event in episode.extra["handovers"] if event["kind"] == "takeover"]
    jumps = {event["limb"]: event["goal_jump_rad"] for event in events}
    return jumps["arm"], jumps["hand"], episode.action


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_the_jump_of_the_simulated_persons_takeover(env_id):
    assert max(takeover(env_id, CONFIG)[:2]) < 1e-9
    assert max(takeover(env_id, replace(CONFIG, mapping="blend"))[:2]) < 1e-9
    arm, hand, action = takeover(env_id, replace(CONFIG, mapping="direct"))
    assert arm > 0.1
    assert hand > 0.05  # an open hand stands at its limits, which cut half of the mismatch off
    steps = np.abs(np.diff(action, axis=0)).max(0)
    assert (steps <= robot.MAX_VELOCITY * robot.CONTROL_PERIOD_S * 1.001).all()  # what the motors see is limited


def test_the_jump_is_as_large_as_the_persons_mismatch():
    direct = replace(CONFIG, mapping="direct")
    none = replace(direct, hand_mismatch_rad=0.0, pose_mismatch_m=0.0, pose_mismatch_rad=0.0)
    assert max(takeover(ENV_IDS[0], none)[:2]) < 0.02  # the elbow's pull to its posture
    assert takeover(ENV_IDS[0], replace(none, hand_mismatch_rad=0.1))[0] < 0.02
    small, large = (takeover(ENV_IDS[0], replace(none, pose_mismatch_m=size))[0] for size in (0.02, 0.06))
    assert 2.0 < large / small < 4.5


def test_the_mismatch_does_not_matter_to_an_anchored_takeover():
    action = takeover(ENV_IDS[0], CONFIG)[2]
    far = takeover(ENV_IDS[0], replace(CONFIG, pose_mismatch_m=0.5, pose_mismatch_rad=1.0))[2]
    assert np.array_equal(action, far)


def test_unknown_mappings_are_refused(ik):
    with pytest.raises(ConfigError, match="mapping must be one of"):
        ScriptedConfig(mapping="teleport")
    with pytest.raises(ConfigError, match="mapping must be one of"):
        Teleop(ik, Still(np.eye(4), robot.HAND_HOME), mapping="teleport")
    with pytest.raises(ConfigError, match="must not be negative"):
        ScriptedConfig(pose_mismatch_m=-0.01)
