"""Every fault of an emulated robot, and every end of a program, leaves a standing robot."""

import signal
import subprocess
import sys
import time
from threading import Timer

import numpy as np
import pytest

from dexhil_env import robot
from dexhil_env.errors import ActionError, DeviceError, RobotStopped
from dexhil_env.recorder import EpisodeRecorder
from dexhil_env.rollout import run_episode
from real.config import write_config
from real.emulator.fci_wire import ErrorBit
from real.safety import State
from tests.emulator.seat import HOLD_S, Bad, stands, still
from tests.emulator.waiting import wait_until

pytest.importorskip("franky")


# ---- faults ------------------------------------------------------------------------------------------------------------------------

STOPS = {
    "reflex": (lambda line: line.reflex(ErrorBit.CARTESIAN_REFLEX), "arm: reflex of the arm: cartesian_reflex", State.FAULT, 0.5),
    "push": (lambda line: line.push([0, 0, 0, 85.0, 0, 0, 0]), "arm: reflex", State.FAULT, 0.7),
    "user stop": (lambda line: line.user_stop(True), "arm: user stop pressed", State.ESTOP, 0.5),
    "bad line": (lambda line: line.line(loss=0.3), "packets|communication_constraints", State.FAULT, 2.5),
    "board": (lambda line: line.mute("index"), "hand: board-stale index", State.FAULT, 1.0),
    "bus": (lambda line: line.bus_off(), "hand: bus-", State.FAULT, 1.0),
    "hot": (lambda line: line.heat("thumb", 70.0), "hand: (hot|overheated) thumb", State.FAULT, 1.0),
    "frozen camera": (lambda line: line.camera("front", freeze=True), "camera-frozen front", State.FAULT, 1.5 + HOLD_S),
    "silent camera": (lambda line: line.camera("wrist", drop=1.0), "camera-(stale|gone) wrist", State.FAULT, 2.0 + HOLD_S),
    "frozen arm": (lambda line: line.freeze(0.9), "arm: no news from the arm", State.FAULT, 1.2),
}
"""How to break it, what is told, which state follows, and after how long at most [s]; busy machines get time."""


@pytest.mark.parametrize("name", STOPS)
def test_every_fault_ends_in_a_standing_robot_until_a_person_recovers_it(env, twin, name):
    inject, text, state, within_s = STOPS[name]
    env.reset(seed=1)
    still(env, 14 if name == "bad line" else 4)
    inject(twin.line)
    begin = time.monotonic()
    with pytest.raises(RobotStopped, match=text) as caught:
        still(env, 200)
    assert time.monotonic() - begin < within_s
    assert caught.value.faults
    backend = env.unwrapped.backend
    assert backend.safety.state is state
    with pytest.raises(RobotStopped, match=text):
        still(env, 1)
    with pytest.raises(RobotStopped, match=text):
        env.reset(seed=1)
    if name == "frozen arm":
        time.sleep(max(0.0, 1.2 - (time.monotonic() - begin)))  # until it answers again
    assert stands(twin)
    if name == "reflex":
        backend.recover()
        with pytest.raises(RobotStopped, match=r"call reset\(\)"):
            still(env, 1)
        env.reset(seed=1)
        still(env, 2)
        assert backend.safety.state is State.RUN, "after recovery and reset it works again"
    if name == "user stop":
        with pytest.raises(DeviceError, match="release the user stop"):
            backend.recover()
        twin.line.user_stop(False)
        time.sleep(0.2)
        assert backend.safety.state is State.ESTOP, "releasing the button alone clears nothing"


def test_a_short_lack_of_pictures_is_waited_for(env, twin):
    env.reset(seed=1)
    still(env, 2)
    twin.line.camera("front", freeze=True)
    time.sleep(0.45)
    resumed = time.monotonic()

    Timer(0.2, lambda: twin.line.camera("front", freeze=False)).start()
    still(env, 3)
    assert time.monotonic() - resumed > 0.15, "the robot stood and waited"
    facts = env.unwrapped.backend.facts()
    assert facts["holds"] >= 1
    assert any("RUN -> HOLD" in line for line in facts["transitions"])
    assert any("HOLD -> RUN" in line for line in facts["transitions"])


def test_a_program_that_pauses_ends_the_episode_and_not_the_day(env, twin):
    env.reset(seed=1)
    still(env, 2)
    wait_until(lambda: env.unwrapped.backend.safety.state is State.IDLE, 3.0)
    assert stands(twin)
    with pytest.raises(RobotStopped, match=r"no step for .* call reset\(\)"):
        still(env, 1)
    env.reset(seed=1)
    still(env, 1)


def test_a_stop_from_another_thread_is_seen_by_step(env, twin):
    env.reset(seed=1)
    still(env, 2)
    env.unwrapped.backend.estop("space bar pressed")
    with pytest.raises(RobotStopped, match=r"stopped by a person.*space bar"):
        still(env, 1)
    assert stands(twin)


def test_an_interrupted_episode_is_kept(env, twin):
    class Breaks(Bad):
        def act(self, observation, instruction):
            if self.steps == 6:
                twin.line.reflex(ErrorBit.JOINT_REFLEX)
            return super().act(observation, instruction)

    with pytest.raises(RobotStopped) as caught:
        run_episode(env, Breaks(), 3, EpisodeRecorder("plush"))
    episode = caught.value.episode
    assert 4 <= len(episode) <= 12
    assert episode.truncated.tolist() == [False] * (len(episode) - 1) + [True]
    assert "joint_reflex" in episode.extra["interrupted"]
    assert any("RUN -> FAULT" in line for line in episode.extra["robot"]["transitions"])


def test_a_mistake_of_the_policy_ends_the_motion_and_keeps_the_episode(env, twin):
    class Mistaken(Bad):
        def act(self, observation, instruction):
            if self.steps == 6:
                raise ValueError("a mistake in the program")
            return super().act(observation, instruction)

    with pytest.raises(ValueError, match="a mistake") as caught:
        run_episode(env, Mistaken(), 3, EpisodeRecorder("plush"))
    assert stands(twin), "before the caller has done anything"
    assert len(caught.value.episode) == 6
    assert any("ValueError in the program" in line for line in caught.value.episode.extra["robot"]["transitions"])
    with pytest.raises(RobotStopped, match=r"ValueError in the program.*call reset"):
        still(env, 1)


def test_a_reflex_on_the_way_home_waits_for_a_person(env, twin):
    env.reset(seed=1)
    for _ in range(20):
        env.step((robot.HOME + 0.3 * (np.arange(19) == 0)).astype(np.float32))
    Timer(0.4, lambda: twin.line.reflex(ErrorBit.JOINT_MOTION_GENERATOR_ACCELERATION_DISCONTINUITY)).start()
    with pytest.raises(RobotStopped, match="acceleration_discontinuity") as caught:
        env.reset(seed=1)
    assert caught.value.faults
    backend = env.unwrapped.backend
    assert backend.safety.state is State.FAULT
    backend.recover()
    env.reset(seed=1)
    still(env, 1)


def test_a_bad_action_harms_nothing(env):
    env.reset(seed=1)
    with pytest.raises(ActionError, match="finite"):
        env.step(np.full(19, np.nan, np.float32))
    still(env, 2)


def test_an_arm_that_was_moved_since_the_reset_is_not_pulled_back(env):
    env.reset(seed=1)
    env.unwrapped.servo.limiter.reset(robot.HOME + 0.2 * (np.arange(19) == 2))
    with pytest.raises(RobotStopped, match=r"fr3_joint3 is 0.2.* from where it is"):
        still(env, 1)


# ---- leaving -----------------------------------------------------------------------------------------------------------------------

CLIENT = """
import sys, time, numpy as np
from dexhil_env import make_env
env = make_env("DexHiL-PlushReal-v0", config=sys.argv[1], cameras=())
env.reset(seed=1)
action = env.unwrapped.servo.commanded.astype(np.float32)
for k in range(10_000):
    action[0] += 0.005 if k < 60 else 0.0
    action[11] = min(0.02 * k, 0.8)
    env.step(action)
    if k == 12:
        print("moving", flush=True)
        if sys.argv[2] == "exception":
            raise ValueError("a mistake in the program")
"""


@pytest.mark.parametrize("way", ["exception", "SIGTERM", "SIGKILL"])
def test_however_a_program_ends_the_arm_holds_and_the_hand_is_safe(seat, settings, twin, tmp_path, way):
    seat.leave()
    twin.line.mend()
    write_config(settings, tmp_path / "robot.toml")
    try:
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT, tmp_path / "robot.toml", way], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert client.stdout.readline() == b"moving\n"
        if way != "exception":
            client.send_signal(getattr(signal, way))
        client.wait(10.0)
        deadline = time.monotonic() + 5.0
        while twin.line.status().mode == "MOVE":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        status = twin.line.status()
        assert stands(twin)
        if way == "SIGKILL":
            assert status.mode == "REFLEX", "the arm misses its packets and brakes by itself"
        else:
            assert (status.mode, status.events[-1][1]) == ("IDLE", "finished"), "stopped gently, not dropped"
    finally:
        client.kill()
        client.wait()
