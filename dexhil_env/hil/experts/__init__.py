"""Privileged scripted experts, one per task."""
