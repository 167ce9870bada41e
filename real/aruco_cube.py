"""The cube by name, for the rest of the project: whoever has pictures gets poses."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dexhil_env.errors import ConfigError
from real.calibrate.lens import Lens
from real.cube.shape import CubeShape
from real.cube.tracker import CubeTracker


def make_cube_tracker(lens: str | Path | None = None, edge_mm: float = 56.0) -> CubeTracker:
    """Return a tracker; ``track(image, t_s)`` gives ``T_cam_cube``.

    Args:
        lens: file of ``dexhil cube calibrate``; without it a typical lens is assumed, which only stretches the depth.
        edge_mm: edge of the cube as it was printed [mm].

    Raises:
        ConfigError: the file is missing or not a lens.
    """
    return CubeTracker(None if lens is None else read_lens(Path(lens)), CubeShape(edge_mm / 1e3))


def read_lens(path: Path) -> Lens:
    """Read a lens file."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        k1, k2, p1, p2, k3 = values.pop("distortion")
        return Lens(**values, distortion=(k1, k2, p1, p2, k3))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path} is not a lens file ({error}); make one with: dexhil cube calibrate --out {path.name}") from error


def write_lens(lens: Lens, path: Path) -> None:
    """Write a lens file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(lens), indent=2) + "\n", encoding="utf-8")
