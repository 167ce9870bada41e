"""Other people's retargeting on our hand: dex-retargeting and dexi-rs (both MIT), in their vector, position and DexPilot modes.

They want a URDF, which is written from our own model into a temporary folder; with mimic joints, and with a virtual wrist, because the
robot's fingers stand twice as far from its base as a person's from the wrist. Scale and wrist are fitted to each person's calibration
recording, and their low-pass filter is off (it would cost them more than it gives), so the comparison favours them.
"""

import importlib
import importlib.util
import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np

from agents.retarget import metrics
from agents.retarget.methods import Entry
from dexhil_env import robot
from dexhil_env.assets import asset_path
from dexhil_env.hil.retarget.keypoints import TIPS
from dexhil_env.hil.retarget.profile import Profile
from dexhil_env.transforms import quat_matrix
from dexhil_env.types import F64

log = logging.getLogger(__name__)

INSTALL: Final = "pip install 'dexhil[retarget-bench]'"
SCALES: Final = (1.1, 1.25, 1.4, 1.55, 1.7)
WRISTS_M: Final = (0.03, 0.05, 0.07)
MODES: Final = ("vector", "position", "dexpilot")
_TIPS: Final = tuple(f"tip_{finger + 1}" for finger in range(5))


def installed(module: str) -> bool:
    """Tell whether a package can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def write_urdf(path: Path, wrist_m: float) -> None:
    """Write the hand as URDF: 19 joints, of which 7 mimic others, and a link ``wrist`` at ``wrist_m`` above the base [m]."""
    root = ElementTree.Element("robot", name="dexhand021_right")
    followers = {joint: (group[0][0], ratio) for group in robot.COUPLING.values() for joint, ratio in group[1:]}
    source = ElementTree.parse(asset_path("dexhand021", "right_hand.xml")).getroot()
    base = source.find(".//body[@name='right_hand_base']")
    assert base is not None
    _link(root, "base")
    _joint(root, "wrist_mount", "fixed", "base", "wrist", np.array([0, 0, wrist_m]), np.eye(3))
    _children(root, base, "base", followers)
    ElementTree.ElementTree(root).write(path)


def _children(root: ElementTree.Element, body: ElementTree.Element, parent: str, followers: dict[str, tuple[str, float]]) -> None:
    for site in body.findall("site"):
        if site.get("name") in _TIPS:
            _joint(root, f"{site.get('name')}_mount", "fixed", parent, str(site.get("name")), _numbers(site, "pos"), np.eye(3))
    for child in body.findall("body"):
        joint = child.find("joint")
        name, link = (f"{child.get('name')}_mount" if joint is None else str(joint.get("name"))), str(child.get("name"))
        quat = _numbers(child, "quat")
        rotation = quat_matrix(quat / np.linalg.norm(quat))
        element = _joint(root, name, "fixed" if joint is None else "revolute", parent, link, _numbers(child, "pos"), rotation)
        if joint is not None:
            low, high = _numbers(joint, "range")
            ElementTree.SubElement(element, "axis", xyz="0 0 1")
            ElementTree.SubElement(element, "limit", lower=str(low), upper=str(high), effort="1", velocity="4")
            if name in followers:
                leader, ratio = followers[name]
                ElementTree.SubElement(element, "mimic", joint=leader, multiplier=str(ratio), offset="0")
        _children(root, child, link, followers)


def _numbers(element: ElementTree.Element, name: str) -> F64:
    return np.array([float(value) for value in str(element.get(name)).split()])


def _link(root: ElementTree.Element, name: str) -> None:
    inertial = ElementTree.SubElement(ElementTree.SubElement(root, "link", name=name), "inertial")
    ElementTree.SubElement(inertial, "mass", value="0.01")
    ElementTree.SubElement(inertial, "inertia", ixx="1e-6", iyy="1e-6", izz="1e-6", ixy="0", ixz="0", iyz="0")


def _joint(root: ElementTree.Element, name: str, kind: str, parent: str, child: str, position: F64, rotation: F64) -> ElementTree.Element:
    _link(root, child)
    element = ElementTree.SubElement(root, "joint", name=name, type=kind)
    ElementTree.SubElement(element, "parent", link=parent)
    ElementTree.SubElement(element, "child", link=child)
    roll, yaw = np.arctan2(rotation[2, 1], rotation[2, 2]), np.arctan2(rotation[1, 0], rotation[0, 0])
    pitch = np.arctan2(-rotation[2, 0], np.hypot(rotation[0, 0], rotation[1, 0]))
    if abs(abs(pitch) - np.pi / 2) < 1e-4:  # gimbal lock: yaw is free, let it be zero
        yaw, roll = 0.0, np.arctan2(-rotation[1, 2], rotation[1, 1])
    ElementTree.SubElement(element, "origin", xyz=" ".join(f"{value:.9g}" for value in position), rpy=f"{roll:.9g} {pitch:.9g} {yaw:.9g}")
    return element


def _settings(mode: str, urdf: Path, scale: float) -> dict[str, Any]:
    """The configuration that both packages read."""
    common: dict[str, Any] = {"type": mode, "urdf_path": str(urdf), "scaling_factor": scale, "low_pass_alpha": 1.0}
    joints = [group[0][0] for group in robot.COUPLING.values()]
    if mode == "vector":
        origin = {"target_origin_link_names": ["wrist"] * 5, "target_task_link_names": list(_TIPS), "target_joint_names": joints}
        return common | origin | {"target_link_human_indices": [[0] * 5, TIPS.tolist()]}
    if mode == "position":
        return common | {"target_link_names": list(_TIPS), "target_joint_names": joints, "target_link_human_indices": TIPS.tolist()}
    return common | {"finger_tip_link_names": list(_TIPS), "wrist_link_name": "wrist", "target_joint_names": joints}


def _target(mode: str, keypoints: F64, scale: float, wrist_m: float) -> F64:
    """What a mode wants of a frame (21, 3): positions, or vectors between keypoints (DexPilot: finger pairs, then wrist to tips)."""
    tips = keypoints[TIPS]
    if mode == "vector":
        return tips - keypoints[0]
    if mode == "position":
        return tips * scale + np.array([0, 0, wrist_m])
    pairs = [(a, b) for a in range(5) for b in range(a + 1, 5)]
    between = np.array([tips[a] - tips[b] for a, b in pairs])
    return np.concatenate([between, tips - keypoints[0]])


def _dex(mode: str, urdf: Path, scale: float) -> tuple[Callable[[F64], F64], list[str]]:
    module = importlib.import_module("dex_retargeting.retargeting_config")
    tool = module.RetargetingConfig.from_dict(_settings(mode, urdf, scale)).build()
    return tool.retarget, list(tool.joint_names)


def _dexi(mode: str, urdf: Path, scale: float) -> tuple[Callable[[F64], F64], list[str]]:
    module = importlib.import_module("dexi_rs")
    path = urdf.with_name(f"{mode}.yml")
    path.write_text(json.dumps({"retargeting": _settings(mode, urdf, scale)}), encoding="utf-8")  # JSON is YAML
    tool = module.load_config(str(path)).build()
    return lambda target: np.asarray(tool.retarget(target.ravel().tolist())), list(tool.joint_names)


_MAKERS: Final = {"dex": ("dex_retargeting", "dex-retargeting", _dex), "dexi": ("dexi_rs", "dexi-rs", _dexi)}


def make(package: str, mode: str, scale: float, wrist_m: float, folder: Path) -> Entry:
    """Build one mode of one package (``"dex"`` or ``"dexi"``)."""
    urdf = folder / f"hand_{1000 * wrist_m:.0f}.urdf"
    if not urdf.exists():
        write_urdf(urdf, wrist_m)
    solve, names = _MAKERS[package][2](mode, urdf, scale)
    order = [names.index(group[0][0]) for group in robot.COUPLING.values()]

    def single(frame: F64) -> F64:
        return np.clip(np.asarray(solve(_target(mode, frame, scale, wrist_m)), dtype=float)[order], robot.HAND_LOW, robot.HAND_HIGH)

    return Entry(f"{package} {mode}", lambda frames: np.stack([single(frame) for frame in frames]), single, slow=package == "dex")


def peers(calibration: F64, profile: Profile, modes: tuple[str, ...] = MODES) -> list[Entry]:
    """Return every installed peer, fitted to a person's calibration recording (T, 21, 3); says what is missing."""
    folder = Path(tempfile.mkdtemp(prefix="dexhil-retarget-"))
    present = [package for package, (module, _, _) in _MAKERS.items() if installed(module)]
    for package in set(_MAKERS) - set(present):
        log.warning("%s is not installed and is left out; to compare with it: %s", _MAKERS[package][1], INSTALL)
    if not present:
        return []
    frames = calibration[np.linspace(0, len(calibration) - 1, 60).astype(int)]

    entries: list[Entry] = []
    for mode in modes:

        def error(scale: float, wrist_m: float, mode: str = mode) -> float:
            numbers = metrics.score(frames, make(present[-1], mode, scale, wrist_m, folder).run(frames), profile, 90.0)
            return numbers["direction_deg"] + numbers["thumb_direction_deg"] / 2 + np.nan_to_num(numbers["any_pinch_mm"]) / 2

        scale, wrist_m = min(((s, w) for s in SCALES for w in WRISTS_M), key=lambda pair: error(*pair))
        log.info("peers, %s: scale %.2f, virtual wrist %.0f mm (best on the calibration recording)", mode, scale, 1000 * wrist_m)
        entries += [make(package, mode, scale, wrist_m, folder) for package in present]
    return entries
