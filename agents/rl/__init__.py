"""Reinforcement learning in the twin: SAC from state, with demonstrations (stable-baselines3)."""
