"""How much faster than real time whole episodes of the expert run: reset, physics, expert, observation, judgement."""

from collections.abc import Iterator

from agents.job import Job
from agents.runner import Runner
from benchmarks.result import Result, cpu_s
from dexhil_env.registration import ENV_IDS

SEEDS = range(4_500_000, 4_500_005)
LIMITS = {("plush", False): 10.0, ("tissue", False): 3.0, ("plush", True): 5.0, ("tissue", True): 2.2}
"""(task, with two cameras at 128 px) -> multiple of real time that must be reached."""


def measure() -> Iterator[Result]:
    for env_id in ENV_IDS:
        task = "plush" if "Plush" in env_id else "tissue"
        for images in (False, True):
            runner = Runner(Job(env_id, env_kwargs={} if images else {"cameras": ()}, keep_images=False))
            runner.run(SEEDS.start - 1)
            simulated = 0.0

            def episodes(runner: Runner = runner) -> None:
                nonlocal simulated
                for seed in SEEDS:
                    simulated += len(runner.run(seed)) / 20

            used = cpu_s(episodes)
            with_images = "two 128 px cameras" if images else "no images"
            note = f"CPU time, {len(SEEDS)} expert episodes, seeds {SEEDS.start}-{SEEDS.stop - 1}"
            yield Result(f"{task}, {with_images}", simulated / used, "x real time", at_least=LIMITS[task, images], note=note)
