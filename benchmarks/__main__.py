"""Measure everything, print a table, write ``benchmarks/results.json``: ``python -m benchmarks``; with names of parts, print only those."""

import os
import platform
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console
from rich.table import Table

from benchmarks import cube, hardware_hand, images, learning, live, loading, rtc, serving, speed, throughput
from benchmarks.result import Result
from dexhil_env.store.files import write_json

PARTS = {
    "speed": speed,
    "learning": learning,
    "images": images,
    "loading": loading,
    "throughput": throughput,
    "hand": hardware_hand,
    "cube": cube,
    "serving": serving,
    "live": live,
    "rtc": rtc,
}
TARGET = Path(__file__).parent / "results.json"


def main(names: list[str]) -> int:
    console = Console(width=max(Console().width, 140))
    unknown = set(names) - set(PARTS)
    if unknown:
        console.print(f"unknown part {sorted(unknown)}; choose from {sorted(PARTS)}")
        return 2
    results: list[Result] = []
    for name in names or PARTS:
        with console.status(f"measuring {name} ..."):
            results += PARTS[name].measure()
    table = Table("what", "measured", "limit", "verdict", "how")
    for result in results:
        measured = "-" if result.value is None else f"{result.value:.1f} {result.unit}"
        table.add_row(result.name, measured, result.limit, result.verdict, result.note)
    console.print(table)
    packages = {name: metadata.version(name) for name in ("dexhil", "mujoco", "torch", "gymnasium")}
    machine = {"processors": os.cpu_count(), "load": os.getloadavg()[0], "machine": platform.machine(), "packages": packages}
    if not names:
        write_json(TARGET, {"machine": machine, "results": [asdict(result) | {"verdict": result.verdict} for result in results]})
        console.print(f"written to {TARGET}")
    return int(any(result.verdict == "FAIL" for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
