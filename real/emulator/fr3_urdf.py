"""The URDF that the emulated robot answers to GetRobotModel, made from the twin's own arm.

libfranka computes Coriolis terms, inertia and Jacobians from it. It wants the names ``joint1`` to ``joint7`` and ``link0`` to ``link8``,
and ``<position_based_velocity_limits>`` in every moving joint.
"""

from xml.etree import ElementTree

import numpy as np

from dexhil_env import robot
from dexhil_env.assets import asset_path
from dexhil_env.types import F64
from real.emulator.fr3_limits import DECELERATION, VELOCITY_OFFSET


def fr3_urdf() -> str:
    """Return the FR3 without hand as URDF text; the hand is announced with SetLoad."""
    arm = ElementTree.parse(asset_path("fr3", "fr3.xml")).getroot()
    urdf = ElementTree.Element("robot", name="fr3")
    for index in range(8):
        body = arm.find(f".//body[@name='fr3_link{index}']")
        assert body is not None
        _add_link(urdf, index, body)
        if index > 0:
            _add_joint(urdf, index, body)
    flange = arm.find(".//site[@name='flange']")
    assert flange is not None
    ElementTree.SubElement(urdf, "link", name="link8")
    joint = ElementTree.SubElement(urdf, "joint", name="joint8", type="fixed")
    ElementTree.SubElement(joint, "origin", xyz=flange.attrib["pos"], rpy="0 0 0")
    ElementTree.SubElement(joint, "parent", link="link7")
    ElementTree.SubElement(joint, "child", link="link8")
    return ElementTree.tostring(urdf, encoding="unicode")


def _add_link(urdf: ElementTree.Element, index: int, body: ElementTree.Element) -> None:
    source = body.find("inertial")
    assert source is not None
    link = ElementTree.SubElement(urdf, "link", name=f"link{index}")
    inertial = ElementTree.SubElement(link, "inertial")
    ElementTree.SubElement(inertial, "origin", xyz=source.attrib["pos"], rpy="0 0 0")
    ElementTree.SubElement(inertial, "mass", value=source.attrib["mass"])
    rotation = _matrix(source.get("quat", "1 0 0 0"))
    tensor = rotation @ np.diag(_numbers(source.attrib["diaginertia"])) @ rotation.T
    parts = {f"i{a}{b}": f"{tensor[i, j]:.9g}" for i, a in enumerate("xyz") for j, b in enumerate("xyz") if j >= i}
    ElementTree.SubElement(inertial, "inertia", parts)


def _add_joint(urdf: ElementTree.Element, index: int, body: ElementTree.Element) -> None:
    i = index - 1
    joint = ElementTree.SubElement(urdf, "joint", name=f"joint{index}", type="revolute")
    rpy = " ".join(f"{angle:.9f}" for angle in _rpy(_matrix(body.get("quat", "1 0 0 0"))))
    ElementTree.SubElement(joint, "origin", xyz=body.attrib["pos"], rpy=rpy)
    ElementTree.SubElement(joint, "parent", link=f"link{i}")
    ElementTree.SubElement(joint, "child", link=f"link{index}")
    ElementTree.SubElement(joint, "axis", xyz="0 0 1")
    limit = {"lower": robot.ARM_LOW, "upper": robot.ARM_HIGH, "velocity": robot.ARM_MAX_VELOCITY, "effort": robot.ARM_MAX_TORQUE}
    ElementTree.SubElement(joint, "limit", {name: f"{values[i]:g}" for name, values in limit.items()})
    shape = {"velocity_offset": f"{VELOCITY_OFFSET[i]:g}", "deceleration_limit": f"{DECELERATION[i]:g}"}
    ElementTree.SubElement(joint, "position_based_velocity_limits", shape)


def _numbers(text: str) -> F64:
    return np.array([float(word) for word in text.split()])


def _matrix(text: str) -> F64:
    """Rotation matrix of a quaternion wxyz; MJCF allows any length."""
    w, x, y, z = _numbers(text) / np.linalg.norm(_numbers(text))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _rpy(rotation: F64) -> tuple[float, float, float]:
    """Roll, pitch, yaw [rad]; the FR3 turns its frames about x only, so the singular pitch does not occur."""
    roll = np.arctan2(rotation[2, 1], rotation[2, 2])
    pitch = -np.arcsin(np.clip(rotation[2, 0], -1.0, 1.0))
    return float(roll), float(pitch), float(np.arctan2(rotation[1, 0], rotation[0, 0]))
