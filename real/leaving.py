"""Leaving in an orderly way when the system asks the program to end."""

import signal
import threading
from types import FrameType


def on_sigterm() -> None:
    """Let SIGTERM end the program like ``sys.exit``, so that drivers stop their robots; without it Python dies on the spot.

    A program that handles SIGTERM itself keeps its own way; so do programs that connect to a robot outside of their main thread.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
