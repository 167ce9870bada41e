"""Emulated hardware: servers that speak the wire protocols of the real devices, backed by the twin."""
