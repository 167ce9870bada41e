"""How an episode failed, counted from contact state: one name per episode, without a person who looks.

The paper names two failure modes: bad contact (the hand misses the object) and arm-hand discoordination (the hand closes before the wrist
has arrived). A :class:`ModeWatcher` sees every step with the twin's privileged state, cuts the episode into attempts (the hand closes ...
it opens, or rises empty) and names each. The name of a failed episode is that of its *first* failed attempt: what comes later starts from
a scene that this failure has left behind. The watcher only reads; it changes neither the physics nor what a policy sees.

The thresholds were set by looking at failed episodes of a warm-up policy on seeds from 4,900,000 on, next to the names.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import numpy as np

from dexhil_env.env import DexHiLEnv
from dexhil_env.hil.risk import FLEXION
from dexhil_env.hil.sim_experts import find_twin
from dexhil_env.sim import tissue_pack
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.plush import PlushTask
from dexhil_env.sim.tissue import TIP_SITES, TissueTask
from dexhil_env.types import HAND

Cause = Literal["bad contact", "discoordination", "other"]

SUCCESS: Final = "success"
CAUSES: Final[dict[str, Cause]] = {
    "closed early": "discoordination",
    "missed": "bad contact",
    "missed the edge": "bad contact",
    "slipped": "bad contact",
    "unfinished": "other",
    "never closed": "other",
    "lost": "other",
}
"""Every failure mode, and which of the paper's two it is.

``closed early``: the hand closed where it had not arrived, and touched nothing. ``missed`` (toy), ``missed the edge`` (tissue): it closed
beside, on top of or round too little of the object, which did not come along. ``slipped``: the object came along and was lost.
``unfinished``: the hand still had it at the time limit. ``never closed``: no attempt. ``lost``: the object went out of reach, which ended
the episode, whatever came before.
"""
TWITCH_STEPS: Final = 5
"""A hand that was closed for fewer steps and held nothing has twitched, which is no attempt: 0.25 s."""
FIRM_N: Final = 0.5
"""Normal force that counts as firm contact of one side of the hand [N]: grazing a hanging tissue gives 0.1 N, a good pinch 3 N and more."""

GRASP_CENTRE_EE: Final = np.array([0.068, 0.008, 0.040])
"""Middle of the closed hand in the palm frame [m]."""


@dataclass(frozen=True, slots=True)
class _Look:
    """One step of the twin.

    Attributes:
        closed: the hand is closed; None half way.
        arrived: the hand is where it could have the object, or beside it.
        height_m: height of the palm [m].
        gain: how far the task has come: height of the toy's centre [m], or share of the tissue outside of the pack.
    """

    closed: bool | None
    arrived: bool
    height_m: float
    gain: float


class _Eye:
    """Looks at one task's scene.

    Attributes:
        missed: name of a failed attempt in which the object did not come along.
        along: increase of :attr:`_Look.gain` since the closing that shows that the object comes along.
        empty_m: an attempt is over when the palm has risen by this much without the object [m].
        sides: how the names of the bodies begin that hold the object from either side; link1 is the thumb, link2 the index finger.
    """

    missed: ClassVar[str]
    along: ClassVar[float]
    empty_m: ClassVar[float]
    sides: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]]

    def __init__(self, backend: SimBackend) -> None:
        self.data, model = backend.data, backend.model
        self.palm = int(model.site("ee").id)
        self.tips = [int(model.site(name).id) for name in TIP_SITES[:2]]
        self._side = np.full(model.ngeom + 1, -1)  # the soft side of a contact carries geom -1: the last entry, no side
        for geom in range(model.ngeom):
            body = model.body(int(model.geom_bodyid[geom])).name
            for side, names in enumerate(self.sides):
                if body.startswith(names):
                    self._side[geom] = side

    def look(self, info: dict[str, Any]) -> _Look:
        """Judge the present state; ``info`` holds the task's metrics."""
        raise NotImplementedError

    def forces(self) -> tuple[float, float]:
        """Sum of the normal forces on the object from either side [N]; with elliptic cones a contact's first row is its normal."""
        contact = self.data.contact
        row, side = contact.efc_address, self._side[contact.geom].max(axis=1)
        soft = (row >= 0) & (contact.flex >= 0).any(axis=1)
        first, second = (float(self.data.efc_force[row[soft & (side == k)]].sum()) for k in (0, 1))
        return first, second


class _PlushEye(_Eye):
    """The hand closes when the fingers bend at the knuckles; the toy comes along when its centre rises.

    Good grasps close with the middle of the hand 0.10 to 0.12 m above the table; higher than ``high_m``, or further beside the toy than
    ``far_m``, the wrist has not arrived.
    """

    missed, along, empty_m = "missed", 0.025, 0.07
    sides = (("r_f_link1", "right_hand_base"), ("r_f_link2", "r_f_link3", "r_f_link4", "r_f_link5"))
    closed_rad, open_rad, high_m, far_m = 0.55, 0.35, 0.14, 0.20
    motors = np.arange(HAND.stop)[HAND][list(FLEXION)]

    def look(self, info: dict[str, Any]) -> _Look:
        flexion = float(info["applied_action"][self.motors].mean())
        palm = self.data.site_xpos[self.palm]
        centre = self.data.site_xmat[self.palm].reshape(3, 3) @ GRASP_CENTRE_EE + palm
        beside = float(np.hypot(centre[0] - info["toy_x_m"], centre[1] - info["toy_y_m"]))
        closed = True if flexion > self.closed_rad else False if flexion < self.open_rad else None
        return _Look(closed, bool(centre[2] < self.high_m) and beside < self.far_m, float(palm[2]), info["toy_centre_height_m"])


class _TissueEye(_Eye):
    """The hand closes when the tips of thumb and index finger meet; the tissue comes along when more of it stands outside of the pack.

    Good pinches close 0.01 to 0.04 m below the tissue's highest point; more than ``high_m`` above it, or further from its edge than
    ``far_m``, the wrist has not arrived.
    """

    missed, along, empty_m = "missed the edge", 0.02, 0.05
    sides = (("r_f_link1",), ("r_f_link2", "r_f_link3"))
    closed_m, open_m, high_m, far_m = 0.02, 0.04, 0.01, 0.15

    def look(self, info: dict[str, Any]) -> _Look:
        gap = info["tip_gap_m"]
        closed = True if gap < self.closed_m else False if gap > self.open_m else None
        above = float(self.data.site_xpos[self.tips, 2].mean()) - tissue_pack.HEIGHT_M - info["pull_height_m"]
        arrived = above < self.high_m and info["tip_distance_m"] < self.far_m
        return _Look(closed, arrived, float(self.data.site_xpos[self.palm, 2]), info["extracted_fraction"])


class _Attempt:
    """From the closing of the hand to its opening, or until it has risen empty."""

    def __init__(self, eye: _Eye, look: _Look) -> None:
        self._eye, self._start, self._lowest = eye, look.gain, look.height_m
        self._early = not look.arrived and max(eye.forces()) == 0.0
        self.came = self.holds = False
        self._steps = 0

    def goes_on(self, look: _Look) -> bool:
        """Follow one step; False when the attempt is over."""
        self._steps += 1
        self.holds = look.gain > self._start + self._eye.along and min(self._eye.forces()) > FIRM_N
        self.came = self.came or self.holds
        self._lowest = look.height_m if self.holds else min(self._lowest, look.height_m)
        return look.closed is not False and look.height_m < self._lowest + self._eye.empty_m

    @property
    def counts(self) -> bool:
        """Whether this was an attempt at all."""
        return self.came or self._steps > TWITCH_STEPS

    @property
    def mode(self) -> str:
        """Name of the attempt, given that it has failed."""
        if self.came:
            return "slipped"
        return "closed early" if self._early else self._eye.missed


class ModeWatcher:
    """Names how an episode ended. Call :meth:`reset`, then :meth:`see` after every step, then :meth:`mode`.

    Args:
        eye: looks at the task's scene.
    """

    def __init__(self, eye: _Eye) -> None:
        self._eye = eye
        self.reset()

    def reset(self) -> None:
        """Start a new episode."""
        self.attempts: list[str] = []
        self._attempt: _Attempt | None = None
        self._opened = True
        self._end = ""

    def see(self, info: dict[str, Any]) -> None:
        """Look at the twin after a step that returned ``info``."""
        self._end = SUCCESS if info["is_success"] else "lost" if info["is_failure"] else ""
        look = self._eye.look(info)
        self._opened = self._opened or look.closed is False
        if self._attempt is None and look.closed and self._opened:
            self._attempt, self._opened = _Attempt(self._eye, look), False
        if self._attempt is not None and not self._attempt.goes_on(look):
            self.attempts += [self._attempt.mode] if self._attempt.counts else []
            self._attempt, self._opened = None, look.closed is False

    def mode(self) -> str:
        """Return ``"success"`` or a key of :data:`CAUSES`."""
        if self._end:
            return self._end
        if self.attempts:
            return self.attempts[0]
        if self._attempt is None:
            return "never closed"
        return "unfinished" if self._attempt.holds else self._attempt.mode


def watch_failures(env: DexHiLEnv) -> ModeWatcher | None:
    """Return a watcher for a simulated task, None where there is no privileged state or no rule for the task."""
    backend = find_twin(env)
    if backend is None:
        return None
    if isinstance(backend.task, PlushTask):
        return ModeWatcher(_PlushEye(backend))
    return ModeWatcher(_TissueEye(backend)) if isinstance(backend.task, TissueTask) else None
