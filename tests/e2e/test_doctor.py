"""The public checker of LeRobot datasets accepts what we record."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCTOR = shutil.which("lerobot-doctor", path=str(Path(sys.executable).parent))


@pytest.mark.skipif(DOCTOR is None, reason="lerobot-doctor is not installed (it is in the dev extra)")
def test_lerobot_doctor_finds_no_failure(demos):
    command = [DOCTOR, "check", str(demos), "--json", "--fail-on", "fail"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    report = json.loads(result.stdout)
    failed = [check for check in report["checks"] if check["severity"] == "FAIL"]
    assert not failed
    assert result.returncode == 0
