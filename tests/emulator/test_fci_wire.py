"""The bytes of the Franka Control Interface, against bytes written down by hand."""

import struct
from xml.etree import ElementTree

import numpy as np
import pytest

from dexhil_env import robot
from real.emulator import fci_wire as wire
from real.emulator.fr3_limits import LimitCheck, velocity_limits
from real.emulator.fr3_urdf import fr3_urdf


def test_sizes():
    assert wire.STATE.itemsize == 1377
    assert wire.COMMAND.itemsize == 371
    assert struct.calcsize("<Q7d7d16d6d2d??7d?") == wire.COMMAND.itemsize
    assert wire.HEADER.size == 12


def test_connect_golden_bytes():
    assert wire.connect_request(1, 0x1234) == bytes.fromhex("00000000 01000000 10000000 0a00 3412")
    assert wire.connect_reply(7) == bytes.fromhex("00000000 07000000 0f000000 00 0a00")
    assert wire.connect_reply(7, version=5)[12:] == bytes.fromhex("01 0500")
    assert wire.parse_connect_reply(wire.connect_reply(7)) == (0, 10)
    assert wire.parse_connect_reply(b"HTTP/1.1 400 Bad Request") is None


def test_move_reply_golden_bytes():
    reply = wire.status_reply(wire.Command.MOVE, 3, wire.MoveStatus.REFLEX_ABORTED)
    assert reply == bytes.fromhex("01000000 03000000 0d000000 08")


def test_state_fields_stand_where_libfranka_reads_them():
    state = wire.new_state()
    state["message_id"], state["q"], state["robot_mode"] = 0x0102, np.arange(7), wire.RobotMode.REFLEX
    state["m_load"] = 0.5
    state["errors"][0, 6], state["reflex_reason"][0, 40] = 1, 1
    state["control_command_success_rate"] = 0.5
    data = state.tobytes()
    before_q = 6 * 16 + 2 * (1 + 9 + 3) + 2 * 2 + 3 * 7  # poses, two loads, elbows, torques
    assert struct.unpack_from("<f", data, 8 + 4 * (6 * 16 + 13)) == (0.5,)
    assert data[:8] == bytes.fromhex("0201000000000000")
    assert struct.unpack_from("<7f", data, 8 + 4 * before_q) == tuple(range(7))
    tail = data[8 + 4 * 320 :]
    assert tail[:2] == bytes([0, 3])  # idle generator, no controller
    assert [i for i, flag in enumerate(tail[2:43]) if flag] == [6]
    assert [i for i, flag in enumerate(tail[43:84]) if flag] == [40]
    assert tail[84:] == bytes([4]) + struct.pack("<f", 0.5)


def test_command_is_read_as_libfranka_writes_it():
    numbers = np.arange(45.0)
    data = struct.pack("<Q7d7d16d6d2d", 99, *numbers[:38]) + bytes([0, 1]) + struct.pack("<7d", *numbers[38:]) + bytes([1])
    command = wire.parse_command(data)
    assert command is not None
    assert command["message_id"][0] == 99
    np.testing.assert_array_equal(command["dq_c"][0], numbers[7:14])
    np.testing.assert_array_equal(command["tau_J_d"][0], numbers[38:])
    assert (command["valid_elbow"][0], command["motion_generation_finished"][0], command["torque_command_finished"][0]) == (0, 1, 1)
    assert wire.parse_command(data + b"\0") is None


def test_error_names_in_wire_order():
    assert len(wire.ERROR_NAMES) == len(set(wire.ERROR_NAMES)) == 41
    for index, name in ((0, "joint_position_limits_violation"), (7, "cartesian_reflex"), (25, "communication_constraints_violation")):
        assert wire.ERROR_NAMES[index] == name
    assert [name.upper() for name in wire.ERROR_NAMES] == [wire.ErrorBit(i).name for i in range(41)]
    assert wire.ERROR_NAMES[34] == "tau_J_range_violation"
    assert wire.ErrorBit.BASE_ACCELERATION_INVALID_READING == 40


def test_request_sizes():
    assert [wire.REQUEST_SIZE[command] for command in wire.Command] == [4, 56, 0, 416, 56, 48, 7, 128, 128, 104, 0, 0]


def test_urdf_describes_the_twins_arm():
    urdf = ElementTree.fromstring(fr3_urdf())
    joints = urdf.findall("joint")
    assert [joint.get("name") for joint in joints] == [f"joint{i}" for i in range(1, 9)]
    assert [link.get("name") for link in urdf.findall("link")] == [f"link{i}" for i in range(9)]
    for i, joint in enumerate(joints[:7]):
        limit, shape = joint.find("limit"), joint.find("position_based_velocity_limits")
        assert limit is not None
        assert shape is not None, "libfranka refuses a joint without position-based velocity limits"
        assert float(limit.attrib["upper"]) == pytest.approx(robot.ARM_HIGH[i])
        assert float(shape.attrib["deceleration_limit"]) > 0
    mass = sum(float(each.attrib["value"]) for each in urdf.iter("mass"))
    assert mass == pytest.approx(17.89, abs=0.01)  # sum of the link masses in assets/fr3/fr3.xml


def test_velocity_limits_shrink_towards_the_end_of_the_range():
    low, high = velocity_limits(robot.ARM_HOME)
    np.testing.assert_array_equal(high, robot.ARM_MAX_VELOCITY)
    at_end = velocity_limits(robot.ARM_HIGH)[1]
    np.testing.assert_array_equal(at_end, 0.0)
    near = velocity_limits(robot.ARM_HIGH - 0.1)[1]
    assert near[0] == pytest.approx(np.sqrt(12.0 * 0.1) - 0.30)  # libfranka's rate_limiting.h, joint 1
    assert (low < 0).all()


@pytest.mark.parametrize(
    ("torques", "error"),
    [
        ([0.9, 1.8], None),
        ([0.9, 2.0], "CONTROLLER_TORQUE_DISCONTINUITY"),
        ([float("nan")], "TAU_J_RANGE_VIOLATION"),
        (list(np.arange(0.0, 13.0, 0.5)), "TAU_J_RANGE_VIOLATION"),
    ],
)
def test_torque_limits(torques, error):
    check = LimitCheck()
    found = [check.torque(np.array([0, 0, 0, 0, 0, 0, tau])) for tau in torques]
    assert [bit for bit in found if bit is not None][:1] == ([wire.ErrorBit[error]] if error else [])


@pytest.mark.parametrize(
    ("velocities", "error"),
    [
        (2.5e-6 * np.arange(20) ** 2, None),  # jerk 5 rad/s^3 x 1000
        ([0.0, 0.02], "JOINT_MOTION_GENERATOR_ACCELERATION_DISCONTINUITY"),
        (np.cumsum(np.minimum(np.arange(8) * 0.004, 0.011)), "JOINT_MOTION_GENERATOR_VELOCITY_DISCONTINUITY"),
        (np.cumsum(np.minimum(np.arange(400) * 0.004, 0.0095)), "JOINT_MOTION_GENERATOR_VELOCITY_LIMITS_VIOLATION"),
    ],
)
def test_motion_generator_limits(velocities, error):
    check = LimitCheck()
    found = [check.velocity(robot.ARM_HOME, np.full(7, float(v))) for v in velocities]
    assert [bit for bit in found if bit is not None][:1] == ([wire.ErrorBit[error]] if error else [])


def test_a_judge_that_does_not_enforce_still_records():
    check = LimitCheck(enforce=False)
    assert check.torque(np.full(7, 3.0)) is None
    assert check.worst.ratios["torque_rate"] == pytest.approx(3.0)
    assert check.worst.values["torque"] == 3.0


def test_measured_limits():
    check = LimitCheck()
    assert check.measured(robot.ARM_HOME, np.zeros(7)) is None
    assert check.measured(robot.ARM_HOME, np.full(7, 2.7)) == wire.ErrorBit.JOINT_VELOCITY_VIOLATION
    assert check.measured(robot.ARM_HIGH + 0.001, np.zeros(7)) == wire.ErrorBit.JOINT_POSITION_LIMITS_VIOLATION


def test_what_a_knock_does_is_noted_apart():
    check = LimitCheck()
    for speed, touched in ((0.0, False), (0.001, False), (0.05, True), (0.05, False), (0.052, False)):
        check.measured(robot.ARM_HOME, np.full(7, speed), touched)
    assert check.worst.values["measured_acceleration"] == pytest.approx(2.0)
    assert check.worst.values["measured_acceleration_in_contact"] == pytest.approx(49.0)
