"""Where the robot waits for a person's word: a verdict can be taken back for a moment, and the next episode starts when the person says."""

import time
from collections.abc import Callable
from typing import Final

from dexhil_env.episode import Episode
from dexhil_env.errors import DexHiLError
from dexhil_env.hil.live.inbox import Inbox, Stamped
from dexhil_env.hil.live.messages import Message
from dexhil_env.hil.live.wish import Wish
from dexhil_env.types import Verdict

SECOND_LOOK_S: Final = 5.0
"""How long a verdict can be taken back, where a person sits there [s]."""
STARTERS: Final = frozenset({"start", "engage", "quit"})
"""What begins an episode that has been laid, or ends the program."""
WORDS: Final = frozenset({"undo", "verdict", "start", "quit", "lost"})
"""What is heard after a verdict: ``start`` keeps it at once."""
WAKERS: Final = frozenset({"pause", "step", "estop", "verdict", "quit"})
"""What ends a pause in which time stands still, if only for a control period."""
VERDICTS: Final = {
    "success": Verdict.SUCCESS, "failure": Verdict.FAILURE, "discard": Verdict.DISCARD, "redo": Verdict.DISCARD,
}  # fmt: skip


class PersonLeft(DexHiLError, RuntimeError):
    """The person has asked to end the program while an episode was laid."""


def await_start(inbox: Inbox, news: list[Stamped], on_period: Callable[[], None]) -> None:
    """Wait until the person starts the episode; the word stays in the inbox.

    Args:
        inbox: what devices say.
        news: what was said before and counts.
        on_period: called ten times a second meanwhile.

    Raises:
        PersonLeft: the person has asked to end the program.
    """
    while not news and not inbox.wait_for(STARTERS, 0.1):
        on_period()
    for stamped in (*news, *inbox.take()):
        if stamped.message["type"] == "quit":
            raise PersonLeft("the person has ended the collection")
        if stamped.message["type"] in STARTERS:
            inbox.put(stamped.message, stamped.t_ns)


class SecondLook:
    """Waits for another word on an episode that the person has judged.

    Nothing is decided for a person who has taken a verdict back and stays; who leaves then has said the first one.

    Args:
        wish: holds the verdict, and gets the new one.
        seconds: how long to wait.

    Attributes:
        over: the verdict is final.
    """

    def __init__(self, wish: Wish, seconds: float) -> None:
        self._wish, self._first = wish, (wish.verdict, wish.redo)
        self._end_s = time.monotonic() + seconds
        self.over = False

    @property
    def left_s(self) -> float:
        """Time that is left for taking the verdict back [s]."""
        return max(0.0, self._end_s - time.monotonic())

    @property
    def waits(self) -> bool:
        """Whether another word may come."""
        return not self.over and (self._wish.verdict is Verdict.NONE or self.left_s > 0.0)

    @property
    def changed(self) -> bool:
        """Whether the verdict is another one than at first."""
        return (self._wish.verdict, self._wish.redo) != self._first

    def hear(self, message: Message) -> None:
        """Take note of one of :data:`WORDS`."""
        wish, kind = self._wish, message["type"]
        if kind == "undo":
            wish.verdict, wish.redo = Verdict.NONE, False
        elif kind == "verdict":
            wish.verdict, wish.redo, self.over = VERDICTS[message["value"]], message["value"] == "redo", True
        elif kind in WORDS and not (kind == "start" and wish.verdict is Verdict.NONE):
            self.settle()

    def wait(self, inbox: Inbox, note: Callable[[Stamped], None], on_period: Callable[[], None]) -> None:
        """Hear what the person says now.

        Args:
            inbox: what devices say; a wish to leave stays there, for the one who lays the next scene.
            note: told every word that counts, for a recording.
            on_period: called ten times a second meanwhile.
        """
        while self.waits:
            on_period()
            if not inbox.wait_for(WORDS, 0.1):
                continue
            for stamped in inbox.take():
                if stamped.message["type"] in WORDS and not self.over:
                    note(stamped)
                    self.hear(stamped.message)
                if stamped.message["type"] == "quit":
                    inbox.put(stamped.message, stamped.t_ns)

    def settle(self) -> None:
        """Nothing more will come: what was taken back counts after all."""
        self.over = True
        if self._wish.verdict is Verdict.NONE:
            self._wish.verdict, self._wish.redo = self._first


def judge_again(episode: Episode, verdict: Verdict) -> None:
    """Write another verdict into an episode that has ended with a verdict."""
    episode.success[-1], episode.truncated[-1] = verdict is Verdict.SUCCESS, verdict is Verdict.DISCARD
    episode.extra["verdict"] = verdict.value
