"""A printed board, a camera and an arm that exist in formulas only."""

import time
from datetime import date
from types import SimpleNamespace

import cv2
import numpy as np

from dexhil_env import robot
from dexhil_env.hil.ik import ArmIK
from dexhil_env.sim.scene import SceneConfig
from dexhil_env.transforms import from_parts, from_rotvec, inverse, rotvec
from real.calibrate.boards import BOARDS, Detection, charuco
from real.calibrate.lens import Lens
from real.calibrate.poses import free_space, poses_around
from real.calibrate.solve import View
from real.calibrate.stored import Calibration
from real.cameras import Frame
from real.kinematics import Kinematics
from real.workspace import WorkspaceConfig

LENS = Lens(640, 480, 565.0, 566.0, 322.0, 238.0, (0.05, -0.10, 0.001, -0.0005, 0.0))
WRIST_LENS = Lens(640, 480, 330.0, 330.0, 320.0, 240.0, (-0.04, 0.02, 0.0, 0.001, 0.0))
KINEMATICS = Kinematics()
IK = ArmIK(KINEMATICS.model)
WORKSPACE = free_space(WorkspaceConfig(), KINEMATICS)
OPEN_HAND = np.zeros(12)
NOISE_PX = 0.3
TOLERANCE_MM, TOLERANCE_DEG = 2.0, 0.3
"""Of a camera found from 12 views with that noise. Largest of 20 seeds when this was written: 1.4 mm and 0.09 deg."""
BOARD_AT = (0.45, -0.05, 0.0, 60.0)
"""In the middle of the front camera's picture, x to the right in it."""
TEXTURE_PX = 16
"""Pixels of a module in the drawn board."""


def scene_pose(camera) -> np.ndarray:
    """(4, 4) pose of a camera of the twin, x right, y down, z forward."""
    return from_parts(camera.rotation @ np.diag([1.0, -1.0, -1.0]), np.array(camera.position_m))


def arm_at(*palm_m: float, rotation: np.ndarray | None = None) -> np.ndarray:
    """Joint angles (7,) with the palm at a place."""
    goal, q = IK.forward(robot.ARM_HOME), robot.ARM_HOME.copy()
    goal[:3, 3] = palm_m
    goal[:3, :3] = goal[:3, :3] if rotation is None else rotation
    for _ in range(4):
        q = IK.solve(q, goal, 60)
    return q


T_BASE_FRONT = scene_pose(SceneConfig().front)
FRONT_START = arm_at(0.5, -0.02, 0.33)
T_EE_BOARD = inverse(IK.forward(FRONT_START)) @ from_parts(T_BASE_FRONT[:3, :3], IK.forward(FRONT_START)[:3, 3])
T_EE_BOARD = T_EE_BOARD @ from_parts(np.eye(3), np.array([-0.075, -0.06, 0.0]))

T_EE_WRIST = from_parts(np.eye(3), np.array([0.0, 0.0, -0.11])) @ scene_pose(SceneConfig().wrist)
WRIST_START = arm_at(0.45, 0.0, 0.38, rotation=from_rotvec(np.array([0.0, 0.0, 2.2])) @ np.diag([1.0, -1.0, -1.0]))
T_BASE_BOARD = from_parts(np.diag([1.0, -1.0, -1.0]), np.array([0.26, 0.17, 0.0]))

TRUTH = {"front": T_BASE_FRONT, "wrist": T_EE_WRIST}
LENSES = {"front": LENS, "wrist": WRIST_LENS}
KIND = {"front": "hand", "wrist": "table"}


def poses(camera: str) -> list[np.ndarray]:
    return poses_around(camera, FRONT_START if camera == "front" else WRIST_START, OPEN_HAND, IK, WORKSPACE)


POSES = {camera: poses(camera) for camera in ("front", "wrist")}


def board_in_camera(camera: str, q: np.ndarray) -> np.ndarray:
    """``T_camera_board`` when the arm stands at ``q``."""
    T = IK.forward(q)
    return inverse(T_BASE_FRONT) @ T @ T_EE_BOARD if camera == "front" else inverse(T @ T_EE_WRIST) @ T_BASE_BOARD


def corners(kind: str) -> np.ndarray:
    return np.array(charuco(BOARDS[kind]).getChessboardCorners(), dtype=float)


def detect(kind: str, T_camera_board: np.ndarray, lens: Lens, rng: np.random.Generator, noise_px: float) -> Detection:
    """Corners inside the picture, as a detector with this noise would find them."""
    places = corners(kind)
    pixels = lens.project(places @ T_camera_board[:3, :3].T + T_camera_board[:3, 3])
    inside = ((pixels > 3) & (pixels < [lens.width - 4, lens.height - 4])).all(axis=1)
    return Detection(places[inside], pixels[inside] + rng.normal(0, noise_px, (inside.sum(), 2)))


def make_views(camera: str, count: int, rng: np.random.Generator, noise_px: float = 0.3) -> list[View]:
    found = []
    for q in POSES[camera]:
        seen = detect(KIND[camera], board_in_camera(camera, q), LENSES[camera], rng, noise_px)
        if len(seen) >= 6:
            found.append(View(seen, IK.forward(q)))
    assert len(found) >= count
    return found[:count]


def spoil(view: View, rng: np.random.Generator) -> View:
    """The arm was somewhere else, or the board has slipped."""
    return View(view.seen, view.T_base_ee @ from_parts(from_rotvec(rng.normal(0, 0.2, 3)), rng.normal(0, 0.05, 3)))


def miss(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Distance [mm] and angle [deg] between two poses."""
    error = inverse(truth) @ found
    return 1e3 * float(np.linalg.norm(error[:3, 3])), float(np.degrees(np.linalg.norm(rotvec(error[:3, :3]))))


def draw(kind: str, T_camera_board: np.ndarray, lens: Lens, rng: np.random.Generator, noise: float = 3.0) -> np.ndarray:
    """Picture (H, W, 3) of a board in front of something grey; without distortion."""
    board = BOARDS[kind]
    size = (board.columns * 8 * TEXTURE_PX, board.rows * 8 * TEXTURE_PX)
    rim = 4 * TEXTURE_PX
    texture = np.pad(np.array(charuco(board).generateImage(size)), rim, constant_values=255)
    pixel_m = board.square_m / 8 / TEXTURE_PX
    to_board = np.array([[pixel_m, 0, (0.5 - rim) * pixel_m], [0, pixel_m, (0.5 - rim) * pixel_m], [0, 0, 1]])
    fine = 3  # drawn finer and averaged, as a sensor does
    finer = np.array([[fine, 0, (fine - 1) / 2], [0, fine, (fine - 1) / 2], [0, 0, 1]])
    warp = finer @ lens.matrix @ np.column_stack([T_camera_board[:3, :2], T_camera_board[:3, 3]]) @ to_board
    big = cv2.warpPerspective(
        texture, warp, (fine * lens.width, fine * lens.height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_CONSTANT, borderValue=90
    )
    grey = cv2.resize(big, (lens.width, lens.height), interpolation=cv2.INTER_AREA)
    noisy = grey + rng.normal(0, noise, grey.shape)
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


class FormulaArm:
    """Stands where it is told to."""

    def __init__(self, q: np.ndarray) -> None:
        self.q, self.homed, self.recovered, self.restless = q.copy(), [], 0, 0.0
        self._rng = np.random.default_rng(0)

    def state(self):
        return SimpleNamespace(q=self.q + self._rng.normal(0, self.restless, 7), age_s=0.0)

    def home(self, q, speed=0.1):
        assert self.recovered
        assert speed <= 0.1
        self.homed.append(q)
        self.q = np.array(q)

    def recover(self):
        self.recovered += 1


class FormulaEye:
    """Sees the board where the arm has put it (or where ``pose`` says)."""

    def __init__(self, camera: str, lens: Lens, arm: FormulaArm | None = None, kind: str | None = None) -> None:
        self.camera, self.lens, self.arm, self.kind = camera, lens, arm, kind or KIND[camera]
        self.pose, self.covered = None, False
        self._rng, self._drawn = np.random.default_rng(1), (None, None)

    def frame(self) -> Frame:
        pose = self.pose if self.arm is None else board_in_camera(self.camera, self.arm.q)
        key = (self.covered, pose.tobytes())
        if self._drawn[0] != key:
            blank = np.full((self.lens.height, self.lens.width, 3), 90, dtype=np.uint8)
            self._drawn = key, blank if self.covered else draw(self.kind, pose, self.lens, self._rng)
        return Frame(self._drawn[1], time.monotonic_ns(), 1, 0.0)


def shown(tilt=1.0, count=14, seed=0):
    """Poses of the table board as a person shows it to a camera."""
    rng = np.random.default_rng(seed)
    centre = from_parts(np.eye(3), np.array([-0.126, -0.09, 0.0]))
    for _ in range(count):
        turn = from_rotvec(tilt * rng.uniform([-0.7, -0.7, -0.3], [0.7, 0.7, 0.3]))
        yield from_parts(turn, rng.uniform([-0.06, -0.05, 0.38], [0.06, 0.05, 0.55])) @ centre


def made(camera="front") -> Calibration:
    return Calibration(camera, TRUTH[camera], LENSES[camera], 0.4123, 0.0012, 0.001, 14, date(2026, 2, 3))


def near(found, truth, mm=TOLERANCE_MM, deg=TOLERANCE_DEG):
    distance, angle = miss(found, truth)
    assert distance < mm, f"{distance:.2f} mm"
    assert angle < deg, f"{angle:.3f} deg"
