"""One renderer draws the scenes of all tasks, in any order."""

import numpy as np
import pytest

from dexhil_env.registration import ENV_IDS, make_env
from dexhil_env.sim.render import OffscreenRenderer

SIZE = 64


@pytest.fixture(scope="module")
def twins():
    envs = [make_env(env_id) for env_id in ENV_IDS]
    for env in envs:
        env.reset(seed=0)
    yield [env.unwrapped.backend for env in envs]
    for env in envs:
        env.close()


@pytest.mark.parametrize("order", [1, -1], ids=["larger soft body first", "smaller soft body first"])
def test_a_renderer_draws_a_scene_the_same_whatever_it_drew_before(twins, order):
    twins = sorted(twins, key=lambda twin: -int(twin.model.flex_vertnum.sum()))[::order]
    shared = OffscreenRenderer(twins[0].model, SIZE, SIZE)
    own = [OffscreenRenderer(twin.model, SIZE, SIZE) for twin in twins]
    for twin, alone in zip([*twins, *twins], [*own, *own], strict=True):
        camera = twin.model.camera("front").id
        picture = shared.draw(twin.model, twin.data, camera)
        assert picture.std() > 10
        np.testing.assert_array_equal(picture, alone.draw(twin.model, twin.data, camera))
