"""Rigid transforms against SciPy, which the environment itself does without."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dexhil_env import transforms as t

VECTORS = [np.zeros(3), np.array([1e-9, 0, 0]), np.array([0.3, -1.2, 0.7]), np.array([0, np.pi - 1e-6, 0]), np.array([4.0, 1.0, -2.0])]


@pytest.mark.parametrize("vector", VECTORS)
def test_rotation_of_a_rotation_vector(vector):
    np.testing.assert_allclose(t.from_rotvec(vector), Rotation.from_rotvec(vector).as_matrix(), atol=1e-12)


@pytest.mark.parametrize("vector", VECTORS[:-1])
def test_rotation_vector_comes_back_below_half_a_turn(vector):
    np.testing.assert_allclose(t.rotvec(t.from_rotvec(vector)), vector, atol=1e-8)


def test_pose_and_matrix_are_one_to_one_and_the_quaternion_is_wxyz():
    matrix = t.from_parts(t.from_rotvec(np.array([0.3, -1.2, 0.7])), np.array([1.0, 2.0, 3.0]))
    pose = t.matrix_pose(matrix)
    assert pose[3] > 0
    np.testing.assert_allclose(pose[3:], Rotation.from_matrix(matrix[:3, :3]).as_quat(scalar_first=True), atol=1e-12)
    np.testing.assert_allclose(t.pose_matrix(pose), matrix, atol=1e-12)
    np.testing.assert_allclose(t.pose_matrix(np.concatenate([pose[:3], -3 * pose[3:]])), matrix, atol=1e-12)


def test_inverse():
    matrix = t.from_parts(t.from_rotvec(np.array([0.3, -1.2, 0.7])), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(t.inverse(matrix) @ matrix, np.eye(4), atol=1e-12)
