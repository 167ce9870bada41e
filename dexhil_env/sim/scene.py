"""The scene of the twin: arm, hand, table, lights and cameras; a task adds its objects.

The world frame is the robot base frame: the arm's base stands at the origin on the table plane z = 0, +x points over the table.

Contact bits, used by every geom of the scene. Two geoms touch when ``contype`` of one shares a bit with ``conaffinity`` of the other.

| bit | meaning | contype | conaffinity |
| --- | --- | --- | --- |
| ``ENVIRONMENT`` 1 | rigid surroundings | arm, hand | table, pack |
| ``OBJECT`` 2 | soft objects | arm, hand | toy, tissue |
| ``THUMB`` 4 | thumb against the other fingers | thumb | other fingers |
| ``FINGERS`` 8 | other fingers against the thumb | other fingers | thumb |
| ``SOFT`` 16 | soft objects against what holds them | toy, tissue | table, pack, clamp |

Contact parameters: robot and table have priority 0, so an object rules its own contacts with ``priority`` 1.
"""

import math
from dataclasses import dataclass, field
from typing import Final, Literal
from xml.etree import ElementTree

import mujoco
import numpy as np

from dexhil_env.assets import asset_path
from dexhil_env.errors import ConfigError
from dexhil_env.sim.skin import wear_menagerie
from dexhil_env.sim.task import SimTask
from dexhil_env.sim.toy_mesh import texture as toy_texture
from dexhil_env.sim.tuning import RobotTuning
from dexhil_env.types import F64, U8

ENVIRONMENT: Final = 1
OBJECT: Final = 2
THUMB: Final = 4
FINGERS: Final = 8
SOFT: Final = 16

TABLE_GEOM: Final = "table"
TABLE_MATERIAL: Final = "table"
TOY_MATERIAL: Final = "toy"
TABLE_X: Final = (-0.30, 1.15)
TABLE_Y: Final = (-0.75, 0.75)
"""Extent of the table top [m]."""

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class CameraConfig:
    """A pinhole camera.

    Attributes:
        position_m: where it is; in the robot base frame for the front camera, in the hand's base frame for the wrist camera [m].
        look_at_m: point in the middle of the image, same frame [m].
        up: direction that points up in the image, same frame.
        fovy_deg: vertical field of view [deg].
    """

    position_m: Vector
    look_at_m: Vector
    up: Vector = (0.0, 0.0, 1.0)
    fovy_deg: float = 50.0

    def __post_init__(self) -> None:
        if not 5.0 <= self.fovy_deg <= 150.0:
            raise ConfigError(f"fovy_deg must lie in [5, 150]; got {self.fovy_deg}")
        backward = np.subtract(self.position_m, self.look_at_m)
        if np.linalg.norm(np.cross(backward, self.up)) < 1e-6:
            raise ConfigError(f"position_m, look_at_m and up must not lie on one line; got {self.position_m}, {self.look_at_m}, {self.up}")

    @property
    def rotation(self) -> F64:
        """(3, 3) axes of the camera: x right, y up, z backward."""
        backward = np.subtract(self.position_m, self.look_at_m)
        backward /= np.linalg.norm(backward)
        right = np.cross(self.up, backward)
        right /= np.linalg.norm(right)
        return np.column_stack([right, np.cross(backward, right), backward])


@dataclass(frozen=True)
class SceneConfig:
    """What is fixed in the scene.

    Attributes:
        mount_yaw_deg: rotation of the hand's base about the flange's z axis [deg]. One value serves both tasks: at 180 the fingers of
            a pitched hand point away from the base when joint 7 stands at 0, in the middle of its range.
        mount_offset_m: thickness of the adapter between flange and hand [m].
        front: camera in front of the table, in the robot base frame.
        wrist: camera at the wrist, in the hand's base frame.
        skin: ``"light"`` draws the arm from primitives; ``"menagerie"`` draws the FR3's meshes (extra ``dexhil[skin]``), slowly.
        offsamples: multisampling of rendered images, 0 for none.
        tuning: how arm and hand move, where that is other than in the model: as a certain real robot does; None is the model.
    """

    mount_yaw_deg: float = 180.0
    mount_offset_m: float = 0.0
    front: CameraConfig = field(default=CameraConfig((1.25, -0.45, 0.70), (0.50, -0.02, 0.18), fovy_deg=46.0))
    wrist: CameraConfig = field(default=CameraConfig((0.112, 0.0, -0.015), (0.093, 0.0, 0.1), up=(1.0, 0.0, 0.0), fovy_deg=72.0))
    skin: Literal["light", "menagerie"] = "light"
    offsamples: int = 0
    tuning: RobotTuning | None = None

    def __post_init__(self) -> None:
        if not -360.0 <= self.mount_yaw_deg <= 360.0:
            raise ConfigError(f"mount_yaw_deg must lie in [-360, 360]; got {self.mount_yaw_deg}")
        if not 0.0 <= self.mount_offset_m <= 0.1:
            raise ConfigError(f"mount_offset_m must lie in [0, 0.1] m; got {self.mount_offset_m}")
        if self.skin not in ("light", "menagerie"):
            raise ConfigError(f"skin must be 'light' or 'menagerie'; got {self.skin!r}")
        if self.offsamples not in (0, 2, 4, 8):
            raise ConfigError(f"offsamples must be 0, 2, 4 or 8; got {self.offsamples}")


def build_model(task: SimTask, config: SceneConfig) -> mujoco.MjModel:
    """Compile the scene of one task."""
    spec = build_spec(config)
    spec.modelname = task.name
    spec.option.timestep = task.timestep_s
    if config.tuning is not None:
        config.tuning.apply(spec)
    task.add_to(spec)
    return spec.compile()


def build_spec(config: SceneConfig) -> mujoco.MjSpec:
    """Compose robot, table, lights and cameras."""
    spec = mujoco.MjSpec.from_string(_robot_xml(config))
    _set_options(spec, config)
    if config.skin == "menagerie":
        wear_menagerie(spec)
    _add_materials(spec)
    _add_table(spec)
    _add_lights(spec)
    _add_camera(spec.worldbody, "front", config.front)
    _add_camera(spec.body("right_hand_base"), "wrist", config.wrist)
    return spec


def _robot_xml(config: SceneConfig) -> str:
    """Merge the hand's MJCF into the arm's, the hand's base standing on the flange.

    ``MjSpec.attach`` wants a name prefix, and the names of the hand must stay what they are on the robot.
    """
    arm = ElementTree.parse(asset_path("fr3", "fr3.xml")).getroot()
    hand = ElementTree.parse(asset_path("dexhand021", "right_hand.xml")).getroot()
    for section in ("default", "equality", "actuator"):
        target = arm.find(section)
        if target is None:
            target = ElementTree.SubElement(arm, section)
        target.extend(list(hand.find(section) or ()))
    flange = arm.find(".//site[@name='flange']")
    link = arm.find(".//body[@name='fr3_link7']")
    base = hand.find(".//body[@name='right_hand_base']")
    assert flange is not None
    assert link is not None
    assert base is not None
    x, y, z = (float(value) for value in flange.attrib["pos"].split())
    half = math.radians(config.mount_yaw_deg) / 2
    base.set("pos", f"{x} {y} {z + config.mount_offset_m}")
    base.set("quat", f"{math.cos(half)} 0 0 {math.sin(half)}")
    link.append(base)
    return ElementTree.tostring(arm, encoding="unicode")


def _set_options(spec: mujoco.MjSpec, config: SceneConfig) -> None:
    option = spec.option
    option.integrator = mujoco.mjtIntegrator.mjINT_DISCRETE
    option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio, option.iterations, option.tolerance = 10.0, 50, 1e-6
    quality, visual = spec.visual.quality, spec.visual
    quality.shadowsize, quality.offsamples = 0, config.offsamples
    quality.numslices, quality.numstacks, quality.numquads = 14, 3, 1
    visual.map.znear, visual.map.zfar = 0.01, 20.0
    visual.headlight.ambient, visual.headlight.diffuse, visual.headlight.specular = [0.40] * 3, [0.25] * 3, [0.0] * 3
    spec.stat.extent, spec.stat.center = 1.0, [0.4, 0.0, 0.2]


def _wood(size: int = 128) -> U8:
    """Texture of a brown board, (size, size, 3): planks along x with a soft grain."""
    rng = np.random.default_rng(0)
    along, across = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size))
    wave = np.sin(2 * np.pi * (14 * across + 0.6 * np.sin(2 * np.pi * along) + 0.25 * np.sin(2 * np.pi * (3 * along + across))))
    plank = rng.uniform(-0.05, 0.05, 5)[np.minimum((across * 5).astype(int), 4)]
    shade = 1.0 + 0.05 * wave + plank + rng.normal(0, 0.012, (size, size))
    shade[(across * 5 % 1.0) < 5 / size] *= 0.82
    return (np.clip(shade[..., None] * np.array([0.47, 0.32, 0.20]), 0, 1) * 255).astype(np.uint8)


def _add_materials(spec: mujoco.MjSpec) -> None:
    """Add every texture that any task uses, in one order, so that one OpenGL context can draw all tasks."""
    for name, pixels in ((TABLE_MATERIAL, _wood()), (TOY_MATERIAL, toy_texture())):
        texture = spec.add_texture(
            name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=pixels.shape[1], height=pixels.shape[0], nchannel=3
        )
        texture.data = pixels.tobytes()
        material = spec.add_material(name=name, specular=0.1, shininess=0.1)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    spec.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.86, 0.88, 0.90], rgb2=[0.62, 0.65, 0.69], width=64, height=384,
    )  # fmt: skip


def _add_table(spec: mujoco.MjSpec) -> None:
    centre = [(TABLE_X[0] + TABLE_X[1]) / 2, (TABLE_Y[0] + TABLE_Y[1]) / 2, 0.0]
    half = [(TABLE_X[1] - TABLE_X[0]) / 2, (TABLE_Y[1] - TABLE_Y[0]) / 2]
    spec.worldbody.add_geom(
        name=TABLE_GEOM, type=mujoco.mjtGeom.mjGEOM_PLANE, pos=centre, size=[*half, 0.5], material=TABLE_MATERIAL,
        contype=0, conaffinity=ENVIRONMENT | SOFT, friction=[0.8, 0.005, 0.0001], condim=3, solref=[0.01, 1.0],
    )  # fmt: skip
    spec.worldbody.add_geom(
        name="table_edge", type=mujoco.mjtGeom.mjGEOM_BOX, pos=[centre[0], centre[1], -0.021], size=[*half, 0.02],
        rgba=[0.36, 0.25, 0.16, 1.0], contype=0, conaffinity=0, group=2,
    )  # fmt: skip


def _add_lights(spec: mujoco.MjSpec) -> None:
    for name, position, strength in (("key", [0.9, -0.8, 1.8], 0.40), ("fill", [0.2, 1.1, 1.6], 0.22)):
        direction = np.subtract([0.5, 0.0, 0.0], position)
        spec.worldbody.add_light(
            name=name, type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=position, dir=direction / np.linalg.norm(direction),
            diffuse=[strength] * 3, specular=[0.15] * 3, castshadow=False,
        )  # fmt: skip


def _add_camera(body: mujoco.MjsBody, name: str, config: CameraConfig) -> None:
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(config.rotation).ravel())
    body.add_camera(name=name, pos=config.position_m, quat=quat, fovy=config.fovy_deg)
