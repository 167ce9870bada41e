"""Rigid transforms: 4x4 ``T_a_b`` matrices (pose of b in a), wxyz quaternions, small rotations."""

import mujoco
import numpy as np

from dexhil_env.types import F64


def pose_matrix(pose: F64) -> F64:
    """Turn a (7,) pose [m, wxyz] into a (4, 4) matrix."""
    matrix = np.eye(4)
    matrix[:3, :3] = quat_matrix(pose[3:])
    matrix[:3, 3] = pose[:3]
    return matrix


def matrix_pose(matrix: F64) -> F64:
    """Turn a (4, 4) matrix into a (7,) pose [m, wxyz] with a non-negative w."""
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(matrix[:3, :3]).ravel())
    return np.concatenate([matrix[:3, 3], quat if quat[0] >= 0 else -quat])


def quat_matrix(quat: F64) -> F64:
    """Turn a wxyz quaternion into a (3, 3) rotation matrix; the quaternion need not have unit length."""
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quat, dtype=float) / np.linalg.norm(quat))
    return matrix.reshape(3, 3)


def from_parts(rotation: F64, position: F64) -> F64:
    """Build a (4, 4) matrix from a (3, 3) rotation and a (3,) position [m]."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = position
    return matrix


def inverse(matrix: F64) -> F64:
    """Invert a rigid (4, 4) transform."""
    rotation = matrix[:3, :3].T
    return from_parts(rotation, -rotation @ matrix[:3, 3])


def rotvec(rotation: F64) -> F64:
    """Axis times angle (3,) [rad] of a (3, 3) rotation matrix."""
    quat, vector = np.empty(4), np.empty(3)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(rotation).ravel())
    mujoco.mju_quat2Vel(vector, quat, 1.0)
    return vector


def from_rotvec(vector: F64) -> F64:
    """(3, 3) rotation matrix of axis times angle (3,) [rad]."""
    angle = float(np.linalg.norm(vector))
    quat = np.empty(4)
    mujoco.mju_axisAngle2Quat(quat, vector / angle if angle else np.zeros(3), angle)
    return quat_matrix(quat)
