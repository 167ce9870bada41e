"""What ``lerobot-eval --env.type=dexhil`` reads. Needs LeRobot."""

from dataclasses import dataclass, field
from typing import Any

from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig

from dexhil_env.robot import ACTION_NAMES, CONTROL_PERIOD_S
from lerobot_env_dexhil.env import CAMERAS, NAMESPACE, STATE_SIZE


@EnvConfig.register_subclass("dexhil")
@dataclass
class DexHiLEnvConfig(EnvConfig):
    """A task of DexHiL.

    Attributes:
        task: id of the environment.
        fps: control frequency [Hz].
        image_size: side of both camera images [px].
        episode_length: time limit [control periods].
        config: file of the robot, for a ``Real`` task.
        render_mode: for videos of an evaluation.
    """

    task: str | None = "DexHiL-PlushSim-v0"
    fps: int = round(1 / CONTROL_PERIOD_S)
    image_size: int = 128
    episode_length: int = 240
    config: str | None = None
    render_mode: str = "rgb_array"
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Name what goes in and out."""
        picture = (self.image_size, self.image_size, 3)
        self.features = {
            "action": PolicyFeature(type=FeatureType.ACTION, shape=(len(ACTION_NAMES),)),
            "agent_pos": PolicyFeature(type=FeatureType.STATE, shape=(STATE_SIZE,)),
            **{f"pixels/{name}": PolicyFeature(type=FeatureType.VISUAL, shape=picture) for name in CAMERAS},
        }
        self.features_map = {
            "action": "action",
            "agent_pos": "observation.state",
            **{f"pixels/{name}": f"observation.images.{name}" for name in CAMERAS},
        }

    @property
    def package_name(self) -> str:
        """What LeRobot imports where the id is unknown, as in a new process."""
        return NAMESPACE

    @property
    def gym_id(self) -> str:
        """Id in Gymnasium's registry."""
        return f"{NAMESPACE}/{self.task}"

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """Arguments of ``gym.make``."""
        given = {} if self.config is None else {"config": self.config}
        return {"image_size": self.image_size, "max_episode_steps": self.episode_length, "render_mode": self.render_mode, **given}
