"""A person at the browser console as an operator: the live operator with a server, pictures, and a page that shows what happens."""

import logging
import time
from typing import Any, Final

import numpy as np

from dexhil_env import robot
from dexhil_env.env import DexHiLEnv
from dexhil_env.hil.console.server import ConsoleServer
from dexhil_env.hil.console.spectator import Spectator
from dexhil_env.hil.console.webcam import Tracker, WebcamEye
from dexhil_env.hil.live import grasps
from dexhil_env.hil.live.inbox import Inbox
from dexhil_env.hil.live.operator import HumanOperator
from dexhil_env.hil.live.person import Retarget
from dexhil_env.hil.live.waiting import SECOND_LOOK_S
from dexhil_env.hil.live.wish import LiveConfig
from dexhil_env.registration import MAX_EPISODE_STEPS
from dexhil_env.transforms import quat_matrix, rotvec
from dexhil_env.types import ARM, F64, HAND, Verdict

logger = logging.getLogger(__name__)

FAILURE_TAGS: Final = ("missed the object", "closed too early", "lost the grip", "no progress", "unsafe", "other")


class ConsoleOperator(HumanOperator):
    """See the module's text.

    Args:
        config: how the person is treated.
        folder: where device streams are written; None writes none.
        retarget: turns a hand's keypoints into motor angles.
        tracker: finds the cube in the pictures of the person's webcam.
        episodes: how many are wanted, for the display; 0 is open.
        where: dataset that is recorded, for the display.
        host, port, token, origins: see :class:`ConsoleServer`.
    """

    def __init__(
        self,
        config: LiveConfig | None = None,
        *,
        folder: str | None = None,
        retarget: Retarget | None = None,
        tracker: Tracker | None = None,
        episodes: int = 0,
        where: str = "",
        host: str = "127.0.0.1",
        port: int = 8765,
        token: str | None = None,
        origins: tuple[str, ...] = (),
    ) -> None:
        inbox = Inbox()
        super().__init__(
            inbox, config or LiveConfig(wait_for_start=True, second_look_s=SECOND_LOOK_S), name="console", retarget=retarget, folder=folder
        )
        self._eye = WebcamEye(tracker, inbox) if tracker is not None else None
        on_picture = self._eye.see if self._eye is not None else None
        self.server = ConsoleServer(inbox, host, port, token, origins, on_picture, self.stop_robot)
        self._abilities = {"hand_tracking": retarget is not None, "webcam_cube": tracker is not None}
        self._spectator: Spectator | None = None
        self._tally, self._episode, self._wanted, self._where = {"success": 0, "failure": 0, "discarded": 0}, 0, episodes, where
        self._last, self._extra_header = "", dict[str, Any]()
        self._strip: list[list[int]] = []
        self._interventions = 0
        self.on_period = self._look
        logger.info("console: open %s in a browser", self.server.url)

    def reset(self, env: DexHiLEnv, rng: np.random.Generator) -> None:
        """Show the scene and wait for the person."""
        if self._spectator is None:
            self._spectator = Spectator(env, env.backend.cameras or ("front", "wrist"), self._publish)
        self._strip, self._interventions, self._began_s = [], 0, time.monotonic()
        self._episode += 1
        super().reset(env, rng)
        self._began_s = time.monotonic()

    def verdict(self) -> Verdict:
        """Return the person's judgement; also the moment to look at what the last period was."""
        if self._env is not None:
            code = int(self._env.servo.report.source)
            if not self._strip or self._strip[-1][0] != code:
                self._interventions += code != 0 and (not self._strip or self._strip[-1][0] == 0)
                self._strip.append([code, 0])
            self._strip[-1][1] += 1
        return super().verdict()

    def facts(self) -> dict[str, object]:
        """Return the facts and count the episode."""
        facts = super().facts()
        judged, done = super().verdict(), self._env is not None and self._env.evaluation.success
        if judged is Verdict.DISCARD:
            self._last = "redo" if self.redo else "stopped" if "interrupted" in facts else "discarded"
            self._tally["discarded"] += 1
        else:
            good = judged is Verdict.SUCCESS or (judged is Verdict.NONE and done)
            self._last = "success" if good else "failure"
            self._tally[self._last] += 1
        self._ready = False
        self._look()
        return facts

    def close(self) -> None:
        """Stop showing."""
        super().close()
        if self._spectator is not None:
            self._spectator.close()
        if self._eye is not None:
            self._eye.close()
        self.server.close()

    # ---- showing -----------------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        if self._spectator is not None and self._env is not None and self._spectator.free:
            commanded = self._env.servo.commanded.copy()
            target = self.teleop.ik.forward(commanded[ARM])
            self._extra_header = self._header_now(commanded, target)
            self._spectator.offer(target)

    def _publish(self, pictures: list[bytes], notes: dict[str, Any]) -> None:
        names = self._spectator.cameras if self._spectator is not None else ()
        self.server.publish({**self._extra_header, **notes, "mode": self.mode, "cameras": names}, pictures)

    def _header_now(self, commanded: F64, target: F64) -> dict[str, Any]:
        env = self._env
        assert env is not None
        state = env.measured
        assert state is not None
        limit = int(self._header.get("max_episode_steps") or MAX_EPISODE_STEPS)
        steps = sum(length for _, length in self._strip)
        human = sum(length for code, length in self._strip if code)
        offset = target[:3, 3] - state.ee_pose[:3]
        turn = rotvec(target[:3, :3] @ quat_matrix(state.ee_pose[3:]).T)
        hand = state.hand_motor_pos
        return {
            "instruction": env.instruction,
            "t_s": round(steps * robot.CONTROL_PERIOD_S, 2),
            "limit_s": limit * robot.CONTROL_PERIOD_S,
            "episode": {"number": self._episode, "wanted": self._wanted, **self._header},
            "strip": self._strip,
            "interventions": self._interventions,
            "human_s": round(human * robot.CONTROL_PERIOD_S, 2),
            "tally": self._tally,
            "last": self._last,
            "verdict": self._wish.verdict.value,
            "verdict_left_s": round(self._look_again.left_s, 1) if self._look_again is not None else 0.0,
            "driven": self.driven if self._ready else (False, False),
            "clutch": self.clutch,
            "demonstration": self.config.release == "hold",
            "paused": self._wish.paused,
            "steps": self.freezes,
            "ghost": {"mm": round(1e3 * float(np.linalg.norm(offset)), 1), "deg": round(float(np.degrees(np.linalg.norm(turn))), 1)},
            "ee": [round(float(x), 3) for x in state.ee_pose[:3]],
            "closed": [round(x, 2) for x in grasps.closures(hand)],
            "wanted": [round(x, 2) for x in grasps.closures(commanded[HAND])],
            "synergy": {name: grasps.nearest(name, commanded[HAND]) for name in grasps.CLOSED},
            "force": [round(float(x), 2) for x in state.fingertip_force],
            "progress": round(float(env.evaluation.progress), 3),
            "devices": self.health.devices(),
            "unused": self.health.unused,
            "tags": list(FAILURE_TAGS),
            "where": self._where,
            "abilities": self._abilities,
        }
