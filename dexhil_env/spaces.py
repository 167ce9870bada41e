"""Observation and action spaces, equal for the twin and the robot."""

from typing import cast

import numpy as np
from gymnasium import spaces

from dexhil_env import robot
from dexhil_env.types import U8, Observation, RobotState

_FORCE_LIMIT_N = 1000.0
_POSITION_LIMIT_M = 5.0
_VELOCITY_LIMIT = 50.0
_RANGE_SLACK_RAD = 0.2


def action_space() -> "spaces.Box[np.float32]":
    """(19,) float32 absolute joint-position targets [rad], bounds = joint ranges."""
    return spaces.Box(robot.LOW.astype(np.float32), robot.HIGH.astype(np.float32), dtype=np.float32)


def observation_space(cameras: tuple[str, ...], image_size: int) -> spaces.Dict:
    """Flat dictionary of what the robot measures.

    Keys: ``arm_joint_pos`` (7) [rad], ``arm_joint_vel`` (7) [rad/s], ``hand_motor_pos`` (12) [rad], ``fingertip_force`` (5) [N],
    ``ee_pose`` (7) [m, wxyz], and ``image_<camera>`` uint8 (H, W, 3). Joint bounds leave room for overshoot under load.
    """

    def box(low: np.ndarray, high: np.ndarray) -> spaces.Box:
        return spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)

    pose_limit = np.array([_POSITION_LIMIT_M] * 3 + [1.001] * 4)
    keys: dict[str, spaces.Space[np.ndarray]] = {
        "arm_joint_pos": box(robot.ARM_LOW - _RANGE_SLACK_RAD, robot.ARM_HIGH + _RANGE_SLACK_RAD),
        "arm_joint_vel": box(np.full(7, -_VELOCITY_LIMIT), np.full(7, _VELOCITY_LIMIT)),
        "hand_motor_pos": box(robot.HAND_LOW - _RANGE_SLACK_RAD, robot.HAND_HIGH + _RANGE_SLACK_RAD),
        "fingertip_force": box(np.zeros(5), np.full(5, _FORCE_LIMIT_N)),
        "ee_pose": box(-pose_limit, pose_limit),
    }
    for name in cameras:
        keys[f"image_{name}"] = spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
    return spaces.Dict(keys)


def make_observation(state: RobotState, images: dict[str, U8], space: spaces.Dict) -> Observation:
    """Turn a measurement into an observation: fresh float32 arrays, clipped into their space."""
    observation: Observation = {}
    for key, box in space.items():
        if key.startswith("image_"):
            observation[key] = images[key.removeprefix("image_")]
        else:
            bounds = cast("spaces.Box[np.float32]", box)
            value = np.asarray(getattr(state, key), dtype=np.float32)
            observation[key] = np.minimum(np.maximum(value, bounds.low), bounds.high)
    return observation
