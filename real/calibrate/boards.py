"""The printed boards (ChArUco) and how they are found in a picture.

Frame of a board: origin at its upper left corner, x to the right, y down, z into the paper.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dexhil_env.errors import ConfigError
from dexhil_env.types import F64, U8
from real.optional import require

MODULES: Final = 8
"""A square is so many modules wide; its marker has six of them (4 x 4 bits and a black border), one module of white around it."""
MIN_CORNERS: Final = 6
"""Fewer corners of a board are not used: their pose would be too uncertain. Ours."""
SMALL_PX: Final = 1000
"""Narrower pictures are enlarged before the search: at 640 px and 1.1 m it finds 22 corners instead of 17, with half the error."""


@dataclass(frozen=True)
class Board:
    """A chessboard with a marker in every white square.

    Attributes:
        name: ``table`` or ``hand``.
        columns, rows: number of squares.
        square_m: edge of a square [m].
        first_id: number of its first marker; the boards share none, so that both may be in view.
    """

    name: str
    columns: int
    rows: int
    square_m: float
    first_id: int

    def __post_init__(self) -> None:
        if not 0.005 <= self.square_m <= 0.2:
            raise ConfigError(f"the squares of board {self.name!r} must be 5 to 200 mm wide; got {self.square_m * 1e3:g} mm")

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height [m]."""
        return self.columns * self.square_m, self.rows * self.square_m

    def measured(self, square_m: float | None) -> "Board":
        """The same board as it was printed: with squares of ``square_m`` [m]."""
        return self if square_m is None else replace(self, square_m=square_m)


BOARDS: Final = {
    "table": Board("table", 7, 5, 0.036, 0),
    "hand": Board("hand", 5, 4, 0.030, 20),
}
"""``table`` lies on the table (A4 or Letter); ``hand`` is cut out and fixed to the hand or the flange, in front of the front camera."""


@dataclass(frozen=True)
class Detection:
    """A board in a picture.

    Attributes:
        points_m: (N, 3) inner corners in the board's frame [m].
        points_px: (N, 2) where they were found [px], the centre of the upper left pixel is (0, 0).
    """

    points_m: F64
    points_px: F64

    def __len__(self) -> int:
        return len(self.points_px)


def find_board(image: U8, board: Board) -> Detection | None:
    """Find a board in a picture (H, W, 3), RGB; None when fewer than ``MIN_CORNERS`` corners are seen, or all in one line."""
    cv2: Any = require("cv2", "real")
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = 2 if image.shape[1] < SMALL_PX else 1
    if scale > 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    corners, ids, _, _ = _detector(board).detectBoard(grey)
    if ids is None or len(ids) < MIN_CORNERS:
        return None
    places = np.array(charuco(board).getChessboardCorners(), dtype=float)[np.ravel(ids)]
    if np.linalg.matrix_rank(places - places[0], tol=board.square_m / 2) < 2:
        return None
    return Detection(places, (np.array(corners, dtype=float).reshape(-1, 2) + 0.5) / scale - 0.5)


def modules(board: Board) -> NDArray[np.bool_]:
    """(rows x 8, columns x 8) the board's pattern, True is black."""
    size = (board.columns * MODULES, board.rows * MODULES)
    return np.array(charuco(board).generateImage(size)) < 128


@lru_cache
def charuco(board: Board) -> Any:
    """The board as OpenCV knows it."""
    cv2: Any = require("cv2", "real")
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    ids = np.arange(board.first_id, board.first_id + board.columns * board.rows // 2)
    marker_m = board.square_m * 6 / MODULES
    return cv2.aruco.CharucoBoard((board.columns, board.rows), board.square_m, marker_m, dictionary, ids)


@lru_cache
def _detector(board: Board) -> Any:
    cv2: Any = require("cv2", "real")
    return cv2.aruco.CharucoDetector(charuco(board))
