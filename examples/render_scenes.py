"""Draw both tasks as the expert does them, front and wrist view: the picture in the README (`--out docs/media/hero.png`)."""

import argparse

import imageio.v3 as iio
import numpy as np

from agents.job import Job
from agents.runner import Runner
from dexhil_env.env import DexHiLEnv
from dexhil_env.registration import ENV_IDS
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.scene import SceneConfig


def strip(env_id: str, seed: int, moments: tuple[float, ...], height: int) -> np.ndarray:
    runner = Runner(Job(env_id, "expert", env_kwargs={"cameras": (), "scene": SceneConfig(offsamples=4)}))
    twin = runner.env.unwrapped
    assert isinstance(twin, DexHiLEnv)
    assert isinstance(twin.backend, SimBackend)
    backend = twin.backend
    frames = []
    runner.run(seed, lambda _: frames.append((backend.picture("front", height, height * 4 // 3), backend.picture("wrist", height, height))))
    chosen = [frames[round(moment * (len(frames) - 1))] for moment in moments]
    return np.concatenate([np.concatenate(pair, axis=1) for pair in chosen], axis=1)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="scenes.png")
    parser.add_argument("--height", type=int, default=300)
    options = parser.parse_args(arguments)
    rows = [strip(env_id, seed, (0.55, 1.0), options.height) for env_id, seed in zip(ENV_IDS, (3, 12), strict=True)]
    iio.imwrite(options.out, np.concatenate(rows, axis=0))
    print(options.out)


if __name__ == "__main__":
    main()
