"""The learnt actor without its learner: a folder with safetensors and JSON, as a policy and as a simulated human's expert."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents.checkpoint import ACTOR_KIND, CONFIG, WEIGHTS, is_actor, read_tensors, write_tensors, write_text
from agents.rl.palm import HOLD, PalmControl
from dexhil_env.env import DexHiLEnv
from dexhil_env.errors import CheckpointError
from dexhil_env.hil.expert import Goal
from dexhil_env.types import F32, F64, HAND, Observation


class Actor(nn.Module):
    """The mean of SAC's squashed Gaussian.

    Args:
        inputs: length of what is seen.
        widths: hidden layers.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, inputs: int, widths: tuple[int, ...] = (256, 256)) -> None:
        super().__init__()
        sizes = (inputs, *widths)
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.body, self.head = nn.Sequential(*layers), nn.Linear(sizes[-1], 7)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))

    def forward(self, seen: Tensor) -> Tensor:
        """Map (B, D) to actions (B, 7) in [-1, 1]."""
        return torch.tanh(self.head(self.body(((seen - self.mean) / self.scale).clamp(-10.0, 10.0))))


def save_actor(actor: Actor, env_id: str, folder: Path, facts: dict[str, Any]) -> None:
    """Write an actor."""
    folder.mkdir(parents=True, exist_ok=True)
    widths = [layer.out_features for layer in actor.body if isinstance(layer, nn.Linear)]
    inputs = int(actor.mean.shape[0])
    write_text(folder / CONFIG, json.dumps({"kind": ACTOR_KIND, "env_id": env_id, "inputs": inputs, "widths": widths, **facts}, indent=2))
    write_tensors(folder / WEIGHTS, dict(actor.state_dict()), {"kind": ACTOR_KIND})


class RLPolicy:
    """A learnt actor as a policy; it sees the twin's state, as the scripted expert does.

    Args:
        folder: of :func:`save_actor`.
        env: environment whose state it sees.

    Raises:
        CheckpointError: the folder holds something else, or an actor of another task.
    """

    def __init__(self, folder: Path, env: DexHiLEnv) -> None:
        if not is_actor(folder):
            raise CheckpointError(f"{folder} holds no actor of `dexhil rl`")
        facts = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        self.control = PalmControl(env)
        size = self.control.observation_space.shape[0]  # type: ignore[index]
        if facts["inputs"] != size:
            raise CheckpointError(f"{folder} was learnt on {facts['env_id']} and sees {facts['inputs']} numbers; here there are {size}")
        self._actor = Actor(size, tuple(facts["widths"]))
        self._actor.load_state_dict(read_tensors(folder / WEIGHTS)[0])

        self._held, self._action = 0, np.zeros(7, np.float32)

    def reset(self, seed: int | None = None) -> None:  # noqa: ARG002  (nothing here is drawn)
        """Decide afresh next time, from where the robot is commanded then."""
        self._held = 0

    def _think(self) -> F32:
        with torch.inference_mode():
            return self._actor(torch.from_numpy(self.control.see_now())[None])[0].numpy()

    def act(self, observation: Observation, instruction: str) -> F32:  # noqa: ARG002  (privileged: looks at the scene instead)
        """Return joint targets (19,) [rad]."""
        if self._held == 0:
            self._action = self._think()
        self._held = (self._held + 1) % HOLD
        return self.control.targets(self._action)


class RLExpert:
    """A learnt actor as the plan of a simulated human: ``ScriptedOperator(expert=lambda env: RLExpert(folder, env))``."""

    def __init__(self, folder: Path, env: DexHiLEnv) -> None:
        self._policy = RLPolicy(folder, env)

    def reset(self, rng: np.random.Generator) -> None:
        """This person has no habits."""

    def goal(self, T_base_ee: F64, hand: F64, t_s: float) -> Goal:  # noqa: ARG002
        """Return the next goal."""
        self._policy.reset()  # the person's hand is elsewhere than the plan thought
        joints = self._policy.act({}, "")
        control = self._policy.control
        return Goal(control.palm, joints[HAND].astype(float), "learnt")
