"""Least reprojection error: Levenberg-Marquardt over the pose of the camera and that of the board, in pixels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dexhil_env.transforms import from_parts, from_rotvec, inverse
from dexhil_env.types import F64
from real.calibrate.boards import Detection
from real.calibrate.lens import Lens

_STEP = 1e-6
"""Step of the numerical derivative [m, rad]."""
_HUBER_PX = 1.0
"""Beyond this a point counts less and less; good corners lie within 0.5 px."""


@dataclass(frozen=True)
class Scene:
    """What is known while camera and board are moved until the corners fit.

    Attributes:
        As: (n, 4, 4) of :mod:`real.calibrate.handeye`.
        seen: one per view.
        lens: of the camera.
        fixed_target: the board's pose is known and stays.
    """

    As: Sequence[F64]
    seen: Sequence[Detection]
    lens: Lens
    fixed_target: bool = False

    def subset(self, views: Sequence[int]) -> "Scene":
        """The same with some of the views."""
        return Scene([self.As[i] for i in views], [self.seen[i] for i in views], self.lens, self.fixed_target)

    def residuals(self, eye: F64, target: F64) -> list[F64]:
        """Per view (N, 2): projected minus found [px]."""
        found: list[F64] = []
        for A, seen in zip(self.As, self.seen, strict=True):
            T = inverse(A @ eye) @ target
            found.append(self.lens.project(seen.points_m @ T[:3, :3].T + T[:3, 3]) - seen.points_px)
        return found

    def view_rms(self, eye: F64, target: F64) -> F64:
        """(n,) root mean square distance of the corners of each view [px]."""
        return np.array([np.sqrt((error**2).sum(axis=1).mean()) for error in self.residuals(eye, target)])


def moved(pose: F64, step: F64) -> F64:
    """``pose`` (4, 4) moved in its own frame by ``step`` (6,): position [m], rotation vector [rad]."""
    return pose @ from_parts(from_rotvec(step[3:]), step[:3])


def refine(scene: Scene, eye: F64, target: F64, iterations: int = 30) -> tuple[F64, F64]:
    """Move both poses until the robust reprojection error is least.

    Args:
        scene: what is known.
        eye: (4, 4) first guess of X of :mod:`real.calibrate.handeye`.
        target: (4, 4) first guess of Z; stays where it is when the scene says so.
        iterations: at most so many.
    """
    damping, cost = 1e-3, _cost(scene, eye, target)
    for _ in range(iterations):
        jacobian, errors = _jacobian(scene, eye, target)
        weights = np.repeat(_weights(errors), 2)
        normal, slope = (jacobian.T * weights) @ jacobian, (jacobian.T * weights) @ errors
        while damping < 1e9:
            step: F64 = -np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), slope).astype(float)
            trial = moved(eye, step[:6]), target if scene.fixed_target else moved(target, step[6:])
            trial_cost = _cost(scene, *trial)
            if trial_cost < cost:
                break
            damping *= 10
        else:
            break
        done = cost - trial_cost < 1e-10 * cost
        (eye, target), cost, damping = trial, trial_cost, max(damping / 10, 1e-9)
        if done:
            break
    return eye, target


def covariance(scene: Scene, eye: F64, target: F64) -> F64:
    """Covariance (6, 6) of ``eye`` in its own frame [m, rad]: the jackknife over views, linearised.

    Errors within one view belong together (an arm that is off by a millimetre moves all corners), so counting single corners would
    promise too much. With one view there is nothing to leave out, and the corners are counted after all.
    """
    jacobian, errors = _jacobian(scene, eye, target)
    weighted = jacobian * np.repeat(_weights(errors), 2)[:, None]
    normal, views = jacobian.T @ weighted, len(scene.seen)
    if views == 1:
        return np.linalg.pinv(normal)[:6, :6] * float(errors @ errors) / (len(errors) - 6)
    steps: list[F64] = []
    end = 0
    for seen in scene.seen:
        begin, end = end, end + 2 * len(seen)
        own, force = jacobian[begin:end].T @ weighted[begin:end], weighted[begin:end].T @ errors[begin:end]
        steps.append(np.linalg.pinv(normal - own) @ force)
    return (np.transpose(steps) @ np.array(steps))[:6, :6] * (views - 1) / views


def board_scale(scene: Scene, eye: F64, target: F64) -> float:
    """How many times larger than it should be the board seems to be; arm and board then disagree about the metre.

    One Gauss-Newton step in which the board may also grow; poses that are all at one distance leave it open, and 1 is returned.
    """
    jacobian, errors = _jacobian(scene, eye, target)
    grown = [Detection(seen.points_m * (1 + _STEP), seen.points_px) for seen in scene.seen]
    column = (_flat(replace(scene, seen=grown), eye, target) - errors) / _STEP
    root = np.sqrt(np.repeat(_weights(errors), 2))
    step = np.linalg.lstsq(root[:, None] * np.column_stack([jacobian, column]), -root * errors, rcond=1e-9)[0]
    return 1 + float(step[-1])


def _flat(scene: Scene, eye: F64, target: F64) -> F64:
    return np.concatenate([error.ravel() for error in scene.residuals(eye, target)])


def _jacobian(scene: Scene, eye: F64, target: F64) -> tuple[F64, F64]:
    errors = _flat(scene, eye, target)
    columns: list[F64] = []
    for i in range(6 if scene.fixed_target else 12):
        step = np.zeros(12)
        step[i] = _STEP
        columns.append((_flat(scene, moved(eye, step[:6]), moved(target, step[6:])) - errors) / _STEP)
    return np.column_stack(columns), errors


def _distances(errors: F64) -> F64:
    return np.linalg.norm(errors.reshape(-1, 2), axis=1)


def _weights(errors: F64) -> F64:
    """Huber's weight of each point."""
    return _HUBER_PX / np.maximum(_distances(errors), _HUBER_PX)


def _cost(scene: Scene, eye: F64, target: F64) -> float:
    distance = _distances(_flat(scene, eye, target))
    return float(np.where(distance < _HUBER_PX, distance**2 / 2, _HUBER_PX * (distance - _HUBER_PX / 2)).sum())
