"""What goes over the control line of an emulated robot: JSON, with arrays as base64 so that they arrive bit for bit. No pickle."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np

from dexhil_env import errors
from dexhil_env.errors import DeviceError, DexHiLError
from dexhil_env.sim.backend import PhysicsState
from dexhil_env.types import F64, Evaluation

MAX_BYTES: Final = 4_000_000
"""Longest message; a state of the twin takes about 40 kB."""
_ARRAY: Final = "float64"


@dataclass(frozen=True)
class Judgement:
    """What the task says of the scene, and the scene.

    Attributes:
        evaluation: the task's judgement.
        time_s: time of the scene since it was laid [s].
        physics: state that a twin of the same task takes with ``restore_state``.
    """

    evaluation: Evaluation
    time_s: float
    physics: PhysicsState


@dataclass(frozen=True)
class TwinDescription:
    """What an emulated robot is.

    Attributes:
        task: name of the task; ``task_options``: fields of its config.
        instruction: the task in words.
        metric_names: metrics of its evaluation.
        address: of the arm's control box.
        can_path: socket of the hand's bus (interface ``dexhil-unix``).
        control_path: socket of the control line.
        cameras: address of each stream by name.
        image_size: side of the pictures [px].
        fps: pictures per second of robot time.
        pace: robot seconds per second of wall time.
        pid: of the process.
    """

    task: str
    task_options: dict[str, Any]
    instruction: str
    metric_names: tuple[str, ...]
    address: str
    can_path: str
    control_path: str
    cameras: dict[str, str]
    image_size: int
    fps: float
    pace: float
    pid: int


@dataclass(frozen=True)
class TwinStatus:
    """How an emulated robot is.

    Attributes:
        time_s: robot time [s].
        scene_time_s: time since the scene was laid [s].
        laid: scenes laid so far.
        mode: of the arm, by name.
        errors: error bits of the arm by name.
        q: (7,) [rad].
        hand: (12,) motor angles [rad].
        twin_lag: largest difference between the arm and the arm of the twin's scene [rad].
        rtf: robot seconds per second of wall time, over the last second.
        cycles_late: cycles of the arm that began more than 5 ms late.
        cpu_s: processor time of the robot's process [s].
        board_errors: boards of the hand that have stopped, by name.
        scene_error: why the physics of the scene has stopped; "" when it runs. Laying a scene mends it.
        camera_error: why there are no pictures; "" when all is well.
        worst: largest magnitudes by name, SI units; ``ratios``: their shares of the arm's limits.
        events: (robot time [ms], what happened to the arm), the last 100.
    """

    time_s: float
    scene_time_s: float
    laid: int
    mode: str
    errors: tuple[str, ...]
    q: F64
    hand: F64
    twin_lag: float
    rtf: float
    cycles_late: int
    cpu_s: float
    board_errors: tuple[str, ...] = ()
    scene_error: str = ""
    camera_error: str = ""
    worst: dict[str, float] = field(default_factory=dict[str, float])
    ratios: dict[str, float] = field(default_factory=dict[str, float])
    events: tuple[tuple[int, str], ...] = ()


def encode(message: dict[str, Any]) -> bytes:
    """Pack a message: JSON's types, numpy arrays (as float64) and numpy numbers."""
    return json.dumps(message, default=_pack).encode()


def decode(data: bytes) -> dict[str, Any]:
    """Unpack a message.

    Raises:
        DeviceError: it is none.
    """
    try:
        message: Any = json.loads(data, object_hook=_unpack)
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceError(f"not a message of the control line: {data[:60]!r}; do both ends run the same version?") from error
    if not isinstance(message, dict):
        raise DeviceError(f"a message of the control line is a JSON object; got {data[:60]!r}")
    return cast("dict[str, Any]", message)


def _pack(value: object) -> object:
    if isinstance(value, np.ndarray):
        array: F64 = np.ascontiguousarray(value, dtype=np.float64)
        return {_ARRAY: base64.b64encode(array.tobytes()).decode(), "shape": list(array.shape)}
    if isinstance(value, np.integer | np.floating | np.bool_):
        return cast("object", value.item())
    raise TypeError(f"{type(value).__name__} cannot go over the control line: {value!r}")


def _unpack(value: dict[str, Any]) -> Any:
    if _ARRAY not in value:
        return value
    return np.frombuffer(base64.b64decode(value[_ARRAY]), dtype=np.float64).reshape(value["shape"]).copy()


def pack_physics(physics: PhysicsState) -> dict[str, Any]:
    """Turn a state of the twin into a message's part."""
    return {"integration": physics.integration, "task": physics.task, "looks": physics.looks}


def unpack_judgement(answer: dict[str, Any]) -> Judgement:
    """Read the answer to ``judge`` or ``peek``."""
    return Judgement(Evaluation(**answer["evaluation"]), answer["time_s"], PhysicsState(**answer["physics"]))


def unpack_description(answer: dict[str, Any]) -> TwinDescription:
    """Read the answer to ``describe``."""
    changed: dict[str, Any] = {"metric_names": tuple(answer["metric_names"])}
    return TwinDescription(**{**answer, **changed})


def unpack_status(answer: dict[str, Any]) -> TwinStatus:
    """Read the answer to ``status``."""
    events = tuple((int(time_ms), str(what)) for time_ms, what in answer["events"])
    changed: dict[str, Any] = {"errors": tuple(answer["errors"]), "board_errors": tuple(answer["board_errors"]), "events": events}
    return TwinStatus(**{**answer, **changed})


def pack_error(error: Exception) -> dict[str, Any]:
    """Turn an error into an answer."""
    if isinstance(error, DexHiLError):
        return {"error": type(error).__name__, "text": str(error)}
    return {"error": "", "text": f"{type(error).__name__} in the emulated robot: {error}"}


def unpack_error(answer: dict[str, Any]) -> DexHiLError:
    """Return the error of an answer; one that this program does not know is a :class:`DeviceError`."""
    kind = getattr(errors, str(answer["error"]), None)
    return kind(answer["text"]) if isinstance(kind, type) and issubclass(kind, DexHiLError) else DeviceError(answer["text"])
