"""What of an episode is trained on. Recording keeps everything; this decides at training time.

Of a trial with interventions only the segment from the start of the last intervention to task completion is kept (DexHiL paper).
A frame that the policy drove never becomes an intervention label.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.frames import STATE_OFFSETS
from agents.weights import FrameClass
from dexhil_env.episode import Episode
from dexhil_env.errors import ConfigError
from dexhil_env.types import HAND, Source

DROPPED: Final = -1
"""Class of a row that is no anchor and no label."""
PALM_HEIGHT: Final = STATE_OFFSETS["ee_pose"] + 2
"""Column of the palm's height [m] in an episode's state."""


@dataclass(frozen=True)
class FilterConfig:
    """Rules of selection.

    Attributes:
        last_intervention: of a trial with interventions keep only what follows the start of the last one; False keeps all rows.
        drop_failures: drop episodes that did not end in success.
        intervention_free: what a successful trial without intervention becomes, ``"rollout"`` or ``"drop"``.
        policy_frames: what becomes of the frames that the policy drove in a trial with interventions, ``"keep"`` or ``"drop"``; with the
            last intervention alone, those between a hand-back and task completion.
        trim_idle_rad: drop the first frames of an intervention while no target has moved this far from the first [rad]; 0 keeps them.
        trim_retreat: drop the part of a correction before its highest palm point, if the palm goes down again after it.
        retreat_window: the highest point is searched in this many frames after the takeover.
        retreat_drop_m: the palm must go down this far after its highest point to count as a retreat [m].
        trim_reopening: drop the part of a correction in which a closed hand is opened again: without a memory the policy cannot tell it
            from the moment to close, and learns to hover.
        reopening_rad: an opening counts from this change of the mean hand target on [rad].
        boundary: ``"mask"`` ends a chunk's labels where the driver changes, ``"keep"`` lets them run on.
        include_pre_takeover: frames before a takeover that become anchors of the human's following actions.
    """

    last_intervention: bool = True
    drop_failures: bool = True
    intervention_free: str = "rollout"
    policy_frames: str = "keep"
    trim_idle_rad: float = 0.01
    trim_retreat: bool = False
    retreat_window: int = 45
    retreat_drop_m: float = 0.01
    trim_reopening: bool = False
    reopening_rad: float = 0.05
    boundary: str = "mask"
    include_pre_takeover: int = 0

    def __post_init__(self) -> None:
        """Refuse unknown words and negative lengths."""
        if self.intervention_free not in ("rollout", "drop") or self.boundary not in ("mask", "keep"):
            raise ConfigError(
                f"intervention_free must be 'rollout' or 'drop' and boundary 'mask' or 'keep'; "
                f"got {self.intervention_free!r}, {self.boundary!r}"
            )
        if self.policy_frames not in ("keep", "drop"):
            raise ConfigError(f"policy_frames must be 'keep' or 'drop'; got {self.policy_frames!r}")
        if min(self.trim_idle_rad, self.reopening_rad, self.retreat_window, self.retreat_drop_m, self.include_pre_takeover) < 0:
            raise ConfigError("trim_idle_rad, reopening_rad, retreat_window, retreat_drop_m and include_pre_takeover must not be negative")


@dataclass(frozen=True)
class Selection:
    """What is trained on in one episode of T rows.

    Attributes:
        label: (T,) ``FrameClass`` of the action of each row, or ``DROPPED``.
        anchor: (T,) ``FrameClass`` of each row as an observation, or ``DROPPED``.
        segment: (T,) number of the stretch with one driver that a row's action belongs to.
        anchor_segment: (T,) the stretch that an anchor's labels must come from; -1: any.
    """

    label: NDArray[np.int64]
    anchor: NDArray[np.int64]
    segment: NDArray[np.int64]
    anchor_segment: NDArray[np.int64]


def is_demonstration(episode: Episode) -> bool:
    """Return whether a person drove the whole episode: said by ``extra["kind"]``, else every episode of round 0."""
    kind = episode.extra.get("kind")
    return kind == "demo" if kind in ("demo", "rollout") else episode.round == 0


def select(episode: Episode, config: FilterConfig) -> Selection:
    """Apply the rules to one episode (images are not needed)."""
    human = (episode.intervention.astype(bool) & (episode.intervention_source != Source.POLICY)) & ~episode.handover.astype(bool)
    demo = is_demonstration(episode)
    label = np.where(human, FrameClass.INTERVENTION, FrameClass.ROLLOUT).astype(np.int64)
    if demo:
        label[:] = FrameClass.DEMO
    segment = np.cumsum(np.concatenate([[0], (np.diff(label) != 0) | (np.diff(episode.handover.astype(int)) != 0)])).astype(np.int64)
    label[episode.handover.astype(bool) | ~_kept(episode, human, demo, config)] = DROPPED
    anchor = label.copy()
    if not demo:
        for start, end in _runs(human):
            anchor[start : _trimmed(episode, start, end, config)] = DROPPED
    anchor_segment = np.full_like(segment, -1) if config.boundary == "keep" else segment.copy()
    selection = Selection(label, anchor, segment, anchor_segment)
    if not demo:
        _include_before(selection, human, episode.handover.astype(bool), config.include_pre_takeover)
    return selection


def _kept(episode: Episode, human: NDArray[np.bool_], demo: bool, config: FilterConfig) -> NDArray[np.bool_]:
    """Return (T,) rows between the start of what counts and task completion."""
    kept = np.ones(len(episode), dtype=bool)
    if config.drop_failures and not episode.is_success:
        return ~kept
    if demo:
        return kept
    runs = _runs(human)
    if not runs:
        return kept if config.intervention_free == "rollout" else ~kept
    if config.policy_frames == "drop":
        kept &= human
    if config.last_intervention:
        start = runs[-1][0]
        kept[:start] = False
        done = np.flatnonzero(episode.success[start:])
        if len(done):
            kept[start + done[0] + 1 :] = False
    return kept


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (start, end) of every stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _trimmed(episode: Episode, start: int, end: int, config: FilterConfig) -> int:
    """Return the first anchor of an intervention after its idle and its retreating part."""
    first = start
    if config.trim_idle_rad > 0:
        moved = np.abs(episode.action[start:end] - episode.action[start]).max(1) >= config.trim_idle_rad
        first = start + int(np.argmax(moved)) if moved.any() else end
    if config.trim_reopening:
        closure = episode.action[start:end, HAND].mean(1)
        if closure[0] - closure.min() > config.reopening_rad:
            first = max(first, start + int(np.argmax(closure <= closure.min() + config.reopening_rad)))
    if config.trim_retreat:
        height = episode.state[start:end, PALM_HEIGHT]
        top = int(np.argmax(height[: config.retreat_window]))
        if height[top] - height[top:].min() >= config.retreat_drop_m:
            first = max(first, start + top)
    return first


def _include_before(selection: Selection, human: NDArray[np.bool_], handover: NDArray[np.bool_], count: int) -> None:
    """Make the frames before a kept takeover anchors of the human's actions; the policy's own actions stay masked."""
    for start, _ in _runs(human):
        if selection.label[start] == FrameClass.INTERVENTION:
            before = np.arange(max(start - count, 0), start)
            before = before[~human[before] & ~handover[before]]
            selection.anchor[before] = FrameClass.INTERVENTION
            selection.anchor_segment[before] = selection.segment[start]
