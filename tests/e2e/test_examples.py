"""Every example runs as a user runs it: as a script, from another folder."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
TAKES_MINUTES = ("make_first_light.py", "sim_to_real.py")
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if path.name not in TAKES_MINUTES)


@pytest.mark.parametrize("name", SCRIPTS)
def test_example_runs(name, tmp_path):
    result = subprocess.run([sys.executable, FOLDER / name], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
