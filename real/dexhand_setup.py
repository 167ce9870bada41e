"""Conversations with the boards of the hand: which firmware, how often they report, clearing their errors. Nothing here moves a motor."""

import time

from dexhil_env.errors import DeviceError, DeviceTimeout
from real.dexhand_link import HandLink
from real.dexhand_protocol import BOARDS, BROADCAST_FIRMWARE, FeedbackMode, Generation, clear_error_frame, feedback_frame, firmware_frame

PROBE_UNITS = 10
"""Period with which the unit is measured: 100 ms or 10 ms, whichever the unit is, and never too fast for the bus."""
PROBE_S = 0.25
VERIFY_S = 0.15


def detect_generation(link: HandLink) -> Generation:
    """Ask every board for its firmware version.

    Raises:
        DeviceTimeout: boards do not answer.
        DeviceError: the boards differ.
    """
    firmware, side = link.monitor.firmware, link.config.side
    deadline = time.monotonic() + link.config.connect_timeout_s
    while len(firmware) < 6 and time.monotonic() < deadline:
        link.send(*(firmware_frame(side, board) for board in range(6) if board not in firmware))
        link.wait(lambda: len(firmware) == 6, 0.1)
    missing = [BOARDS[board] for board in range(6) if board not in firmware]
    if missing:
        raise DeviceTimeout(
            f"no firmware version from {', '.join(missing)} within {link.config.connect_timeout_s} s; check power, cable and bit rates; "
            "if the hand works but does not answer this question, set generation in the configuration"
        )
    new = [version >= BROADCAST_FIRMWARE for version in firmware.values()]
    if any(new) and not all(new):
        raise DeviceError(f"the boards run different firmware, {firmware}; update them, or set generation in the configuration")
    return Generation.GEN2 if all(new) else Generation.GEN1


def set_feedback(link: HandLink) -> float:
    """Make every board report regularly, and measure how often it does.

    Returns:
        measured period [s].

    Raises:
        DeviceTimeout: boards stay silent, or report too seldom.
        DeviceError: boards report so often that they fill the bus.
    """
    wanted, unit_ms = link.config.feedback_period_s, link.config.feedback_unit_ms
    if unit_ms is None:
        # geometric middle of the two periods that the probe can mean
        unit_ms = 10 if _request(link, PROBE_UNITS, PROBE_S) > 0.032 else 1
    period = _request(link, max(1, round(wanted * 1e3 / unit_ms)), VERIFY_S)
    if period > max(3 * wanted, 0.5 * link.config.bus_timeout_s):
        raise DeviceTimeout(f"the boards report every {period * 1e3:.0f} ms, {wanted * 1e3:.0f} ms were asked for; check feedback_unit_ms")
    if period < wanted / 3:
        raise DeviceError(f"the boards report every {period * 1e3:.1f} ms, {wanted * 1e3:.0f} ms were asked for; check feedback_unit_ms")
    return period


def _request(link: HandLink, units: int, measure_s: float) -> float:
    """Set the period on the wire and return the longest mean period of a board [s]."""
    link.send(*(feedback_frame(link.config.side, board, FeedbackMode.PERIODIC, units) for board in range(6)))
    counts = link.monitor.counts
    before, start = list(counts), time.monotonic()
    if not link.wait(lambda: all(now > then for now, then in zip(counts, before, strict=True)), link.config.connect_timeout_s):
        silent = [BOARDS[board] for board in range(6) if counts[board] == before[board]]
        raise DeviceTimeout(f"no report from {', '.join(silent)} within {link.config.connect_timeout_s} s; check power, cable and side")
    before, start = list(counts), time.monotonic()
    time.sleep(measure_s)
    duration = time.monotonic() - start
    return duration / max(min(now - then for now, then in zip(counts, before, strict=True)), 0.5)


def clear_errors(link: HandLink) -> None:
    """Let every board with an error go on; give up after the connection's time-out, the error then stands."""
    errors = link.monitor.errors
    deadline = time.monotonic() + link.config.connect_timeout_s
    while any(any(pair) for pair in errors) and not link.lost and time.monotonic() < deadline:
        boards = [board for board, pair in enumerate(errors) if any(pair)]
        with link.lock:
            for board in boards:
                link.monitor.note_cleared(board)
        link.send(*(clear_error_frame(link.config.side, board) for board in boards))
        link.wait(lambda: not any(any(pair) for pair in errors), link.config.clear_interval_s)


def settle(link: HandLink) -> None:
    """Wait until every board has reported anew, or a fault is known."""
    counts = link.monitor.counts
    before = list(counts)
    link.wait(
        lambda: bool(link.monitor.faults) or all(now > then for now, then in zip(counts, before, strict=True)),
        2 * link.config.board_timeout_s,
    )
    with link.lock:
        link.monitor.check(time.monotonic_ns())
