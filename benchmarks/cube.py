"""The cube in a person's hand: accuracy on rendered pictures, time per picture, and the whole way from pictures to the palm."""

import time
from typing import Any

import numpy as np

from benchmarks.result import Result
from dexhil_env import robot
from dexhil_env.hil.ik import ArmIK
from dexhil_env.hil.mapping import ArmAnchor
from dexhil_env.transforms import from_parts, from_rotvec, inverse, rotvec
from dexhil_env.types import F64
from real.cube.device import mean_pose
from real.cube.shape import CubeShape
from real.cube.tracker import CubeTracker
from real.emulator.cube_camera import CubeCamera
from real.kinematics import Kinematics

PICTURES = 80
FPS = 30
SUBFRAMES = 6
EXPOSURE_S = 0.008


def random_pose(rng: np.random.Generator, z_m: float) -> F64:
    """``T_cam_cube`` (4, 4): any face to the camera, any turn in the picture, tilted by up to 45 deg."""
    face = CubeShape().faces[rng.integers(6)]
    axis = rng.uniform(0, 2 * np.pi)
    tilt = from_rotvec(rng.uniform(0, np.pi / 4) * np.array([np.cos(axis), np.sin(axis), 0.0]))
    spin = from_rotvec(np.array([0.0, 0.0, rng.uniform(-np.pi, np.pi)]))
    return from_parts(tilt @ spin @ inverse(face)[:3, :3], np.array([*rng.uniform(-0.2, 0.2, 2) * z_m, z_m]))


def still(z_m: float, *, occluded: bool, rng: np.random.Generator) -> dict[str, float]:
    """Single pictures of random poses."""
    camera = CubeCamera(occluded=occluded, rng=rng)
    position, angle, cpu = [], [], []
    for _ in range(PICTURES):
        T = random_pose(rng, z_m)
        image = camera.film(T[None])
        tracker = CubeTracker(camera.config.lens)
        begun = time.thread_time()
        sighting = tracker.track(image, 0.0)
        cpu.append(1e3 * (time.thread_time() - begun))
        if sighting is not None:
            found = sighting.raw.T_cam_cube
            position.append(1e3 * np.linalg.norm(found[:3, 3] - T[:3, 3]))
            angle.append(np.degrees(np.linalg.norm(rotvec(found[:3, :3] @ T[:3, :3].T))))
    camera.close()
    keys: dict[str, Any] = {"mm": np.median(position), "mm95": np.percentile(position, 95), "deg": np.median(angle)}
    return keys | {"deg95": np.percentile(angle, 95), "found": len(position) / PICTURES, "cpu_ms": np.median(cpu)}


def sweep(t_s: float, speed: float, turn_rad: float = 0.6) -> F64:
    """``T_cam_cube`` of a hand that swings 8 cm each way in x and y with a top speed [m/s], half a metre away, an edge to the camera."""
    phase = t_s * speed / 0.08
    facing = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    turn = from_rotvec(np.array([0.1 * np.sin(phase), turn_rad, 0.1 * np.cos(0.7 * phase)]))
    return from_parts(turn @ facing, np.array([0.08 * np.sin(phase), 0.06 * np.sin(0.8 * phase), 0.5 + 0.03 * np.sin(0.6 * phase)]))


def moving(speed: float, rng: np.random.Generator, seconds: float = 4.0) -> dict[str, float]:
    """Pictures to palm: track, map by eq. 3, solve the arm; against eq. 3 of the true poses, solved alike."""
    camera = CubeCamera(rng=rng)
    tracker, truth, seen = CubeTracker(camera.config.lens), ArmAnchor(), ArmAnchor()
    ik = ArmIK(Kinematics().model)
    home = ik.forward(robot.ARM_HOME)
    joints, error, angle, found, count = robot.ARM_HOME.copy(), list[float](), list[float](), 0, round(seconds * FPS)
    _press(camera, tracker, seen, home)
    truth.anchor(home, sweep(0.0, speed))
    for i in range(count):
        t = i / FPS
        open_s = t + np.linspace(-0.5, 0.5, SUBFRAMES) * EXPOSURE_S
        image = camera.film(np.stack([sweep(moment, speed) for moment in open_s]))
        sighting = tracker.track(image, t)
        if sighting is None:
            continue
        found += 1
        joints = ik.solve(joints, seen.ee_pose(sighting.T_cam_cube))
        palm, wanted = ik.forward(joints), truth.ee_pose(sweep(t, speed))
        error.append(1e3 * float(np.linalg.norm(palm[:3, 3] - wanted[:3, 3])))
        angle.append(np.degrees(np.linalg.norm(rotvec(palm[:3, :3] @ wanted[:3, :3].T))))
    camera.close()
    return {"mm": float(np.median(error)), "mm95": float(np.percentile(error, 95)), "deg": float(np.median(angle)), "found": found / count}


def _press(camera: CubeCamera, tracker: CubeTracker, seen: ArmAnchor, home: F64) -> None:
    """Take over: the cube stands still for the five pictures whose mean becomes the anchor."""
    stills = [tracker.track(camera.film(sweep(0.0, 0.0)[None]), (i - 5) / FPS) for i in range(5)]
    seen.anchor(home, mean_pose([sighting.raw.T_cam_cube for sighting in stills if sighting is not None]))


def measure() -> list[Result]:
    """Measure it all."""
    rng = np.random.default_rng(20)
    bare, held, motion = still(0.5, occluded=False, rng=rng), still(0.5, occluded=True, rng=rng), moving(0.4, rng)
    pictures = f"{PICTURES} rendered pictures, 640 x 480, 0.5 m, blur 0.7 px, noise 3"
    return [
        Result("cube, median position error", bare["mm"], "mm", at_most=0.3, note=f"{pictures}; 95 %: {bare['mm95']:.2f} mm"),
        Result("cube, median angle error", bare["deg"], "deg", at_most=0.15, note=f"95 %: {bare['deg95']:.2f} deg"),
        Result("cube held, position error", held["mm"], "mm", at_most=0.3, note=f"two fingers over tags; 95 %: {held['mm95']:.2f} mm"),
        Result("cube held, angle error", held["deg"], "deg", at_most=0.15, note=f"found in {held['found']:.0%}; 95 %: {held['deg95']:.1f}"),
        Result("cube, found", 100 * bare["found"], "%", at_least=100.0, note="nothing in front of it"),
        Result("cube, processor time per picture", bare["cpu_ms"], "ms", at_most=8.0, note="whole picture searched"),
        Result("pictures to palm, 95 %", motion["mm95"], "mm", at_most=3.0,
               note=f"0.4 m/s, 30 pictures/s, 8 ms exposure; median {motion['mm']:.2f} mm, {motion['deg']:.2f} deg"),
        Result("pictures to palm, found", 100 * motion["found"], "%", at_least=100.0, note="the same pictures"),
    ]  # fmt: skip
