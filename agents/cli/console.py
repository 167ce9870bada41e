"""``dexhil console``: a person watches a policy in the browser, takes over, and judges."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tyro

from agents.cli.operators import LIVE_EPISODE_S, DeviceOptions, human, wait_for_operator
from agents.cli.robot import robot_options
from agents.cli.rollout import line
from agents.job import Delay, Job
from agents.rollouts import run_many
from dexhil_env import robot
from dexhil_env.hil.live.waiting import PersonLeft
from dexhil_env.registration import ENV_IDS
from dexhil_env.store import EpisodeStore

LIVE_SEED = 5_000_000
"""First seed of scenes for people."""


def console(
    env: str = ENV_IDS[0],
    policy: str = "expert",
    out: Path | None = None,
    config: Path | None = None,
    emulate: bool = False,
    episodes: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 10,
    seed: int = LIVE_SEED,
    seconds: float = LIVE_EPISODE_S,
    demonstrate: bool = False,
    round: int | None = None,
    image_size: int = 128,
    host: str = "127.0.0.1",
    port: int = 8765,
    profile: Path | None = None,
    delay: Delay | None = None,
) -> None:
    """Watch a policy in the browser, take arm and hand over with one key, and record what happens.

    Prints an address to open. Over SSH: ssh -L 8765:127.0.0.1:8765 HOST, then the same address.

    Args:
        env: environment id; DexHiL-PlushReal-v0 and DexHiL-TissueReal-v0 are robots.
        policy: expert (needs the twin or an emulated robot), zero, random, or a policy folder.
        out: dataset folder to keep the episodes in; by default they are not kept.
        config: settings of the robot, for a real id.
        emulate: an emulated robot, for a real id.
        episodes: how many.
        seed: first seed.
        seconds: time limit of an episode.
        demonstrate: drive from the start; the robot moves only while you hold.
        round: DAgger round for the record; by default 0 for demonstrations and 1 for corrections.
        image_size: camera image size [px] that the policy sees and the dataset keeps.
        host: address to listen on; anything but loopback lets others in who know the token.
        port: port to listen on; 0 takes a free one.
        profile: your calibrated hand for a headset's fingers, file of dexhil retarget calibrate.
        delay: measured: a slow policy plans on while its last chunk is executed (docs/learning.md).
    """
    person = human("console", out, demonstrate=demonstrate, devices=DeviceOptions(profile), episodes=episodes, host=host, port=port)
    options = {"image_size": image_size, **robot_options(env, config, emulate)}
    if config is not None:
        options["ask"] = wait_for_operator
    steps = round_up(seconds)
    number = (0 if demonstrate else 1) if round is None else round
    job = Job(env, "zero" if demonstrate else policy, person, options, {}, number, out is not None, steps, delay)
    store = EpisodeStore(out) if out is not None else None
    _watch(job, Scenes(seed, episodes), store)
    if store is not None and len(store):
        print(f"recorded: {out}   Look: dexhil dataset info {out}")


def _watch(job: Job, scenes: "Scenes", store: EpisodeStore | None) -> None:
    """Run the scenes until none is left or the person leaves; keep the episodes and say how each went."""
    try:
        for done, episode in enumerate(run_many(job, scenes), 1):
            if episode.extra.get("redo"):
                scenes.again()
            if store is not None:
                store.append(episode)
            print(f"{done:>4}  {line(episode)}", flush=True)
    except PersonLeft as left:
        print(left)


def round_up(seconds: float) -> int:
    """Return control periods [20 Hz] of a time [s], at least one."""
    return max(1, int(-(-seconds // robot.CONTROL_PERIOD_S)))


class Scenes:
    """Seeds of the scenes, one after the other; a scene can be laid again.

    Args:
        seed: the first.
        count: how many.
    """

    def __init__(self, seed: int, count: int) -> None:
        self._next, self._end = seed, seed + count

    def again(self) -> None:
        """Lay the last scene once more."""
        self._next -= 1

    def __iter__(self) -> Iterator[int]:
        """Give out seeds until there are enough."""
        while self._next < self._end:
            self._next += 1
            yield self._next - 1
