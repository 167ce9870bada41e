"""What a training run writes down: its circumstances once, its losses as it goes."""

import json
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from agents.checkpoint import write_text
from agents.weights import FrameClass


class Metrics:
    """Running means to ``metrics.jsonl`` and TensorBoard: losses without weights, in all and per class."""

    def __init__(self, run: Path, first_step: int, *, tensorboard: bool) -> None:
        """Open the files; lines beyond ``first_step`` from an interrupted run are removed."""
        self._path = run / "metrics.jsonl"
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= first_step] if first_step else []
        write_text(self._path, "".join(line + "\n" for line in kept))
        self._rows: list[dict[str, Any]] = []
        self._started = time.perf_counter()
        self._cpu = time.process_time()
        self._writer: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=first_step or None)

    def __enter__(self) -> "Metrics":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()

    def add(self, step: int, row: dict[str, Any]) -> None:
        """Collect one step; the very first ones are written at once (paper, fig. 5: the jump at the start of a round)."""
        self._rows.append(row)
        if step == 0:
            self._write({"step": 1, "start": True, **self._means()})

    def flush(self, step: int, lr: float) -> None:
        """Write the means since the last flush."""
        if self._rows:
            spent = {"cpu_s": round(time.process_time() - self._cpu, 2), "wall_s": round(time.perf_counter() - self._started, 2)}
            self._write({"step": step, "lr": lr, **self._means(), **spent})
            self._rows.clear()

    def _means(self) -> dict[str, float]:
        """Average the collected rows, also by class."""
        values: dict[str, float] = {"grad_norm": float(torch.stack([row["grad_norm"] for row in self._rows]).mean())}
        classes = torch.cat([row["class"] for row in self._rows])
        for part in ("flow", "closing"):
            if part in self._rows[0]:
                loss = torch.cat([row[part] for row in self._rows])
                values[f"loss/{part}"] = float(loss.mean())
                for kind in FrameClass:
                    if bool((classes == kind).any()):
                        values[f"loss/{part}/{kind.name.lower()}"] = float(loss[classes == kind].mean())
        return values

    def _write(self, values: dict[str, Any]) -> None:
        """Append one line and its TensorBoard scalars."""
        with self._path.open("a") as file:
            file.write(json.dumps(values) + "\n")
        for name, value in values.items():
            if self._writer is not None and name not in ("step", "start"):
                self._writer.add_scalar(name, value, values["step"])


def circumstances() -> dict[str, Any]:
    """Return command, code and versions: what a person needs to repeat a run besides its configuration."""
    packages = ("torch", "transformers", "numpy", "safetensors")
    return {
        "command": sys.argv,
        "git": _git_hash(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
    }


def _git_hash() -> str | None:
    """Return the commit of the code, None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
