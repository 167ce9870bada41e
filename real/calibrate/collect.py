"""Taking the pictures: a person guides the arm or the arm moves itself, and a view counts when everything stands still."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from dexhil_env.errors import DeviceError
from dexhil_env.types import F64, U8
from real.calibrate.boards import Board, Detection, find_board
from real.calibrate.solve import View
from real.cameras import Frame
from real.fr3_state import ArmState
from real.optional import require

STILL_RAD: Final = 0.001
"""Between two looks the arm may have moved so far; 1 mrad is about 1 mm at the hand."""
STILL_PX: Final = 0.5
STILL_S: Final = 0.3
PATIENCE_S: Final = 6.0
"""Standing still takes a while after a motion; longer than this is a person's business."""


class Arm(Protocol):
    """What is asked of the arm; :class:`real.fr3.FR3` can do it."""

    def state(self) -> ArmState:
        """Newest state."""
        ...

    def home(self, q: F64, speed: float = 0.1) -> None:
        """Move to ``q`` (7,) [rad] and wait."""
        ...

    def recover(self) -> None:
        """Clear faults after a person has looked."""
        ...


class Eye(Protocol):
    """What is asked of the camera; :class:`real.cameras.Camera` can do it."""

    def frame(self) -> Frame:
        """Newest picture."""
        ...


@dataclass
class Collector:
    """Takes views and tells the person about them.

    Attributes:
        eye: the camera.
        board: what is looked for.
        ask: shows a text and waits for a line from the person.
        say: shows a text.
        folder: pictures are kept here, for a second look.
        still_s: how long arm and picture have to stand still [s]; None is ``STILL_S``.
    """

    eye: Eye
    board: Board
    ask: Callable[[str], str]
    say: Callable[[str], None]
    folder: Path | None = None
    still_s: float | None = None
    _count: int = field(default=0, init=False)

    def lens(self, wanted: int) -> list[Detection]:
        """Let the person show the board in ``wanted`` poses."""
        self.say(
            f"Lens: show the {self.board.name} board {wanted} times: near (it fills the picture), far, in every corner of the picture,"
        )
        self.say("tilted by 20 to 45 deg to all sides. Lay or hold it still for each picture. Picture and board must be sharp.")
        found: list[Detection] = []
        while len(found) < wanted and self._wants(f"[{len(found)}/{wanted}] Enter: take, d: done > "):
            seen = self._look(None)
            if seen is not None:
                found.append(seen)
        return found

    def table(self, wanted: int) -> list[Detection]:
        """Look at a board that lies still, ``wanted`` times."""
        self.ask("Lay the board at the place that you gave, arm and hands out of the picture. Enter: go > ")
        found = [self._look(None) for _ in range(wanted)]
        return [seen for seen in found if seen is not None]

    def guided(self, arm: Arm, forward: Callable[[F64], F64], wanted: int) -> list[View]:
        """Let the person guide the arm to ``wanted`` poses.

        Args:
            arm: only read.
            forward: ``T_base_ee`` (4, 4) of joint angles (7,) [rad].
            wanted: number of views.
        """
        self.say(f"Guide the arm by hand (both buttons at its wrist) to {wanted} poses; let go before each picture.")
        self.say("Tilt the hand forwards, backwards, to both sides and turn it, 20 to 40 deg; wander over the whole picture, near and far.")
        found: list[View] = []
        while len(found) < wanted and self._wants(f"[{len(found)}/{wanted}] Enter: take, d: done > "):
            self._add(found, arm, forward)
        return found

    def driven(self, arm: Arm, forward: Callable[[F64], F64], poses: Sequence[F64], speed: float) -> list[View]:
        """Let the arm go to ``poses`` (7,) [rad], each from the first one, and back to it."""
        found: list[View] = []
        start = arm.state().q
        for number, q in enumerate(poses, 1):
            self.say(f"pose {number} of {len(poses)}")
            arm.home(q, speed)
            self._add(found, arm, forward)
            arm.home(start, speed)
        return found

    def _wants(self, text: str) -> bool:
        return self.ask(text).strip().lower() not in ("d", "done", "q")

    def _add(self, found: list[View], arm: Arm, forward: Callable[[F64], F64]) -> None:
        seen = self._look(arm)
        if seen is not None:
            found.append(View(seen, forward(arm.state().q)))

    def _look(self, arm: Arm | None) -> Detection | None:
        """Wait until arm and board stand still and return the board; None when it is not seen, after saying so."""
        deadline = time.monotonic() + PATIENCE_S
        moved = "nothing"
        while time.monotonic() < deadline:
            q, first = self._posture(arm), self._fresh()
            time.sleep(STILL_S if self.still_s is None else self.still_s)
            image = self._fresh()
            before, seen = find_board(first, self.board), find_board(image, self.board)
            if seen is None or before is None:
                self.say(
                    f"the {self.board.name} board is not seen (6 corners at least): look at light, distance, tilt, things in front of it"
                )
                return None
            if np.abs(self._posture(arm) - q).max() > STILL_RAD:
                moved = "the arm"
            elif _shift(before, seen) > STILL_PX:
                moved = "the board in the picture"
            else:
                self._keep(image)
                self.say(f"taken: {len(seen)} corners")
                return seen
        self.say(f"not taken: {moved} does not stand still")
        return None

    def _posture(self, arm: Arm | None) -> F64:
        if arm is None:
            return np.zeros(7)
        state = arm.state()
        if state.age_s > 0.5:
            raise DeviceError(f"the arm has sent nothing for {state.age_s:.1f} s; see `dexhil real check`")
        return state.q

    def _fresh(self) -> U8:
        """A picture that was taken after this call."""
        asked, deadline = time.monotonic_ns(), time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            frame = self.eye.frame()
            if frame.t_ns >= asked:
                return frame.image
            time.sleep(0.005)
        raise DeviceError(f"the camera has sent no new picture for {PATIENCE_S:g} s; see `dexhil real check`")

    def _keep(self, image: U8) -> None:
        self._count += 1
        if self.folder is not None:
            cv2: Any = require("cv2", "real")
            self.folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(self.folder / f"{self._count:02d}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def _shift(before: Detection, after: Detection) -> float:
    """How far the corners that both pictures show have moved, median [px]; infinity when they share none."""
    distance = np.linalg.norm(before.points_m[:, None] - after.points_m[None], axis=2)
    i, j = np.nonzero(distance < 1e-6)
    return float(np.median(np.linalg.norm(before.points_px[i] - after.points_px[j], axis=1))) if len(i) else float("inf")
