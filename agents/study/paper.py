"""What the DexHiL paper reports."""

PAPER = {
    "tissue": {"dexhil": (2, 10, 15, 19), "dagger": (2, 7, 9, 16), "baseline": (2, 8, 11, 15)},
    "plush": {"dexhil": (0, 4, 6, 13), "dagger": (0, 2, 3, 4), "baseline": (0, 0, 3, 7)},
}
"""Successes out of 20 after the warm-up and rounds 1 to 3. Source: DexHiL paper (arXiv 2603.09121), table I."""
PAPER_TRIALS = 20
PAPER_LABOUR_MIN = (13.0, 20.0)
"""Human minutes until round 3, DexHiL and Baseline. Source: DexHiL paper."""
