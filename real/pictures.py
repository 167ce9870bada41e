"""From a camera's picture to what a policy sees: the middle square, or any other shape, at the wanted size."""

from typing import cast

import numpy as np

from dexhil_env.types import U8
from real.optional import require


def fit(image: U8, height: int, width: int) -> U8:
    """Cut the middle of a picture to the shape that is asked for and resize it by averaging.

    Args:
        image: (H, W, 3).
        height: of the result [px].
        width: of the result [px].

    Returns:
        (height, width, 3), fresh memory.
    """
    rows, columns = image.shape[:2]
    cut_rows, cut_columns = min(rows, round(columns * height / width)), min(columns, round(rows * width / height))
    top, left = (rows - cut_rows) // 2, (columns - cut_columns) // 2
    middle = image[top : top + cut_rows, left : left + cut_columns]
    if middle.shape[:2] == (height, width):
        return middle.copy()
    cv2 = require("cv2", "real")
    smaller = cut_rows >= height and cut_columns >= width
    return cast(
        "U8", cv2.resize(np.ascontiguousarray(middle), (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    )
