"""A command on a robot says which robot, and a command in the twin does not."""

from pathlib import Path

import pytest

from agents.cli.robot import robot_options
from dexhil_env.errors import ConfigError
from dexhil_env.registration import ENV_IDS, REAL_IDS


def test_twin_needs_nothing_and_takes_nothing() -> None:
    assert robot_options(ENV_IDS[0], None, False) == {}
    for config, emulate in ((Path("lab.toml"), False), (None, True)):
        with pytest.raises(ConfigError, match="is the twin"):
            robot_options(ENV_IDS[0], config, emulate)


def test_robot_is_named_exactly_once() -> None:
    assert robot_options(REAL_IDS[0], Path("lab.toml"), False) == {"config": "lab.toml"}
    assert robot_options(REAL_IDS[0], None, True) == {"emulate": True}
    for config, emulate in ((None, False), (Path("lab.toml"), True)):
        with pytest.raises(ConfigError, match="needs a robot"):
            robot_options(REAL_IDS[0], config, emulate)
