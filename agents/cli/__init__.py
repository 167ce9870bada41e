"""The ``dexhil`` command."""

import logging
import os
import sys
from importlib import import_module
from typing import Any

from dexhil_env.errors import DexHiLError
from dexhil_env.leaving import on_sigterm

VERBS = {
    "demo": ("agents.cli.demo", "demo"),
    "collect": ("agents.cli.learn", "collect"),
    "train": ("agents.cli.learn", "train"),
    "dagger": ("agents.cli.learn", "dagger"),
    "eval": ("agents.cli.look", "evaluate"),
    "rollout": ("agents.cli.rollout", "rollout"),
    "report": ("agents.cli.look", "report"),
    "study": ("agents.cli.study", "COMMANDS"),
    "plan-eval": ("agents.cli.plan", "plan_eval"),
    "play": ("agents.cli.look", "play"),
    "dataset": ("agents.cli.dataset", "COMMANDS"),
    "rl": ("agents.cli.rl", "rl"),
    "serve": ("agents.cli.serve", "serve"),
    "retarget": ("agents.cli.retarget", "COMMANDS"),
    "real": ("real.cli", "COMMANDS"),
    "cube": ("real.cube.cli", "COMMANDS"),
    "console": ("agents.cli.console", "console"),
    "plan-memory": ("agents.cli.memory", "plan_memory"),
    "doctor": ("agents.cli.doctor", "doctor"),
}


def _command(verb: str) -> Any:
    module, name = VERBS[verb]
    return getattr(import_module(module), name)


def _usage() -> str:
    lines = ["usage: dexhil VERB [options]      (dexhil VERB --help explains one)", ""]
    lines += [
        "  demo      warm-up, takeover, weighted retraining and report in about 15 minutes",
        "  collect   record demonstrations, or corrections of a policy, as a LeRobot v3.0 dataset",
        "  train     fit a policy to a dataset",
        "  dagger    the whole loop: warm-up and rounds of human correction",
        "  eval      success rate of a policy with its interval",
        "  rollout   let a policy work, on the robot or in the twin, and keep what happened",
        "  console   watch a policy in the browser, take arm and hand over with one key, record",
        "  report    a web page of a run, opens from disk",
        "  study     the paper's comparison: arms x rounds x training seeds, with statistics; run, status, report",
        "  plan-eval how many trials show a difference, and what a number of trials can show",
        "  plan-memory  will a model fit this GPU, and how long does a step take",
        "  play      watch a policy in a window, or write a video",
        "  dataset   info, check, repair, compact, merge, video, import, export",
        "  rl        learn a task from its dense reward (SAC with demonstrations)",
        "  serve     let other programs and machines use a policy (openpi's protocol)",
        "  retarget  hand retargeting: train, calibrate, eval, replay",
        "  real      the robot itself: emulate one, check, home, calibrate, record, identify, gap",
        "  cube      a cube in your hand that moves the arm: print, calibrate, show",
        "  doctor    check this machine: OpenGL, versions, devices",
        "",
        "Start with:  dexhil doctor, then dexhil demo",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run ``dexhil`` with command-line arguments; an expected error is printed in one line and exits with 1."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("OpenGL").setLevel(logging.WARNING)
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        print(f"dexhil: unknown verb {verb!r}\n\n{_usage()}", file=sys.stderr)
        raise SystemExit(2)
    import tyro

    on_sigterm(like_ctrl_c=True)
    command = _command(verb)
    try:
        if isinstance(command, dict):
            tyro.extras.subcommand_cli_from_dict(command, prog=f"dexhil {verb}", args=rest)
        else:
            tyro.cli(command, prog=f"dexhil {verb}", args=rest)
    except DexHiLError as error:
        print(f"dexhil {verb}: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        print("\nstopped; what was finished is kept, the same command goes on from there", file=sys.stderr)
        raise SystemExit(130) from None
