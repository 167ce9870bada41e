"""DexHiL's tasks as LeRobot environments. LeRobot imports this package by name; without LeRobot it only registers Gymnasium ids."""

from importlib.util import find_spec

from lerobot_env_dexhil.env import LeRobotObservation, register_envs

__all__ = ["LeRobotObservation", "register_envs"]

register_envs()
if find_spec("lerobot") is not None:
    from lerobot_env_dexhil.config import DexHiLEnvConfig  # noqa: F401 - importing it is what registers it
