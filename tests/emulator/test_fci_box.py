"""The control box of the emulated arm without sockets: order of an abort, lost packets, modes."""

import struct

import numpy as np
import pytest

from dexhil_env import robot
from real.emulator import fci_wire as wire
from real.emulator.arm_body import ArmReading
from real.emulator.fci_box import ControlBox
from real.emulator.fci_wire import Command, Controller, ErrorBit, Generator, MoveStatus, RobotMode


class StillBody:
    """An arm that is where it is told to be."""

    def __init__(self):
        self.q, self.tau, self.pushed = robot.ARM_HOME.copy(), None, np.zeros(7)

    def read(self):
        return ArmReading(self.q.copy(), np.zeros(7), np.zeros(7), self.pushed, np.zeros(6), np.eye(4))

    def step(self, tau, q_d):
        self.tau = tau
        self.q = self.q if tau is not None else q_d.copy()

    def push(self, torque):
        self.pushed = torque


@pytest.fixture
def box():
    return ControlBox(StillBody())


def start(box, controller=Controller.EXTERNAL, generator=Generator.JOINT_VELOCITY, number=5):
    reply = box.request(Command.MOVE, number, struct.pack("<II6d", controller, generator, *[0.0] * 6))
    return MoveStatus(reply[12])


def command(box, tau=0.0, finished=False, q=None):
    data = np.zeros(1, wire.COMMAND)
    data["message_id"], data["tau_J_d"], data["motion_generation_finished"] = box.time_ms, tau, finished
    data["q_c"] = box.q_d if q is None else q
    return data


def read(state):
    return np.frombuffer(state, wire.STATE)[0]


def test_a_motion_from_start_to_end(box):
    assert start(box) == MoveStatus.STARTED
    state, replies = box.tick(None)
    seen = read(state)
    assert (seen["robot_mode"], seen["controller_mode"], seen["motion_generator_mode"]) == (RobotMode.MOVE, 2, 2)
    assert not replies
    box.tick(command(box, tau=0.5))
    np.testing.assert_array_equal(box.body.tau, 0.5)
    state, replies = box.tick(command(box, finished=True))
    assert read(state)["robot_mode"] == RobotMode.IDLE
    assert [MoveStatus(reply[12]) for reply in replies] == [MoveStatus.SUCCESS]
    assert box.body.tau is None, "the arm holds after a motion"


def test_an_abort_shows_its_error_bit_in_the_state_that_goes_out_before_the_reply(box):
    start(box)
    box.tick(None)
    box.reflex(ErrorBit.CARTESIAN_REFLEX)
    state, replies = box.tick(command(box))
    seen = read(state)
    assert seen["robot_mode"] == RobotMode.REFLEX
    assert list(np.flatnonzero(seen["errors"])) == list(np.flatnonzero(seen["reflex_reason"])) == [ErrorBit.CARTESIAN_REFLEX]
    assert replies == [wire.status_reply(Command.MOVE, 5, MoveStatus.REFLEX_ABORTED)]
    assert start(box) == MoveStatus.NOT_POSSIBLE
    box.request(Command.AUTOMATIC_ERROR_RECOVERY, 6, b"")
    assert not read(box.tick(None)[0])["errors"].any()
    assert start(box) == MoveStatus.STARTED


@pytest.mark.parametrize(("lost", "mode"), [(19, RobotMode.MOVE), (20, RobotMode.REFLEX)])
def test_twenty_packets_lost_in_a_row_stop_the_arm(box, lost, mode):
    start(box)
    box.tick(None)
    box.tick(command(box, tau=0.7))
    for _ in range(lost):
        box.tick(None)
    if mode == RobotMode.MOVE:
        np.testing.assert_array_equal(box.body.tau, 0.7)  # a lost torque repeats
    box.tick(command(box, tau=0.7))
    assert box.mode == mode
    assert (ErrorBit.COMMUNICATION_CONSTRAINTS_VIOLATION in box.errors) == (mode == RobotMode.REFLEX)


def test_a_client_that_has_not_answered_yet_loses_nothing(box):
    start(box)
    for _ in range(50):
        box.tick(None)
    assert box.mode == RobotMode.MOVE


def test_success_rate_counts_the_last_hundred(box):
    start(box)
    for i in range(200):
        box.tick(command(box) if i % 4 else None)
    assert box.success_rate == pytest.approx(0.75)


def test_a_lost_position_goes_on_with_the_last_acceleration(box):
    start(box, Controller.JOINT_IMPEDANCE, Generator.JOINT_POSITION)
    q, dq = box.q_d.copy(), 0.0
    for _ in range(30):
        dq += 4e-3
        q = q + dq * 1e-3
        box.tick(command(box, q=q))
    before, expected = box.q_d.copy(), dq + 4e-3
    box.tick(None)
    assert box.errors == set()
    np.testing.assert_allclose(box.q_d - before, expected * 1e-3, rtol=1e-6)


def test_a_jump_of_the_commanded_position_is_refused(box):
    start(box, Controller.JOINT_IMPEDANCE, Generator.JOINT_POSITION)
    where = box.q_d.copy()
    box.tick(command(box, q=where + 0.5))
    assert box.errors == {ErrorBit.JOINT_POSITION_MOTION_GENERATOR_START_POSE_INVALID}
    np.testing.assert_array_equal(box.body.q, where)


def test_user_stop_ends_the_motion_and_blocks_until_released(box):
    start(box)
    box.tick(command(box))
    box.user_stop(True)
    state, replies = box.tick(None)
    assert read(state)["robot_mode"] == RobotMode.USER_STOPPED
    assert [reply[12] for reply in replies] == [MoveStatus.PREEMPTED_BY_SAFETY]
    assert start(box) == MoveStatus.REJECTED_BY_SAFETY
    assert box.request(Command.AUTOMATIC_ERROR_RECOVERY, 8, b"")[12] == wire.RecoveryStatus.REJECTED_BY_SAFETY
    box.user_stop(False)
    assert start(box) == MoveStatus.STARTED


def test_a_push_beyond_the_threshold_is_a_reflex_and_below_is_not(box):
    thresholds = np.concatenate([np.full(28, 10.0), np.full(24, 50.0)])
    assert box.request(Command.SET_COLLISION_BEHAVIOR, 2, thresholds.tobytes())[12] == wire.Status.SUCCESS
    start(box)
    box.body.push(np.full(7, 9.0))
    box.tick(command(box))
    assert box.mode == RobotMode.MOVE
    box.body.push(np.full(7, -11.0))
    box.tick(command(box))
    assert box.errors == {ErrorBit.JOINT_REFLEX}


def test_parameters_are_refused_while_moving_and_shown_afterwards(box):
    load = np.array([0.678, 0, 0, 0.09, *np.eye(3).ravel()]).tobytes()
    start(box)
    assert box.request(Command.SET_LOAD, 3, load)[12] == wire.Status.NOT_POSSIBLE
    box.tick(command(box, finished=True))
    assert box.request(Command.SET_LOAD, 4, load)[12] == wire.Status.SUCCESS
    assert read(box.tick(None)[0])["m_load"] == pytest.approx(0.678)
    assert box.request(Command.SET_LOAD, 4, load[:-1])[12] == wire.Status.INVALID_ARGUMENT


def test_end_effector_pose_is_flange_times_end_effector(box):
    pose = np.eye(4)
    pose[:3, 3] = 0.1, 0.2, 0.3
    box.request(Command.SET_NE_TO_EE, 1, pose.T.tobytes())
    np.testing.assert_allclose(read(box.tick(None)[0])["O_T_EE"].reshape(4, 4).T, pose, atol=1e-6)


def test_a_client_that_dies_in_motion_leaves_a_reflex_and_a_holding_arm(box):
    start(box)
    box.tick(command(box, tau=0.5))
    box.client_gone()
    _, replies = box.tick(None)
    assert not replies
    assert (box.mode, box.body.tau) == (RobotMode.REFLEX, None)


def test_cartesian_generators_are_refused(box):
    assert start(box, generator=Generator.CARTESIAN_POSITION) == MoveStatus.INVALID_ARGUMENT
