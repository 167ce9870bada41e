"""A person as an :class:`dexhil_env.hil.operator.Operator`: hears device messages, takes arm and hand over, holds when nobody answers.

Everything that moves the robot is decided at a servo tick from the messages heard there and the time of that tick, so that a recorded
stream gives the same episode again, bit for bit (:mod:`dexhil_env.hil.live.replay`).
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dexhil_env.env import DexHiLEnv
from dexhil_env.hil.hand_map import HandAnchor
from dexhil_env.hil.live.health import Health
from dexhil_env.hil.live.inbox import Inbox, Stamped
from dexhil_env.hil.live.messages import ARM_DEVICES, HAND_DEVICES, Message
from dexhil_env.hil.live.metrics import TakeoverMeter
from dexhil_env.hil.live.person import LivePerson, Retarget, SteadyAnchor
from dexhil_env.hil.live.stream import Heard, Recording, Source, StreamWriter
from dexhil_env.hil.live.view import arm_kinematics, view_axes
from dexhil_env.hil.live.waiting import VERDICTS, WAKERS, SecondLook, await_start
from dexhil_env.hil.live.wish import LiveConfig, Wish
from dexhil_env.hil.teleop import Teleop
from dexhil_env.types import ARM, F64, HAND, Command, Verdict

logger = logging.getLogger(__name__)

Mode = Literal["AUTO", "HUMAN", "HOLD", "LOST", "ESTOP", "JUDGED", "READY", "SETUP"]


class HumanOperator:
    """See the module's text.

    Args:
        source: an inbox that devices fill, or a recording.
        config: how the person is treated.
        name: for the record, e.g. ``"console"``.
        retarget: turns a hand's keypoints into motor angles.
        folder: where device streams are written; None writes none.

    Attributes:
        on_period: called after every control period and while waiting for a start, for displays.
    """

    def __init__(
        self,
        source: Inbox | Recording,
        config: LiveConfig | None = None,
        *,
        name: str = "live",
        retarget: Retarget | None = None,
        folder: str | Path | None = None,
    ) -> None:
        self.config, self.name = config or LiveConfig(), name
        self.inbox = source if isinstance(source, Inbox) else None
        self._source: Source = Heard(source) if isinstance(source, Inbox) else source
        self._retarget, self.stream = retarget, StreamWriter(folder)
        self.meter, self.health = TakeoverMeter(), Health()
        self.on_period: Callable[[], None] = lambda: None
        self._env: DexHiLEnv | None = None
        self._header: dict[str, Any] = {}
        self._wish, self._ready, self._waiting = Wish(), True, False
        self._look_again: SecondLook | None = None
        self._leaving: list[Stamped] = []

    # ---- life --------------------------------------------------------------------------------------------------------------------

    def announce(self, header: dict[str, Any]) -> None:
        """Say what the next episode is, for the head of its device stream."""
        self._header = header

    def reset(self, env: DexHiLEnv, rng: np.random.Generator) -> None:
        """A new episode is laid; wait for the person, if so configured.

        Raises:
            PersonLeft: the person has asked to end the program (dexhil_env.hil.live.waiting).
        """
        del rng
        if env is not self._env:
            self._env, axes = env, view_axes(env)
            self.person = LivePerson(axes, self._retarget)
            arm_map = SteadyAnchor(self.person, self.config.alignment, self.config.scale)
            self.teleop = Teleop(arm_kinematics(env), self.person, arm_map, hand_map=HandAnchor(pick_up=True))
        self._wish, self._ready, self._look_again = Wish(), False, None
        self._tick, self._heard_s, self._now = 0, 0.0, 0.0
        self._spoke = {"arm": 0.0, "hand": 0.0}
        self._commanded = env.servo.commanded.copy()
        self.person.reset()
        self.teleop.reset()
        self.meter.reset()
        self._await_start()
        self.health.reset()
        hand = getattr(self._retarget, "facts", {})
        self.stream.begin({**self._header, "config": vars(self.config), "operator": self.name, "hand": hand})
        self._ready = True

    def _await_start(self) -> None:
        if self.inbox is None:
            return
        # what was pressed before the scene was laid is not meant for it, except that the person wants to leave
        news = [stamped for stamped in (*self._leaving, *self.inbox.take()) if stamped.message["type"] == "quit"]
        if news or self.config.wait_for_start:
            self._waiting = True
            await_start(self.inbox, news, self.on_period)
            self._waiting = False

    def close(self) -> None:
        """Nothing more is written."""
        self.stream.close()

    # ---- the episode -------------------------------------------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """What a person must know at a glance."""
        wish = self._wish
        if not self._ready:
            return "READY" if self._waiting else "SETUP"
        if wish.stopped is not None:
            return "ESTOP"
        if self._look_again is not None and self._look_again.waits:
            return "JUDGED"
        driven = self.driven
        if not any(driven):
            return "HOLD" if wish.paused else "AUTO"
        if wish.silent or wish.gone:
            return "LOST"
        holds = wish.paused or all(held for limb, held in zip(driven, self._held(), strict=True) if limb)
        return "HOLD" if holds else "HUMAN"

    @property
    def driven(self) -> tuple[bool, bool]:
        """Whether the person is in charge of arm and hand."""
        stays = self.config.release == "hold" or (self._wish.paused and not self.freezes)
        return (True, True) if stays else self._wish.limbs

    @property
    def clutch(self) -> tuple[bool, bool]:
        """Which limbs the person keeps still."""
        return self._wish.clutch

    @property
    def freezes(self) -> bool:
        """Whether time can stand still: in the twin."""
        return self._env is not None and hasattr(self._env.backend, "save_state")

    def _held(self) -> tuple[bool, bool]:
        wish = self._wish
        everything = wish.parked or wish.gone or wish.silent or (wish.paused and not wish.stepping)
        arm, hand = (everything or still or not limb for limb, still in zip(wish.limbs, wish.clutch, strict=True))
        return arm, hand

    def watch(self, t_s: float, commanded: F64) -> None:
        """Show the scene; in the twin, time stands still while the person pauses, and a step lets one control period pass."""
        self._now, self._commanded = t_s, commanded
        self.on_period()
        if self._wish.paused and self.freezes and self.inbox is not None:
            while not self.inbox.wait_for(WAKERS, 0.1):
                self.on_period()

    def poll(self, t_s: float, commanded: F64) -> Command:
        """Hear what is new and return the commands of this servo tick."""
        for stamped in self._source.take(self._tick):
            self.stream.hear(self._tick, t_s, stamped)
            self._hear(stamped, t_s, commanded)
        self._tick += 1
        self._now = t_s
        wish = self._wish
        wish.silent = any(wish.limbs) and t_s - self._heard_s > self.config.dead_man_s
        if wish.stopped is not None:
            return wish.stopped
        driven = self.driven
        self.teleop.engage(*driven)
        self.teleop.hold(*(drives and held for drives, held in zip(driven, self._held(), strict=True)))
        began = self.meter.count
        command = self.teleop.poll(t_s, commanded)
        self._measure(t_s, command, commanded, began)
        return command

    def _measure(self, t_s: float, command: Command, commanded: F64, began: int) -> None:
        if command.arm is None and command.hand is None and not any(self.meter.drives):
            return
        devices = (self.person.last_cube, self.person.last_glove)
        self.meter.tick(t_s, command, self.driven, devices, commanded)
        if self.meter.count != began:
            self.meter.reaches(self.teleop.hand_map)
        if command.arm is not None and self.mode == "HUMAN":
            self.person.leash(self.teleop.arm_map, self.teleop.palm)
        self.person.hand_driven = command.hand is not None
        self.health.command(command)

    def _hear(self, stamped: Stamped, t_s: float, commanded: F64) -> None:
        message, kind, wish = stamped.message, str(stamped.message["type"]), self._wish
        self.health.hear(stamped)
        if kind != "lost":
            self._heard_s = t_s
        if kind in ARM_DEVICES or kind in HAND_DEVICES:
            self._hear_device(kind, message, t_s)
        elif kind == "engage":
            self._hear_engage((message["arm"], message["hand"]), stamped)
        elif kind == "clutch":
            wish.clutch = (message["arm"], message["hand"])
        elif kind in ("hold", "lost"):
            wish.parked, wish.gone = kind == "hold" or wish.parked, kind == "lost" or wish.gone
        elif kind == "pause":
            wish.paused, wish.stepping = message["on"], False
        elif kind == "step":
            wish.stepping = wish.paused and self.freezes
        elif kind == "estop":
            self._stop(t_s, commanded)
        elif kind == "quit":
            self._leaving = [stamped]
        else:
            self._hear_words(kind, message)

    def _hear_engage(self, limbs: tuple[bool, bool], stamped: Stamped) -> None:
        wish = self._wish
        if any(now and not before for now, before in zip(limbs, wish.limbs, strict=True)):
            self.meter.press(stamped.t_ns if self.inbox is not None else None)
        if wish.parked or wish.gone:
            self.teleop.reanchor(*limbs)
        wish.limbs, wish.parked, wish.gone = limbs, False, False

    def _hear_device(self, kind: str, message: Message, t_s: float) -> None:
        limb = "arm" if kind in ARM_DEVICES else "hand"
        before = (self.person.arm_device, self.person.hand_device)
        if not self.person.hear(message, t_s):
            self.health.unused += 1
            return
        now = (self.person.arm_device, self.person.hand_device)
        late = t_s - self._spoke[limb] > self.config.stale_s and kind in ("cube", "wrist", "keypoints")
        self._spoke[limb] = t_s
        if limb == "arm" and (now[0] != before[0] or late):
            self.teleop.reanchor(True, False)
        if limb == "hand" and (now[1] != before[1] or late):
            self.teleop.reanchor(False, True)

    def _hear_words(self, kind: str, message: Message) -> None:
        wish = self._wish
        if kind == "verdict":
            wish.verdict, wish.redo = VERDICTS[message["value"]], message["value"] == "redo"
        elif kind == "tag":
            wish.tags.append(message["text"])
            self.meter.name(message["text"])
        elif kind == "note":
            wish.notes.append(message["text"])

    def _stop(self, t_s: float, commanded: F64) -> None:
        if self._wish.stopped is None:
            stamp = round(t_s * 1e9)
            self._wish.stopped = Command(commanded[ARM].copy(), commanded[HAND].copy(), stamp, stamp)
        self.stop_robot()

    def stop_robot(self) -> None:
        """Stop a real robot at once, from any thread; the twin is stopped at its next servo tick."""
        estop = getattr(self._env.backend, "estop", None) if self._env is not None else None
        if estop is not None:
            estop("the person's stop key")

    def verdict(self) -> Verdict:
        """Return the person's judgement; a stop ends the episode."""
        if self._wish.stopped is not None:
            return Verdict.DISCARD
        return self._wish.verdict

    @property
    def redo(self) -> bool:
        """Whether the person wants the same scene again."""
        return self._wish.redo

    def _reconsider(self) -> None:
        """Let the person take the verdict back; a recorded one does what it did."""
        self._look_again = look = SecondLook(self._wish, self.config.second_look_s)
        if self.inbox is not None:
            look.wait(self.inbox, lambda stamped: self.stream.hear(self._tick, self._now, stamped), self.on_period)
            return
        for stamped in self._source.take(self._tick):
            look.hear(stamped.message)
        look.settle()

    @property
    def second_verdict(self) -> Verdict | None:
        """What the person says of the last episode after having taken the first verdict back; None when nothing was changed."""
        return self._wish.verdict if self._look_again is not None and self._look_again.changed else None

    def facts(self) -> dict[str, object]:
        """Return takeovers with their metrics, tags, notes, and the devices' rates; a verdict can be taken back first."""
        if self._wish.verdict in (Verdict.SUCCESS, Verdict.FAILURE) and self._wish.stopped is None:
            self._reconsider()
        self.stream.end(self._tick)
        wish = self._wish
        stopped: dict[str, object] = {"interrupted": "the person pressed stop"} if wish.stopped is not None else {}
        written = {"device_stream": self.stream.path.name} if self.stream.path is not None else {}
        return {
            "operator": self.name, "takeovers": self.meter.facts(), "tags": wish.tags, "notes": wish.notes, "redo": wish.redo,
            "devices": self.health.facts(), **written, **stopped,
        }  # fmt: skip
