"""Whether a folder holds what was asked for."""

from collections.abc import Collection
from typing import Any


def changed(wanted: dict[str, Any], found: dict[str, Any], free: Collection[str] = (), path: str = "") -> list[str]:
    """List the settings that differ, as ``name was X, now Y``; names are dotted for nested ones.

    A setting that the older version did not know, and so did not write, is not a difference: new settings default to the old behaviour.

    Args:
        wanted: settings asked for, as JSON.
        found: settings of the folder.
        free: names (top level) that may differ.
        path: where these settings lie in the whole.
    """
    lines: list[str] = []
    for key, value in wanted.items():
        if key in free or key not in found or value == found[key]:
            continue
        if isinstance(value, dict) and isinstance(found[key], dict):
            lines += changed(value, found[key], (), f"{path}{key}.")
        else:
            lines.append(f"{path}{key} was {found[key]}, now {value}")
    return lines
