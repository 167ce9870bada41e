"""SIGTERM ends a program in order."""

import os
import signal

import pytest

from dexhil_env.leaving import on_sigterm


@pytest.fixture
def unhandled():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("unhandled")
@pytest.mark.parametrize(("like_ctrl_c", "raised"), [(False, SystemExit), (True, KeyboardInterrupt)])
def test_it_ends_the_program_like_exit_or_like_ctrl_c(like_ctrl_c, raised):
    on_sigterm(like_ctrl_c)
    with pytest.raises(raised) as caught:
        terminate()
    if raised is SystemExit:
        assert caught.value.code == 128 + signal.SIGTERM


@pytest.mark.usefixtures("unhandled")
def test_a_program_that_handles_it_keeps_its_way():
    seen = []
    signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    on_sigterm()
    on_sigterm(like_ctrl_c=True)
    terminate()
    assert seen == [signal.SIGTERM]
