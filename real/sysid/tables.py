"""Results on the terminal."""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.table import Column, Table

from real.sysid.compare import Difference, moving_joints
from real.sysid.estimates import Estimate
from real.sysid.page import NAMES


def parameter_tables(estimates: Sequence[Estimate]) -> list[Table]:
    """Return one row per joint, one column per parameter, for every limb; each estimate with half of its 95 % interval."""
    tables: list[Table] = []
    names = list(dict.fromkeys(each.joint for each in estimates))
    groups: dict[tuple[str, ...], list[str]] = {}
    for joint in names:
        kinds = tuple(f"{each.name} {each.unit}".strip() for each in estimates if each.joint == joint)
        groups.setdefault(kinds, []).append(joint)
    for kinds, joints in groups.items():
        table = Table(Column(no_wrap=True), *(f"{kind}" for kind in kinds))
        for joint in joints:
            table.add_row(joint, *(_cell(each) for each in estimates if each.joint == joint))
        tables.append(table)
    return tables


def _cell(each: Estimate) -> str:
    if not np.isfinite(each.value):
        return "not identifiable"
    usual = f"\ntwin {each.twin:.4g}" if np.isfinite(each.twin) else ""
    return f"{each.value:.4g} +-{each.half_width:.2g}{usual}"


def gap_table(found: Mapping[str, Difference]) -> Table:
    """Return the differences of every joint that moves; late: by how much the robot is behind the twin."""
    table = Table(Column("joint", no_wrap=True), *(f"{name}: {what}" for name in found for what in ("RMS mrad", "max mrad", "late ms")))
    for joint in moving_joints(found):
        cells: list[str] = []
        for each in found.values():
            late = f"{1e3 * each.delay_s[joint]:.1f}" if np.isfinite(each.delay_s[joint]) else ""
            cells += [f"{1e3 * each.rms[joint]:.2f}", f"{1e3 * each.largest[joint]:.2f}", late]
        table.add_row(NAMES[joint], *cells)
    return table
