"""The cube unfolded on a page: six tags that touch where their faces touch, with flaps for glue."""

from typing import Final

from real.calibrate.sheet import PAGE_MM, RULER_MM, Sheet, add_ruler, draw_modules
from real.cube.shape import FACES, MODULES, CubeShape, pattern

PLACES: Final = {"up": (0, 0), "front": (0, 1), "right": (1, 1), "back": (2, 1), "left": (3, 1), "down": (0, 2)}
"""Column and row of every face; all tags stand upright. ``tests/unit/test_cube.py`` folds this up."""
FLAP_MM: Final = 9.0
LINE_MM: Final = 0.15
_FLAPS: Final = (("up", "top"), ("up", "left"), ("up", "right"), ("down", "bottom"), ("down", "left"), ("down", "right"), ("left", "right"))


def make_net(shape: CubeShape) -> Sheet:
    """Lay the cube out on a page, with a ruler and what to do."""
    sheet = Sheet()
    edge = 1e3 * shape.edge_m
    left = (PAGE_MM[0] - 4 * edge - FLAP_MM) / 2
    top = FLAP_MM + 6.0
    for index, face in enumerate(FACES):
        column, row = PLACES[face]
        x, y = left + column * edge, top + row * edge
        draw_modules(sheet, pattern(index), x, y, edge / MODULES)
        _frame(sheet, x, y, edge, edge)
    for face, side in _FLAPS:
        column, row = PLACES[face]
        _flap(sheet, left + column * edge, top + row * edge, edge, side)
    _words(sheet, left + 2 * edge + 14, top + 6, edge)
    return sheet


def _frame(sheet: Sheet, x: float, y: float, width: float, height: float) -> None:
    """Thin lines around a box [mm]."""
    sheet.rectangles += [(x, y, width, LINE_MM), (x, y + height, width, LINE_MM), (x, y, LINE_MM, height), (x + width, y, LINE_MM, height)]


def _flap(sheet: Sheet, x: float, y: float, edge: float, side: str) -> None:
    """A flap for glue at one side of a face."""
    inset, long = 3.0, edge - 6.0
    boxes = {
        "top": (x + inset, y - FLAP_MM, long, FLAP_MM), "bottom": (x + inset, y + edge, long, FLAP_MM),
        "left": (x - FLAP_MM, y + inset, FLAP_MM, long), "right": (x + edge, y + inset, FLAP_MM, long),
    }  # fmt: skip
    _frame(sheet, *boxes[side])


def _words(sheet: Sheet, left: float, top: float, edge: float) -> None:
    add_ruler(sheet, left, top)
    lines = (
        f"This ruler must measure {RULER_MM} mm: print at 100 %, not scaled.",
        f"DexHiL cube, edge {edge:g} mm, tags {edge * 6 / MODULES:g} mm (ArUco 4x4_50).",
        "1  Glue the sheet on thin card; cut along the outer lines.",
        "2  Fold along the lines between faces, printed side out.",
        "3  Glue the flaps inside, best around a solid block.",
        "Matt paper. Hold it so that the camera sees an edge: two faces.",
    )
    sheet.words += [(left, top + 9 + 4.2 * index, 2.9, line) for index, line in enumerate(lines)]
