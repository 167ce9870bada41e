"""Waiting for something to come true, with time for a loaded machine."""

import time
from collections.abc import Callable

PATIENCE_S = 8.0
_POLL_S = 0.005


def until(done: Callable[[], object], timeout_s: float = PATIENCE_S) -> bool:
    """Tell whether ``done`` comes true in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(_POLL_S)
    return False


def wait_until(done: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Wait until ``done`` comes true; the test fails when it does not."""
    assert until(done, timeout_s), "nothing happened"
