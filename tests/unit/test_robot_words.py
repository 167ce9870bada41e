"""Words for a robot that make no sense are refused before anything is started."""

import pytest

from dexhil_env.assets import asset_path
from dexhil_env.errors import ConfigError
from real.make import make_real_env


def test_reality_names_what_a_robot_can_differ_in() -> None:
    with pytest.raises(ConfigError, match=r"speed.*hand_latency_s"):
        make_real_env("plush", emulate=True, reality={"speed": 2.0})
    with pytest.raises(ConfigError, match="hand_gain"):
        make_real_env("plush", emulate=True, reality={"hand_gain": 100.0})


def test_a_lab_cannot_be_made_different() -> None:
    for wrong in ({"reality": {"hand_gain": 2.0}}, {"pace": 0.5}, {"toy_x_m": (0.5, 0.6)}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            make_real_env("plush", config=asset_path("real", "lab.toml"), **wrong)
