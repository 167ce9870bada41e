"""Train SAC with demonstrations; the same call goes on where a killed one stopped."""

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback

from agents.checkpoint import write_text
from agents.rl.buffer import HalfDemonstrations
from agents.rl.critic import NormedPolicy
from agents.rl.demos import demonstrate
from agents.rl.imitate import ImitatingSAC
from agents.rl.palm import PalmControl, Shaping
from agents.rl.policy import Actor, save_actor
from agents.settings import changed
from agents.statistics import wilson_interval
from dexhil_env.errors import ConfigError
from dexhil_env.registration import make_env
from dexhil_env.types import F32

DEMO_SEED, EVAL_SEED = 6_000_000, 6_500_000
ENTROPY: Final = 0.01
"""First weight of the entropy. SAC begins at 1 by habit: worth more than any return here, so that critics learn noise and never recover."""


@dataclass(frozen=True)
class RLConfig:
    """How to learn.

    Attributes:
        steps: actions, of 0.15 s each.
        demos: demonstrations in the buffer; half of every batch. 0 learns alone.
        eval_every: steps between evaluations.
        eval_episodes: episodes of each.
        batch_size: of an update.
        lr: learning rate.
        updates: updates per action.
        start: actions before the first update.
        widths: hidden layers of actor and critics.
        shaping: the reward.
        max_episode_steps: time limit, in control periods of 0.05 s.
        seed: of network, noise and scenes.
        env_kwargs: further arguments of the environment.
    """

    steps: int = 40_000
    demos: int = 30
    eval_every: int = 5_000
    eval_episodes: int = 20
    batch_size: int = 256
    lr: float = 3e-4
    updates: int = 1
    start: int = 500
    widths: tuple[int, ...] = (256, 256)
    shaping: Shaping = field(default_factory=Shaping)
    max_episode_steps: int = 160
    seed: int = 0
    env_kwargs: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Refuse numbers that cannot learn."""
        if (
            min(self.steps, self.eval_every, self.eval_episodes, self.batch_size, self.updates, self.max_episode_steps) < 1
            or self.demos < 0
        ):
            raise ConfigError(f"steps, eval_every, eval_episodes, batch_size, updates must be at least 1, demos 0; got {self}")


class Scaled(PalmControl):
    """What is seen, with mean 0 and deviation 1 on the demonstrations; the scale is fixed before learning starts."""

    mean: F32 = np.zeros(1, np.float32)
    scale: F32 = np.ones(1, np.float32)

    def see(self, observation: Any, info: dict[str, Any]) -> F32:
        """Return what the learner sees."""
        return self.scaled(super().see(observation, info))

    def scaled(self, seen: F32) -> F32:
        """Scale what is seen, (D,) or (N, D)."""
        return np.clip((seen - self.mean) / self.scale, -10.0, 10.0).astype(np.float32)


def make_control(env_id: str, config: RLConfig) -> Scaled:
    """Make the environment of a learner."""
    env = make_env(env_id, cameras=(), max_episode_steps=config.max_episode_steps, **config.env_kwargs)
    return Scaled(env, config.shaping)


def train_rl(env_id: str, config: RLConfig, folder: Path, *, progress: bool = True) -> list[dict[str, float]]:
    """Learn and evaluate; writes ``curve.jsonl`` and, after every evaluation, the actor to ``policy/``.

    Returns:
        The learning curve: steps, successes, episodes, CPU seconds.
    """
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    _same_settings(folder, {"env_id": env_id, **asdict(config)})
    env, judge = make_control(env_id, config), make_control(env_id, config)
    steps = demonstrate(env, max(config.demos, 1), DEMO_SEED, progress=progress)
    for control in (env, judge):
        control.mean, control.scale = steps.seen.mean(0), np.maximum(steps.seen.std(0), 0.02)
    model = _learner(env, config, folder)
    if config.demos:
        assert isinstance(model.replay_buffer, HalfDemonstrations)
        model.replay_buffer.demonstrate(replace(steps, seen=env.scaled(steps.seen), next_seen=env.scaled(steps.next_seen)))
    watch = _Watch(judge, env_id, config, folder)
    left = config.steps - model.num_timesteps
    if left > 0:
        model.learn(left, callback=watch, reset_num_timesteps=False, progress_bar=progress)
    return read_curve(folder)


def _same_settings(folder: Path, settings: dict[str, Any]) -> None:
    path, wanted = folder / "config.json", json.loads(json.dumps(settings))
    if path.exists():
        differing = changed(wanted, json.loads(path.read_text(encoding="utf-8")), ("steps",))
        if differing:
            raise ConfigError(f"{folder} holds a run with other settings: {'; '.join(differing)}; choose another folder (steps may grow)")
    write_text(path, json.dumps(wanted, indent=2))


def _learner(env: Scaled, config: RLConfig, folder: Path) -> SAC:
    saved = folder / "resume.zip"
    if saved.exists():
        model = ImitatingSAC.load(saved, env)
        model.load_replay_buffer(folder / "resume_buffer.pkl")
        return model
    return ImitatingSAC(
        NormedPolicy, env, ent_coef=f"auto_{ENTROPY}", learning_rate=config.lr, buffer_size=max(config.steps, 1000),
        learning_starts=config.start, batch_size=config.batch_size, gamma=config.shaping.gamma, train_freq=1, gradient_steps=config.updates,
        seed=config.seed, replay_buffer_class=HalfDemonstrations, policy_kwargs={"net_arch": list(config.widths)}, device="cpu",
    )  # fmt: skip


class _Watch(BaseCallback):
    """Evaluates and saves every so often."""

    def __init__(self, env: Scaled, env_id: str, config: RLConfig, folder: Path) -> None:
        super().__init__()
        self.env, self.env_id, self.config, self.folder = env, env_id, config, folder
        self._cpu_s = time.process_time()

    def _on_step(self) -> bool:
        if self.num_timesteps % self.config.eval_every == 0 or self.num_timesteps == self.config.steps:
            self._look()
        return True

    def _look(self) -> None:
        won = sum(_episode(self.env, self.model, EVAL_SEED + index) for index in range(self.config.eval_episodes))
        spent, self._cpu_s = time.process_time() - self._cpu_s, time.process_time()
        low, high = wilson_interval(won, self.config.eval_episodes)
        counts = {"steps": self.num_timesteps, "successes": won, "episodes": self.config.eval_episodes}
        row = {**counts, "low": round(low, 3), "high": round(high, 3), "cpu_s": round(spent, 1)}
        with (self.folder / "curve.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        save_actor(actor_of(self.model, self.env), self.env_id, self.folder / "policy", {"steps": self.num_timesteps})
        assert isinstance(self.model, SAC)
        self.model.save(self.folder / "resume.zip")
        self.model.save_replay_buffer(self.folder / "resume_buffer.pkl")
        self.logger.record("eval/success", won / self.config.eval_episodes)


def _episode(env: Scaled, model: Any, seed: int) -> bool:
    seen, info = env.reset(seed=seed)
    over = truncated = False
    while not (over or truncated):
        action, _ = model.predict(seen, deterministic=True)
        seen, _, over, truncated, info = env.step(action)
    return bool(info["is_success"])


def actor_of(model: Any, env: Scaled) -> Actor:
    """Take the deterministic actor out of a learner."""
    theirs = model.policy.actor
    linear = [layer for layer in theirs.latent_pi if isinstance(layer, torch.nn.Linear)]
    actor = Actor(linear[0].in_features, tuple(layer.out_features for layer in linear))
    ours = [layer for layer in actor.body if isinstance(layer, torch.nn.Linear)]
    for mine, other in zip([*ours, actor.head], [*linear, theirs.mu], strict=True):
        mine.load_state_dict(other.state_dict())
    actor.mean.copy_(torch.from_numpy(np.asarray(env.mean)))
    actor.scale.copy_(torch.from_numpy(np.asarray(env.scale)))
    return actor


def read_curve(folder: Path) -> list[dict[str, float]]:
    """Read the learning curve of a run; of a step that was evaluated twice, the last."""
    path = folder / "curve.jsonl"
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return list({row["steps"]: row for row in rows}.values())
