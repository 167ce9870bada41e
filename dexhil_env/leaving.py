"""Leaving in an orderly way when the system asks the program to end."""

import signal
import threading
from types import FrameType


def on_sigterm(like_ctrl_c: bool = False) -> None:
    """Let SIGTERM end the program in order, so that drivers stop their robots and files are closed; without it Python dies on the spot.

    A program that handles SIGTERM itself keeps its own way; so do programs that call this outside of their main thread.

    Args:
        like_ctrl_c: raise :class:`KeyboardInterrupt`; otherwise :class:`SystemExit`, as ``sys.exit`` does.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler if like_ctrl_c else _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
