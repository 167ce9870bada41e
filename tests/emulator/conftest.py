"""Emulated devices that several modules test with. What needs the extra ``[real]`` is imported when it is used."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dexhil_env.errors import DeviceError
from real.emulator.emulator_config import EmulatorConfig
from tests.emulator.arm_fixtures import PATIENCE_S, client_config, emulated_arm

if TYPE_CHECKING:
    from tests.emulator.hand_rig import Rig

# ---- the hand alone ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def make() -> "Iterator[Callable[..., Rig]]":
    """Makes hands with boards; they are closed in the end."""
    from tests.emulator.hand_rig import Rig

    rigs: list[Rig] = []

    def build(*args, **kwargs) -> Rig:
        rigs.append(Rig(*args, **kwargs))
        return rigs[-1]

    yield build
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make) -> "Rig":
    """A started hand; the unit of its period is known, so that connecting is quick."""
    rig = make(feedback_unit_ms=10)
    rig.hand.connect()
    rig.hand.start()
    return rig


# ---- the arm alone -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arm():
    """An emulated arm."""
    with emulated_arm() as process:
        yield process


@pytest.fixture
def fr3(arm):
    """Its driver, connected; every fault is mended."""
    from real.fr3 import FR3

    arm.line()
    arm.push(np.zeros(7))
    arm.user_stop(False)
    with FR3(client_config(arm)) as driver:
        driver.recover()
        yield driver


# ---- the whole robot ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twin():
    """An emulated robot with its task."""
    from real.emulator.twin_process import TwinProcess
    from tests.emulator.seat import SIZE

    options = {"randomise_physics": True}
    with TwinProcess(EmulatorConfig("plush", options, image_size=SIZE, patience_s=PATIENCE_S, randomise_visuals=True)) as process:
        yield process


@pytest.fixture(scope="module")
def settings(twin):
    """A lab's settings for it."""
    from real.emulated import emulated_config
    from tests.emulator.seat import HOLD_S

    made = emulated_config(twin.config)
    return replace(made, session=replace(made.session, hold_s=HOLD_S))


@pytest.fixture(scope="module")
def seat(settings):
    """Who has the robot."""
    from tests.emulator.seat import Seat

    shared = Seat(settings)
    yield shared
    shared.leave()


@pytest.fixture
def env(seat, twin):
    """The environment on it, mended and recovered."""
    twin.line.mend()
    deadline = time.monotonic() + 10.0
    while True:
        try:
            seat.take().unwrapped.backend.recover()
            return seat.take()
        except DeviceError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
