"""How much a sender may say: so many messages per second for long, and some more at once."""


class Allowance:
    """A bucket of messages that fills steadily; full at the start.

    Args:
        rate_hz: messages per second that may be taken for long.
        burst: messages that may be taken at once.
    """

    def __init__(self, rate_hz: float, burst: float) -> None:
        self._rate_hz, self._burst = rate_hz, burst
        self._left, self._looked_s = burst, 0.0

    def take(self, now_s: float) -> bool:
        """Take a message at ``now_s`` on a steady clock [s]; return whether it is allowed."""
        self._left = min(self._burst, self._left + self._rate_hz * (now_s - self._looked_s))
        self._looked_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
