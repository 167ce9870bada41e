"""The cube: six ArUco tags, where they are on it, and how a picture of them is searched.

Frame of the cube: origin at its centre, z out of the tag ``up``. Frame of a tag: origin at its centre, x to the right, y down, z into the
cube, as one looks at it.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dexhil_env.errors import ConfigError
from dexhil_env.transforms import from_parts
from dexhil_env.types import F64
from real.optional import require

MODULES: Final = 8
"""A face is so many modules wide: a tag of six (4 x 4 bits and a black border) and one module of white on each side."""
FIRST_ID: Final = 44
"""The cube has the last six tags of ArUco's 4x4_50; the calibration boards have the first ones, so that both may be in view."""
FACES: Final = ("up", "front", "right", "back", "left", "down")
_NORMAL_AND_TOP: Final[tuple[tuple[tuple[int, int, int], tuple[int, int, int]], ...]] = (
    ((0, 0, 1), (0, 1, 0)), ((0, -1, 0), (0, 0, 1)), ((1, 0, 0), (0, 0, 1)),
    ((0, 1, 0), (0, 0, 1)), ((-1, 0, 0), (0, 0, 1)), ((0, 0, -1), (0, -1, 0)),
)  # fmt: skip
"""Outward normal of every face, and where the upper edge of its tag points."""


@dataclass(frozen=True)
class CubeShape:
    """Size of the cube.

    Attributes:
        edge_m: edge of the box [m]; the tags are six eighths of it wide.
    """

    edge_m: float = 0.056

    def __post_init__(self) -> None:
        if not 0.02 <= self.edge_m <= 0.2:
            raise ConfigError(f"the cube's edge must be 20 to 200 mm; got {1e3 * self.edge_m:g} mm. Measure a face from edge to edge")

    @property
    def tag_m(self) -> float:
        """Edge of a tag's black border [m]."""
        return self.edge_m * 6 / MODULES

    @cached_property
    def faces(self) -> F64:
        """(6, 4, 4) ``T_cube_tag`` of every face."""
        poses = [_face(np.array(normal, float), np.array(top, float), self.edge_m / 2) for normal, top in _NORMAL_AND_TOP]
        return np.stack(poses)

    @cached_property
    def flat_corners(self) -> F64:
        """(4, 3) corners of a tag in its own frame: upper left, upper right, lower right, lower left [m]."""
        return np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float) * self.tag_m / 2

    @cached_property
    def corners(self) -> F64:
        """(6, 4, 3) corners of every tag in the cube's frame [m]."""
        return np.einsum("fij,cj->fci", self.faces[:, :3, :3], self.flat_corners) + self.faces[:, None, :3, 3]


def _face(normal: F64, top: F64, distance_m: float) -> F64:
    """``T_cube_tag`` of the face with that outward normal whose tag stands upright towards ``top``."""
    return from_parts(np.stack([np.cross(top, normal), -top, -normal], axis=1), distance_m * normal)


def pattern(face: int) -> NDArray[np.bool_]:
    """(8, 8) modules of a face, True is black."""
    cv2: Any = require("cv2", "real")
    tag = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50), FIRST_ID + face, 6)
    return np.pad(np.asarray(tag) < 128, 1)


@lru_cache
def detector() -> Any:
    """OpenCV's search for these six tags only; corners are refined by us."""
    cv2: Any = require("cv2", "real")
    known = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    ours = cv2.aruco.Dictionary(known.bytesList[FIRST_ID : FIRST_ID + len(FACES)], 4, known.maxCorrectionBits)
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_NONE
    return cv2.aruco.ArucoDetector(ours, parameters)
