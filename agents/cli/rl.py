"""``dexhil rl``: learn a task from its dense reward, with demonstrations."""

from pathlib import Path
from typing import Annotated

import tyro

from agents.rl.curve import draw_curve
from agents.rl.train import RLConfig, train_rl
from dexhil_env.registration import task_name


def rl(out: Annotated[Path, tyro.conf.Positional], env: str = "DexHiL-PlushSim-v0", config: RLConfig = RLConfig()) -> None:
    """Train SAC (stable-baselines3) from the twin's state, half of every batch from demonstrations; goes on where it stopped.

    The learner moves the palm and closes the hand (seven numbers); it sees the robot and what the task measures, no pictures. The result is
    a policy for every verb (dexhil eval --policy OUT/policy) and can plan for a simulated human (docs/learning.md).

    Args:
        out: run folder: curve.jsonl, curve.svg, policy/.
        env: environment of the twin.
        config: steps, demonstrations, reward, network.
    """
    curve = train_rl(env, config, out)
    for row in curve:
        rate = f"{row['successes']:.0f}/{row['episodes']:.0f}  [{row['low']:.0%}, {row['high']:.0%}]"
        print(f"{row['steps']:>8.0f} actions  {rate}  {row['cpu_s']:.0f} CPU s")
    seconds = sum(row["cpu_s"] for row in curve)
    (out / "curve.svg").write_text(draw_curve(curve, f"SAC on {task_name(env)}, {config.demos} demonstrations"), encoding="utf-8")
    print(f"{seconds / 3600:.2f} CPU hours, learning curve: {out / 'curve.svg'}")
    print(f"policy: {out / 'policy'}\nevaluate it: dexhil eval --policy {out / 'policy'} --env {env}")
