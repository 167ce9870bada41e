"""A made-up study: success rates are chosen, everything else follows from them."""

import json

import numpy as np

ENVS = ("DexHiL-PlushSim-v0", "DexHiL-TissueSim-v0")
ARMS = {"dexhil": "DexHiL", "dagger": "DAgger*", "baseline": "Baseline", "control": "No new data"}
SHARED = ("dagger",)
GAIN = {"warmup": 0.0, "dexhil": 0.16, "dagger": 0.09, "baseline": 0.07, "control": 0.01}
MODES = ("missed", "dropped", "knocked over", "out of time")


def evaluation(rate, rng, n=20, first=3_000_000, modes=True):
    success = (rng.random(n) < rate).tolist()
    words = ["success" if won else MODES[int(rng.integers(len(MODES)))] for won in success]
    return {
        "seeds": list(range(first, first + n)),
        "success": success,
        "steps": rng.integers(60, 240, n).tolist(),
        "failures": [not won and word == "knocked over" for won, word in zip(success, words, strict=True)],
        **({"modes": words} if modes else {}),
    }


def collection(arm, corrections, rng):
    if arm in ("warmup", "baseline"):
        return {"attempts": corrections, "demonstration_s": 5.0 * corrections}
    if arm not in ("dexhil", "arm-only"):
        return {}
    alone = int(rng.integers(2, 9))  # one further attempt fails unaided
    return {
        "attempts": corrections + alone + 2,
        "corrected": corrections,
        "alone": alone,
        "failed": 1,
        "takeovers": corrections + 2,
        "reasons": {"no progress": corrections, "closing too early": 2},
        "demonstration_s": 0.0,
        "intervention_s": 3.0 * corrections,
        "watching_s": 6.0 * corrections,
    }


def cell(arm, round_index, seed, n, rng):
    start = 1.0 if arm == "warmup" else 0.09 - 0.01 * round_index
    steps = 1500 if arm == "warmup" else 500
    curve = [[s, round(start * np.exp(-s / steps) + 0.02, 4)] for s in range(0, steps + 1, 25)]
    return {
        "arm": arm,
        "round": round_index,
        "seed": seed,
        "evaluation": {env: evaluation(0.3 - 0.1 * k + GAIN[arm] * round_index + 0.03 * seed, rng, n) for k, env in enumerate(ENVS)},
        "collection": {env: c for env in ENVS if (c := collection(arm, 30 if arm == "warmup" else 10, rng))},
        **({"data_from": "dexhil"} if arm in SHARED else {}),
        "training": {
            "steps": steps,
            "anchors": {"demo": 2800, "intervention": 200 * round_index, "rollout": 100 * round_index},
            "losses": curve,
            "first_loss": curve[0][1],
            "last_loss": curve[-1][1],
        },
        "cpu_s": {"collect": 70.0, "train": 80.0, "evaluate": 150.0},
        "wall_s": 320.0,
    }


def make_study(n=20, seeds=(0, 1, 2), rounds=3, arms=ARMS):
    """Return the content of a whole ``study.json``."""
    rng = np.random.default_rng(1)
    places = [("warmup", 0)] + [(arm, r) for arm in arms for r in range(1, rounds + 1)]
    return {
        "config": {
            "env_ids": list(ENVS),
            "seeds": list(seeds),
            "rounds": rounds,
            "demos": 30,
            "corrections": 10,
            "eval_episodes": n,
            "eval_seed": 3_000_000,
            "arms": list(arms),
        },
        "arms": {name: {"title": title, "note": f"{title} in one sentence"} for name, title in arms.items()},
        "circumstances": {"python": "3.11", "processor": "two cores"},
        "cells": [cell(arm, r, seed, n, rng) for seed in seeds for arm, r in places],
    }


def write_study(folder, content=None):
    """Write ``study.json`` and return its path."""
    path = folder / "study.json"
    path.write_text(json.dumps(content or make_study()))
    return path
