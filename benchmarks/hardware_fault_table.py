"""The fault table: measured by ``python -m benchmarks.hardware faults``, kept as JSON, shown in docs/safety.md."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Final

from benchmarks.hardware_exits import STEPS, measure_exits
from benchmarks.hardware_faults import Row, measure_rows
from benchmarks.result import Result
from dexhil_env.store.files import write_json, write_whole

ROOT: Final = Path(__file__).parent.parent
JSON: Final = ROOT / "docs" / "results" / "hardware" / "faults.json"
PAGE: Final = ROOT / "docs" / "safety.md"
_BEGIN, _END = "<!-- faults:table -->\n", "<!-- /faults:table -->"


def measure_faults() -> Iterator[Result]:
    """Break everything once, then write the table."""
    os.environ |= {"OPENCV_FFMPEG_LOGLEVEL": "-8", "OPENCV_LOG_LEVEL": "ERROR"}  # it complains of every spoilt picture
    load, faults, exits = os.getloadavg()[0], list[Row](), list[Row]()
    for rows, found in ((faults, measure_rows()), (exits, measure_exits())):
        for row in found:
            rows.append(row)
            yield _result(row)
    packages = {name: metadata.version(name) for name in ("dexhil", "mujoco", "franky-control", "python-can")}
    machine = {"processors": os.cpu_count(), "load_before": load, "load_after": os.getloadavg()[0], "machine": platform.machine()}
    facts = {"machine": machine, "packages": packages}
    tables = {"faults": [_facts(row) for row in faults], "exits": [_facts(row) for row in exits]}
    write_json(JSON, {**facts, **tables})
    _write_page(faults, exits, machine)


def _facts(row: Row) -> dict[str, object]:
    return {**asdict(row), "good": row.good}


def _result(row: Row) -> Result:
    parts = [f"raised {_ms(row.raised_ms)}", row.state, f"arm {row.arm}", f"hand {row.hand}", f"{row.kept} rows kept", row.text]
    wrong = "" if row.good else "NOT AS WANTED: "
    return Result(row.fault, row.noticed_ms, "ms", at_most=row.wanted_ms, note=wrong + "; ".join(part for part in parts if part))


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _write_page(faults: Sequence[Row], exits: Sequence[Row], machine: dict[str, object]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    begin, end = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    table = "\n".join([*fault_lines(faults), "", *exit_lines(exits), "", _conditions(machine), ""])
    page = text[:begin] + table + text[end:]
    write_whole(PAGE, lambda path: _fill(path, page))


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _conditions(machine: dict[str, object]) -> str:
    load = f"load {machine['load_before']:.1f} before and {machine['load_after']:.1f} after"
    return f"Measured once on {machine['processors']} processors, {load}; every row is a robot of its own."


def fault_lines(rows: Sequence[Row]) -> list[str]:
    """Return the table of the faults, in Markdown."""
    head = ["fault", "noticed", "wanted", "`step` raised", "state", "arm", "hand", "rows on disk", "told"]
    lines = [" | ".join(head), " | ".join(["---"] * len(head))]
    for row in rows:
        wanted = f"{_ms(row.wanted_ms)} ({row.source})" if row.wanted_ms is not None else row.source
        again = f", attempt {row.attempts}" if row.attempts > 1 else ""
        cells = [row.fault + again, _ms(row.noticed_ms), wanted, _ms(row.raised_ms), row.state, row.arm, row.hand]
        lines.append(" | ".join([*cells, str(row.kept), _told(row)]))
    return [f"| {line} |" for line in lines]


def _told(row: Row) -> str:
    """Return the reasons without the frame that every text has, shortened for the table."""
    if not row.text:
        return "nothing: the finger opens 2 deg" if row.right_state else "nothing"
    inner = row.text.split("): ", 1)[-1].rsplit(". Look at the robot", 1)[0]
    first = inner.split("; arm:")[0].split("; hand:")[0]
    return first.replace("|", "/").replace("\n", " ")


def exit_lines(rows: Sequence[Row]) -> list[str]:
    """Return the table of the ways in which a program may end, in Markdown."""
    head = ["end of the program", "arm's motion is over after", "arm", "hand", "on disk", "how"]
    lines = [" | ".join(head), " | ".join(["---"] * len(head))]
    for row in rows:
        open_rows = row.kept - STEPS
        kept = f"the {STEPS} rows of the episode before" + (f", {open_rows} of the open one" if open_rows > 0 else "; the open one is lost")
        over = _ms(row.noticed_ms) + (f" (wanted {_ms(row.wanted_ms)})" if row.wanted_ms is not None else "")
        lines.append(" | ".join([row.fault, over, row.arm, row.hand, kept, row.source]))
    return [f"| {line} |" for line in lines]
