"""Videos that a person looks at: who drives is seen from the frame's colour."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.job import Job
from agents.runner import Runner
from dexhil_env.env import DexHiLEnv
from dexhil_env.episode import Episode
from dexhil_env.errors import ConfigError
from dexhil_env.store.video import encode
from dexhil_env.types import Source

COLOURS = {Source.ARM: (255, 170, 0), Source.HAND: (190, 90, 255), Source.BOTH: (255, 80, 40)}
"""Frame colour (RGB) while the person drives the arm, the hand, or both; none while the policy drives."""
BORDER = 0.018
"""Width of the frame over the image height."""


def source_spans(episode: Episode) -> list[tuple[int, int, Source]]:
    """Stretches (first row, end row, source) that a person drove."""
    codes = episode.intervention_source
    edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    return [(a, b, Source(int(codes[a]))) for a, b in pairwise(edges) if codes[a] != Source.POLICY]


def mark(frames: NDArray[np.uint8], sources: Sequence[Source]) -> NDArray[np.uint8]:
    """Draw a coloured frame around the (T, H, W, 3) images that a person drove."""
    marked = frames.copy()
    width = max(2, round(BORDER * frames.shape[1]))
    for image, source in zip(marked, sources, strict=True):
        if source is not Source.POLICY:
            colour = COLOURS[source]
            image[:width], image[-width:], image[:, :width], image[:, -width:] = colour, colour, colour, colour
    return marked


def write_video(path: str | Path, frames: NDArray[np.uint8], fps: int) -> None:
    """Write (T, H, W, 3) frames as an H.264 video that every browser plays; small rather than lossless."""
    encode(Path(path), frames, fps, {"preset": "veryfast", "crf": "23"})


def film(job: Job, seed: int, path: str | Path, size: tuple[int, int] = (360, 480)) -> Episode:
    """Run one episode of a job again and write a video of it, larger than the policy's images.

    Args:
        job: what to run.
        seed: episode seed; the episode is the same as without filming.
        path: video file.
        size: height and width of the front view [px]; the wrist view stands beside it.
    """
    runner = Runner(job)
    env = runner.env.unwrapped
    assert isinstance(env, DexHiLEnv)
    picture, height = getattr(env.backend, "picture", None), size[0]
    if picture is None:
        raise ConfigError("this robot has no cameras to film with")
    frames: list[NDArray[np.uint8]] = []
    sources: list[Source] = []

    def see(info: dict[str, Any]) -> None:
        views = [picture("front", height, size[1]), picture("wrist", height, height)]
        frames.append(np.concatenate(views, axis=1))
        sources.append(Source[str(info["intervention_source"]).upper()])

    episode = runner.run(seed, see)
    write_video(path, mark(np.stack(frames), sources), episode.fps)
    return episode
