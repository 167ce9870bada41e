"""Who watches: the option ``--operator`` of several verbs."""

import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from agents.dagger import LIVE_EPISODE_STEPS
from dexhil_env import robot
from dexhil_env.errors import ConfigError
from dexhil_env.hil.live.registry import FINGERS, REPLAY, OperatorSpec
from dexhil_env.hil.live.waiting import SECOND_LOOK_S
from dexhil_env.hil.live.wish import LiveConfig
from dexhil_env.hil.scripted import ScriptedConfig

LIVE_EPISODE_S = LIVE_EPISODE_STEPS * robot.CONTROL_PERIOD_S
"""Time limit of an episode with a person [s]."""


@dataclass(frozen=True)
class DeviceOptions:
    """What a person has in the hands; for a live operator (docs/devices.md).

    Attributes:
        profile: console, aruco-glove: your calibrated hand, file of dexhil retarget calibrate.
        camera: aruco-glove: index of /dev/videoN, URL, or file of a film, that sees the cube; 0 by default.
        lens: aruco-glove: file of dexhil cube calibrate.
        cube_mm: aruco-glove: edge of the cube as it was printed; 56 by default.
        glove: aruco-glove: HOST:PORT on which the glove's datagrams arrive; 127.0.0.1:9870 by default.
        pedal: keyboard, aruco-glove: input device of a foot pedal, e.g. /dev/input/by-id/usb-...-event-kbd.
    """

    profile: Path | None = None
    camera: str | None = None
    lens: Path | None = None
    cube_mm: float | None = None
    glove: str | None = None
    pedal: Path | None = None

    def of(self, name: str) -> dict[str, Any]:
        """Return those that were given, as keywords of an operator.

        Raises:
            ConfigError: one of them is not for this operator.
        """
        given = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items() if value is not None}
        wrong = [f"--{key.replace('_', '-')} is for --operator {' or '.join(USERS[key])}" for key in given if name not in USERS[key]]
        if wrong:
            raise ConfigError(f"{'; '.join(wrong)}; got --operator {name}")
        return given


USERS = {"profile": tuple(sorted(FINGERS, reverse=True)), "pedal": ("keyboard", "aruco-glove"),
    **dict.fromkeys(("camera", "lens", "cube_mm", "glove"), ("aruco-glove",))}  # fmt: skip
"""Device option -> operators that have it."""
Devices = Annotated[DeviceOptions, tyro.conf.arg(name="")]


class NoKeys:
    """Keys of a robot's environment while somebody else reads the terminal."""

    def poll(self) -> str:
        """Return nothing."""
        return ""


def wait_for_operator(prompt: str) -> str:
    """Ask nothing: the operator waits for a start when the robot is at home, and nothing moves before that."""
    del prompt
    return ""


def leave_terminal(name: str, config: Path | None) -> dict[str, Any]:
    """Return arguments of ``gym.make`` by which a robot's environment leaves the terminal to an operator who reads it.

    Args:
        name: the operator.
        config: settings of the robot; None for the twin and an emulated robot, which ask nothing.
    """
    return {"ask": wait_for_operator, "keys": NoKeys()} if config is not None and name in USERS["pedal"] else {}


def time_limit(person: ScriptedConfig | OperatorSpec | None) -> int | None:
    """Return the control periods of an episode with this operator; None is the environment's own limit."""
    live = isinstance(person, OperatorSpec) and not person.replays
    return LIVE_EPISODE_STEPS if live else None


def human(
    name: str, out: Path | None = None, *, demonstrate: bool = False, devices: DeviceOptions = DeviceOptions(), **options: Any
) -> ScriptedConfig | OperatorSpec | None:
    """Return who watches.

    Args:
        name: ``none``, ``scripted``, or a live operator (dexhil_env.hil.live.registry).
        out: dataset that is recorded; device streams are written beside it.
        demonstrate: the person drives from the start.
        devices: what the person has in the hands.
        **options: of the console: ``port``, ``host``, ``episodes``, ...

    Raises:
        ConfigError: unknown name, or a device that this operator has not.
    """
    given = devices.of(name)
    if name == "none":
        return None
    if name == "scripted":
        return ScriptedConfig()
    if name.startswith(REPLAY):
        return OperatorSpec(name)
    config = LiveConfig(release="hold" if demonstrate else "policy", wait_for_start=True, second_look_s=SECOND_LOOK_S)
    # one address for the whole run, also when the console starts anew for the next environment
    page = {"where": "" if out is None else str(out), "token": secrets.token_urlsafe(12)}
    words = {**options, **page} if name == "console" else {}
    streams = None if out is None else str(out.with_name(out.name + "-devices"))
    return OperatorSpec(name, config, {**words, **given}, streams)
