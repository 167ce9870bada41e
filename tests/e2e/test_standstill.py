"""What the loop's benchmark says of the computer that it runs on."""

import time

from benchmarks.standstill import Standstills, together, touched


def test_only_what_all_processors_miss_is_a_standstill():
    assert together([[(0.0, 1.0), (2.0, 3.0), (4.0, 5.0)], [(0.5, 2.5), (5.0, 6.0)]]) == [(0.5, 1.0), (2.0, 2.5)]
    assert together([[(0.0, 1.0)]]) == [(0.0, 1.0)]
    assert together([[(0.0, 1.0)], []]) == []
    assert touched((0.9, 2.0), [(0.5, 1.0)])
    assert not touched((1.0, 2.0), [(0.5, 1.0), (2.0, 3.0)])


def test_the_computer_is_watched():
    begin = time.monotonic()
    with Standstills() as machine:
        time.sleep(0.3)
    assert all(begin < first < last for first, last in machine.intervals)
    assert isinstance(machine.first, bool)
