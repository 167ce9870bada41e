"""Byte-level language tokens: no vocabulary file, every string has tokens."""

from functools import lru_cache

import torch

PAD = 256
"""Token that fills the end of a shorter instruction."""
VOCABULARY = 257


@lru_cache(maxsize=1024)
def _row(text: str, limit: int, group: int) -> tuple[int, ...]:
    """Tokens of one instruction, filled to a multiple of ``group``."""
    values = list(text.strip().encode())[:limit] or [ord(" ")]
    return tuple(values + [PAD] * (-len(values) % group))


def encode(texts: list[str], limit: int, group: int) -> torch.Tensor:
    """Encode instructions as bytes.

    Args:
        texts: B instructions.
        limit: longest instruction kept [bytes].
        group: the length is filled to a multiple of this many bytes.

    Returns:
        (B, L) int64 with ``PAD`` after the end of each instruction.
    """
    rows = [_row(text, limit, group) for text in texts]
    length = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (length - len(row))] for row in rows], dtype=torch.int64)
