"""Settings of the DexHand021 driver."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dexhil_env.errors import ConfigError, check_ranges
from real.dexhand_protocol import DEFAULT_CURRENT, DEFAULT_SPEED, POSITION_MODES, Drive, Generation, Mode, Side


@dataclass(frozen=True)
class DexHandConfig:
    """How the hand is reached and how gently it is driven.

    Values without a source are our choice; the maker publishes none.

    Attributes:
        interface: python-can's name of the adapter: ``socketcan``, ``pcan``, ``zlgcan``, ``gs_usb``, ``virtual`` or ``dexhil-unix``.
        channel: the adapter's channel, e.g. ``can0``.
        bus_kwargs: further arguments of ``can.Bus``. Bit rates are 1 Mbit/s and 5 Mbit/s, sample points 80 % and 75 %.
        side: which hand.
        generation: of the firmware's motion frames; None asks the boards for their firmware version.
        mode: position mode; generation 2 also knows the compliant ``MIT_TORQUE`` and ``IMPEDANCE_GRASP``.
        speed: speed field of generation 2, 0 to 32767 (no published unit).
        current_limit: current at which generation 2's firmware limits a motor [A], 0.010 to 0.255.
        current_trip: current above which the driver itself treats a motor as stalled [A]; works with both generations.
        current_trip_s: how long it must last [s].
        period_s: period of the motion commands [s]; not below 0.01, or the bus fills up.
        max_velocity: largest speed of a motor's target [rad/s]; a little above the limit of the mux, so that this only catches jumps.
        feedback_period_s: how often every board reports [s].
        feedback_unit_ms: unit of the period on the wire, 10 or 1 ms; it differs between firmwares. None measures it when connecting.
        command_timeout_s: the hand holds when the newest command is older than this [s].
        board_timeout_s: a board that has not reported for this long is a fault [s].
        bus_timeout_s: when no board has reported for this long the bus is taken as gone [s].
        reader_timeout_s: when the reading thread does not come back from the adapter's driver for this long, while others of the program
            run, the adapter is taken as hung [s].
        connect_timeout_s: how long the boards may take to answer [s].
        back_off: how far a stalled finger is opened [rad].
        clears_per_minute: how often the driver lets one board go on after a stall, before it gives up.
        clear_interval_s: shortest time between two such attempts [s].
        max_temperature_c: fault above this [deg C]; 55 is the firmware's default.
        release_on_close: let the fingers go limp in ``close()``; otherwise they hold, so that nothing is dropped.
    """

    interface: str = "socketcan"
    channel: str = "can0"
    bus_kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    side: Side = Side.RIGHT
    generation: Generation | None = None
    mode: Mode = Mode.CASCADED_PID
    speed: int = DEFAULT_SPEED
    current_limit: float = DEFAULT_CURRENT
    current_trip: float = 0.4
    current_trip_s: float = 0.2
    period_s: float = 0.01
    max_velocity: float = 5.0
    feedback_period_s: float = 0.01
    feedback_unit_ms: Literal[1, 10] | None = None
    command_timeout_s: float = 0.15
    board_timeout_s: float = 0.1
    bus_timeout_s: float = 0.08
    reader_timeout_s: float = 0.5
    connect_timeout_s: float = 1.0
    back_off: float = math.radians(2.0)
    clears_per_minute: int = 6
    clear_interval_s: float = 0.5
    max_temperature_c: float = 55.0
    release_on_close: bool = False

    def __post_init__(self) -> None:
        self._check_mode()
        bounds = {
            "current_trip": (0.01, 1.0),
            "current_trip_s": (0.02, 5.0),
            "period_s": (0.01, 0.1),
            "max_velocity": (0.01, 20.0),
            "feedback_period_s": (0.01, 0.05),
            "command_timeout_s": (0.02, 2.0),
            "bus_timeout_s": (0.02, 2.0),
            "board_timeout_s": (0.02, 2.0),
            "reader_timeout_s": (0.1, 10.0),
            "connect_timeout_s": (0.1, 60.0),
            "back_off": (0.0, 0.5),
            "clears_per_minute": (0, 60),
            "clear_interval_s": (0.1, 60.0),
            "max_temperature_c": (30.0, 80.0),
        }
        check_ranges(self, bounds)
        if self.bus_timeout_s < 3 * self.feedback_period_s:
            raise ConfigError(
                f"bus_timeout_s must be at least three feedback periods ({3 * self.feedback_period_s} s); got {self.bus_timeout_s}"
            )

    def _check_mode(self) -> None:
        allowed = POSITION_MODES[self.generation or Generation.GEN2]
        if self.mode not in allowed:
            raise ConfigError(
                f"mode must be one of {[mode.name for mode in allowed]} for generation {self.generation}; got {self.mode.name}"
            )
        if self.feedback_unit_ms not in (None, 1, 10):
            raise ConfigError(f"feedback_unit_ms must be 1, 10 or None (measure it); got {self.feedback_unit_ms}")
        _ = self.drive  # checks speed and current

    @property
    def drive(self) -> Drive:
        """How the motors follow a target."""
        return Drive(self.mode, self.speed, self.current_limit)
