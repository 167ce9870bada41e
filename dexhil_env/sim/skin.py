"""The FR3's own meshes over the arm, for pictures: the visual geometry of MuJoCo Menagerie (Apache-2.0), not part of this package.

The package ``mujoco-menagerie`` (extra ``dexhil[skin]``) downloads the model at first use and keeps it. Its links have the names and
frames of ours, so each mesh goes to the link of the same name. Physics does not change; rendering gets about ten times slower.
"""

import importlib
from pathlib import Path
from typing import Any

import mujoco

from dexhil_env.errors import AssetError, ConfigError

_ROBOT, _ENTRY, _LINKS = "franka_fr3", "fr3", "fr3_link"
_VISUAL_GROUP = 2


def wear_menagerie(spec: mujoco.MjSpec) -> None:
    """Replace the arm's visible primitives by Menagerie's meshes.

    Raises:
        ConfigError: the package is not installed.
        AssetError: the model could not be fetched.
    """
    model = _fetch()
    folder = Path(model.modelfiledir) / model.meshdir
    files = {_mesh_name(mesh): folder / mesh.file for mesh in model.meshes}
    colours = {material.name: material.rgba for material in model.materials}
    for body in (body for body in spec.bodies if body.name.startswith(_LINKS)):
        for geom in [geom for geom in body.geoms if geom.group == _VISUAL_GROUP]:
            spec.delete(geom)
    for body in (body for body in model.bodies if body.name.startswith(_LINKS)):
        for geom in body.geoms:
            if geom.group == _VISUAL_GROUP:
                _add_mesh(spec, body.name, geom, files[geom.meshname], colours.get(geom.material, geom.rgba))


def _fetch() -> Any:
    try:
        menagerie = importlib.import_module("mujoco_menagerie")
    except ImportError as error:
        raise ConfigError("skin='menagerie' needs the package mujoco-menagerie; run: pip install 'dexhil[skin]', or use 'light'") from error
    try:
        return menagerie.get(_ROBOT).spec(_ENTRY)
    except (menagerie.MenagerieError, OSError) as error:
        raise AssetError(f"the FR3's meshes could not be fetched ({error}); connect to the internet once, or use skin='light'") from error


def _mesh_name(mesh: Any) -> str:
    return mesh.name or Path(mesh.file).stem


def _add_mesh(spec: mujoco.MjSpec, link: str, geom: Any, file: Path, rgba: Any) -> None:
    name = f"skin_{geom.meshname}"
    spec.add_mesh(name=name, file=str(file.resolve()), inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL)
    spec.body(link).add_geom(
        type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, pos=geom.pos, quat=geom.quat, rgba=rgba,
        group=_VISUAL_GROUP, contype=0, conaffinity=0, mass=0.0,
    )  # fmt: skip
