"""Franka Control Interface, protocol version 10: bytes on the wire, nothing else.

Version 10 is what an FR3 with system image 5.9 or newer speaks (libfranka 0.18 and newer). Requests and replies travel over TCP, one robot
state and one command per millisecond over UDP. Everything is little endian and packed. Field names are libfranka's, so that its
documentation can be read beside this file.
"""

import struct
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

VERSION: Final = 10
PORT: Final = 1337
"""TCP port of the robot; libfranka has no option for another one."""
STATE_SIZE: Final = 1377
COMMAND_SIZE: Final = 371
HEADER: Final = struct.Struct("<III")
"""Command, number of the command, size of the whole message [bytes]."""


class Command(IntEnum):
    """First word of a TCP message."""

    CONNECT = 0
    MOVE = 1
    STOP_MOVE = 2
    SET_COLLISION_BEHAVIOR = 3
    SET_JOINT_IMPEDANCE = 4
    SET_CARTESIAN_IMPEDANCE = 5
    SET_GUIDING_MODE = 6
    SET_EE_TO_K = 7
    SET_NE_TO_EE = 8
    SET_LOAD = 9
    AUTOMATIC_ERROR_RECOVERY = 10
    GET_ROBOT_MODEL = 11


REQUEST_SIZE: Final = {
    Command.CONNECT: 4,
    Command.MOVE: 56,
    Command.STOP_MOVE: 0,
    Command.SET_COLLISION_BEHAVIOR: 52 * 8,
    Command.SET_JOINT_IMPEDANCE: 7 * 8,
    Command.SET_CARTESIAN_IMPEDANCE: 6 * 8,
    Command.SET_GUIDING_MODE: 7,
    Command.SET_EE_TO_K: 16 * 8,
    Command.SET_NE_TO_EE: 16 * 8,
    Command.SET_LOAD: 13 * 8,
    Command.AUTOMATIC_ERROR_RECOVERY: 0,
    Command.GET_ROBOT_MODEL: 0,
}
"""Least bytes of a request after its header. libfranka 0.21 appends 57 bytes to Move (a flag and 7 numbers for its asynchronous motion
generator, all zero otherwise); a shorter Move is as good."""


class Controller(IntEnum):
    """Who makes the torques; a state shows ``OTHER`` while nothing runs."""

    JOINT_IMPEDANCE = 0
    CARTESIAN_IMPEDANCE = 1
    EXTERNAL = 2
    OTHER = 3


class Generator(IntEnum):
    """What a Move request streams. A state shows this value plus one, and 0 while nothing runs."""

    JOINT_POSITION = 0
    JOINT_VELOCITY = 1
    CARTESIAN_POSITION = 2
    CARTESIAN_VELOCITY = 3
    NONE = 4


class RobotMode(IntEnum):
    """Mode in a state."""

    OTHER = 0
    IDLE = 1
    MOVE = 2
    GUIDING = 3
    REFLEX = 4
    USER_STOPPED = 5
    AUTOMATIC_ERROR_RECOVERY = 6


class MoveStatus(IntEnum):
    """Status byte of a reply to Move; ``STARTED`` comes at once, another one when the motion is over."""

    SUCCESS = 0
    STARTED = 1
    PREEMPTED = 2
    PREEMPTED_BY_SAFETY = 3
    REJECTED_BY_SAFETY = 4
    NOT_POSSIBLE = 5
    SINGULAR_START = 6
    INVALID_ARGUMENT = 7
    REFLEX_ABORTED = 8
    EMERGENCY_ABORTED = 9
    INPUT_ERROR_ABORTED = 10
    ABORTED = 11


class Status(IntEnum):
    """Status byte of the replies to all requests but Move and AutomaticErrorRecovery."""

    SUCCESS = 0
    NOT_POSSIBLE = 1
    REJECTED_BY_SAFETY = 2
    INVALID_ARGUMENT = 3


class RecoveryStatus(IntEnum):
    """Status byte of the reply to AutomaticErrorRecovery."""

    SUCCESS = 0
    NOT_POSSIBLE = 1
    REJECTED_BY_SAFETY = 2
    MANUAL_RECOVERY_REQUIRED = 3


class ErrorBit(IntEnum):
    """Index of an error flag in a state."""

    JOINT_POSITION_LIMITS_VIOLATION = 0
    CARTESIAN_POSITION_LIMITS_VIOLATION = 1
    SELF_COLLISION_AVOIDANCE_VIOLATION = 2
    JOINT_VELOCITY_VIOLATION = 3
    CARTESIAN_VELOCITY_VIOLATION = 4
    FORCE_CONTROL_SAFETY_VIOLATION = 5
    JOINT_REFLEX = 6
    CARTESIAN_REFLEX = 7
    MAX_GOAL_POSE_DEVIATION_VIOLATION = 8
    MAX_PATH_POSE_DEVIATION_VIOLATION = 9
    CARTESIAN_VELOCITY_PROFILE_SAFETY_VIOLATION = 10
    JOINT_POSITION_MOTION_GENERATOR_START_POSE_INVALID = 11
    JOINT_MOTION_GENERATOR_POSITION_LIMITS_VIOLATION = 12
    JOINT_MOTION_GENERATOR_VELOCITY_LIMITS_VIOLATION = 13
    JOINT_MOTION_GENERATOR_VELOCITY_DISCONTINUITY = 14
    JOINT_MOTION_GENERATOR_ACCELERATION_DISCONTINUITY = 15
    CARTESIAN_POSITION_MOTION_GENERATOR_START_POSE_INVALID = 16
    CARTESIAN_MOTION_GENERATOR_ELBOW_LIMIT_VIOLATION = 17
    CARTESIAN_MOTION_GENERATOR_VELOCITY_LIMITS_VIOLATION = 18
    CARTESIAN_MOTION_GENERATOR_VELOCITY_DISCONTINUITY = 19
    CARTESIAN_MOTION_GENERATOR_ACCELERATION_DISCONTINUITY = 20
    CARTESIAN_MOTION_GENERATOR_ELBOW_SIGN_INCONSISTENT = 21
    CARTESIAN_MOTION_GENERATOR_START_ELBOW_INVALID = 22
    FORCE_CONTROLLER_DESIRED_FORCE_TOLERANCE_VIOLATION = 23
    START_ELBOW_SIGN_INCONSISTENT = 24
    COMMUNICATION_CONSTRAINTS_VIOLATION = 25
    POWER_LIMIT_VIOLATION = 26
    CARTESIAN_MOTION_GENERATOR_JOINT_POSITION_LIMITS_VIOLATION = 27
    CARTESIAN_MOTION_GENERATOR_JOINT_VELOCITY_LIMITS_VIOLATION = 28
    CARTESIAN_MOTION_GENERATOR_JOINT_VELOCITY_DISCONTINUITY = 29
    CARTESIAN_MOTION_GENERATOR_JOINT_ACCELERATION_DISCONTINUITY = 30
    CARTESIAN_POSITION_MOTION_GENERATOR_INVALID_FRAME_FLAG = 31
    CONTROLLER_TORQUE_DISCONTINUITY = 32
    JOINT_P2P_INSUFFICIENT_TORQUE_FOR_PLANNING = 33
    TAU_J_RANGE_VIOLATION = 34
    INSTABILITY_DETECTED = 35
    JOINT_MOVE_IN_WRONG_DIRECTION = 36
    CARTESIAN_SPLINE_MOTION_GENERATOR_VIOLATION = 37
    JOINT_VIA_MOTION_GENERATOR_PLANNING_JOINT_LIMIT_VIOLATION = 38
    BASE_ACCELERATION_INITIALIZATION_TIMEOUT = 39
    BASE_ACCELERATION_INVALID_READING = 40


ERROR_NAMES: Final = tuple(bit.name.lower().replace("tau_j", "tau_J") for bit in ErrorBit)
"""libfranka's names of the 41 error flags, in their order on the wire."""

_FLOATS: Final = (
    ("O_T_EE", 16), ("O_T_EE_d", 16), ("F_T_EE", 16), ("EE_T_K", 16), ("F_T_NE", 16), ("NE_T_EE", 16),
    ("m_ee", 1), ("I_ee", 9), ("F_x_Cee", 3), ("m_load", 1), ("I_load", 9), ("F_x_Cload", 3),
    ("elbow", 2), ("elbow_d", 2), ("tau_J", 7), ("tau_J_d", 7), ("dtau_J", 7),
    ("q", 7), ("q_d", 7), ("dq", 7), ("dq_d", 7), ("ddq_d", 7),
    ("joint_contact", 7), ("cartesian_contact", 6), ("joint_collision", 7), ("cartesian_collision", 6),
    ("tau_ext_hat_filtered", 7), ("O_F_ext_hat_K", 6), ("K_F_ext_hat_K", 6), ("O_dP_EE_d", 6), ("O_ddP_O", 3),
    ("elbow_c", 2), ("delbow_c", 2), ("ddelbow_c", 2), ("O_T_EE_c", 16), ("O_dP_EE_c", 6), ("O_ddP_EE_c", 6),
    ("theta", 7), ("dtheta", 7), ("accelerometer_top", 18), ("accelerometer_bottom", 18),
)  # fmt: skip
STATE: Final = np.dtype(
    [
        ("message_id", "<u8"),
        *((name, "<f4", (size,)) for name, size in _FLOATS),
        ("motion_generator_mode", "u1"),
        ("controller_mode", "u1"),
        ("errors", "u1", (41,)),
        ("reflex_reason", "u1", (41,)),
        ("robot_mode", "u1"),
        ("control_command_success_rate", "<f4"),
    ]
)
"""Robot to client, 1 kHz, float32. ``message_id`` is also the robot's clock [ms]; poses are 4x4, column by column."""
COMMAND: Final = np.dtype(
    [
        ("message_id", "<u8"),
        ("q_c", "<f8", (7,)),
        ("dq_c", "<f8", (7,)),
        ("O_T_EE_c", "<f8", (16,)),
        ("O_dP_EE_c", "<f8", (6,)),
        ("elbow_c", "<f8", (2,)),
        ("valid_elbow", "u1"),
        ("motion_generation_finished", "u1"),
        ("tau_J_d", "<f8", (7,)),
        ("torque_command_finished", "u1"),
    ]
)
"""Client to robot, 1 kHz, float64; ``message_id`` repeats the state that it answers."""
assert STATE.itemsize == STATE_SIZE
assert COMMAND.itemsize == COMMAND_SIZE


def new_state() -> NDArray[np.void]:
    """A one-element state array at rest: identity poses, idle, no error."""
    state = np.zeros(1, STATE)
    for name in ("O_T_EE", "O_T_EE_d", "O_T_EE_c", "F_T_EE", "EE_T_K", "F_T_NE", "NE_T_EE"):
        state[name] = np.eye(4).ravel()
    state["O_ddP_O"] = (0.0, 0.0, -9.81)
    state["controller_mode"], state["robot_mode"] = Controller.OTHER, RobotMode.IDLE
    return state


def parse_command(data: bytes) -> NDArray[np.void] | None:
    """Read a command datagram (one element); None when its size is wrong."""
    return np.frombuffer(data, COMMAND) if len(data) == COMMAND_SIZE else None


def message(command: int, number: int, payload: bytes) -> bytes:
    """A TCP message: header and payload."""
    return HEADER.pack(command, number, HEADER.size + len(payload)) + payload


def connect_request(number: int, udp_port: int, version: int = VERSION) -> bytes:
    """Connect: the client's version and the UDP port at which it wants the states."""
    return message(Command.CONNECT, number, struct.pack("<HH", version, udp_port))


def parse_connect_reply(data: bytes) -> tuple[int, int] | None:
    """Status and the robot's version from an answer to Connect; None when it is none."""
    if len(data) != HEADER.size + 3 or HEADER.unpack_from(data)[0] != Command.CONNECT:
        return None
    status, version = struct.unpack_from("<BH", data, HEADER.size)
    return int(status), int(version)


def connect_reply(number: int, version: int = VERSION) -> bytes:
    """Answer to Connect: three bytes, status 0 or 1 (versions differ) and the robot's version."""
    return message(Command.CONNECT, number, struct.pack("<BH", int(version != VERSION), version))


def status_reply(command: int, number: int, status: int, payload: bytes = b"") -> bytes:
    """Answer that begins with a status byte; only GetRobotModel has a payload."""
    return message(command, number, struct.pack("<B", status) + payload)


def doubles(payload: bytes) -> NDArray[np.float64]:
    """The float64 numbers of a request."""
    return np.frombuffer(payload, "<f8")
