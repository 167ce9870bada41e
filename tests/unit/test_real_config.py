"""Settings of a robot: what the file says is what is used, and every mistake in it is named."""

from dataclasses import replace
from pathlib import Path

import pytest

from dexhil_env.assets import asset_path
from dexhil_env.errors import ConfigError
from real.camera_sources import CameraConfig
from real.config import RealConfig, SessionConfig, load_config, write_config
from real.dexhand_config import DexHandConfig
from real.dexhand_protocol import Generation, Mode, Side
from real.fr3_config import FR3Config
from real.workspace import WorkspaceConfig

CAMERA = '[[cameras]]\nname = "front"\nkind = "opencv"\nsource = 0\n'


def load(tmp_path: Path, text: str) -> RealConfig:
    path = tmp_path / "lab.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def test_the_shipped_example_is_accepted_and_names_the_defaults():
    """What the example says a key's default is, is its default: nothing but the addresses differs."""
    made = load_config(asset_path("real", "lab.toml"))
    assert made.arm == FR3Config("172.16.0.2")
    assert made.hand == DexHandConfig()
    assert made.workspace == WorkspaceConfig()
    assert made.session == SessionConfig()
    assert made.cameras == (CameraConfig("front", "realsense", ""), CameraConfig("wrist", "opencv", 0))


SECTIONS = {"arm": FR3Config, "hand": DexHandConfig, "workspace": WorkspaceConfig, "session": SessionConfig}


@pytest.mark.parametrize("section", SECTIONS)
def test_the_shipped_example_explains_every_key(section):
    text = asset_path("real", "lab.toml").read_text(encoding="utf-8")
    part = text.split(f"[{section}]")[1].split("\n[")[0]
    undocumented = {"bus_kwargs", "emulator"}  # for special adapters, and written by `dexhil real emulate`
    missing = [name for name in SECTIONS[section].__dataclass_fields__ if f"{name} =" not in part and name not in undocumented]
    assert missing == []


def test_values_arrive_with_their_types(tmp_path):
    text = '[arm]\naddress = "10.0.0.2"\nspeed = 1\n[hand]\nside = "left"\ngeneration = "gen2"\nmode = "MIT_TORQUE"\n'
    made = load(tmp_path, text + "bus_kwargs = {bitrate = 3}\n" + CAMERA.replace("= 0", '= "http://x/y"'))
    assert made.arm.speed == 1.0
    assert isinstance(made.arm.speed, float)
    assert (made.hand.side, made.hand.generation, made.hand.mode) == (Side.LEFT, Generation.GEN2, Mode.MIT_TORQUE)
    assert made.hand.bus_kwargs == {"bitrate": 3}
    assert made.camera("front").source == "http://x/y"
    with pytest.raises(ConfigError, match="unknown camera 'left'"):
        made.camera("left")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"section \[arm\] is missing"),
        ("[arm]\n", r"\[arm\]: address must be given"),
        ('[arm]\naddress = "x"\nspede = 0.5\n', r"\[arm\]: unknown key 'spede'; did you mean 'speed'\? allowed: address, "),
        ('[arm]\naddress = "x"\n[hnad]\n', r"unknown key 'hnad'; did you mean 'hand'"),
        ('[arm]\naddress = "x"\nspeed = "fast"\n', r"\[arm\] speed: must be a number; got 'fast'"),
        ('[arm]\naddress = "x"\nspeed = true\n', r"\[arm\] speed: must be a number; got True"),
        ('[arm]\naddress = "x"\nspeed = nan\n', r"\[arm\]: speed must lie in"),
        ('[arm]\naddress = "x"\nspeed = 7.0\n', r"\[arm\]: speed must lie in \(0.0, 1.0\]; got 7.0"),
        ('[arm]\naddress = "x"\nstiffness = [1.0]\n', r"stiffness: needs 7 values; got 1"),
        ('[arm]\naddress = "x"\nclock = "moon"\n', r"clock: must be one of 'wall', 'robot'; got 'moon'"),
        ('[arm]\naddress = 5\n', r"address: must be a text in quotes; got 5"),
        ('[arm]\naddress = "x"\n[hand]\nside = "up"\n', r"\[hand\] side: must be one of 'left', 'right'; got 'up'"),
        ('[arm]\naddress = "x"\n[hand]\nfeedback_unit_ms = 3\n', r"feedback_unit_ms: must be one of 1, 10; got 3"),
        ('arm = "x"\n', r"\[arm\]: this must be a table"),
        ('[arm]\naddress = "x"\n[cameras]\n', r"cameras must be a list of tables"),
        ('[arm]\naddress = "x"\n[[cameras]]\nname = "front"\n', r"\[\[cameras\]\] 1: kind, source must be given"),
        ('[arm]\naddress = "x"\n' + CAMERA + CAMERA, r"every camera needs a name of its own"),
        ('[arm]\naddress = "x"\n[workspace]\njoint_margin = 0.05\n', r"joint_margin must be at least arm joint_margin"),
        ('[arm]\naddress = "x"\n[workspace]\nlow = [1.0, -0.4, 0.1]\n', r"\[workspace\]: low must be below high"),
        ('[arm]\naddress = "x"\n[session]\nhome_speed = 0.9\n', r"\[session\]: home_speed must lie in \[0.01, 0.3\]"),
        ("[arm\n", r"is not a TOML file"),
    ],
)  # fmt: skip
def test_every_mistake_names_file_section_and_key(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "lab.toml") in str(caught.value)


def test_a_missing_file_says_where_to_begin(tmp_path):
    with pytest.raises(ConfigError, match=r"lab\.toml to begin with"):
        load_config(tmp_path / "none.toml")


def test_written_settings_are_read_back_equal(tmp_path):
    config = RealConfig(
        FR3Config("127.1.2.3", clock="robot", max_error=(0.04,) * 7),
        DexHandConfig(side=Side.LEFT, generation=Generation.GEN1, bus_kwargs={"a b": 'quote " and \\ and ü', "n": {"x": 1}}),
        (CameraConfig("front", "opencv", "http://127.0.0.1:1/front", fps=15), CameraConfig("wrist", "realsense", "")),
        WorkspaceConfig(low=(0.3, -0.3, 0.12), table_m=-0.01),
        SessionConfig(emulator="/tmp/a b/control", without_touch=True),
        {"date": "2030-01-02", "front": {"position": [0.1, 2e-7, -3.0], "rms_px": 0.25}},
    )
    path = tmp_path / "written.toml"
    write_config(config, path)
    assert load_config(path) == config
    write_config(replace(config, cameras=()), path)
    assert load_config(path).cameras == ()
    assert [file.name for file in tmp_path.iterdir()] == ["written.toml"]
