"""The words that devices say to a live operator. A message is a flat dictionary; :func:`check` refuses everything else.

| type | fields | meaning |
| --- | --- | --- |
| ``heartbeat`` | | the person's device is alive |
| ``engage`` | ``arm``, ``hand`` | take (True) or give back (False) each limb; a press, a release or a latch, the device decides |
| ``clutch`` | ``arm``, ``hand`` | keep a taken limb where it is; it is anchored anew when this ends |
| ``hold`` | | the window lost the focus: keep everything where it is until the next ``engage`` |
| ``lost`` | | the connection is gone; the server says so |
| ``start`` | | begin the episode that has been laid |
| ``jog`` | ``linear`` (3) [m/s], ``angular`` (3) [rad/s] | velocity of the palm in the view's axes: right, away, up |
| ``nudge`` | ``linear`` (3) [m], ``angular`` (3) [rad] | a step of the palm, same axes |
| ``cube`` | ``pose`` (7) | ``T_cam_cube`` of a cube in front of a camera that faces the person [m, wxyz] |
| ``wrist`` | ``pose`` (7) | pose of the wrist in the headset's space: x right, y up, z towards the person [m, wxyz] |
| ``synergy`` | ``value`` 0..1, ``grasp`` | how far the hand is closed on the way to a grasp |
| ``fingers`` | ``values`` (5) 0..1 | how far each finger is closed, thumb first |
| ``motors`` | ``values`` (12) [rad] | the hand's motors |
| ``keypoints`` | ``points`` (21 x 3) [m] | a person's hand in the wrist frame; goes through the retargeter |
| ``verdict`` | ``value`` | ``success``, ``failure``, ``discard`` or ``redo`` |
| ``tag``, ``note`` | ``text`` | why the policy failed; a free remark |
| ``undo`` | | take the last success or failure back; only just after it |
| ``pause`` | ``on`` | stand still and wait |
| ``step`` | | let one control period pass in a pause; only in the twin |
| ``estop`` | | stop and end the episode; what was recorded is kept |
| ``quit`` | | end the program after this episode |
"""

import math
from collections.abc import Callable
from typing import Any, Final, cast

from dexhil_env.errors import DexHiLError

Message = dict[str, Any]
GRASPS: Final = ("open", "pinch", "tripod", "power")
VERDICTS: Final = ("success", "failure", "discard", "redo")
MAX_TEXT: Final = 400
"""Longest note [characters]."""
ARM_DEVICES: Final = {"jog": "jog", "nudge": "jog", "cube": "cube", "wrist": "wrist"}
"""Message type -> device that moves the arm."""
HAND_DEVICES: Final = {"synergy": "sliders", "fingers": "sliders", "motors": "glove", "keypoints": "glove"}
"""Message type -> device that moves the fingers."""
CONTINUOUS: Final = frozenset({"heartbeat", *ARM_DEVICES, *HAND_DEVICES} - {"nudge"})
"""Types of which only the newest matters."""


class MessageError(DexHiLError, ValueError):
    """A message is not one of the vocabulary."""


def _vector(size: int, bound: float) -> Callable[[Any], list[float]]:
    def check_vector(value: Any) -> list[float]:
        if not isinstance(value, list) or len(cast("list[Any]", value)) != size:
            raise MessageError(f"needs a list of {size} numbers")
        return [_number(bound)(each) for each in cast("list[Any]", value)]

    return check_vector


def _number(bound: float, low: float | None = None) -> Callable[[Any], float]:
    least = -bound if low is None else low

    def check_number(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not least <= value <= bound:
            raise MessageError(f"needs a number from {least:g} to {bound:g}; got {str(value)[:40]!r}")
        return float(value)

    return check_number


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise MessageError(f"needs true or false; got {str(value)[:40]!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise MessageError(f"needs a text of at most {MAX_TEXT} characters")
    return value


def _word(words: tuple[str, ...]) -> Callable[[Any], str]:
    def check_word(value: Any) -> str:
        if value not in words:
            raise MessageError(f"needs one of {words}; got {str(value)[:40]!r}")
        return cast(str, value)

    return check_word


def _points(value: Any) -> list[list[float]]:
    if not isinstance(value, list) or len(cast("list[Any]", value)) != 21:
        raise MessageError("needs 21 points")
    return [_vector(3, 2.0)(each) for each in cast("list[Any]", value)]


def _closures(value: Any) -> list[float]:
    numbers = _vector(5, 1.0)(value)
    return [_number(1.0, 0.0)(each) for each in numbers]


def _pose(value: Any) -> list[float]:
    pose = _vector(7, 20.0)(value)
    if not 0.9 < math.hypot(*pose[3:]) < 1.1:
        raise MessageError("needs a unit quaternion wxyz after the position")
    return pose


_LIMBS: Final = {"arm": _flag, "hand": _flag}
_MOTION: Final = {"linear": _vector(3, 1.0), "angular": _vector(3, 4.0)}
_SCHEMA: Final[dict[str, dict[str, Callable[[Any], Any]]]] = {
    **{kind: {} for kind in ("heartbeat", "hold", "lost", "start", "undo", "step", "estop", "quit")},
    **dict.fromkeys(("engage", "clutch"), _LIMBS),
    **dict.fromkeys(("jog", "nudge"), _MOTION),
    **{kind: {"pose": _pose} for kind in ("cube", "wrist")},
    **{kind: {"text": _text} for kind in ("tag", "note")},
    "synergy": {"value": _number(1.0, 0.0), "grasp": _word(GRASPS)},
    "fingers": {"values": _closures},
    "motors": {"values": _vector(12, 3.0)},
    "keypoints": {"points": _points},
    "verdict": {"value": _word(VERDICTS)},
    "pause": {"on": _flag},
}


def check(raw: Any) -> Message:
    """Return a message with exactly the fields of its type.

    Args:
        raw: what came over the wire, already decoded.

    Raises:
        MessageError: unknown type, a field too many or too few, or a value out of range.
    """
    if not isinstance(raw, dict):
        raise MessageError("a message is an object with a type")
    found = cast("dict[str, Any]", raw)
    kind = found.get("type")
    if not isinstance(kind, str) or kind not in _SCHEMA:
        raise MessageError(f"unknown message type {str(kind)[:40]!r}; known: {sorted(_SCHEMA)}")
    fields = _SCHEMA[kind]
    if set(found) - {"type"} != set(fields):
        raise MessageError(f"{kind} has the fields {sorted(fields)}; got {sorted(str(name)[:20] for name in set(found) - {'type'})}")
    message: Message = {"type": kind}
    for name, checked in fields.items():
        try:
            message[name] = checked(found[name])
        except MessageError as error:
            raise MessageError(f"{kind}.{name} {error}") from None
    return message
