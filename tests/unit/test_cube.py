"""The cube in a person's hand: its shape, its net, its corners, its pose, its filter."""

import cv2
import numpy as np
import pytest

from dexhil_env.errors import ConfigError
from dexhil_env.transforms import from_parts, from_rotvec, inverse, rotvec
from real.aruco_cube import make_cube_tracker, read_lens, write_lens
from real.calibrate.lens import Lens
from real.calibrate.sheet import to_image
from real.cameras import Frame
from real.cube.corners import refine
from real.cube.device import STALE_S, CubeDevice, CubeState, mean_pose
from real.cube.net import PLACES, make_net
from real.cube.one_euro import PoseFilter
from real.cube.pose import solve
from real.cube.shape import FACES, CubeShape, detector, pattern
from real.cube.tracker import CubeTracker

SHAPE = CubeShape()
LENS = Lens(640, 480, 580.0, 580.0, 319.5, 239.5)


def pose(*turn_rad: float, at: tuple[float, float, float] = (0.02, -0.03, 0.5)) -> np.ndarray:
    """The cube's ``front`` towards the camera, upright, then turned."""
    facing = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    return from_parts(from_rotvec(np.array(turn_rad)) @ facing, np.array(at))


def visible(T: np.ndarray) -> np.ndarray:
    tags = T @ SHAPE.faces
    return np.flatnonzero(np.einsum("ni,ni->n", tags[:, :3, 2], tags[:, :3, 3]) > 0.1 * np.linalg.norm(tags[:, :3, 3], axis=1))


def corners_px(T: np.ndarray, faces: np.ndarray) -> np.ndarray:
    return LENS.project(SHAPE.corners[faces] @ T[:3, :3].T + T[:3, 3])


def draw(T: np.ndarray, blur_px: float = 0.7, noise: float = 3.0, seed: int = 0) -> np.ndarray:
    """A picture of the cube, face by face, four times finer than its pixels."""
    fine = 4
    picture = np.full((480 * fine, 640 * fine), 120, np.uint8)
    for face in visible(T):
        shade = 0.4 + 0.6 * abs(float((T @ SHAPE.faces[face])[2, 2]))  # slanting faces are darker: their rim ends in a step
        texture = np.kron(np.where(pattern(face), 15, 240 * shade), np.ones((40, 40))).astype(np.uint8)
        half = SHAPE.edge_m / 2
        flat = np.array([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]])
        place = T @ SHAPE.faces[face]
        ends = (LENS.project(flat @ place[:3, :3].T + place[:3, 3]) + 0.5) * fine - 0.5
        source = np.array([[0, 0], [320, 0], [320, 320], [0, 320]], np.float32) - 0.5
        warp = cv2.getPerspectiveTransform(source, ends.astype(np.float32))
        cv2.warpPerspective(texture, warp, picture.shape[::-1], dst=picture, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT)
    small = cv2.GaussianBlur(cv2.resize(picture, (640, 480), interpolation=cv2.INTER_AREA).astype(float), (0, 0), blur_px)
    return np.clip(small + noise * np.random.default_rng(seed).standard_normal(small.shape), 0, 255).astype(np.uint8)


def apart(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Distance [mm] and angle [deg]."""
    turn = np.degrees(np.linalg.norm(rotvec(one[:3, :3].T @ other[:3, :3])))
    return 1e3 * float(np.linalg.norm(one[:3, 3] - other[:3, 3])), float(turn)


def test_tags_lie_on_their_faces_the_right_way_round() -> None:
    for face in SHAPE.faces:
        np.testing.assert_allclose(np.linalg.det(face[:3, :3]), 1.0)
        assert face[:3, 3] @ face[:3, 2] == pytest.approx(-SHAPE.edge_m / 2)  # z into the cube
    np.testing.assert_allclose(np.linalg.norm(SHAPE.corners[:, 0] - SHAPE.corners[:, 1], axis=-1), SHAPE.tag_m)
    assert pytest.approx(0.042) == SHAPE.tag_m


def test_the_net_folds_to_the_cube() -> None:
    """Faces that touch on the page share that edge on the cube, with the same tag edges along it."""
    half = SHAPE.edge_m / 2
    square = half * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    ends = {name: square @ SHAPE.faces[i][:3, :3].T + SHAPE.faces[i][:3, 3] for i, name in enumerate(FACES)}
    touching = 0
    for one, (column, row) in PLACES.items():
        for other, place in PLACES.items():
            if place == (column + 1, row):  # one's right edge is other's left edge
                np.testing.assert_allclose(ends[one][[1, 2]], ends[other][[0, 3]], atol=1e-12)
                touching += 1
            if place == (column, row + 1):
                np.testing.assert_allclose(ends[one][[3, 2]], ends[other][[0, 1]], atol=1e-12)
                touching += 1
    assert touching == 5


def test_all_tags_are_found_on_the_printed_page() -> None:
    page = to_image(make_net(SHAPE), 150)
    quads, ids, _ = detector().detectMarkers(page)
    assert sorted(np.ravel(ids)) == [0, 1, 2, 3, 4, 5]
    widths_mm = [np.linalg.norm(quad[0][1] - quad[0][0]) * 25.4 / 150 for quad in quads]
    np.testing.assert_allclose(widths_mm, 42.0, atol=0.4)


TURNS = {"one face": (0.0, 0.0, 0.3), "two faces": (0.0, 0.6, 0.2), "three faces": (0.5, 0.6, 0.0), "a slanting face": (0.0, 1.15, 0.0)}


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_line_fits_find_corners_that_blur_has_rounded(turn: tuple[float, float, float]) -> None:
    T = pose(*turn)
    grey = draw(T, blur_px=1.0)
    quads, ids, _ = detector().detectMarkers(grey)
    found = refine(grey, np.array(quads, float).reshape(-1, 4, 2))
    error = np.linalg.norm(found - corners_px(T, np.ravel(ids)), axis=-1)
    assert np.median(error) < 0.12
    # blur rounds corners inwards for a corner detector; a line fit must not see the tag smaller
    size = np.linalg.norm(found - np.roll(found, 1, 1), axis=-1) / np.linalg.norm(
        corners_px(T, np.ravel(ids)) - np.roll(corners_px(T, np.ravel(ids)), 1, 1), axis=-1
    )
    assert abs(np.median(size) - 1.0) < 0.004


def test_one_covered_corner_does_not_move_the_cube() -> None:
    T = pose(0.0, 0.6, 0.2)
    faces = visible(T)
    points = corners_px(T, faces) + 0.05 * np.random.default_rng(1).standard_normal((len(faces), 4, 2))
    points[0, 2] += (9.0, -6.0)
    found = solve(SHAPE, faces, points, LENS.matrix)
    assert found is not None
    assert found.corners == 4 * len(faces) - 1
    mm, deg = apart(T, found.T_cam_cube)
    assert mm < 1.0
    assert deg < 0.3


def test_a_face_seen_flat_on_keeps_the_side_it_had() -> None:
    """Two poses of a single distant square fit almost equally well; which one it is, the picture before has to say."""
    rng = np.random.default_rng(2)
    kept = flipped = 0
    for _ in range(30):
        T = pose(0.2, 0.05, 0.0, at=(0.0, 0.0, 1.2))
        points = corners_px(T, np.array([1])) + 0.15 * rng.standard_normal((1, 4, 2))
        alone, prior = solve(SHAPE, np.array([1]), points, LENS.matrix), solve(SHAPE, np.array([1]), points, LENS.matrix, T)
        assert alone is not None
        assert prior is not None
        flipped += apart(T, alone.T_cam_cube)[1] > 12.0
        kept += apart(T, prior.T_cam_cube)[1] < 12.0
    assert flipped > 3
    assert kept == 30


def test_a_window_and_the_whole_picture_give_the_same_pose() -> None:
    T = pose(0.1, 0.6, 0.2)
    grey = draw(T)
    tracker = CubeTracker(LENS)
    first, second = tracker.track(grey, 0.0), tracker.track(grey, 0.033)
    assert first is not None
    assert second is not None
    assert apart(first.raw.T_cam_cube, second.raw.T_cam_cube)[0] < 0.1
    assert tracker.track(np.full_like(grey, 90), 0.066) is None


def test_a_wrong_focal_length_only_stretches_the_depth() -> None:
    steps = [pose(0.1, 0.6, 0.2, at=(0.0, 0.0, 0.5)), pose(0.1, 0.6, 0.2, at=(0.05, 0.0, 0.55))]
    lens = Lens(640, 480, 638.0, 638.0, 319.5, 239.5)  # 10 % too long
    found = [CubeTracker(lens).track(draw(T), 0.0) for T in steps]
    assert found[0] is not None
    assert found[1] is not None
    move = found[1].raw.T_cam_cube[:3, 3] - found[0].raw.T_cam_cube[:3, 3]
    np.testing.assert_allclose(move, [0.05, 0.0, 0.055], atol=0.002)


def test_the_filter_is_steady_at_rest_and_quick_in_motion() -> None:
    rng, still = np.random.default_rng(3), PoseFilter()
    noisy = [from_parts(np.eye(3), 3e-4 * rng.standard_normal(3)) for _ in range(300)]  # as raw poses are at 0.5 m
    out = np.array([still(i / 30, T)[:3, 3] for i, T in enumerate(noisy)])
    assert out[50:].std() < 0.6 * np.array([T[:3, 3] for T in noisy])[50:].std()
    for speed, most_ms in ((0.15, 10.0), (0.8, 3.0)):
        moving = PoseFilter()
        for i in range(60):
            where = moving(i / 30, from_parts(np.eye(3), np.array([speed * i / 30, 0.0, 0.0])))
        assert 0.0 <= 1e3 * (speed * 59 / 30 - where[0, 3]) / speed < most_ms


def test_turning_is_filtered_too() -> None:
    spin = PoseFilter()
    for i in range(60):
        where = spin(i / 30, from_parts(from_rotvec(np.array([0.0, 0.0, 1.5 * i / 30])), np.zeros(3)))
    lag_ms = 1e3 * (1.5 * 59 / 30 - np.linalg.norm(rotvec(where[:3, :3]))) / 1.5
    assert 0.0 <= lag_ms < 10.0


class FakeEye:
    def __init__(self) -> None:
        self.image, self.t_ns = draw(pose(0.1, 0.6, 0.2)), 10**9

    def frame(self) -> Frame:
        return Frame(self.image, self.t_ns, 1, 0.0)


def test_a_cube_that_is_gone_is_lost_and_then_stale() -> None:
    eye = FakeEye()
    device = CubeDevice(eye, CubeTracker(LENS))
    assert device.read(10**9) is None
    assert device.anchor() is None
    device.look()
    device.look()  # the same picture once more counts once
    assert device.pictures == 1
    ages = {0.05: CubeState.SEEN, 0.2: CubeState.LOST, STALE_S + 0.01: CubeState.STALE}
    for age_s, state in ages.items():
        reading = device.read(10**9 + round(age_s * 1e9))
        assert reading is not None
        assert reading.state is state
    eye.image, eye.t_ns = np.full_like(eye.image, 90), eye.t_ns + 10**9
    device.look()
    reading = device.read(eye.t_ns)
    assert reading is not None
    assert reading.state is CubeState.STALE
    assert (device.pictures, device.found) == (2, 1)


def test_an_anchor_is_a_mean() -> None:
    rng = np.random.default_rng(4)
    T = pose(0.1, 0.6, 0.2)
    noisy = [
        from_parts(from_rotvec(0.02 * rng.standard_normal(3)) @ T[:3, :3], T[:3, 3] + 1e-3 * rng.standard_normal(3)) for _ in range(400)
    ]
    mm, deg = apart(T, mean_pose(noisy))
    assert mm < 0.25
    assert deg < 0.25


def test_lens_files_are_read_back_and_checked(tmp_path) -> None:
    write_lens(LENS, tmp_path / "lens.json")
    assert read_lens(tmp_path / "lens.json") == LENS
    assert make_cube_tracker(tmp_path / "lens.json").lens == LENS
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ConfigError, match="dexhil cube calibrate"):
        read_lens(tmp_path / "bad.json")
    with pytest.raises(ConfigError, match="calibrated at 640 x 480"):
        make_cube_tracker(tmp_path / "lens.json").track(np.zeros((240, 320), np.uint8), 0.0)


def test_a_cube_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="20 to 200 mm"):
        CubeShape(0.5)


def test_the_camera_may_see_the_cube_from_anywhere() -> None:
    """Every face in turn towards the camera: poses are those that were drawn."""
    for face in range(6):
        T = from_parts(from_rotvec(np.array([0.35, 0.45, 0.1])) @ inverse(SHAPE.faces[face])[:3, :3], np.array([0.0, 0.0, 0.45]))
        found = CubeTracker(LENS).track(draw(T), 0.0)
        assert found is not None
        mm, deg = apart(T, found.raw.T_cam_cube)
        assert mm < 0.6
        assert deg < 0.3
