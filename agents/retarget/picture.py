"""A picture like the paper's fig. 4: rows are gestures, columns the person's hand and what each method makes of it, drawn by MuJoCo."""

from pathlib import Path
from typing import Final

import imageio.v3 as iio
import mujoco
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from agents.retarget.evaluate import Person
from agents.retarget.gestures import GESTURES, pinch_poses
from agents.retarget.human import HandShape, pose_keypoints
from agents.retarget.methods import Entry
from dexhil_env import robot
from dexhil_env.assets import asset_path
from dexhil_env.gl import choose_backend
from dexhil_env.sim.render import renderer_for
from dexhil_env.sim.scene import CameraConfig
from dexhil_env.types import F64, U8

SIZE: Final = (260, 210)
"""Height and width of one cell [px]."""
LEFT, TOP = 110, 34
ROWS: Final = ("open", "spread", "pinch index", "pinch middle", "pinch ring", "tripod", "point", "key", "fist")
SHOWN: Final = (
    "ours",
    "two stages",
    "one network",
    "GeoRT terms",
    "no L_kin",
    "dex vector",
    "dex dexpilot",
    "dexi vector",
    "dexi dexpilot",
)
_PINCHES: Final = {"pinch index": (0,), "pinch middle": (1,), "pinch ring": (2,), "tripod": (0, 1)}
_COLOURS: Final = ((0.87, 0.45, 0.25), (0.20, 0.47, 0.85), (0.20, 0.65, 0.42), (0.60, 0.35, 0.75), (0.85, 0.65, 0.15))
_EYE: Final = (0.40, 0.20, 0.17)
"""Where the camera stands, in front of the palm on the thumb's side [m]."""


def gesture_keypoints(shape: HandShape, gap_m: float) -> dict[str, F64]:
    """Return the keypoints (21, 3) [m] of every row."""
    masks = np.zeros((len(_PINCHES), 4), dtype=bool)
    for row, fingers in enumerate(_PINCHES.values()):
        masks[row, list(fingers)] = True
    pinches = dict(zip(_PINCHES, pinch_poses(shape, masks, np.random.default_rng(3), gap_m), strict=True))
    return {name: pose_keypoints(shape, (pinches | GESTURES)[name][None])[0] for name in ROWS}


def draw(person: Person, entries: list[Entry], path: Path) -> None:
    """Write the picture of one person's gestures and what the methods make of them."""
    choose_backend()
    entries = [entry for entry in entries if entry.name in SHOWN]
    if any(entry.name == "dex dexpilot" for entry in entries):
        entries = [entry for entry in entries if not entry.name.startswith("dexi")]  # the same answers, faster
    keypoints = gesture_keypoints(person.shape, float(person.profile.contact_m.mean()))
    opened, cells = keypoints["open"], list[list[U8]]()
    for frame in keypoints.values():
        # methods that start from their last answer see the hand go there
        way = opened + (frame - opened) * np.minimum(np.arange(60) / 40, 1)[:, None, None]
        cells.append([human_image(frame), *(hand_image(entry.run(way)[-1]) for entry in entries)])
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, _sheet(cells, list(ROWS), ["person", *(entry.name for entry in entries)]))


def _stage(spec: mujoco.MjSpec, centre: tuple[float, float, float], scale: float) -> mujoco.MjModel:
    """Add light, camera and a white background."""
    view = CameraConfig(tuple(c + scale * (e - h) for c, e, h in zip(centre, _EYE, (0.0, 0.0, 0.17), strict=True)), centre, fovy_deg=34.0)  # pyright: ignore[reportArgumentType]
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(view.rotation).ravel())
    spec.worldbody.add_camera(name="view", pos=view.position_m, quat=quat, fovy=view.fovy_deg)
    for position in ((0.6, 0.5, 0.8), (0.5, -0.8, 0.3)):
        way = -np.asarray(position)
        spec.worldbody.add_light(
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=position, dir=way / np.linalg.norm(way), diffuse=[0.45] * 3, castshadow=False
        )
    spec.add_texture(
        name="white", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=[1, 1, 1], rgb2=[1, 1, 1], width=16, height=96,
    )  # fmt: skip
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.45] * 3, [0.3] * 3
    spec.visual.map.znear, spec.stat.extent = 0.01, 1.0
    spec.visual.quality.offsamples, spec.visual.quality.shadowsize = 4, 0
    return spec.compile()


def _render(model: mujoco.MjModel, data: mujoco.MjData) -> U8:
    mujoco.mj_forward(model, data)
    return renderer_for(model, *SIZE, key="retarget").draw(model, data, model.camera("view").id)


def hand_image(motors: F64) -> U8:
    """Draw the robot's hand at motors (12,) [rad]."""
    spec = mujoco.MjSpec.from_file(str(asset_path("dexhand021", "right_hand.xml")))
    for finger, (name, colour) in enumerate(zip(("thumb", "index", "middle", "ring", "little"), _COLOURS, strict=True)):
        for part in ("middle", "distal"):
            spec.geom(f"{name}_{part}").rgba = [*(0.5 * np.asarray(colour) + 0.1 * (finger == 0)), 1.0]
        spec.geom(f"{name}_distal").rgba = [*colour, 1.0]
    model = _stage(spec, (0.03, 0.0, 0.17), 1.0)
    data = mujoco.MjData(model)
    for joint, value in zip(robot.HAND_JOINTS, robot.coupling_matrix() @ motors, strict=True):
        data.joint(joint).qpos[0] = value
    return _render(model, data)


def human_image(keypoints: F64) -> U8:
    """Draw a person's keypoints (21, 3) [m] as a skeleton."""
    spec = mujoco.MjSpec()
    palm = [(0, 1), (0, 5), (0, 9), (0, 13), (0, 17), (5, 9), (9, 13), (13, 17)]
    bones = [(pair, (0.75, 0.75, 0.75)) for pair in palm]
    bones += [((4 * finger + k, 4 * finger + k + 1), _COLOURS[finger]) for finger in range(5) for k in (1, 2, 3)]
    for (start, end), colour in bones:
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=[*keypoints[start], *keypoints[end]], size=[0.0045, 0, 0], rgba=[*colour, 1]
        )
    for point in keypoints:
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, pos=point, size=[0.006, 0, 0], rgba=[0.25, 0.25, 0.28, 1])
    model = _stage(spec, (0.03, 0.012, 0.09), 0.78)
    return _render(model, mujoco.MjData(model))


def _sheet(cells: list[list[U8]], rows: list[str], columns: list[str]) -> U8:
    """Put the cells on one page with names."""
    height, width = SIZE
    page = Image.new("RGB", (LEFT + width * len(columns), TOP + height * len(rows)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(18)
    for column, name in enumerate(columns):
        pen.text((LEFT + width * column + width / 2, TOP / 2), name, "black", font, anchor="mm")
    for row, name in enumerate(rows):
        pen.text((LEFT - 6, TOP + height * row + height / 2), name.replace(" ", "\n"), "black", font, anchor="rm", align="right")
        for column, cell in enumerate(cells[row]):
            page.paste(Image.fromarray(cell), (LEFT + width * column, TOP + height * row))
    return np.asarray(page)
