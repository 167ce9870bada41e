import os
import subprocess
import sys

import pytest

STATE_ONLY = "import dexhil_env; e = dexhil_env.make_env('DexHiL-PlushSim-v0', cameras=()); e.reset(seed=0); print('fine')"


@pytest.mark.parametrize("backend", ["nonsense", "osmesa"])
def test_a_broken_opengl_gets_a_hint_and_state_only_work_goes_on(backend, tmp_path):
    environment = {**os.environ, "MUJOCO_GL": backend}
    environment.pop("DEXHIL_GL_PROBLEM", None)
    plain = subprocess.run([sys.executable, "-c", STATE_ONLY], env=environment, capture_output=True, text=True, check=False)
    assert plain.stdout.strip() == "fine", plain.stderr
    command = [sys.executable, "-c", "import agents.cli; agents.cli.main()", "play", "--video", str(tmp_path / "x.mp4")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        pytest.skip(f"{backend} works on this machine")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert f"MUJOCO_GL={backend}" in result.stderr
    assert "dexhil doctor" in result.stderr
