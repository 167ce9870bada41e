"""The wheel is enough: installed into an empty virtual environment it works from another folder, without the checkout."""

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SIM = """
import json, dexhil_env, gymnasium
from dexhil_env.assets import asset_path
env = gymnasium.make("DexHiL-PlushSim-v0", cameras=())
observation, _ = env.reset(seed=0)
print(json.dumps({"package": dexhil_env.__file__, "scene": str(asset_path("fr3")), "keys": sorted(observation)}))
"""


def run(*command, cwd):
    result = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder of a virtual environment that holds the wheel and borrows only the dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", REPOSITORY, cwd=folder)
    (wheel,) = (folder / "dist").glob("dexhil-*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env/bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet", wheel, cwd=folder)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    # a .pth file lends the packages of this environment, but not its own .pth files: an editable install stays out of sight
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n" + sysconfig.get_path("platlib") + "\n")
    return folder


def test_environment_runs_from_the_wheel(installed):
    found = json.loads(run(installed / "env/bin/python", "-c", SIM, cwd=installed).splitlines()[-1])
    for path in (found["package"], found["scene"]):
        assert Path(path).is_relative_to(installed / "env")
    assert "ee_pose" in found["keys"]


def test_command_and_report_style_are_in_the_wheel(installed):
    assert "usage: dexhil" in run(installed / "env/bin/dexhil", cwd=installed)
    code = "import agents.report as r, agents; assert 'font' in r.STYLE; print(agents.__file__)"
    assert Path(run(installed / "env/bin/python", "-c", code, cwd=installed).strip()).is_relative_to(installed / "env")
