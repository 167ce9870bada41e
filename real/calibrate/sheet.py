"""The printable board: black rectangles and words on a page, in millimetres, written as PDF, SVG or PNG at true scale."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from dexhil_env.errors import ConfigError
from dexhil_env.types import U8
from real.calibrate.boards import MODULES, Board, modules
from real.optional import require

PAGE_MM: Final = (297.0, 210.0)
"""A4, landscape. The board also fits on US Letter, printed without scaling."""
RULER_MM: Final = 100
_LINE_MM: Final = 0.25
_OVERLAP_MM: Final = 0.005
"""Neighbours overlap, so that no viewer draws a hairline between them."""
_POINT_MM: Final = 25.4 / 72


@dataclass
class Sheet:
    """A page.

    Attributes:
        rectangles: black ones: left, top, width, height [mm].
        words: left, base line, letter height [mm], text.
    """

    rectangles: list[tuple[float, float, float, float]] = field(default_factory=list[tuple[float, float, float, float]])
    words: list[tuple[float, float, float, str]] = field(default_factory=list[tuple[float, float, float, str]])


def write_sheet(board: Board, path: Path, dpi: int = 300) -> None:
    """Write the page of a board; see :func:`write_page`."""
    write_page(make_sheet(board), path, dpi)


def write_page(sheet: Sheet, path: Path, dpi: int = 300) -> None:
    """Write a page; the ending of ``path`` chooses the format.

    Args:
        sheet: the page.
        path: file ending in .pdf, .svg or .png.
        dpi: resolution of a PNG [1/inch].

    Raises:
        ConfigError: another ending.
    """
    writers: dict[str, Callable[[Sheet], bytes]] = {".pdf": to_pdf, ".svg": to_svg, ".png": lambda sheet: to_png(sheet, dpi)}
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise ConfigError(f"a page is written as {', '.join(writers)}; got {path.name!r}")
    path.write_bytes(writer(sheet))


def make_sheet(board: Board) -> Sheet:
    """Lay a board out on a page, with its axes and a ruler."""
    sheet = Sheet()
    width, height = (1e3 * value for value in board.size_m)
    left, top = (PAGE_MM[0] - width) / 2, 12.0
    draw_modules(sheet, modules(board), left, top, 1e3 * board.square_m / MODULES)
    sheet.rectangles += [(left, top - 4, 30, _LINE_MM), (left - 4, top, _LINE_MM, 30)]
    sheet.words += [(left + 31, top - 3, 3.5, "x"), (left - 4.8, top + 34, 3.5, "y"), (left - 12, top - 3.2, 3.0, "origin")]
    bottom = top + height
    add_ruler(sheet, left, bottom + 4)
    square = f"{1e3 * board.square_m:g}"
    text = f"DexHiL board {board.name!r}, {board.columns} x {board.rows} squares of {square} mm. Print at 100 %, not scaled; glue it flat."
    sheet.words += [
        (left + RULER_MM + 6, bottom + 7, 3.0, f"This ruler must measure {RULER_MM} mm. If not: --square-mm (measured edge of a square)."),
        (left, bottom + 13, 3.0, text),
    ]
    return sheet


def draw_modules(sheet: Sheet, black: NDArray[np.bool_], left: float, top: float, module: float) -> None:
    """Draw the modules of a pattern (rows, columns) that are True, each ``module`` mm wide."""
    for column, row, columns, rows in _merged(black):
        box = left + column * module, top + row * module, columns * module, rows * module
        sheet.rectangles.append((box[0] - _OVERLAP_MM, box[1] - _OVERLAP_MM, box[2] + 2 * _OVERLAP_MM, box[3] + 2 * _OVERLAP_MM))


def add_ruler(sheet: Sheet, left: float, top: float) -> None:
    """Draw a ruler to the right of a place [mm], to check the scale of the print."""
    sheet.rectangles.append((left, top, RULER_MM + _LINE_MM, _LINE_MM))
    for mark in range(0, RULER_MM + 1):
        length = 4.0 if mark % 10 == 0 else 2.5 if mark % 5 == 0 else 1.5
        sheet.rectangles.append((left + mark, top, _LINE_MM, length))


def _merged(pattern: NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Black modules joined to few rectangles: column, row, columns, rows."""
    black = pattern.copy()
    found: list[tuple[int, int, int, int]] = []
    for row, column in np.argwhere(black):
        if not black[row, column]:
            continue
        line = black[row, column:]
        columns = line.size if line.all() else int(line.argmin())
        block = np.ravel(black[row:, column : column + columns].all(axis=1))
        rows = block.size if block.all() else int(block.argmin())
        black[row : row + rows, column : column + columns] = False
        found.append((int(column), int(row), columns, rows))
    return found


def to_svg(sheet: Sheet) -> bytes:
    """The page as SVG."""
    width, height = PAGE_MM
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}mm" height="{height:g}mm" viewBox="0 0 {width:g} {height:g}">']
    lines.append('<rect width="100%" height="100%" fill="white"/>')
    lines += [f'<rect x="{x:.3f}" y="{y:.3f}" width="{w:.3f}" height="{h:.3f}"/>' for x, y, w, h in sheet.rectangles]
    lines += [f'<text x="{x:.2f}" y="{y:.2f}" font-family="Helvetica, Arial" font-size="{size:g}">{escape(text)}</text>'
              for x, y, size, text in sheet.words]  # fmt: skip
    return "\n".join([*lines, "</svg>", ""]).encode()


def to_pdf(sheet: Sheet) -> bytes:
    """The page as PDF, with a font that every viewer has."""
    width, height = (f"{value / _POINT_MM:.3f}" for value in PAGE_MM)
    scale = 1 / _POINT_MM
    draw = [f"{scale:.6f} 0 0 {scale:.6f} 0 0 cm"]  # user space in millimetres
    draw += [f"{x:.3f} {PAGE_MM[1] - y - h:.3f} {w:.3f} {h:.3f} re" for x, y, w, h in sheet.rectangles]
    draw.append("f")
    for x, y, size, text in sheet.words:
        plain = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        draw.append(f"BT /F1 {size:g} Tf {x:.2f} {PAGE_MM[1] - y:.2f} Td ({plain}) Tj ET")
    content = "\n".join(draw).encode("latin-1")
    page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        page.encode(),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    return _pdf_file(objects)


def _pdf_file(objects: list[bytes]) -> bytes:
    data, offsets = b"%PDF-1.6\n", list[int]()
    for number, item in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    count = len(objects) + 1
    tail = b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    return data + tail % (count, table, count, len(data))


def to_image(sheet: Sheet, dpi: int) -> U8:
    """The page as a grey picture (H, W)."""
    cv2: Any = require("cv2", "real")
    scale = dpi / 25.4
    image = np.full((round(PAGE_MM[1] * scale), round(PAGE_MM[0] * scale)), 255, dtype=np.uint8)
    for x, y, w, h in sheet.rectangles:
        image[round(y * scale) : max(round((y + h) * scale), round(y * scale) + 1),
              round(x * scale) : max(round((x + w) * scale), round(x * scale) + 1)] = 0  # fmt: skip
    for x, y, size, text in sheet.words:
        place = (round(x * scale), round(y * scale))
        letter = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, max(round(0.7 * size * scale), 1), 1)
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, letter, 0, max(round(scale / 5), 1), cv2.LINE_AA)
    return image


def to_png(sheet: Sheet, dpi: int) -> bytes:
    """The page as PNG that knows its resolution."""
    cv2: Any = require("cv2", "real")
    data = bytes(cv2.imencode(".png", to_image(sheet, dpi))[1])
    per_metre = round(dpi / 0.0254)
    chunk = b"pHYs" + struct.pack(">IIB", per_metre, per_metre, 1)
    header = 33  # signature and IHDR
    return data[:header] + struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[header:]
