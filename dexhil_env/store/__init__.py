"""Episodes on disk: LeRobotDataset v3.0, written so that a crash never costs a finished episode."""

from dexhil_env.store.store import EpisodeStore

__all__ = ["EpisodeStore"]
