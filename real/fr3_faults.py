"""What is wrong with the arm, until somebody has looked at it."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

from dexhil_env.errors import DeviceError

logger = logging.getLogger(__name__)


class Faults:
    """Texts, oldest first, each once; false while there are none. May be used from several threads.

    Attributes:
        texts: the faults.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __bool__(self) -> bool:
        return bool(self.texts)

    def note(self, text: str) -> None:
        """Remember a fault, and log it."""
        if text not in self.texts:
            self.texts.append(text)
            logger.error("arm: %s", text)

    def note_end(self, error: DeviceError) -> None:
        """Remember why a motion has ended, unless that is the consequence of what is known already."""
        if self.texts:
            logger.debug("arm: %s", error)
        else:
            self.note(str(error))

    @contextmanager
    def noting(self) -> Generator[None]:
        """Remember an error of the arm inside, as :meth:`note_end` does, and let it pass on."""
        try:
            yield
        except DeviceError as error:
            self.note_end(error)
            raise

    def refuse(self) -> None:
        """Raise when there are any.

        Raises:
            DeviceError: names them all, and what to do.
        """
        if self.texts:
            raise DeviceError(f"the arm has stopped: {'; '.join(self.texts)}. Look at the robot, then call recover()")

    def clear(self) -> None:
        """Forget them: somebody has looked at the arm."""
        self.texts.clear()
